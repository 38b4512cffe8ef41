"""What a model needs around its recurrent layers: Embedding and Linear.

Layers as the recurrent ones are: ``y = layer(x)`` keeps nothing, ``y, trace = layer.forward(x)``
keeps what ``layer.backward(trace, dy)`` reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from rnncore import _check
from rnncore._common.groups import ParamGrads
from rnncore._common.sealed import Sealed
from rnncore._engine.linear import linear_backward, linear_forward
from rnncore._engine.losses import embedding_backward
from rnncore.layers.parameters import LATER


class HeadGrads(NamedTuple):
    """Gradients of a loss: for the input (None where that is integers) and for each parameter."""

    x: np.ndarray | None
    params: dict[str, np.ndarray]


class LinearTrace(NamedTuple):
    """What `Linear.backward` reads; read-only."""

    x: np.ndarray  # a copy: the caller may go on to use its own

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (LinearTrace, self.x)


class EmbeddingTrace(NamedTuple):
    """What `Embedding.backward` reads; read-only."""

    x: np.ndarray  # a copy

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (EmbeddingTrace, self.x)


class _Head(Sealed):
    """What Linear and Embedding share: parameters that users may replace, and that are checked."""

    params: dict[str, np.ndarray]
    dtype: np.dtype
    _shapes: dict[str, tuple[int, ...]]

    def load_params(self, mapping: Mapping[str, np.ndarray]) -> None:
        """Copy parameters in; a missing, unknown or misshapen key is an error that names it."""
        given = _check.parameters(mapping, self._shapes, dtype=self.dtype)
        own = self._checked_params()
        for name, array in own.items():
            _check.writable(f"params[{name!r}]", array)
        # Copies first: an array of the mapping may share memory with one that is written to.
        copies = {name: array.copy() for name, array in given.items()}
        for name, array in copies.items():
            own[name][...] = array

    def _checked_params(self) -> dict[str, np.ndarray]:
        """`params`, if it still is what it has to be: users may put anything there."""
        return _check.parameters(self.params, self._shapes, dtype=self.dtype)


class Linear(_Head):
    """``y = x @ weight.T + bias`` for x of any leading dimensions.

    Parameters
    ----------
    in_features, out_features : int
        Last dimension of x and of y.
    bias : bool
        False leaves the bias out.
    dtype : float32 or float64
        Of the parameters, x and y.
    rng : None, int or numpy.random.Generator
        Weight and bias are drawn from it, in this order, uniformly from
        ``[-1/sqrt(in_features), 1/sqrt(in_features)]``, as in PyTorch.

    Attributes
    ----------
    params : dict
        ``weight`` (out_features, in_features) and ``bias`` (out_features,).

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> layer = Linear(2, 1, dtype=np.float64)
    >>> layer.load_params({"weight": np.array([[2.0, 3.0]]), "bias": np.array([1.0])})
    >>> y, trace = layer.forward(np.array([[1.0, 10.0]]))
    >>> y
    array([[33.]])
    >>> grads = layer.backward(trace, np.array([[1.0]]))
    >>> grads.x, grads.params["weight"], grads.params["bias"]
    (array([[2., 3.]]), array([[ 1., 10.]]), array([1.]))
    """

    _fixed = ("in_features", "out_features", "bias", "dtype")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ):
        self.in_features = _check.size("in_features", in_features)
        self.out_features = _check.size("out_features", out_features)
        self.bias = _check.flag("bias", bias)
        self.dtype = _check.float_dtype("dtype", dtype)
        sizes = {"in_features": self.in_features, "out_features": self.out_features}
        # What is drawn is float64 at first.
        nbytes = (8 + self.dtype.itemsize) * self.in_features * self.out_features
        _check.affordable(sizes, nbytes, "the weight")
        self._shapes: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        if self.bias:
            self._shapes["bias"] = (self.out_features,)
        self.params = {}
        if rng is not LATER:
            rng = _check.generator("rng", rng)
            bound = 1 / math.sqrt(self.in_features)
            self.params = {
                name: rng.uniform(-bound, bound, shape).astype(self.dtype)
                for name, shape in self._shapes.items()
            }

    def __repr__(self) -> str:
        bias = "" if self.bias else ", bias=False"
        return f"Linear({self.in_features}, {self.out_features}{bias}, dtype={self.dtype})"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The output for x, (..., in_features) -> (..., out_features)."""
        x = self._checked("x", x)
        return self._apply(x.reshape(-1, self.in_features), x.shape[:-1])

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, LinearTrace]:
        """The output for x, and the trace that `backward` reads."""
        x = self._checked("x", x)
        trace = LinearTrace(_read_only(x.copy()))
        return self._apply(trace.x.reshape(-1, self.in_features), x.shape[:-1]), trace

    def backward(self, trace: LinearTrace, dy: np.ndarray) -> HeadGrads:
        """Gradients of a loss whose gradient for y is `dy`.

        By the rule of a linear map::

            dx = dy @ weight        dweight = dy.T @ x        dbias = sum of dy over all rows
        """
        _check.instance("trace", trace, LinearTrace)
        self._checked("trace.x", trace.x)
        shape = (*trace.x.shape[:-1], self.out_features)
        dy = _check.array("dy", dy, shape, dtype=self.dtype, owner="the layer")
        params = self._checked_params()
        dx, dweight, dbias = linear_backward(
            trace.x.reshape(-1, self.in_features),
            params["weight"],
            dy.reshape(-1, self.out_features),
        )
        grads = {"weight": dweight} | ({"bias": dbias} if self.bias else {})
        return HeadGrads(dx.reshape(trace.x.shape), ParamGrads(grads, params))

    def _checked(self, name: str, x: np.ndarray) -> np.ndarray:
        shape = (*np.shape(x)[:-1], self.in_features)
        return _check.array(name, x, shape, dtype=self.dtype, owner="the layer")

    def _apply(self, rows: np.ndarray, leading: tuple[int, ...]) -> np.ndarray:
        params = self._checked_params()
        y = linear_forward(rows, params["weight"], params.get("bias"))
        return y.reshape(*leading, self.out_features)


