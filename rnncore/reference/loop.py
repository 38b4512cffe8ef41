"""What the cells share in NumPy: the activations, the products, the loop over time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnncore._cells import arguments
from rnncore._cells.activations import Activation, Clamped, resolve
from rnncore._cells.arguments import Arriving, Inputs
from rnncore._cells.kind import CellKind
from rnncore._cells.results import (
    FloatArray,
    MemoryOutputs,
    Outputs,
    ShowsStates,
    in_order,
    outputs,
    require_trace,
    steps_taken,
)

# In the signatures of the steps.
A: TypeAlias = FloatArray
Maybe: TypeAlias = FloatArray | None
Function: TypeAlias = Activation | Clamped
Functions: TypeAlias = tuple[Function, ...]
# Of a step backwards: dpre, the gradients of the states it made, and of those it came from.
BackwardStep: TypeAlias = tuple[FloatArray, tuple[FloatArray, ...], tuple[FloatArray, ...]]

# Passes through time


@dataclass(frozen=True, eq=False)
class Trace(ShowsStates):
    """What a backward pass reads but for the weights, all of it read-only and its own."""

    kind: CellKind
    options: dict[str, Any]
    x: FloatArray  # (T, B, I), in time order
    states: tuple[FloatArray, ...]  # (T+1, B, P or H) each, in the order of computation
    kept: tuple[FloatArray, ...]  # (T, B, ..) each, the gates first
    reverse: bool
    lengths: NDArray[np.intp] | None
    h_mask: FloatArray | None
    keeps: tuple[FloatArray | None, ...]  # (T, B, P or H) of each state, in time order
    H: int
    P: int

    family: ClassVar[str] = "rnncore.reference"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            for array in value if isinstance(value, tuple) else (value,):
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Out of a pickle, and of a deep copy, arrays come writable."""
        self.__dict__.update(state)
        self.__post_init__()

    def _state(self, part: int) -> FloatArray:
        return self.states[part]

    @property
    def gates(self) -> Any:
        """(T, B, ..), or None of a cell that has none to keep."""
        return self.kept[0] if self.kept else None

    @property
    def functions(self) -> Functions:
        return functions_of(self.kind, self.options)


def trace_of(
    kind: CellKind, x: FloatArray, states: Sequence[FloatArray], kept: Sequence[FloatArray] = ()
) -> Trace:
    """The trace of a cell with the options that it has by default, from what others computed."""
    options = {**kind.defaults, "bias": True, "activations": None, "clip": None}
    nothing = (None,) * len(states)
    H, P = states[-1].shape[-1], states[0].shape[-1]
    return Trace(kind, options, x, tuple(states), tuple(kept), False, None, None, nothing, H, P)


def run_forward(
    cell: Inputs, step: Callable[..., tuple[FloatArray, ...]], kept_widths: tuple[int, ...]
) -> Any:
    """Run ``step(x_t, *states) -> (*states, *kept)`` through time; return a trace or outputs.

    `kept_widths` tells how wide that is which each step keeps for the backward pass.
    """
    x, lengths, reverse = cell.x, cell.lengths, cell.reverse
    T, B, _ = x.shape
    widths = cell.kind.widths(cell.H, cell.P)
    states = [np.empty((T + 1, B, width), x.dtype) for width in widths]
    kept = [np.empty((T, B, width), x.dtype) for width in kept_widths]
    for rows, start in zip(states, cell.starts, strict=True):
        rows[0] = 0 if start is None else start
    keeps = keeps_in_order(cell.keeps, T, reverse, lengths)
    results = [rows[1:] for rows in states] + kept
    for t, x_t in enumerate(in_order(x, reverse, lengths)):
        previous = [rows[t] for rows in states]
        made = list(step(x_t, *previous))
        made[: len(states)] = map(kept_in_part, previous, made, keeps[t])  # (Z)
        if lengths is not None:  # a row past its end holds its states and keeps zeros
            running = (t < lengths)[:, np.newaxis]
            past = [*previous, *(0 for _ in kept)]
            made = [np.where(running, new, old) for new, old in zip(made, past, strict=True)]
        for rows, result in zip(results, made, strict=True):
            rows[t] = result
    trace = Trace(
        cell.kind, cell.options, np.array(x), tuple(states), tuple(kept), reverse, lengths,
        optional_copy(cell.h_mask), tuple(map(optional_copy, cell.keeps)), cell.H, cell.P,
    )  # fmt: skip
    return trace if cell.training else _outputs(trace)


def _outputs(trace: Trace) -> Outputs | MemoryOutputs:
    return outputs(trace.y.copy(), tuple([rows[-1].copy() for rows in trace.states]))


def arriving(kind: CellKind, given: Mapping[str, Any]) -> tuple[Trace, Arriving]:
    """The trace and all else that a backward function of a cell was given, checked."""
    trace = given["trace"]
    require_trace(trace, Trace, kind)
    return trace, arguments.arriving(trace, given)


