"""What every recurrent layer shares, whatever its cell.

The parameters, the loop over the stack and its directions, and the same loop backwards. A cell adds
its options and its gates; see `rnncore.layers`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import numpy as np

from rnncore import _check
from rnncore._common.groups import ParamGrads
from rnncore._common.places import first_names
from rnncore._common.quiet import quiet
from rnncore._common.sealed import Sealed
from rnncore._engine import checkpoints, passes, traces
from rnncore.layers import parameters, storage
from rnncore.layers.frozen import Frozen
from rnncore.layers.stack import Stack, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    class CommonOptions(TypedDict, total=False):
        bias: bool
        batch_first: bool
        dropout: float
        recurrent_dropout: float
        zoneout: float
        activations: Sequence[str | tuple] | None
        clip: float | None
        bidirectional: bool
        dtype: DTypeLike
        rng: int | np.random.Generator | None


# The same as a gradient from outside, where a missing part stands for zeros.
StateGradient: TypeAlias = "np.ndarray | tuple[np.ndarray | None, np.ndarray | None] | None"

_MOST_LAYERS = 10_000  # more are a mistake, whose names alone would take minutes
_SIZES = ("input_size", "hidden_size", "num_layers")
_COMMON = ("bias", "batch_first", "dropout", "recurrent_dropout", "zoneout", "activations", "clip")
_COMMON += ("bidirectional", "dtype")
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
    "recurrent_dropout": 0.0,
    "zoneout": 0.0,
    "activations": None,
    "clip": None,
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
    dropped : for every layer but the first, what dropout multiplied its input with, or None
    nbytes : bytes of the arrays that all of it holds
    """

    kind: str
    options: tuple[tuple[str, Any], ...]
    shape: tuple[int, ...]
    cells: tuple[Any, ...] = field(repr=False)
    dropped: tuple[np.ndarray | None, ...] = field(default=(), repr=False)

    @property
    def nbytes(self) -> int:
        held = [array for cell in self.cells for array in cell.arrays]
        held += [mask for mask in self.dropped if mask is not None]
        return sum({id(array): array.nbytes for array in held}.values())  # some are shared

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for mask in self.dropped:
            if mask is not None:
                mask.flags.writeable = False  # which a pickle forgets


class Grads(NamedTuple):
    """The gradients that `backward` gives: each has the shape and dtype of its thing."""

    x: np.ndarray
    state: State
    params: dict[str, np.ndarray]


