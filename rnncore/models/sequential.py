"""A model: layers one after the other, with one call, one file and one set of parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.layers import foreign, storage
from rnncore.layers.results import Array, Grads
from rnncore.models import chain, files, members
from rnncore.models.chain import Chain, ChainTrace
from rnncore.models.freezing import FrozenModel, frozen_model
from rnncore.models.members import RowEnds
from rnncore.models.recorded import Recorded

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Described(NamedTuple):
    """An array of which nothing but this is known."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class ModelTrace(NamedTuple):
    """What `Sequential.forward` keeps for `backward`; read-only, and used as often as one likes."""

    chain: ChainTrace
    y: Described


class Sequential(Chain):
    """Layers, each of which reads what the one before it gives.

    Parameters
    ----------
    *layers : recurrent layers, and those of `rnncore.models`
        They are named by their places, ``"0"``, ``"1"``, and so on.
    **named : further layers, by names of your own

    All layers with steps have the same `batch_first`, and all with parameters the same dtype.
    A recurrent layer hands its outputs on, and its state belongs to the model's state: a tuple with
    one entry for each recurrent layer.

    Attributes
    ----------
    params, buffers : dict of str to array
        The layers' own arrays by flat names, such as ``"rnn.weight_hh_l0"``. Update them in place.
    names, dtype, batch_first : of the layers, of all of them
    recorded : what the framework gave that the model comes from, or None; a file keeps it

    Raises
    ------
    TypeError, ValueError for what is no layer, and for layers that do not fit upon each other.

    Examples
    --------
    >>> from rnncore.layers import GRU
    >>> from rnncore.models.linear import Linear
    >>> model = Sequential(rnn=GRU(3, 4, rng=0), head=Linear(4, 2, rng=0))
    >>> y, state = model(np.ones((5, 1, 3), np.float32))
    >>> y.shape, [h.shape for h in state]
    ((5, 1, 2), [(1, 1, 4)])
    >>> y, state, trace = model.forward(np.ones((5, 1, 3), np.float32))
    >>> grads = model.backward(trace, np.ones_like(y))
    >>> grads.params["head.bias"]
    array([5., 5.], dtype=float32)
    """

    def __init__(self, *layers: Any, **named: Any) -> None:
        self.recorded: Recorded | None = None
        super().__init__(chain.numbered(layers, named))

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
        dx, first, params = self._backward(trace.chain, dy, dstates, {})
        return Grads(dx, first, params)  # type: ignore[arg-type]

    def freeze(self, precision: str | None = None) -> FrozenModel:
        """An immutable copy for inference, with the weights packed once; see `FrozenModel`.

        Parameters
        ----------
        precision : of the recurrent layers, as in `LSTM.freeze`; those of other layers stay
        """
        return frozen_model(self, precision)

    @property
    def options(self) -> dict[str, Any]:
        """What makes a model like this one; JSON can hold it."""
        return files.options_of(self)

    def save(self, path: storage.Place) -> None:
        """Save the model to a .npz, .safetensors or .onnx file; `rnncore.load` makes it anew.

        Under a path, either the whole file is there in the end or what was there before. Parameters
        that are one array are one again when they are loaded. What was `recorded` is left out where
        the model does not give it any more, as after further training. The errors are those of a
        layer's `save`.
        """
        if not foreign.written(self, path):
            files.save(self, path)

    def _with(self, change: Callable[[Any], Any]) -> Sequential:
        like = Sequential(
            **{name: members.changed(member, change) for name, member in self._members.items()}
        )
        like.recorded = self.recorded
        return like

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


files.nests(Sequential)


@storage.loads("Sequential")
def _load(stored: storage.Stored) -> Sequential:
    with stored.made_of("model"):
        options = dict(stored.options)
        told, ties = (options.pop(key, None) for key in ("recorded", "ties"))
        model = files.made(Sequential, options)
    whole = _verified(stored, files.filled(stored, model, told))
    files.tie(stored, whole, ties)
    return whole


@storage.loads("FrozenModel")
def _load_frozen(stored: storage.Stored) -> FrozenModel:
    with stored.made_of("frozen model"):
        options = dict(stored.options)
        told, precision, _ = (options.pop(key, None) for key in ("recorded", "precision", "ties"))
        model = files.made(Sequential, options)
        precision = files.checked(model, precision)
    whole = files.filled(stored, model, told, precision)
    if precision is not None:
        return FrozenModel(whole, precision)
    return frozen_model(_verified(stored, whole), None)


def _verified(stored: storage.Stored, model: Sequential) -> Sequential:
    """A model that gives what was recorded of it, if that is asked for."""
    if stored.verify and model.recorded is not None:
        with stored.made_of("model"):
            model.recorded.check(model)
    return model
