"""What every recurrent layer shares, whatever its cell.

The shapes that users hand in, the loop over the stack and its directions, the same loop backwards,
and the parameters. A cell adds its options, its gates and two calls of the functional core; see
`rnncore.layers`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import numpy as np

from rnncore import _parameters, _validate, functional, storage
from rnncore._stack import Stack, State
from rnncore.frozen import Frozen

if TYPE_CHECKING:
    from typing import TypedDict

    from numpy.typing import ArrayLike, DTypeLike

    class CommonOptions(TypedDict, total=False):
        bias: bool
        batch_first: bool
        dropout: float
        bidirectional: bool
        dtype: DTypeLike
        rng: int | np.random.Generator | None


# The same as a gradient from outside, where a missing part stands for zeros.
StateGradient: TypeAlias = "np.ndarray | tuple[np.ndarray | None, np.ndarray | None] | None"

_SIZES = ("input_size", "hidden_size", "num_layers")
_COMMON = ("bias", "batch_first", "dropout", "bidirectional", "dtype")
# Of all the layers, for their text form.
_DEFAULTS = {
    "num_layers": 1,
    "nonlinearity": "tanh",
    "reset": "after",
    "peephole": None,
    "coupled": False,
    "proj_size": 0,
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
    "dtype": np.dtype(np.float32),
}


@dataclass(frozen=True, eq=False)
class Trace:
    """What `forward` keeps for `backward`. It is read-only and belongs to no layer.

    It may be used once or many times, and by any layer of the same options: the gradients are
    those for the parameters which that layer has when `backward` is called.

    Attributes
    ----------
    kind, options : the class and the options of the layer that made it
    shape : of `x`, as it was handed in
    cells : a trace of the functional core for every layer and direction, in the order of the first
        axis of a state; none after ``training=False``
    """

    kind: str
    options: tuple[tuple[str, Any], ...]
    shape: tuple[int, ...]
    cells: tuple[Any, ...] = field(repr=False)


class Grads(NamedTuple):
    """The gradients that `backward` gives: each has the shape and dtype of its thing."""

    x: np.ndarray
    state: State
    params: dict[str, np.ndarray]


class RecurrentLayer(Stack):
    """A stack of recurrent layers in one or two directions; see `RNN`, `GRU` and `LSTM`.

    Sizes: T steps, B batch rows, I inputs, H hidden units, L layers, D directions (1 or 2) and G
    gates. A layer holds parameters and options and no other state: threads may share it.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        I, H and L. Layer k > 0 of the stack reads the output of layer k - 1, of size D*H.
    bias : bool
        Whether the gates have the biases ``bias_ih`` and ``bias_hh``.
    batch_first : bool
        Whether `x` and `y` are (B, T, ...), instead of (T, B, ...). States are not concerned.
    dropout : float
        Not supported yet, but for 0.
    bidirectional : bool
        Whether every layer has a second direction, which reads from the last step to the first.
    dtype : float32 or float64
        Of the parameters, of all that comes in and of all that goes out.
    rng : None, int or numpy.random.Generator
        The only source of the initial parameters: input weights are Glorot uniform and recurrent
        ones orthogonal for each gate, biases are 0 but for the forget gate's, which is 1.

    Attributes
    ----------
    params : dict of str to array
        PyTorch's names and layouts: ``weight_ih_l0`` (G*H, I), ``weight_hh_l0`` (G*H, H),
        ``bias_ih_l0`` and ``bias_hh_l0`` (G*H,), the suffix ``_l1`` for the next of the stack and
        ``_reverse`` for the second direction. Update the arrays in place.

    Raises
    ------
    TypeError, ValueError for an option of the wrong kind or out of its range.
    NotImplementedError for an option that is not supported yet.
    """

    # What a cell says of itself.
    _gates: ClassVar[str]
    _own_options: ClassVar[tuple[str, ...]]

    # Where `forward` and `backward` come from; `rnncore.reference` can take its place.
    _functional: Any = functional

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        self.input_size = _validate.size("input_size", input_size)
        self.hidden_size = _validate.size("hidden_size", hidden_size)
        self.num_layers = _validate.size("num_layers", num_layers)
        self.bias = _validate.flag("bias", bias)
        self.batch_first = _validate.flag("batch_first", batch_first)
        self.dropout = _validate.fraction("dropout", dropout)
        self.bidirectional = _validate.flag("bidirectional", bidirectional)
        self.dtype = _validate.float_dtype("dtype", dtype)
        if self.dropout > 0:
            raise NotImplementedError(f"dropout is {self.dropout}, which is not supported yet")
        self._rng = _validate.generator("rng", rng)
        names = (*_SIZES, *self._own_options, *_COMMON)
        self._options = tuple((name, getattr(self, name)) for name in names)

        self._names: list[dict[str, str]] = []  # of each cell: stem -> name in params
        self._shapes: dict[str, tuple[int, ...]] = {}
        for k, suffix in enumerate(_parameters.suffixes(self.num_layers, self.num_directions)):
            first = k < self.num_directions
            shapes = _parameters.cell_shapes(
                len(self._gates),
                self.input_size if first else self.num_directions * self.hidden_size,
                self.hidden_size,
                bias=self.bias,
                peephole=self._has_peephole(),
            )
            self._names.append({stem: stem + suffix for stem in shapes})
            self._shapes |= {stem + suffix: shape for stem, shape in shapes.items()}
        self.params = _parameters.initialise(
            self._shapes, self._gates, self._gate_bias(), self._rng, self.dtype
        )

    # What a cell adds

    def _has_peephole(self) -> bool:
        return False

    def _gate_bias(self) -> dict[str, float]:
        """The gates whose bias does not start at 0."""
        return {}

    def _cell_forward(
        self,
        x: np.ndarray,
        weights: dict[str, np.ndarray],
        state: tuple[np.ndarray | None, ...],
        reverse: bool,
    ) -> Any:
        """The trace of one layer and direction."""
        raise NotImplementedError

    def _core_weights(self, weights: dict[str, np.ndarray]) -> tuple[Any, ...]:
        """The arguments of `functional.pack` for one layer and direction."""
        raise NotImplementedError

    def _cell_backward(
        self,
        trace: Any,
        weights: dict[str, np.ndarray],
        dy: np.ndarray | None,
        dstate: tuple[np.ndarray | None, ...],
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...], dict[str, np.ndarray]]:
        """The gradients of x, of the initial state, and of the weights by their stems."""
        raise NotImplementedError

    # What users call

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, but for `rng`, that make a layer like this one; JSON can hold them."""
        return {**dict(self._options), "dtype": self.dtype.name}

    def __call__(
        self, x: np.ndarray, state: State | None = None, *, lengths: ArrayLike | None = None
    ) -> tuple[np.ndarray, State]:
        """Run the layer without keeping anything for `backward`.

        Parameters
        ----------
        x : (T, B, I) array, (B, T, I) with `batch_first`, or (T, I): one sequence without a batch
        state : the initial state, zeros by default
            (L*D, B, H), or (L*D, H) without a batch; for the LSTM a pair (h, c) of such arrays. The
            first axis runs over the layers, and within a layer over its directions.
        lengths : not supported yet

        Returns
        -------
        y : array like `x` with D*H in place of I, the forward direction first
        state : the final state, of the shape of the initial one

        Both are the caller's own. Nothing that comes in is written to.

        Raises
        ------
        ValueError for a wrong shape, TypeError for another dtype than the layer's.
        """
        return self._infer(self._packed_cells(), x, state, lengths)

    def forward(
        self,
        x: np.ndarray,
        state: State | None = None,
        *,
        lengths: ArrayLike | None = None,
        training: bool = True,
    ) -> tuple[np.ndarray, State, Trace]:
        """Run the layer and keep what `backward` needs.

        The arguments and the first two results are those of a call of the layer. With
        ``training=False`` the trace is empty, and no gradients can be had from it.
        """
        if not _validate.flag("training", training):
            return *self(x, state, lengths=lengths), self._trace(x.shape, ())
        x = self._input(x, lengths)
        starts = self._split("state", state, x.shape)
        weights = self._weights()

        y = self._time_first(x)
        ends = self._empty_states(x.shape)
        traces: tuple[Any, ...] = ()
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self.num_directions):
                k = layer * self.num_directions + direction
                start = tuple(None if part is None else part[k] for part in starts)
                trace = self._cell_forward(y, weights[k], start, direction == 1)
                outputs.append(trace.y)
                for end, part in zip(ends, self._parts, strict=True):
                    end[k] = getattr(trace, f"{part}_n")
                traces += (trace,)
            y = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=-1)
        return (
            self._as_given(y, x.shape),
            self._packed(ends, x.shape),
            self._trace(x.shape, traces),
        )

    def backward(
        self, trace: Trace, dy: np.ndarray | None = None, dstate: StateGradient = None
    ) -> Grads:
        """The gradients of a loss, from its gradients at what `forward` returned.

        Parameters
        ----------
        trace : of a `forward` of this layer or of one with the same options
        dy : of the shape of `y`, optional
        dstate : of the shape of the final state, optional; for the LSTM a pair (dh, dc), in which
            either may be None. What is missing is zero.

        Returns
        -------
        Grads: `x`, `state` (of the initial state, zeros by default or not) and `params`, a dict
        with the keys of `layer.params`. All arrays are the caller's own.

        Raises
        ------
        ValueError for a wrong shape and for a trace of another layer or without training,
        TypeError for another dtype than the layer's.
        """
        self._check_trace(trace)
        dy = _validate.optional_array(
            "dy",
            dy,
            (*trace.shape[:-1], self.num_directions * self.hidden_size),
            dtype=self.dtype,
            owner="the layer",
        )
        dstates = self._split("dstate", dstate, trace.shape, gaps=True)
        weights = self._weights()

        dx = None if dy is None else self._time_first(dy)
        dstarts = self._empty_states(trace.shape)
        dparams: dict[str, Any] = dict.fromkeys(self._shapes)
        for layer in reversed(range(self.num_layers)):
            dy, dx = dx, None
            for direction in range(self.num_directions):
                k = layer * self.num_directions + direction
                columns = slice(direction * self.hidden_size, (direction + 1) * self.hidden_size)
                dx_k, dstart_k, dparams_k = self._cell_backward(
                    trace.cells[k],
                    weights[k],
                    None if dy is None else dy[..., columns],
                    tuple(None if part is None else part[k] for part in dstates),
                )
                dx = dx_k if dx is None else dx + dx_k  # both directions have read the same x
                for dstart, part in zip(dstarts, dstart_k, strict=True):
                    dstart[k] = part
                for stem, name in self._names[k].items():
                    dparams[name] = dparams_k[stem]
        return Grads(self._as_given(dx, trace.shape), self._packed(dstarts, trace.shape), dparams)

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copy the arrays of `mapping` into `params`; a PyTorch module's ``state_dict()`` will do.

        Raises
        ------
        ValueError for a missing, unknown or misshapen key, TypeError for what is no array or has
        another dtype than the layer. Each names the key, and nothing has been changed then.
        """
        given = _validate.parameters(mapping, self._shapes, dtype=self.dtype)
        own = self._checked_params()
        for name, value in own.items():
            _validate.writable(f"params[{name!r}]", value)
        # Copies first: an array of the mapping may share memory with one that is written to.
        copies = {name: value.copy() for name, value in given.items()}
        for name, value in copies.items():
            own[name][...] = value

    def freeze(self) -> Frozen:
        """An immutable copy for inference, with the weights packed once; see `Frozen`."""
        return Frozen(self, self._packed_cells())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the layer to a .npz file, from which `rnncore.load` makes it anew.

        Either the whole file is there in the end or what was there before. See
        `rnncore.storage.save` for the errors.
        """
        self._checked_params()
        storage.save(self, path)

    def __repr__(self) -> str:
        return _signature(type(self).__name__, self._options)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to change an option: the parameters were made for it, and traces tell of it."""
        if name in dict(self.__dict__.get("_options", ())):
            raise AttributeError(f"{name} is fixed once the layer is made")
        super().__setattr__(name, value)

    def _trace(self, shape: tuple[int, ...], cells: tuple[Any, ...]) -> Trace:
        return Trace(type(self).__name__, self._options, shape, cells)

    def _packed_cells(self) -> tuple[functional.PackedCell, ...]:
        """Every layer and direction, with the present parameters."""
        return tuple(functional.pack(*self._core_weights(each)) for each in self._weights())

    def _weights(self) -> list[dict[str, np.ndarray]]:
        """The parameters of every layer and direction, by the stems of their names."""
        params = self._checked_params()
        return [{stem: params[name] for stem, name in names.items()} for names in self._names]

    def _checked_params(self) -> dict[str, np.ndarray]:
        """`params`, if it still is what it has to be: users may put anything there."""
        return _validate.parameters(self.params, self._shapes, dtype=self.dtype)

    def _check_trace(self, trace: Trace) -> None:
        _validate.instance("trace", trace, Trace)
        if trace.kind != type(self).__name__ or trace.options != self._options:
            raise ValueError(
                f"trace is of {_signature(trace.kind, trace.options)}, expected one of {self!r}"
            )
        if not trace.cells:
            raise ValueError("trace was made with training=False, expected training=True")


def _signature(kind: str, options: tuple[tuple[str, Any], ...]) -> str:
    """The call that makes such a layer, without what it has by default.

    >>> _signature("GRU", (("input_size", 3), ("hidden_size", 4), ("num_layers", 1)))
    'GRU(3, 4)'
    """
    sizes = [str(value) for _, value in options[:2]]
    others = [
        f"{name}={value.name if isinstance(value, np.dtype) else repr(value)}"
        for name, value in options[2:]
        if value != _DEFAULTS[name]
    ]
    return f"{kind}({', '.join(sizes + others)})"
