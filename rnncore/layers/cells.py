"""One step of a layer, for loops of one's own: a cell for every kind of layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import numpy as np

from rnncore import _check
from rnncore._common.sealed import Sealed
from rnncore._engine.cells import CellStack
from rnncore._engine.passes import StackRun
from rnncore.layers.kinds import GRU, LSTM, RNN, IndRNN, LayerNormLSTM
from rnncore.layers.parametrized import show_options
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.layers.results import Array, Grads, StateGradient, StateT, Trace

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rnncore.layers.options import BiasInit, StepOptions

    class _RNNOptions(StepOptions, total=False):
        nonlinearity: str

    class _GRUOptions(StepOptions, total=False):
        reset: str
        bias_init: BiasInit

    class _LSTMOptions(StepOptions, total=False):
        peephole: str | None
        coupled: bool
        proj_size: int
        bias_init: BiasInit

    class _LayerNormLSTMOptions(StepOptions, total=False):
        eps: float
        bias_init: BiasInit


__all__ = ["GRUCell", "IndRNNCell", "LSTMCell", "LayerNormLSTMCell", "RNNCell"]

# Options of a layer that say nothing of a single step.
_OF_LAYERS = ("num_layers", "batch_first", "dropout", "bidirectional")


class Cell(Sealed, Generic[StateT]):
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

    _layer_type: ClassVar[type[RecurrentLayer[Any]]]
    input_size: int
    hidden_size: int
    bias: bool
    recurrent_dropout: float
    zoneout: float
    activations: Any
    clip: float | None
    dtype: np.dtype[Any]

    def __init_subclass__(cls, **options: Any) -> None:
        if "_layer_type" not in cls.__dict__:
            super().__init_subclass__(**options)
            return

        # One of its own, whose signature shows the options of its layer.
        def own(self: Any, input_size: int, hidden_size: int, **options: Any) -> None:
            super(cls, self).__init__(input_size, hidden_size, **options)  # type: ignore[call-arg]

        cls.__init__ = own  # type: ignore[method-assign]
        super().__init_subclass__(**options)
        show_options(cls.__init__, cls._layer_type.__init__, _OF_LAYERS)

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        for name in _OF_LAYERS:
            if name in options:
                raise TypeError(f"{name} is given, but {type(self).__name__} has no such option")
        self._layer = self._layer_type(input_size, hidden_size, **options)
        self._stack = CellStack(self._layer._cells, 1, "B")
        self._fixed = tuple(name for name in self._layer.options if name not in _OF_LAYERS)

    @property
    def params(self) -> dict[str, Array]:
        return self._layer.params

    @params.setter
    def params(self, params: dict[str, Array]) -> None:
        self._layer.params = params

    def __getattr__(self, name: str) -> Any:
        """The options of the layer: input_size, hidden_size, dtype and its own."""
        layer = self.__dict__.get("_layer")
        if layer is not None and name in self._fixed:
            return getattr(layer, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, x: Array, state: StateT | None = None) -> StateT:
        """The state after reading `x`; `state` is zeros by default.

        Raises
        ------
        ValueError for a wrong shape, TypeError for another dtype than the cell's.
        """
        layer = self._layer
        weights = layer._plan.read(layer.params)
        found = layer._runner.call(self._stack, weights, x, state)
        if found is not None:
            return found  # type: ignore[no-any-return]
        x = self._checked(x)
        *rows, I = x.shape
        B = rows[0] if rows else 1
        starts = layer._no_states if state is None else self._parts("state", state, tuple(rows))
        ends = []
        for width in layer._widths:
            ends.append(np.empty((1, B, width), layer.dtype))
        y = np.empty((1, B, layer._widths[0]), layer.dtype)
        one = x.reshape(1, B, I)
        layer._runner.infer(StackRun(layer._stack, weights, one, starts, y, tuple(ends), None))
        parts = []
        for end in ends:
            parts.append(end[0] if rows else end[0, 0])
        return parts[0] if len(parts) == 1 else tuple(parts)  # type: ignore[return-value]

    def forward(
        self, x: Array, state: StateT | None = None, *, training: bool = True
    ) -> tuple[StateT, Trace]:
        """The state after reading `x`, and what `backward` needs."""
        x = self._checked(x)
        stacked = self._stacked("state", state, x.shape[:-1])
        _, state, trace = self._layer.forward(x[None], stacked, training=training)
        return self._first(state), trace

    def backward(self, trace: Trace, dstate: StateGradient = None) -> Grads[StateT]:
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
        _check.some_gradient(dstate=dstate)
        stacked = self._stacked("dstate", dstate, trace.shape[1:-1], gaps=True)
        grads = self._layer.backward(trace, None, stacked)
        return Grads(grads.x[0], self._first(grads.state), grads.params)

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copy the arrays of `mapping` into `params`; see `RecurrentLayer.load_params`."""
        self._layer.load_params(mapping)

    def __repr__(self) -> str:
        return repr(self._layer)

    # A step is a sequence of one: x (B, I) goes in as (1, B, I), and (I,) as (1, I).

    def _checked(self, x: Array) -> Array:
        I, dtype = self._layer.input_size, self._layer.dtype
        return _check.array("x", x, ("B", I), (I,), dtype=dtype, owner="the cell")

    def _parts(
        self, name: str, state: Any, rows: tuple[int, ...], *, gaps: bool = False
    ) -> tuple[Array | None, ...]:
        """The parts of a state, each (1, B, H), or None."""
        layer = self._layer
        parts = state if type(state) is tuple else (state,)
        right = len(rows) == 1 and len(parts) == len(layer._widths)
        right = right and (len(parts) > 1) == (type(state) is tuple)
        for part, width in zip(parts, layer._widths, strict=False):
            right = right and type(part) is np.ndarray and part.shape == (*rows, width)
            right = right and part.dtype == layer.dtype
        if not right:
            shapes = [(*rows, width) for width in layer._widths]
            kind = layer._kind
            parts = _check.arrays(
                name, state, kind.parts, shapes, dtype=layer.dtype, owner="the cell", gaps=gaps
            )
        found = []
        for part in parts:
            if part is not None:
                part = part[None] if len(rows) == 1 else part[None, None]
            found.append(part)
        return tuple(found)

    def _stacked(self, name: str, state: Any, rows: tuple[int, ...], *, gaps: bool = False) -> Any:
        """A state as the layer takes it, for as many axes of rows."""
        if state is None:
            return None
        parts = self._parts(name, state, rows, gaps=gaps)
        if not rows:
            parts = tuple([None if part is None else part[0] for part in parts])
        return parts[0] if len(parts) == 1 else parts

    def _first(self, state: Any) -> Any:
        """Undo `_stacked`."""
        return tuple([part[0] for part in state]) if isinstance(state, tuple) else state[0]


