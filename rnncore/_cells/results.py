"""What the functional core returns: traces, outputs without a trace, and gradients.

A forward pass with ``training=True`` returns a trace: everything the backward pass reads except
the weights. Its arrays are read-only, so a trace may be used many times and by many threads. With
``training=False`` it returns only the outputs, and they are the caller's own.

Sizes: `T` steps, `B` batch rows, `I` inputs, `H` hidden units; `P` numbers in a state h: `H`, or
as many as an LSTM's projection leaves.
"""

from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.activations import Activation

FloatArray: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


def steps_taken(T: int, lengths: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of T steps of computation each row takes, (T, B): as many as it is long."""
    return np.arange(T)[:, np.newaxis] < lengths


def in_order(a: FloatArray, reverse: bool, lengths: NDArray[np.intp] | None = None) -> FloatArray:
    """Turn time order into the order of computation, or back: (T, B, K) to (T, B, K).

    A row of length n takes n steps, from its first or, with `reverse`, from its own last one on:
    step s reads time s or n-1-s. Steps and times past the end are 0 in the result, whatever is
    there in `a`. Without lengths the result is a view.

    Examples
    --------
    >>> a = np.arange(1.0, 9.0).reshape(4, 2, 1)
    >>> in_order(a, True, np.array([3, 0]))[..., 0].T
    array([[5., 3., 1., 0.],
           [0., 0., 0., 0.]])
    """
    if lengths is None:
        return a[::-1] if reverse else a
    taken = steps_taken(len(a), lengths)
    read = np.arange(len(a))[:, np.newaxis]
    read = np.where(taken & reverse, lengths - 1 - read, read)
    return np.where(taken[..., np.newaxis], a[read, np.arange(len(lengths))], 0)


@dataclass(frozen=True, eq=False)
class Trace:
    """What all traces share: inputs, states at all T+1 instants, direction, options.

    `x`, `keep_h` and `keep_c` are in time order. `h` and all else that a cell adds are in the order
    of computation, which is the reverse of it where `reverse` is true: ``h[0]`` is the initial
    state, ``h[-1]`` the final one. Past its length a row of a state holds its final one, and all
    else is 0.
    """

    x: FloatArray  # (T, B, I)
    h: FloatArray  # (T+1, B, P)
    _: KW_ONLY  # options, None unless they were given
    activations: tuple[Activation, ...] | None = None
    clip: float | None = None
    lengths: NDArray[np.intp] | None = None  # (B,)
    h_mask: FloatArray | None = None  # (B, P)
    keep_h: FloatArray | None = None  # (T, B, P)

    family: ClassVar[str] = "rnncore.reference"  # where it comes from

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Out of a pickle, and of a deep copy, arrays come writable."""
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def y(self) -> FloatArray:
        """Outputs in time order, (T, B, P): a view of `h`, or with `lengths` a copy."""
        y = in_order(self.h[1:], self.reverse, self.lengths)
        y.flags.writeable = False
        return y

    @property
    def h_n(self) -> FloatArray:
        """Final state, (B, P): a view of `h`."""
        return self.h[-1]


@dataclass(frozen=True, eq=False)
class RNNTrace(Trace):
    nonlinearity: str
    reverse: bool
    _: KW_ONLY
    gates: FloatArray | None = None  # with `keep_h`: (T, B, H), what the activation gave


@dataclass(frozen=True, eq=False)
class GRUTrace(Trace):
    gates: FloatArray  # r | z | n | hn (T, B, 4H) with reset "after"; r | z | n (T, B, 3H) "before"
    reset: str
    reverse: bool


@dataclass(frozen=True, eq=False)
class LSTMTrace(Trace):
    c: FloatArray  # (T+1, B, H)
    gates: FloatArray  # i | f | g | o (T, B, 4H)
    peephole: str | None
    coupled: bool
    reverse: bool
    _: KW_ONLY
    projected: bool = False  # whether there was a `w_hr`
    keep_c: FloatArray | None = None  # (T, B, H)

    @property
    def c_n(self) -> FloatArray:
        """Final memory, (B, H): a view of `c`."""
        return self.c[-1]


class RNNOutputs(NamedTuple):
    y: FloatArray
    h_n: FloatArray


class GRUOutputs(NamedTuple):
    y: FloatArray
    h_n: FloatArray


class LSTMOutputs(NamedTuple):
    y: FloatArray
    h_n: FloatArray
    c_n: FloatArray


class RNNGrads(NamedTuple):
    """Gradient of each input of `rnn_forward`, shaped as that input."""

    x: FloatArray
    w_ih: FloatArray
    w_hh: FloatArray
    b: FloatArray
    h0: FloatArray


class GRUGrads(NamedTuple):
    """Gradient of each input of `gru_forward`, shaped as that input."""

    x: FloatArray
    w_ih: FloatArray
    w_hh: FloatArray
    b_ih: FloatArray
    b_hh: FloatArray
    h0: FloatArray


class LSTMGrads(NamedTuple):
    """Gradient of each input of `lstm_forward`, shaped as that input."""

    x: FloatArray
    w_ih: FloatArray
    w_hh: FloatArray
    b: FloatArray
    h0: FloatArray
    c0: FloatArray
    w_ch: FloatArray | None  # None without peepholes
    w_hr: FloatArray | None  # None without a projection


TraceType = TypeVar("TraceType", RNNTrace, GRUTrace, LSTMTrace)


def require_trace(trace: object, kind: type[TraceType]) -> TraceType:
    """Return `trace` if it is a `kind`, else say what came instead."""
    if isinstance(trace, kind):
        return trace
    if isinstance(trace, (RNNOutputs, GRUOutputs, LSTMOutputs)):
        raise ValueError(
            "trace is the result of a forward pass with training=False, which keeps nothing for "
            "the backward pass; run forward with training=True"
        )
    came, expected = type(trace).__name__, kind.__name__
    family = getattr(trace, "family", kind.family)
    if family != kind.family:
        came, expected = f"{came} of {family}", f"{expected} of {kind.family}"
    raise TypeError(f"trace is of type {came}, expected {expected}")