def run_backward(
    step: Callable[..., BackwardStep], trace: Trace, given: Arriving, dpre_width: int
) -> tuple[FloatArray, ...]:
    """Run ``step(t, *dstates) -> (dpre_t, dstates, dstates_prev)`` from the last step to the first.

    The state h of every step is an output too: its gradient is what comes from the step after plus
    ``dy[t]``. A step returns, besides dpre and what goes on to the step before, the gradients of
    the states it made with all that it added to them. Returns dpre of all steps, in the order of
    computation, and the gradients of the initial states. What dpre holds past the end of a row is
    not to be read: `rows_of` and `in_order` leave it out.
    """
    T, B, _ = trace.x.shape
    reverse, lengths, dtype = trace.reverse, trace.lengths, trace.x.dtype
    dpre = np.empty((T, B, dpre_width), dtype)
    squares = np.zeros((T, B, len(given.dends)))
    dy = in_order(copy_or_zeros(given.dy, (T, B, trace.P), dtype), reverse, lengths)
    keeps = keeps_in_order(trace.keeps, T, reverse, lengths)
    dstates = [
        copy_or_zeros(d, rows[0].shape, dtype)
        for d, rows in zip(given.dends, trace.states, strict=True)
    ]
    for t in reversed(range(T)):
        arrived = [dstates[0] + dy[t], *dstates[1:]]
        # (Z) state = keep * previous + (1 - keep) * made
        dmade = [d if k is None else (1 - k) * d for d, k in zip(arrived, keeps[t], strict=True)]
        dpre[t], totals, through = step(t, *dmade)
        if given.flow is not None:
            for k, keep in enumerate(keeps[t]):
                d = totals[k] if keep is None else arrived[k]
                squares[t, :, k] = np.square(d, dtype=np.float64).sum(axis=-1)
        dprevious = [
            d if keep is None else d + keep * whole  # (Z)
            for d, whole, keep in zip(through, arrived, keeps[t], strict=True)
        ]
        if lengths is not None:  # past the end of a row no step was taken
            running = (t < lengths)[:, np.newaxis]
            dprevious = [
                np.where(running, new, old) for new, old in zip(dprevious, dstates, strict=True)
            ]
        dstates = dprevious
    if given.flow is not None:
        given.flow[...] = np.moveaxis(in_order(squares, reverse, lengths), -1, 0)
    return dpre, *dstates


def keeps_in_order(
    keeps: tuple[FloatArray | None, ...], T: int, reverse: bool, lengths: NDArray[np.intp] | None
) -> list[tuple[FloatArray | None, ...]]:
    """What every step in the order of computation keeps of each state, or None."""
    turned = [[None] * T if k is None else in_order(k, reverse, lengths) for k in keeps]
    return list(zip(*turned, strict=True))


def copy_or_zeros(a: FloatArray | None, shape: tuple[int, ...], dtype: np.dtype) -> FloatArray:
    """A copy: without steps the gradient of h0 is that of h_n, and shares no memory with it."""
    return np.zeros(shape, dtype) if a is None else np.array(a)


def optional_copy(a: FloatArray | None) -> FloatArray | None:
    return None if a is None else np.array(a)


# One step


def functions_of(kind: CellKind, options: Mapping[str, Any]) -> Functions:
    """The activations of a cell; those of gates and candidate, not psi, read clamped sums."""
    found: tuple[Activation, ...] | None = options["activations"]
    if found is None:
        found = resolve(None, kind.own_functions(options))
    clip = options["clip"]
    return found if clip is None else (*(Clamped(f, clip) for f in found[:2]), *found[2:])


def linear(a: A, w: A, b: Maybe = None) -> A:
    """a @ w' + b: (B x K) (K x GH) + (GH) = (B x GH)."""
    return a @ w.T if b is None else a @ w.T + b


def masked(h_prev: A, h_mask: Maybe) -> A:
    """(M) what the recurrent weights read. It is its own backward: dh_prev = dh_in * h_mask."""
    return h_prev if h_mask is None else h_prev * h_mask  # (M)


def kept_in_part(previous: A, made: A, keep: Maybe) -> A:
    """(Z) zoneout: the part `keep` of a state stays as it was."""
    return made if keep is None else keep * previous + (1 - keep) * made  # (Z)


# The gradients of what all steps share


def rows_of(a: A, trace: Trace) -> A:
    """(T, B, K) -> (N, K): the rows of all steps that were taken, one under the other."""
    if trace.lengths is None:
        return a.reshape(-1, a.shape[-1])
    return a[steps_taken(len(trace.x), trace.lengths)]


def weight_gradient(dpre: A, a: A, trace: Trace) -> A:
    """Undo ``pre = a @ w'`` for w: the sum of dpre' a over steps and rows."""
    return rows_of(dpre, trace).T @ rows_of(a, trace)  # (GH x N) (N x K) = (GH x K)


def sum_over_time(d: A, trace: Trace) -> A:
    """Undo the broadcast of a vector over steps and rows: what a bias has as its gradient."""
    total: A = rows_of(d, trace).sum(axis=0)
    return total


def input_gradient(dpre: A, w_ih: A, trace: Trace) -> A:
    """Undo ``pre = x @ w_ih'`` for x, back in time order."""
    return np.ascontiguousarray(in_order(dpre @ w_ih, trace.reverse, trace.lengths))


def inputs_in_order(trace: Trace) -> A:
    """x in the order of computation."""
    return in_order(trace.x, trace.reverse, trace.lengths)
