"""Who computes a layer: the compiled core, or its twin in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from rnncore import reference
from rnncore._cells.results import FloatArray
from rnncore._common.quiet import quiet
from rnncore._core import core
from rnncore._engine import checkpoints, passes
from rnncore._engine.batch import Masks
from rnncore._engine.cells import CellStack, Weights
from rnncore._engine.checkpoints import Checkpoints, Windows
from rnncore._engine.passes import Arriving, Gradients, Run, StackBack, StackRun, States
from rnncore._engine.weights import all_by_argument, by_argument, of_arguments

_TOLD = ("proj_size", "bias")  # to the functional core by the weights that there are


class Runner(Protocol):
    """Computes the layers and directions of a stack."""

    def call(self, stack: CellStack, weights: Any, x: Any, state: Any) -> Any:
        """The outputs and the final state, or None where x or state needs a closer look."""

    def trace(self, stack: CellStack, weights: Any, x: Any, state: Any) -> Any:
        """The same and what `backward` reads of every layer and direction, without masks."""

    def back(self, stack: CellStack, weights: Any, kept: Any, dy: Any, dstate: Any) -> Any:
        """Gradients of x, the initial state and all `weights`; None as above."""

    def infer(self, run: StackRun) -> None:
        """See `passes.infer`."""

    def forward(self, run: StackRun, windows: Windows | None) -> list[Any]:
        """Of every layer and direction what `backward` reads; see `passes.forward`."""

    def backward(self, run: StackBack) -> Gradients:
        """See `passes.backward`."""


class CoreRunner:
    """The compiled core. Within a limit of memory it keeps states, and computes the rest again."""

    call = staticmethod(core.Stack.call)
    trace = staticmethod(passes.traces)
    back = staticmethod(passes.back)
    infer = staticmethod(passes.infer)

    def forward(self, run: StackRun, windows: Windows | None) -> list[Any]:
        if windows is None:
            return passes.forward(run)

        def one(run: Run, starts: States, y: FloatArray, ends: States) -> Any:
            return checkpoints.forward(run, starts, y, ends, windows)

        return _forward_one_by_one(one, run)

    def backward(self, run: StackBack) -> Gradients:
        if isinstance(run.kept[0], Checkpoints):
            return _backward_one_by_one(checkpoints.backward, run)
        return passes.backward(run)


class TwinRunner:
    """`rnncore.reference`, to compare with and to time; it keeps all, whatever the limit."""

    def call(self, stack: CellStack, weights: Any, x: Any, state: Any) -> Any:
        return None

    trace = call

    def back(self, stack: CellStack, weights: Any, kept: Any, dy: Any, dstate: Any) -> Any:
        return None

    def infer(self, run: StackRun) -> None:
        self.forward(run._replace(drops=(None,) * (len(run.stack.layers) - 1)), None)

    def forward(self, run: StackRun, windows: Windows | None) -> list[Any]:
        return _forward_one_by_one(_twin_forward, run)

    def backward(self, run: StackBack) -> Gradients:
        return _backward_one_by_one(_twin_backward, run)


def _forward_one_by_one(
    one: Callable[[Run, States, FloatArray, States], Any], run: StackRun
) -> list[Any]:
    """Layers and directions one after another, each by ``one(run, starts, y, ends)``."""
    stack, weights, x, starts, y, ends, batch, drops, masks = run
    kept: list[Any] = []
    D, P = stack.directions, y.shape[2] // stack.directions
    for layer in range(len(drops) + 1):
        last = layer == len(drops)
        make = np.empty if batch is None else np.zeros
        outputs = y if last else make((*x.shape[:2], y.shape[2]), x.dtype)
        for k in range(layer * D, (layer + 1) * D):
            mask, begin = masks[k] if masks else None, (k - layer * D) * P
            own = Run(stack.cells[k], weights[k], x, stack.reverse[k], batch, mask)
            kept.append(one(own, _at(starts, k), outputs[..., begin : begin + P], _at(ends, k)))
        if not last:
            _scale(outputs, drops[layer])
        x = outputs
    return kept


def _backward_one_by_one(
    one: Callable[[Any, Weights, Arriving], tuple[Gradients, States]], run: StackBack
) -> Gradients:
    """The same, each by ``one(kept, weights, given)``."""
    stack, kept, weights, given, drops, dstarts = run
    D, P = stack.directions, stack.cells[0].P
    dweights: list[Any] = [None] * len(kept)
    for layer in reversed(range(len(drops) + 1)):
        dxs = []  # both directions have read the same x
        for direction in range(D):
            k, columns = layer * D + direction, slice(direction * P, (direction + 1) * P)
            own = Arriving(
                _columns(given.dy, columns),
                _at(given.dends, k),
                None if given.flow is None else given.flow[:, k],
                _columns(given.more, columns),
                _columns(given.drop, columns),
            )
            (dx, (dweights[k],)), dstarts_k = one(kept[k], weights[k], own)
            dxs.append(dx)
            for dstart, part in zip(dstarts, dstarts_k, strict=True):
                dstart[k] = part
        if layer > 0:
            more = None if D == 1 else dxs[1]
            given = given._replace(dy=dxs[0], more=more, drop=drops[layer - 1])
    return Gradients(passes.sum_of(dxs), dweights)


def _at(states: States, k: int) -> States:
    """The states of one layer and direction."""
    return tuple([None if state is None else state[k] for state in states])


def _columns(values: FloatArray | None, columns: slice) -> FloatArray | None:
    return None if values is None else values[..., columns]


@quiet
def _scale(values: FloatArray, mask: FloatArray | None) -> None:
    """Multiply in place, where there is a mask."""
    if mask is not None:
        values *= mask


def _twin_forward(run: Run, starts: States, y: FloatArray, ends: States) -> Any:
    """As `passes.trace`."""
    trace = _twin_of(run, starts)
    y[...] = trace.y
    for end, rows in zip(ends, trace.states, strict=True):
        if end is not None:
            end[...] = rows[-1]
    return trace


@quiet
def _whole_dy(given: Arriving) -> FloatArray | None:
    """(D) dy = (dy + more) * drop."""
    dy = given.dy
    if dy is not None and given.more is not None:
        dy = dy + given.more
    return dy if dy is None or given.drop is None else dy * given.drop


def _twin_backward(kept: Any, weights: Weights, given: Arriving) -> tuple[Gradients, States]:
    """As `passes.one_backward`."""
    kind = kept.kind
    named = {f"d{part}": d for part, d in zip(kind.parts, given.dends, strict=True)}
    read = {weight.argument for weight in kind.weights if weight.read_back}
    named |= {name: w for name, w in by_argument(kind, weights).items() if name in read}
    back = getattr(reference, f"{kind.prefix}_backward")
    grads = back(kept, dy=_whole_dy(given), flow=given.flow, **named)._asdict()
    dstarts = tuple([grads[f"{part}0"] for part in kind.parts])
    return Gradients(grads["x"], [of_arguments(kind, grads, both=True)]), dstarts


def _twin_of(run: Run, starts: Any) -> Any:
    """The trace of a forward function of the reference."""
    cell, weights, x, reverse, batch, masks = run
    kind, (h_mask, keeps) = cell.kind, masks or Masks()
    given = {name: _sum(values) for name, values in all_by_argument(kind, weights).items()}
    given |= {f"{part}0": start for part, start in zip(kind.parts, starts, strict=True)}
    given |= {f"keep_{part}": keep for part, keep in zip(kind.parts, keeps, strict=False)}
    options = {name: value for name, value in cell.options.items() if name not in _TOLD}
    lengths = None if batch is None else batch.lengths
    forward = getattr(reference, f"{kind.prefix}_forward")
    return forward(x, h_mask=h_mask, lengths=lengths, reverse=reverse, **given, **options)


@quiet
def _sum(values: list[Any]) -> Any:
    there = [value for value in values if value is not None]
    return sum(there[1:], start=there[0]) if there else None


CORE = CoreRunner()
TWIN = TwinRunner()
