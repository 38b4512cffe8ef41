"""A model: layers one after the other, with one call, one file and one set of parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rnncore import _check
from rnncore.layers import foreign, storage
from rnncore.models import chain, files, members
from rnncore.models.chain import Chain
from rnncore.models.freezing import FrozenModel, frozen_model
from rnncore.models.recorded import Recorded


class Sequential(Chain):
    """Layers, each of which reads what the one before it gives.

    Parameters
    ----------
    *layers : recurrent layers, and those of `rnncore.models`
        They are named by their places, ``"0"``, ``"1"``, and so on.
    batch_first : bool, optional
        Of layers that look at every step alone, and have no layout: where `lengths` go along.
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
    >>> import numpy as np
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

    def __init__(self, *layers: Any, batch_first: bool | None = None, **named: Any) -> None:
        self.recorded: Recorded | None = None
        if batch_first is not None:
            batch_first = _check.flag("batch_first", batch_first)
        super().__init__(chain.numbered(layers, named), batch_first)

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
            batch_first=self.batch_first,
            **{name: members.changed(member, change) for name, member in self._members.items()},
        )
        like.recorded = self.recorded
        return like


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
