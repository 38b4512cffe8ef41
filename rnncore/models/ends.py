"""What each direction of a recurrent layer gives at its own last step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.models.bidirectional import MERGES
from rnncore.models.over_time import Kept, OverTime
from rnncore.models.part import saved

if TYPE_CHECKING:
    from numpy.typing import NDArray


@saved
class Ends(OverTime):
    """Of a layer of two directions the output of each where that direction ends, put together::

        a = x[L - 1, :H]    b = x[0, H:]    y = a and b side by side, a + b, a * b or (a + b) / 2

    for a row of L steps. These are the final states h of both directions, as the `Bidirectional` of
    Keras gives them without its `return_sequences`; `Pool("last")` gives what the second direction
    has read of a single step.

    Parameters
    ----------
    size : int
        2H, the last axis of x; an even number.
    merge : "concat", "sum", "mul" or "ave"
    batch_first : bool
        Whether x is (B, T, 2H), instead of (T, B, 2H).

    y is (B, 2H), or (B, H) of what is not side by side. A row without steps gives 0. There are no
    parameters; x is float32 or float64, and so is y.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> x = np.array([[[1.0, 10.0]], [[2.0, 20.0]], [[3.0, 30.0]]])
    >>> Ends(2)(x), Ends(2, "sum")(x, lengths=[2])
    (array([[ 3., 10.]]), array([[12.]]))
    """

    size: int
    merge: str
    dtype: None
    _ends_time = True

    def __init__(self, size: int, merge: str = "concat", *, batch_first: bool = False):
        size = _check.size("size", size, minimum=2)
        if size % 2:
            raise ValueError(f"size is {size}, expected an even number: two directions")
        super().__init__(
            size=size,
            merge=_check.choice("merge", merge, MERGES),
            batch_first=_check.flag("batch_first", batch_first),
        )
        self.output_size = size if merge == "concat" else size // 2

    def _width(self) -> int:
        return self.size

    def _width_after(self, C: int) -> int:
        return self.output_size

    @quiet
    def _run(
        self, x: np.ndarray, lengths: NDArray[np.intp] | None, *, keep: bool
    ) -> tuple[np.ndarray, Kept]:
        T, B, _ = x.shape
        H, own = self.size // 2, np.full(B, T, np.intp) if lengths is None else lengths
        a, b = np.zeros((B, H), x.dtype), np.zeros((B, H), x.dtype)
        some = np.flatnonzero(own)
        if some.size:
            a[some], b[some] = x[own[some] - 1, some, :H], x[0, some, H:]
        if self.merge == "concat":
            return np.concatenate((a, b), axis=1), ()
        if self.merge == "mul":
            return a * b, (a, b) if keep else ()
        return (a + b if self.merge == "sum" else (a + b) / 2), ()

    @quiet
    def _undo(
        self,
        kept: Any,
        dy: np.ndarray,
        sizes: tuple[int, int, int],
        lengths: NDArray[np.intp] | None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        T, B, _ = sizes
        H, own = self.size // 2, np.full(B, T, np.intp) if lengths is None else lengths
        da, db = dy[:, :H], dy[:, H:]
        if self.merge in ("sum", "ave"):
            da = db = dy if self.merge == "sum" else dy / 2
        elif self.merge == "mul":
            a, b = (_check.array("trace.kept", k, (B, H), dtype=dy.dtype) for k in kept)
            da, db = dy * b, dy * a
        dx, some = np.zeros(sizes, dy.dtype), np.flatnonzero(own)
        if some.size:
            dx[own[some] - 1, some, :H] = da[some]
            dx[0, some, H:] = db[some]
        return dx, {}
