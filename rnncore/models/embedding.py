"""Vectors in the place of ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._engine.losses import embedding_backward
from rnncore.layers.parameters import LATER
from rnncore.models.by_row import ByRow, Kept, Places
from rnncore.models.part import saved

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@saved
class Embedding(ByRow):
    """One vector for each id: ``y = weight[x]`` for integers x of any shape.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        How many ids there are, and the length of their vectors.
    dtype : float32 or float64
        Of the parameter and of y.
    rng : None, int or numpy.random.Generator
        The weight is drawn from it, from the standard normal distribution, as in PyTorch.

    Attributes
    ----------
    params : dict
        ``weight`` (num_embeddings, embedding_dim).

    x itself has no gradient; that of the weight is ``dweight[k]``, the sum of dy where x is k.
    Past the length of a row x may hold any integers.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    The gradients of an id that occurs twice add up:

    >>> layer = Embedding(3, 1, dtype=np.float64)
    >>> y, trace = layer.forward(np.array([2, 0, 2]))
    >>> grads = layer.backward(trace, np.array([[1.0], [10.0], [100.0]]))
    >>> grads.params["weight"].ravel()
    array([ 10.,   0., 101.])
    """

    num_embeddings: int
    embedding_dim: int
    dtype: np.dtype[Any]
    _inner = 0
    _draws = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ):
        super().__init__(
            num_embeddings=_check.size("num_embeddings", num_embeddings),
            embedding_dim=_check.size("embedding_dim", embedding_dim),
            dtype=_check.float_dtype("dtype", dtype),
        )
        sizes = {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim}
        nbytes = (8 + self.dtype.itemsize) * self.num_embeddings * self.embedding_dim
        _check.affordable(sizes, nbytes, "the weight")
        self._shapes = {"weight": (self.num_embeddings, self.embedding_dim)}
        if rng is not LATER:
            weight = _check.generator("rng", rng).standard_normal(self._shapes["weight"])
            self.params = {"weight": weight.astype(self.dtype)}

    def _inner_of_y(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.embedding_dim,)

    def _kept_shapes(self, N: int, C: int) -> tuple[tuple[int, ...], ...]:
        return ((N,),)

    def _input(self, x: Any) -> np.ndarray:
        if type(x) is not np.ndarray:
            x = _check.plain("x", x, "a numpy array of integers")
        if x.dtype.kind not in "iu":
            raise TypeError(f"x has dtype {x.dtype}, expected integers")
        return np.asarray(x)

    def _rows(self, places: Places, x: np.ndarray) -> np.ndarray:
        return _check.ids("x", places.rows(x), self.num_embeddings)

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        vectors: np.ndarray = self._checked_params()["weight"][rows]
        return vectors

    def _keep(self, rows: np.ndarray) -> tuple[np.ndarray, Kept]:
        return self._apply(rows), (rows,)

    def _undo(self, kept: Any, dy: np.ndarray) -> tuple[None, dict[str, np.ndarray]]:
        ids = _check.ids("trace.kept[0]", kept[0], self.num_embeddings)
        self._checked_params()
        dweight = np.zeros(self._shapes["weight"], self.dtype)
        embedding_backward(ids, dy, dweight)
        return None, {"weight": dweight}
