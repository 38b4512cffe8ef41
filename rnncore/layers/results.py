"""What layers take and give: states, traces, gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from numpy.typing import NDArray

from rnncore._cells.kind import CellKind
from rnncore.layers.options import signature

Array: TypeAlias = NDArray[Any]

# The state of a cell without a memory is one array, else the pair (h, c); its gradient the same,
# where a missing part stands for zeros.
StateT = TypeVar("StateT", Array, tuple[Array, Array])
State: TypeAlias = "Array | tuple[Array, Array]"
StateGradient: TypeAlias = "Array | tuple[Array | None, Array | None] | None"


@dataclass(frozen=True, eq=False, init=False)
class Trace:
    """What `forward` keeps for `backward`. It is read-only and belongs to no layer.

    It may be used once or many times, and by any layer of the same options: the gradients are
    those for the parameters which that layer has when `backward` is called.

    Attributes
    ----------
    kind, options : the class and the options of the layer that made it
    shape : of `x`, as it was handed in
    cells : a trace of the functional core for every layer and direction, in the order of the first
        axis of a state; none after ``training=False``
    dropped : for every layer but the first, what dropout multiplied its input with, or None
    nbytes : bytes of the arrays that all of it holds
    """

    kind: str
    options: tuple[tuple[str, Any], ...]
    shape: tuple[int, ...]
    cells: tuple[Any, ...] = field(repr=False)
    dropped: tuple[Array | None, ...] = field(repr=False)
    _cell: CellKind = field(repr=False)

    def __init__(
        self,
        kind: str,
        options: tuple[tuple[str, Any], ...],
        shape: tuple[int, ...],
        cells: tuple[Any, ...],
        dropped: tuple[Array | None, ...],
        cell: CellKind,
    ) -> None:
        # At once: a frozen dataclass's own takes 1.5 us, which a small call would feel.
        self.__dict__.update(
            kind=kind, options=options, shape=shape, cells=cells, dropped=dropped, _cell=cell
        )

    @property
    def nbytes(self) -> int:
        held = [array for cell in self.cells for array in cell.arrays]
        held += [mask for mask in self.dropped if mask is not None]
        return sum({id(array): array.nbytes for array in held}.values())  # some are shared

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for mask in self.dropped:
            if mask is not None:
                mask.flags.writeable = False  # which a pickle forgets

    def __str__(self) -> str:
        return signature(self._cell, self.kind, self.options)


if TYPE_CHECKING:

    class Grads(NamedTuple, Generic[StateT]):
        x: Array
        state: StateT
        params: dict[str, Array]

else:  # Python 3.10 has no generic named tuples

    class Grads(NamedTuple):
        """The gradients that `backward` gives: each has the shape and dtype of its thing."""

        x: Array
        state: Any
        params: dict[str, Array]
