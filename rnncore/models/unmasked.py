"""Guards: steps that the source of a model would have skipped are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore.models.by_row import ByRow, Kept, Places
from rnncore.models.embedding import Embedding
from rnncore.models.part import saved

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@saved
class UnmaskedEmbedding(Embedding):
    """An `Embedding` that refuses one id: the one that means "no step".

    A model of Keras whose `Embedding` has ``mask_zero=True`` skips the steps with the id 0. Here a
    row of a batch has a length instead; with `lengths` only what is within them is looked at.

    Parameters
    ----------
    num_embeddings, embedding_dim, dtype, rng : as of an `Embedding`
    masked : int
        The id that is refused.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described above; ValueError for such an id.

    Examples
    --------
    >>> layer = UnmaskedEmbedding(6, 1, dtype=np.float64)
    >>> layer.params["weight"][:, 0] = range(6)
    >>> layer(np.array([[3, 4], [5, 0]]), lengths=[2, 1])[..., 0]  # (T, B): rows 3 5 and 4
    array([[3., 4.],
           [5., 0.]])
    """

    masked: int

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        masked: int = 0,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ):
        super().__init__(num_embeddings, embedding_dim, dtype=dtype, rng=rng)
        self.masked = _check.size("masked", masked, minimum=0)
        self._options = (*self._options, ("masked", self.masked))
        self._fixed = (*self._fixed, "masked")

    def _rows(self, places: Places, x: np.ndarray) -> np.ndarray:
        rows = super()._rows(places, x)
        _refuse(rows == self.masked, f"the id {self.masked}")
        return rows


@saved
class Unmasked(ByRow):
    """Steps as they are, where none has the same number in all places: that step is refused.

    A model of Keras that begins with ``Masking(mask_value)`` skips such steps. Here a row of a
    batch has a length instead; with `lengths` only what is within them is looked at.

    Parameters
    ----------
    masked : float
        The number.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described above; ValueError for such a step.

    Examples
    --------
    >>> Unmasked(0.0)(np.array([[[0.0, 1.0]], [[0.0, 0.0]]]), lengths=[1])[..., 1].ravel()
    array([1., 0.])
    """

    masked: float
    dtype: None

    def __init__(self, masked: float = 0.0):
        super().__init__(masked=_check.real("masked", masked))

    def _rows(self, places: Places, x: np.ndarray) -> np.ndarray:
        rows = places.rows(x)
        masked = (rows == rows.dtype.type(self.masked)).all(axis=-1)
        _refuse(masked, f"with {self.masked:g} in all places")
        return rows

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        return np.array(rows)

    def _keep(self, rows: np.ndarray) -> tuple[np.ndarray, Kept]:
        return np.array(rows), (rows,)

    def _undo(self, kept: Any, dy: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return np.array(dy), {}


def _refuse(masked: np.ndarray, what: str) -> None:
    if masked.any():
        raise ValueError(
            f"x has {int(masked.sum())} masked steps within its lengths, {what}, which the model"
            " skips: rnncore.convert.without_masked moves them behind the others and gives lengths="
        )