class RecurrentLayer(Sealed, Stack):
    """A stack of recurrent layers in one or two directions; see `RNN`, `GRU` and `LSTM`.

    Sizes: T steps, B batch rows, I inputs, H hidden units, L layers, D directions (1 or 2), G
    gates, and P numbers in an h: `proj_size` where an LSTM has one, or else H. A layer holds
    parameters, options and its random generator, and no other state: threads may share it.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        I, H and L. Layer k > 0 of the stack reads the output of layer k - 1, of size D*P.
    bias : bool
        Whether the gates have the biases ``bias_ih`` and ``bias_hh``.
    batch_first : bool
        Whether `x` and `y` are (B, T, ...), instead of (T, B, ...). States are not concerned.
    dropout : float, 0 to below 1
        In training, the share of what every layer but the first reads that is set to 0, anew at
        every step; the rest is scaled by 1 / (1 - dropout).
    recurrent_dropout : float, 0 to below 1
        In training, the share of h that the recurrent products do not see, the same for all steps
        of a sequence (variational dropout, Gal and Ghahramani 2016), scaled likewise.
    zoneout : float, 0 to below 1
        In training, the share of h, and of an LSTM's c, that stays as it was at a step (Krueger et
        al. 2017). It is off at inference, where the paper takes the mean instead.
    activations : None or a sequence
        Functions in place of sigmoid and tanh, in ONNX's order: of the gates, of the candidate, of
        an LSTM's memory; of an RNN the only one. Each is a name of ONNX's list in any case, or
        (name, alpha) or (name, alpha, beta).
    clip : None or float
        The sums that the gates' and the candidate's functions read are kept in [-clip, clip].
    bidirectional : bool
        Whether every layer has a second direction, which reads from the last step to the first.
    dtype : float32 or float64
        Of the parameters, of all that comes in and of all that goes out.
    rng : None, int or numpy.random.Generator
        The only source of the initial parameters and of dropout and zoneout: input weights are
        Glorot uniform and recurrent ones orthogonal for each gate, biases are 0 but for the forget
        gate's, which is 1.

    Attributes
    ----------
    params : dict of str to array
        PyTorch's names and layouts: ``weight_ih_l0`` (G*H, I), ``weight_hh_l0`` (G*H, P),
        ``bias_ih_l0`` and ``bias_hh_l0`` (G*H,), the suffix ``_l1`` for the next of the stack and
        ``_reverse`` for the second direction. Update the arrays in place.

    Raises
    ------
    TypeError, ValueError for an option of the wrong kind or out of its range.
    """

    # What a cell says of itself.
    _gates: ClassVar[str]
    _own_options: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        activations: Sequence[str | tuple] | None = None,
        clip: float | None = None,
        bidirectional: bool = False,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        self.input_size = _check.size("input_size", input_size)
        self.hidden_size = _check.size("hidden_size", hidden_size)
        self.num_layers = _check.size("num_layers", num_layers, maximum=_MOST_LAYERS)
        self.bias = _check.flag("bias", bias)
        self.batch_first = _check.flag("batch_first", batch_first)
        self.dropout = _check.fraction("dropout", dropout)
        if self.dropout and self.num_layers == 1 and rng is not parameters.LATER:
            warnings.warn(
                f"dropout is {self.dropout} and does nothing: it is between layers, and num_layers"
                " is 1",
                UserWarning,
                stacklevel=5,  # beyond the constructors of the cell, each with what seals it
            )
        self.recurrent_dropout = _check.fraction("recurrent_dropout", recurrent_dropout)
        self.zoneout = _check.fraction("zoneout", zoneout)
        self.activations = _plain_entries(activations)
        self.clip = _check.clip(clip)
        self.bidirectional = _check.flag("bidirectional", bidirectional)
        self.dtype = _check.float_dtype("dtype", dtype)
        self._rng = _check.generator("rng", None if rng is parameters.LATER else rng)
        self._cell = self._core_cell()
        P = getattr(self, "proj_size", 0) or self.hidden_size
        self._widths = (P, self.hidden_size)[: len(self._parts)]
        self._fixed = (*_SIZES, *self._own_options, *_COMMON)
        self._options = tuple((name, getattr(self, name)) for name in self._fixed)
        self._check_sizes()

        self._names: list[dict[str, str]] = []  # of each cell: stem -> name in params
        self._shapes: dict[str, tuple[int, ...]] = {}
        for k, suffix in enumerate(self._suffixes()):
            shapes = self._cell_shapes(first=k < self.num_directions)
            self._names.append({stem: stem + suffix for stem in shapes})
            self._shapes |= {stem + suffix: shape for stem, shape in shapes.items()}
        self.params = {}
        if rng is not parameters.LATER:
            self.params = parameters.initialise(
                self._shapes, self._gates, self._gate_bias(), self._rng, self.dtype
            )

    def _cell_shapes(self, *, first: bool) -> dict[str, tuple[int, ...]]:
        """Of the parameters of one direction of the first layer, or of another one, by stems."""
        return parameters.cell_shapes(
            len(self._gates),
            self.input_size if first else self.num_directions * self._widths[0],
            self.hidden_size,
            bias=self.bias,
            peephole=self._cell.peephole is not None,
            proj_size=getattr(self, "proj_size", 0),
        )

    def _check_sizes(self) -> None:
        """Refuse sizes that no memory holds, before anything is made of them."""
        numbers = [
            parameters.count(self._cell_shapes(first=first)) * self.num_directions * layers
            for first, layers in ((True, 1), (False, self.num_layers - 1))
        ]
        nbytes = sum(numbers) * self.dtype.itemsize
        sizes = {name: getattr(self, name) for name in _SIZES}
        _check.affordable(sizes, nbytes, "the parameters")

    # What a cell adds

    def _core_cell(self) -> traces.Cell:
        """The cell with its options, as the compiled core knows it."""
        raise NotImplementedError

    def _gate_bias(self) -> dict[str, float]:
        """The gates whose bias does not start at 0."""
        return {}

    def _suffixes(self) -> Iterable[str]:
        """Of the names of the parameters, for every layer and direction."""
        return parameters.suffixes(self.num_layers, self.num_directions)

    # What users call

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, but for `rng`, that make a layer like this one; JSON can hold them."""
        return {**dict(self._options), "dtype": self.dtype.name}

    def __call__(
        self, x: np.ndarray, state: State | None = None, *, lengths: ArrayLike | None = None
    ) -> tuple[np.ndarray, State]:
        """Run the layer without keeping anything for `backward`, and without dropout.

        Parameters
        ----------
        x : (T, B, I) array, (B, T, I) with `batch_first`, or (T, I): one sequence without a batch
        state : the initial state, zeros by default
            (L*D, B, P), or (L*D, P) without a batch; for the LSTM a pair (h, c) of such arrays, c
            with H. The first axis runs over the layers, and within a layer over its directions.
        lengths : (B,) integers from 0 to T, in any order; T by default
            Past its length nothing of a row is read and its `y` is 0; its final state is that at
            its end, and there the second direction starts. The cost is that of the steps there are.

        Returns
        -------
        y : array like `x` with D*P in place of I, the forward direction first
        state : the final state, of the shape of the initial one

        Both are the caller's own. Nothing that comes in is written to.

        Raises
        ------
        ValueError for a wrong shape or length, TypeError for another dtype than the layer's.
        """
        return self._infer(self._packed_cells(), x, state, lengths)

    def forward(
        self,
        x: np.ndarray,
        state: State | None = None,
        *,
        lengths: ArrayLike | None = None,
        training: bool = True,
        memory_limit: int | None = None,
    ) -> tuple[np.ndarray, State, Trace]:
        """Run the layer and keep what `backward` needs.

        The other arguments and the first two results are those of a call of the layer. With
        ``training=False`` the trace is empty, and no gradients can be had from it.

        Parameters
        ----------
        memory_limit : bytes that the trace may take, together with what `backward` computes anew
            Where all states and gates would take more, only the states at a few steps are kept, and
            `backward` runs forward again from each of them, which costs up to a third more time.
            The gradients are the same, bit for bit.

        Raises
        ------
        As a call of the layer; ValueError for a limit below what is needed, which it tells.
        """
        training = _check.flag("training", training)
        if memory_limit is not None:
            memory_limit = _check.size("memory_limit", memory_limit)
        if not training:
            return *self(x, state, lengths=lengths), self._trace(x.shape, (), ())
        x = self._input(x)
        starts = self._split("state", state, x.shape)
        weights = self._weights()
        inside = self._time_first(x)
        T, B, _ = inside.shape
        batch = None if lengths is None else traces.ragged(lengths, T, B)
        make = np.empty if batch is None else np.zeros
        windows = None
        if memory_limit is not None:
            windows = self._windows(memory_limit, T, B, batch)

        columns = self.num_directions * self._widths[0]
        ends = self._empty_states(x.shape)
        cells: list[Any] = []
        dropped: list[np.ndarray | None] = []
        given, source = x.shape, np.array(inside, order="C")
        for layer in range(self.num_layers):
            if layer > 0:
                dropped.append(self._dropout_mask(source.shape))
                if dropped[-1] is not None:
                    _scale(source, dropped[-1])
            last = layer == self.num_layers - 1
            result = make(self._output_shape(given) if last else (T, B, columns), self.dtype)
            y = self._time_first(result) if last else result
            for direction in range(self.num_directions):
                k = layer * self.num_directions + direction
                begin = direction * self._widths[0]
                kept = self._cell_forward(
                    weights[k],
                    source,
                    tuple([None if part is None else part[k] for part in starts]),
                    direction == 1,
                    batch,
                    self._masks(T, B),
                    y[..., begin : begin + self._widths[0]],
                    tuple([end[k] for end in ends]),
                    windows,
                )
                cells.append(kept)
            source = y
        return result, self._packed(ends, given), self._trace(given, tuple(cells), tuple(dropped))

    def backward(
        self,
        trace: Trace,
        dy: np.ndarray | None = None,
        dstate: StateGradient = None,
        *,
        flow: NDArray[np.float64] | None = None,
    ) -> Grads:
        """The gradients of a loss, from its gradients at what `forward` returned.

        Parameters
        ----------
        trace : of a `forward` of this layer or of one with the same options
        dy : of the shape of `y`, optional
        dstate : of the shape of the final state, optional; for the LSTM a pair (dh, dc), in which
            either may be None. What is missing is zero; something has to be there.
        flow : (S, L*D, T, B) array of float64, optional, S = 1, for the LSTM 2
            Is filled with the squared Euclidean norm of the gradient of each row's h, and c, after
            every step, of every layer and direction, in time order; 0 past the row's end.

        Returns
        -------
        Grads: `x`, `state` (of the initial state, zeros by default or not) and `params`, a dict
        with the keys of `layer.params`. All arrays are the caller's own.

        Raises
        ------
        ValueError for a wrong shape, for a trace of another layer or without training, and without
        any gradient; TypeError for another dtype than the layer's.
        """
        self._check_trace(trace)
        given = trace.shape
        dy = _check.optional_array(
            "dy", dy, self._output_shape(given), dtype=self.dtype, owner="the layer"
        )
        dstates = self._split("dstate", dstate, given, gaps=True)
        weights = self._weights()
        if flow is not None:
            T, B, _ = trace.cells[0].x.shape
            shape = (len(self._parts), len(weights), T, B)
            flow = _check.array("flow", flow, shape, dtype=np.dtype(np.float64))
            _check.writable("flow", flow)
        if dy is None:
            _check.some_gradient(dy=dy, dstate=dstate)

        dx = None if dy is None else self._time_first(dy)
        dstarts = self._empty_states(given)
        dparams: dict[str, Any] = dict.fromkeys(self._shapes)
        for layer in reversed(range(self.num_layers)):
            dy, dx = dx, None
            for direction in range(self.num_directions):
                k = layer * self.num_directions + direction
                begin = direction * self._widths[0]
                gradients, dstart_k = self._cell_backward(
                    trace.cells[k],
                    weights[k],
                    None if dy is None else dy[..., begin : begin + self._widths[0]],
                    tuple([None if part is None else part[k] for part in dstates]),
                    None if flow is None else flow[:, k],
                )
                # Both directions have read the same x.
                dx = gradients.x if dx is None else _sum(dx, gradients.x)
                for dstart, part in zip(dstarts, dstart_k, strict=True):
                    dstart[k] = part
                for stem, name in self._names[k].items():
                    dparams[name] = getattr(gradients, _GRADIENTS[stem])
            if layer > 0 and trace.dropped[layer - 1] is not None:
                _scale(dx, trace.dropped[layer - 1])
        grads = ParamGrads(dparams, dict(self.params))
        return Grads(self._as_given(dx, given), self._packed(dstarts, given), grads)

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copy the arrays of `mapping` into `params`; a PyTorch module's ``state_dict()`` will do.

        Raises
        ------
        ValueError for a missing, unknown or misshapen key, and for unequal values of parameters
        that are one array; TypeError for what is no array or has another dtype than the layer. Each
        names the key, and nothing has been changed then.
        """
        given = _check.parameters(mapping, self._shapes, dtype=self.dtype)
        own = self._checked_params()
        for name, value in own.items():
            _check.writable(f"params[{name!r}]", value)
        # Copies first: an array of the mapping may share memory with one that is written to.
        copies = {name: value.copy() for name, value in given.items()}
        for name, first in first_names("params", own).items():
            if not np.array_equal(copies[name], copies[first], equal_nan=True):
                raise ValueError(f"{name} and {first} are one array here, expected equal values")
        for name, value in copies.items():
            own[name][...] = value

    def freeze(self) -> Frozen:
        """An immutable copy for inference, with the weights packed once; see `Frozen`."""
        own = copy.copy(self)
        own.params = {name: value.copy() for name, value in self._checked_params().items()}
        for value in own.params.values():
            value.flags.writeable = False
        return Frozen(own)

    def save(self, path: storage.Place) -> None:
        """Save the layer to a .npz or .safetensors file; `rnncore.load` makes it anew.

        Under a path, either the whole file is there in the end or what was there before; what is
        open for writing bytes will do too. See `rnncore.layers.storage.save_arrays` for the errors.
        """
        self._checked_params()
        storage.save(self, path)

    def __repr__(self) -> str:
        return _signature(type(self).__name__, self._options)

    def _trace(self, shape: tuple[int, ...], cells: tuple, dropped: tuple) -> Trace:
        return Trace(type(self).__name__, self._options, shape, cells, dropped)

    # One layer and direction; `rnncore.layers.on_reference` puts others in their place.

    def _cell_forward(self, weights, x, start, reverse, batch, masks, y, ends, windows) -> Any:
        weights = passes.contiguous(weights)
        if windows is None:
            return passes.trace(self._cell, weights, x, start, reverse, batch, masks, y, ends)
        return checkpoints.forward(
            self._cell, weights, x, start, reverse, batch, masks, y, ends, windows
        )

    def _cell_backward(self, kept, weights, dy, dend, flow) -> tuple[passes.Gradients, tuple]:
        if isinstance(kept, checkpoints.Checkpoints):
            return checkpoints.backward(kept, weights, dy, dend, flow)
        return passes.backward(kept, weights, dy, dend, flow)

    def _packed_cells(self) -> tuple[passes.PackedCell, ...]:
        """Every layer and direction, with the present parameters."""
        return tuple([passes.pack(self._cell, weights) for weights in self._weights()])

    def _weights(self) -> list[tuple[np.ndarray | None, ...]]:
        """The parameters of every layer and direction, in the order of `_GRADIENTS`."""
        params = self._checked_params()
        return [
            tuple([params[names[stem]] if stem in names else None for stem in _GRADIENTS])
            for names in self._names
        ]

    def _checked_params(self) -> dict[str, np.ndarray]:
        """`params`, if it still is what it has to be: users may put anything there."""
        return _check.parameters(self.params, self._shapes, dtype=self.dtype)

    def _windows(
        self, limit: int, T: int, B: int, batch: traces.Ragged | None
    ) -> list[tuple[int, int]] | None:
        """The steps between the states that a trace within `limit` bytes keeps; None: all of it."""
        cells, zoned, masked = len(self._names), self.zoneout > 0, self.recurrent_dropout > 0
        P, inner = self._widths[0], (self.num_layers - 1) * self.num_directions * self._widths[0]
        numbers = T * B * (self.input_size + inner * (2 if self.dropout else 1))
        numbers += cells * B * (T * sum(self._widths) * zoned + P * masked)

        def of_steps(steps: int, everywhere: bool) -> int:
            size = passes.trace_bytes(
                self._cell, self.hidden_size, P, self.dtype, steps, B, masked, zoned
            )
            return size * (cells if everywhere else 1)

        state = cells * B * sum(self._widths) * self.dtype.itemsize
        begins = passes.window_begins(T, B, self.hidden_size, batch)
        fixed = numbers * self.dtype.itemsize
        if batch is not None:
            fixed += sum(table.nbytes for table in batch)
        return checkpoints.plan(limit, fixed, state, of_steps, begins, T)

    # Dropout

    def _drawn(self, share: float, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
        """`scale` where what happens to `share` of all happens, else 0."""
        drawn = np.where(self._rng.random(shape, np.float32) < share, scale, 0).astype(self.dtype)
        drawn.flags.writeable = False
        return drawn

    def _dropout_mask(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """What to multiply with, for dropout between layers."""
        if not self.dropout:
            return None
        return self._drawn(1 - self.dropout, shape, 1 / (1 - self.dropout))

    def _masks(self, T: int, B: int) -> traces.Masks:
        """Of one layer and direction and one batch of sequences."""
        if not self.recurrent_dropout and not self.zoneout:
            return traces.Masks()
        h_mask, keeps = None, ()
        if self.recurrent_dropout:
            kept = 1 - self.recurrent_dropout
            h_mask = self._drawn(kept, (B, self._widths[0]), 1 / kept)
        if self.zoneout:
            keeps = tuple(self._drawn(self.zoneout, (T, B, width)) for width in self._widths)
        return traces.Masks(h_mask, *keeps)

    def _check_trace(self, trace: Trace) -> None:
        _check.instance("trace", trace, Trace)
        if trace.kind != type(self).__name__ or trace.options != self._options:
            raise ValueError(
                f"trace is of {_signature(trace.kind, trace.options)}, expected one of {self!r}"
            )
        if not trace.cells:
            raise ValueError("trace was made with training=False, expected training=True")


# The stems of the parameters' names, and the fields of `passes.Gradients`.
_GRADIENTS = {
    "weight_ih": "w_ih",
    "weight_hh": "w_hh",
    "bias_ih": "b_ih",
    "bias_hh": "b_hh",
    "weight_ch": "w_ch",
    "weight_hr": "w_hr",
}


@quiet
def _scale(values: np.ndarray, mask: np.ndarray) -> None:
    values *= mask


@quiet
def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a + b


def _plain_entries(activations: Any) -> Any:
    """Tuples, whatever lists it came in, as from JSON: so two equal ones compare equal."""
    if not isinstance(activations, list | tuple):
        return activations
    return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in activations)


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