def _single(kind: type[RecurrentLayer[StateT]]) -> type[RecurrentLayer[StateT]]:
    """The layer with names of parameters that have no number, under the name of its cell."""
    name = f"{kind.__name__}Cell"
    # The qualified name is where pickle finds the class.
    own = {"_suffixes": lambda self: [""], "__module__": __name__}
    return type(name, (kind,), own | {"__qualname__": f"{name}._layer_type"})


class RNNCell(Cell[Array]):
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
    nonlinearity: str

    if TYPE_CHECKING:

        def __init__(
            self, input_size: int, hidden_size: int, **options: Unpack[_RNNOptions]
        ) -> None: ...


class GRUCell(Cell[Array]):
    """One step of a `GRU`."""

    _layer_type = _single(GRU)
    reset: str
    bias_init: BiasInit

    if TYPE_CHECKING:

        def __init__(
            self, input_size: int, hidden_size: int, **options: Unpack[_GRUOptions]
        ) -> None: ...


class LSTMCell(Cell[tuple[Array, Array]]):
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
    peephole: str | None
    coupled: bool
    proj_size: int
    bias_init: BiasInit

    if TYPE_CHECKING:

        def __init__(
            self, input_size: int, hidden_size: int, **options: Unpack[_LSTMOptions]
        ) -> None: ...


class IndRNNCell(Cell[Array]):
    """One step of an `IndRNN`."""

    _layer_type = _single(IndRNN)
    nonlinearity: str

    if TYPE_CHECKING:

        def __init__(
            self, input_size: int, hidden_size: int, **options: Unpack[_RNNOptions]
        ) -> None: ...


class LayerNormLSTMCell(Cell[tuple[Array, Array]]):
    """One step of a `LayerNormLSTM`; a state is the pair (h, c)."""

    _layer_type = _single(LayerNormLSTM)
    eps: float
    bias_init: BiasInit

    if TYPE_CHECKING:

        def __init__(
            self, input_size: int, hidden_size: int, **options: Unpack[_LayerNormLSTMOptions]
        ) -> None: ...