class Embedding(_Head):
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

    _fixed = ("num_embeddings", "embedding_dim", "dtype")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ):
        self.num_embeddings = _check.size("num_embeddings", num_embeddings)
        self.embedding_dim = _check.size("embedding_dim", embedding_dim)
        self.dtype = _check.float_dtype("dtype", dtype)
        sizes = {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim}
        nbytes = (8 + self.dtype.itemsize) * self.num_embeddings * self.embedding_dim
        _check.affordable(sizes, nbytes, "the weight")
        self._shapes = {"weight": (self.num_embeddings, self.embedding_dim)}
        self.params = {}
        if rng is not LATER:
            weight = _check.generator("rng", rng).standard_normal(self._shapes["weight"])
            self.params = {"weight": weight.astype(self.dtype)}

    def __repr__(self) -> str:
        return f"Embedding({self.num_embeddings}, {self.embedding_dim}, dtype={self.dtype})"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The vectors of the ids x, (...) -> (..., embedding_dim)."""
        ids = _check.ids("x", x, self.num_embeddings)
        vectors: np.ndarray = self._checked_params()["weight"][ids]
        return vectors

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, EmbeddingTrace]:
        """The vectors of the ids x, and the trace that `backward` reads."""
        y = self(x)
        return y, EmbeddingTrace(_read_only(x.copy()))

    def backward(self, trace: EmbeddingTrace, dy: np.ndarray) -> HeadGrads:
        """Gradient for the weight, ``dweight[k]`` the sum of dy where x is k; x itself has none."""
        _check.instance("trace", trace, EmbeddingTrace)
        _check.ids("trace.x", trace.x, self.num_embeddings)
        shape = (*trace.x.shape, self.embedding_dim)
        dy = _check.array("dy", dy, shape, dtype=self.dtype, owner="the layer")
        params = self._checked_params()
        dweight = np.zeros(self._shapes["weight"], self.dtype)
        rows = dy.reshape(-1, self.embedding_dim)
        embedding_backward(trace.x.reshape(-1), rows, dweight)
        return HeadGrads(None, ParamGrads({"weight": dweight}, params))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _restored(
    kind: type[LinearTrace] | type[EmbeddingTrace], x: np.ndarray
) -> LinearTrace | EmbeddingTrace:
    """A trace that was pickled or copied, read-only again."""
    return kind(_read_only(x))
