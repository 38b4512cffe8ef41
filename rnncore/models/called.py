"""How a member that has members is called: with one input, and a state for each recurrent layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.layers.parameters import copied_into
from rnncore.layers.results import Array, Grads
from rnncore.models.members import Composite, RowEnds

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Described(NamedTuple):
    """An array of which nothing but this is known."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class ModelTrace(NamedTuple):
    """What `Model.forward` keeps for `backward`; read-only, and used as often as one likes."""

    inner: Any
    y: Described


class Model(Composite):
    """What is made of layers, and called as they are."""

    batch_first: bool | None
    dtype: np.dtype[Any] | None

    def __call__(
        self, x: Array, state: Any = None, *, lengths: ArrayLike | None = None
    ) -> tuple[Array, tuple[Any, ...]]:
        """Run the model without keeping anything for `backward`, and without dropout.

        Parameters
        ----------
        x : what the first layer reads: (T, B, I), ids (T, B) of an `Embedding`, (B, T, ..) with
            `batch_first`, or (T, ..) without a batch
        state : None for zeros, or one entry for each recurrent layer, which may be None
        lengths : (B,) integers from 0 to T, in any order; T by default
            Past its length a row's `y` is 0.

        Returns
        -------
        y, state : the output of the last layer, and the final states

        Raises
        ------
        ValueError for a wrong shape or length, TypeError for another dtype than the model's.
        """
        states = self._states("state", state)
        y, last, _ = self._infer(x, states, self._ends(x, lengths))
        return y, last

    def forward(
        self,
        x: Array,
        state: Any = None,
        *,
        lengths: ArrayLike | None = None,
        training: bool = True,
    ) -> tuple[Array, tuple[Any, ...], ModelTrace]:
        """Run the model and keep what `backward` needs; the arguments are those of a call.

        With ``training=False`` nothing is dropped, and no gradients can be had.
        """
        training = _check.flag("training", training)
        states, ends = self._states("state", state), self._ends(x, lengths)
        (y, last, _), trace = self._forward(x, states, ends, training)
        return y, last, ModelTrace(trace, Described(y.shape, y.dtype))

    def backward(
        self, trace: ModelTrace, dy: Array | None = None, dstate: Any = None
    ) -> Grads[Any]:
        """The gradients of a loss, from those at what `forward` returned.

        Parameters
        ----------
        trace : of a `forward` of this model or of one with the same layers
        dy : of the shape of `y`, optional
        dstate : one entry for each recurrent layer, each of which may be None; optional

        Returns
        -------
        Grads: `x`, None where that was integers, `state` and `params`, with the keys of `params`.

        Raises
        ------
        ValueError for a wrong shape, for a trace of another model, and without any gradient.
        """
        _check.instance("trace", trace, ModelTrace)
        dstates = self._states("dstate", dstate)
        _check.some_gradient(dy=dy, dstate=dstate)
        if dy is None:
            dy = np.zeros(trace.y.shape, trace.y.dtype)
        dy = _check.array("dy", dy, trace.y.shape, dtype=trace.y.dtype, owner="the model")
        dx, first, params = self._backward(trace.inner, dy, dstates, {})
        return Grads(dx, first, params)  # type: ignore[arg-type]

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copy the arrays of `mapping` into `params`.

        Raises
        ------
        ValueError for a missing, unknown or misshapen key, and for unequal values of parameters
        that are one array; TypeError for what is no array or has another dtype than the model. Each
        names the key, and nothing has been changed then.
        """
        dtype = np.dtype(np.float32) if self.dtype is None else self.dtype
        given = _check.parameters(mapping, self._shapes, dtype=dtype, owner="the model")
        own = _check.parameters(self.params, self._shapes, dtype=dtype, owner="the model")
        copied_into(own, given)

    # What calls are given

    def _states(self, name: str, state: Any) -> tuple[Any, ...]:
        """One entry for each recurrent layer."""
        if state is None:
            return (None,) * self._count
        if not isinstance(state, tuple | list) or len(state) != self._count:
            came = f"of type {type(state).__name__}"
            if isinstance(state, tuple | list):
                came = f"{len(state)} entries"
            raise ValueError(
                f"{name} is {came}, expected a tuple of {self._count}: one for each recurrent layer"
            )
        return tuple(state)

    def _ends(self, x: Any, lengths: ArrayLike | None) -> RowEnds | None:
        if lengths is None:
            return None
        shape = np.shape(x)
        if len(shape) < 2:
            raise ValueError(f"x has shape {shape} and no batch, expected lengths=None")
        T, B = shape[1::-1] if self.batch_first else shape[:2]
        found = _check.lengths(lengths, T, B)
        return None if found is None else RowEnds(found, bool(self.batch_first))
