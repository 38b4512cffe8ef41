"""RNNCell, GRUCell and LSTMCell: one step of a layer, for loops of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rnncore import _check
from rnncore._common.sealed import Sealed
from rnncore.layers.kinds import GRU, LSTM, RNN
from rnncore.layers.recurrent import Grads, RecurrentLayer, Trace

if TYPE_CHECKING:
    import numpy as np

    from rnncore.layers.stack import State

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]

# Options of a layer that say nothing of a single step.
_OF_LAYERS = ("num_layers", "batch_first", "dropout", "bidirectional")


class _Cell(Sealed):
    """One step: ``state = cell(x, state)``, x (B, I) or (I,), a state of (B, H) or (H,).

    It is a layer of one step, and gives the bits that the layer gives at that step.

    Parameters
    ----------
    input_size, hidden_size : int
    **options
        Those of the layer but for num_layers, batch_first, dropout and bidirectional. Recurrent
        dropout draws a new mask at every step.

    Attributes
    ----------
    params : dict of str to array
        The layer's, without its number: ``weight_ih``, ``weight_hh``, ``bias_ih``, ``bias_hh``.
    """

    _layer_type: ClassVar[type[RecurrentLayer]]

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        for name in _OF_LAYERS:
            if name in options:
                raise TypeError(f"{name} is given, but {type(self).__name__} has no such option")
        self._layer = self._layer_type(input_size, hidden_size, **options)
        self._fixed = tuple(name for name in self._layer.options if name not in _OF_LAYERS)

    @property
    def params(self) -> dict[str, np.ndarray]:
        return self._layer.params

    @params.setter
    def params(self, params: dict[str, np.ndarray]) -> None:
        self._layer.params = params

    def __getattr__(self, name: str) -> Any:
        """The options of the layer: input_size, hidden_size, dtype and its own."""
        layer = self.__dict__.get("_layer")
        if layer is not None and name in self._fixed:
            return getattr(layer, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, x: np.ndarray, state: State | None = None) -> State:
        """The state after reading `x`; `state` is zeros by default.

        Raises
        ------
        ValueError for a wrong shape, TypeError for another dtype than the cell's.
        """
        x = self._checked(x)
        _, state = self._layer(x[None], self._stacked("state", state, x))
        return self._unstacked(state)

    def forward(
        self, x: np.ndarray, state: State | None = None, *, training: bool = True
    ) -> tuple[State, Trace]:
        """The state after reading `x`, and what `backward` needs."""
        x = self._checked(x)
        stacked = self._stacked("state", state, x)
        _, state, trace = self._layer.forward(x[None], stacked, training=training)
        return self._unstacked(state), trace

    def backward(self, trace: Trace, dstate: Any) -> Grads:
        """The gradients of a loss, from its gradient at the state that `forward` returned.

        Parameters
        ----------
        trace : of a `forward` of this cell or of one with the same options
        dstate : of the shape of the state; for the LSTM a pair (dh, dc), one of which may be None,
            which stands for zeros

        Returns
        -------
        Grads: x, state and params, a dict with the keys of `cell.params`.
        """
        self._layer._check_trace(trace)
        stacked = self._stacked("dstate", dstate, trace, gaps=True)
        _check.some_gradient(dstate=dstate)
        grads = self._layer.backward(trace, None, stacked)
        return Grads(grads.x[0], self._unstacked(grads.state), grads.params)

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copy the arrays of `mapping` into `params`; see `RecurrentLayer.load_params`."""
        self._layer.load_params(mapping)

    def __repr__(self) -> str:
        return repr(self._layer)

    # A step is a sequence of one: x (B, I) goes in as (1, B, I), and (I,) as (1, I).

    def _checked(self, x: np.ndarray) -> np.ndarray:
        I = self._layer.input_size
        return _check.array("x", x, ("B", I), (I,), dtype=self._layer.dtype, owner="the cell")

    def _stacked(self, name: str, state: Any, like: Any, *, gaps: bool = False) -> Any:
        """(B, H) as (1, B, H), for a step's `x`, or a trace of one."""
        if state is None:
            return None
        rows = like.shape[1:-1] if isinstance(like, Trace) else like.shape[:-1]
        parts = _check.arrays(
            name,
            state,
            self._layer._parts,
            [(*rows, width) for width in self._layer._widths],
            dtype=self._layer.dtype,
            owner="the cell",
            gaps=gaps,
        )
        parts = tuple(None if part is None else part[None] for part in parts)
        return parts[0] if len(parts) == 1 else parts

    def _unstacked(self, state: State) -> State:
        return tuple(part[0] for part in state) if isinstance(state, tuple) else state[0]


def _single(kind: type[RecurrentLayer]) -> type[RecurrentLayer]:
    """The layer with names of parameters that have no number, under the name of its cell."""
    name = f"{kind.__name__}Cell"
    # The qualified name is where pickle finds the class.
    own = {"_suffixes": lambda self: ("",), "__module__": __name__}
    return type(name, (kind,), own | {"__qualname__": f"{name}._layer_type"})


class RNNCell(_Cell):
    """One step of an `RNN`.

    Examples
    --------
    >>> import numpy as np
    >>> cell = RNNCell(1, 1, nonlinearity="relu", bias=False)
    >>> cell.params["weight_ih"][...] = cell.params["weight_hh"][...] = 2
    >>> cell(np.array([3.0], np.float32), np.array([1.0], np.float32))
    array([8.], dtype=float32)
    """

    _layer_type = _single(RNN)


class GRUCell(_Cell):
    """One step of a `GRU`."""

    _layer_type = _single(GRU)


class LSTMCell(_Cell):
    """One step of an `LSTM`; a state is the pair (h, c).

    Examples
    --------
    >>> import numpy as np
    >>> cell = LSTMCell(3, 4, rng=0)
    >>> h, c = cell(np.ones((2, 3), np.float32))
    >>> h, c = cell(np.ones((2, 3), np.float32), (h, c))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    _layer_type = _single(LSTM)
