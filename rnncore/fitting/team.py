"""The ranks that train together: what each of them computes, and where they meet.

All do the same in the same order. At each meeting a rank says where it is, and whether it goes on:
so one that has failed, wherever that was, ends the training of all with an error, and nobody waits
for what does not come.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check, parallel
from rnncore._common.groups import ParamGrads
from rnncore.fitting.batches import pieces
from rnncore.fitting.before import Before
from rnncore.fitting.told import mark_of, plain
from rnncore.train.generators import generators_of

START, CHECKPOINT, BATCH, EPOCH, END = range(5)  # what ranks meet for
_ROWS = 8  # of a block
_TEXT = 400  # bytes of the error that ended a training


class Part(NamedTuple):
    """What a block of rows gives.

    Attributes
    ----------
    grads : of the sum over what counts; None where nothing does
    numbers : sums that losses and metrics are means of
    moved : what the model keeps beside parameters, times the rows
    """

    grads: Mapping[str, np.ndarray] | None
    numbers: Sequence[float]
    moved: Sequence[np.ndarray] = ()


class Team:
    """The processes of a communicator, or this one alone.

    Attributes
    ----------
    rank, size : of this process, and how many there are
    block : rows of a block, whose gradients are added in order; 0 where they are not
    plain : whether batches are computed whole, here
    """

    def __init__(self, comm: Any, ordered: int) -> None:
        if comm is not None:
            parallel.check_communicator(comm)
        self._comm, self.block = comm, 0
        self.rank: int = 0 if comm is None else comm.Get_rank()
        self.size: int = 1 if comm is None else comm.Get_size()
        self._ended, self._within = False, False
        with self.together():
            if isinstance(ordered, bool | np.bool_):
                self.block = _ROWS * bool(ordered)
            elif isinstance(ordered, int | np.integer):
                self.block = _check.size("ordered", ordered)
            else:
                raise TypeError(f"ordered is {ordered!r}, expected True, False or an integer")
        self.plain = self.size == 1 and not self.block

    # Rows

    def share(self, rows: int, least: int = 1) -> list[tuple[int, slice]]:
        """The parts of a batch that are this rank's: the number of each, and its rows.

        None has fewer than `least`, where the batch has as many.
        """
        if not self.block:
            ranks = min(self.size, max(rows // least, 1))
            return [(self.rank, slice(self.rank, rows, ranks))] if self.rank < ranks else []
        blocks = pieces(rows, self.block, least)
        first, end = (len(blocks) * rank // self.size for rank in (self.rank, self.rank + 1))
        return [*enumerate(blocks)][first:end]

    # Meetings

    def meet(self, place: int, flag: bool = False) -> list[bool]:
        """The flags of all ranks; RuntimeError where one has failed or is elsewhere."""
        if self.size == 1:
            return [flag]
        self._within = True
        found = parallel.gathered(np.array([1, place, flag], np.int64), self._comm)
        failed = [rank for rank, (goes_on, *_) in enumerate(found) if not goes_on]
        if failed:
            self._tell("")
        self._within = False
        if failed:
            texts = self._texts
            raise RuntimeError(f"rank {failed[0]} has ended the training: {texts[failed[0]]}")
        if (found[:, 1] != place).any():
            self._ended = True
            raise ValueError(
                "ranks are at different places of the training, expected as many batches, and the"
                " same arguments, on all"
            )
        self._ended = place == END
        return [bool(one) for one in found[:, 2]]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """An error of this rank ends the training on all of them."""
        try:
            yield
        except BaseException as error:
            if self.size > 1 and not self._ended:
                self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        if self._within:
            traceback.print_exc()  # others may wait for what this one does not send any more
            sys.stderr.flush()
            self._comm.Abort(1)
        self._within = True
        parallel.gathered(np.array([0, 0, 0], np.int64), self._comm)
        self._tell(f"{type(error).__name__}: {error}")

    def _tell(self, text: str) -> None:
        """Exchange what ended it, where all have heard that something did."""
        row = np.zeros(_TEXT, np.uint8)
        said = text.encode()[:_TEXT]
        row[: len(said)] = np.frombuffer(said, np.uint8)
        found = parallel.gathered(row, self._comm)
        self._texts = [bytes(one).rstrip(b"\0").decode(errors="replace") for one in found]
        self._ended, self._within = True, False

    def check_same(self, told: Mapping[str, Any]) -> None:
        """Raise ValueError on all ranks where they were told different things."""
        self.meet(START)
        if self.size == 1:
            return
        marks = [
            int(mark_of(value) if isinstance(value, np.ndarray) else _mark(value), 16)
            for value in told.values()
        ]
        found = parallel.gathered(np.array(marks, np.uint64), self._comm)
        other = [name for k, name in enumerate(told) if (found[:, k] != found[0, k]).any()]
        if other:
            self._ended = True
            raise ValueError(f"not the same on all ranks, as expected: {', '.join(other)}")

    # Sums

    def sum(
        self,
        parts: Sequence[Part],
        params: Mapping[str, np.ndarray],
        kept: Sequence[np.ndarray],
        numbers: int,
    ) -> Part:
        """Of all parts of all ranks, of which this one may have none."""
        if self.plain:
            return parts[0]
        lists = [_arrays_of(part, params) for part in parts]
        if not lists:
            like = [*params.values(), *kept, np.zeros(numbers)]
            lists = [[np.zeros_like(array) for array in like]]
        self.meet(BATCH)
        self._within = True
        totals = parallel.summed(lists, self._comm, ordered=bool(self.block))
        self._within = False
        grads = ParamGrads(zip(params, totals, strict=False), params)
        return Part(grads, totals[-1].tolist(), totals[len(params) : -1])


def _arrays_of(part: Part, params: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    grads = part.grads
    if grads is None:
        grads = {name: np.zeros_like(value) for name, value in params.items()}
    if grads.keys() != params.keys():
        raise ValueError(
            f"backward gives gradients of {', '.join(grads)}, expected of {', '.join(params)}"
        )
    return [*(grads[name] for name in params), *part.moved, np.array(part.numbers)]


class Apart:
    """What is computed of the parts of a batch as if each were alone, whatever rank it is on.

    What layers draw, dropout above all, comes from a place of its own for each part: no two drop
    the same, and the generators of the layers stay where they are. What they keep beside
    parameters (`BatchNorm`) begins at the same for each, and becomes the mean over the rows.

    Attributes
    ----------
    kept : what layers keep beside parameters, the model's own; nothing where a batch is computed
        whole
    """

    def __init__(self, model: Any) -> None:
        self._generators = [] if model is None else generators_of(model)
        self.kept: list[np.ndarray] = [*getattr(model, "buffers", {}).values()]
        self._seed = 0

    def begin(self, rng: np.random.Generator) -> None:
        """An epoch, of which the order of rows is drawn next."""
        if self._generators:
            self._seed = int(copy.deepcopy(rng).integers(2**63))

    @contextlib.contextmanager
    def of(self, *place: int) -> Iterator[None]:
        """Compute a part; afterwards all is as it was before."""
        before = Before(self._generators, self.kept)
        for k, generator in enumerate(self._generators):
            seed = np.random.SeedSequence((self._seed, k, *place))
            generator.bit_generator.state = type(generator.bit_generator)(seed).state
        try:
            yield
        finally:
            before.put_back()

    def moved(self, rows: int) -> list[np.ndarray]:
        """What is kept, times so many rows."""
        return [value * value.dtype.type(rows) for value in self.kept]

    def settle(self, moved: Sequence[np.ndarray], rows: int) -> None:
        """Keep the mean of what all parts have moved."""
        for value, total in zip(self.kept, moved, strict=True):
            np.divide(total, rows, out=value)


def _mark(value: Any) -> str:
    return mark_of(np.frombuffer(repr(plain({"": value})).encode(), np.uint8))
