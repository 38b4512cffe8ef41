"""What the functional core returns: traces, outputs without a trace, and gradients.

A forward pass with ``training=True`` returns a trace: everything the backward pass reads except
the weights. Its arrays are read-only, so a trace may be used many times and by many threads. With
``training=False`` it returns only the outputs, and they are the caller's own.

Sizes: `T` steps, `B` batch rows, `I` inputs, `H` hidden units.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trace:
    """What all traces share: inputs, states at all T+1 instants, direction.

    `x` is in time order. `h` and all that a cell adds are in the order of computation, which is
    the reverse of it where `reverse` is true: ``h[0]`` is the initial state, ``h[-1]`` the final
    one.
    """

    x: FloatArray  # (T, B, I)
    h: FloatArray  # (T+1, B, H)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    @property
    def y(self) -> FloatArray:
        """Outputs in time order, (T, B, H): a view of `h`."""
        return self.h[:0:-1] if self.reverse else self.h[1:]

    @property
    def h_n(self) -> FloatArray:
        """Final state, (B, H): a view of `h`."""
        return self.h[-1]


@dataclass(frozen=True, eq=False)
class RNNTrace(Trace):
    nonlinearity: str
    reverse: bool


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
    raise TypeError(f"trace is of type {type(trace).__name__}, expected {kind.__name__}")
