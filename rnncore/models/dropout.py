"""What training leaves out at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.layers.parameters import LATER
from rnncore.models.by_row import ByRow, Kept
from rnncore.models.part import saved


@saved
class Dropout(ByRow):
    """In training some numbers are 0, and the others larger; at inference nothing happens.

    ::

        y = x * mask        dx = dy * mask        mask is 0 with probability p, else 1 / (1 - p)

    as Srivastava et al. (2014) have it, but scaled in training. Every number of x is drawn for.

    Parameters
    ----------
    p : float, 0 to below 1
        The share that is left out.
    rng : None, int or numpy.random.Generator
        The only source of the masks.

    There are no parameters; x is float32 or float64, and so is y.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> layer, x = Dropout(0.5, rng=0), np.ones(6)
    >>> layer(x)
    array([1., 1., 1., 1., 1., 1.])
    >>> y, trace = layer.forward(x)
    >>> np.unique(y), np.array_equal(layer.backward(trace, x).x, y)
    (array([0., 2.]), True)
    """

    p: float
    dtype: None
    _draws = True

    def __init__(self, p: float, *, rng: int | np.random.Generator | None = None):
        super().__init__(p=_check.fraction("p", p))
        self._rng = _check.generator("rng", None if rng is LATER else rng)

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        return rows.copy()

    @quiet
    def _keep(self, rows: np.ndarray) -> tuple[np.ndarray, Kept]:
        share = 1 - self.p
        mask = np.where(self._rng.random(rows.shape, np.float32) < share, 1 / share, 0)
        mask = mask.astype(rows.dtype)
        return rows * mask, (mask,)

    @quiet
    def _undo(self, kept: Any, dy: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return dy * kept[0], {}
