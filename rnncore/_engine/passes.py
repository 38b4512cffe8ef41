"""Passes of the compiled core: memory allocated, the core called.

Nothing is checked here: `rnncore.functional` and the layers have done that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.results import FloatArray
from rnncore._common.quiet import quiet
from rnncore._core import core
from rnncore._engine.batch import Masks, Ragged, own_masks
from rnncore._engine.cells import CellStack, CoreCell, Weights
from rnncore._engine.memory import all_aligned, padded, with_rows
from rnncore._engine.traces import CoreTrace, memory_of, room_of

States = tuple[FloatArray | None, ...]  # of a cell, or of a stack; None: zeros, or not wanted


class Run(NamedTuple):
    """One layer and direction and what it reads: all that a pass forward is about."""

    cell: CoreCell
    weights: Weights
    x: FloatArray  # (T, B, I), contiguous and the trace's own from now on
    reverse: bool
    batch: Ragged | None
    masks: Masks | None


class Gradients(NamedTuple):
    """Of what passes read, as the core writes and adds to them."""

    x: FloatArray  # written
    weights: list[Weights]  # added to, of every layer and direction


class Arriving(NamedTuple):
    """Gradients from outside, and where the squared norms of all that arrives are written to."""

    dy: FloatArray | None  # (T, B, P or D * P)
    dends: States  # of every final state
    flow: NDArray[np.float64] | None  # (S, T, B), of a stack (S, L * D, T, B)
    # Of a layer on which another one stands, laid out as dy: dy is (dy + more) * drop.
    more: FloatArray | None = None
    drop: FloatArray | None = None

    def give_flow(self, to: NDArray[np.float64] | None) -> None:
        """Copy what was written, where that is not the user's own array."""
        if to is not None and self.flow is not to:
            to[...] = self.flow


class Steps(NamedTuple):
    """Which steps of which rows a pass takes, as the core wants it."""

    reverse: bool
    table: NDArray[np.intp] | None  # of the rows by their lengths
    first: int
    number: int


class StackRun(NamedTuple):
    """All that a pass forward through layers upon each other reads, and where it writes."""

    stack: Any  # a CellStack; for inference any `core.Stack`
    weights: Sequence[Any]  # of every layer and direction, for inference packed or not
    x: FloatArray  # (T, B, I); of a trace contiguous and its own from now on
    starts: States  # of every state (L * D, B, P or H)
    y: FloatArray  # (T, B, D * P), written to, up to the end of each row
    ends: States  # as `starts`, written to
    batch: Ragged | None  # the lengths of the rows, None where all have all steps
    # Of training: what the inputs of every layer but the first are multiplied with, and the masks
    # of every layer and direction.
    drops: Sequence[FloatArray | None] = ()
    masks: Sequence[Masks | None] = ()


class StackBack(NamedTuple):
    """The same of a pass back."""

    stack: CellStack
    kept: Sequence[Any]  # what a pass forward gave, of every layer and direction
    weights: Sequence[Weights]
    given: Arriving  # of the whole stack
    drops: Sequence[FloatArray | None]  # those of the pass forward
    dstarts: tuple[FloatArray, ...]  # of every initial state, written to


def infer(run: StackRun) -> None:
    """Keep nothing but outputs and final states."""
    stack, weights, x, starts, y, ends, batch, _, _ = run
    if x.shape[0] and x.shape[1]:
        flags = x.flags
        if not (flags.c_contiguous and flags.aligned):
            x = with_rows(x)
        for start in starts:
            if start is not None and not start.flags.aligned:
                starts = all_aligned(starts)
        stack.infer(weights, x, None if batch is None else batch.table, starts, y, ends)
    else:
        copy_states(starts, ends)


def copy_states(starts: States, ends: Sequence[FloatArray | None]) -> None:
    """Neither steps nor rows: the initial states are the final ones."""
    for start, end in zip(starts, ends, strict=True):
        if end is not None:
            end[...] = 0 if start is None else start


def traces(stack: CellStack, weights: Sequence[Weights], x: Any, state: Any) -> Any:
    """Outputs, final state and the trace of each layer and direction; None as `core.Stack.call`."""
    found = stack.trace(weights, x, state)
    if found is None:
        return None
    y, final, sources, memories = found
    T, traces = len(sources[0]), []
    for k, memory in enumerate(memories):
        source, cell, reverse = sources[k // stack.directions], stack.cells[k], stack.reverse[k]
        traces.append(CoreTrace(cell, source, memory, None, reverse, None, 0, T))
    return y, final, tuple(traces)


def back(stack: CellStack, weights: Sequence[Weights], traces: Any, dy: Any, dstate: Any) -> Any:
    """The gradients of inputs, of the initial state and of `weights`; or None.

    It is None where dy or dstate needs a closer look, and where there are lengths or masks.
    """
    memories, dweights = [], []
    for one in traces:
        if type(one) is not CoreTrace or one.masks is not None or one.ragged is not None:
            return None
        memories.append(one.memory)
        dweights.append(one.cell.zeros())
    sources = [one.x for one in traces[:: stack.directions]]
    found = stack.back(weights, sources, memories, dweights, dy, dstate)
    if found is None:
        return None
    dxs, dstart = found
    return sum_of(dxs), dstart, dweights


def forward(run: StackRun) -> list[CoreTrace]:
    """Keep of every layer and direction what the backward pass reads."""
    stack, weights, x, starts, y, ends, batch, drops, masks = run
    T, B, _ = x.shape
    shape, make = (T, B, y.shape[2]), np.empty if batch is None else np.zeros
    sources, kept, owned = [x], [], [None if each is None else own_masks(each) for each in masks]
    for _ in drops:
        sources.append(make(shape, x.dtype))
    for k, cell in enumerate(stack.cells):
        memory, source = memory_of(cell, T, B, owned[k]), sources[k // stack.directions]
        kept.append(CoreTrace(cell, source, memory, owned[k], stack.reverse[k], batch, 0, T))
    if T and B:
        table = None if batch is None else batch.table
        in_core = [None if each is None else each.in_core() for each in owned]
        memories = [each.memory for each in kept]
        starts = all_aligned(starts)
        stack.forward(weights, sources, list(drops), table, starts, in_core, memories, y, ends)
    else:
        for k, each in enumerate(kept):
            _keep_states(each, tuple([None if start is None else start[k] for start in starts]))
        copy_states(starts, ends)
    for array in (*sources, *[each.memory for each in kept]):
        array.flags.writeable = False
    return kept


def backward(run: StackBack) -> Gradients:
    """The gradients of inputs and weights."""
    stack, kept, weights, given, drops, dstarts = run
    x, batch, D = kept[0].x, kept[0].ragged, stack.directions
    dxs = [[nothing_yet(x, batch) for _ in range(D)]]
    for layer in range(1, len(drops) + 1):  # layers take turns with two sets of arrays
        inner = kept[layer * D].x
        dxs.append(dxs[layer - 2] if layer > 2 else [np.empty_like(inner) for _ in range(D)])
    dweights = [cell.zeros() for cell in stack.cells]
    if x.shape[0] and x.shape[1]:
        stack.backward(
            weights, [each.x for each in kept[::D]], list(drops),
            None if batch is None else batch.table,
            [None if each.masks is None else each.masks.in_core() for each in kept],
            [each.memory for each in kept], given.dy, given.dends, given.flow, dxs, dweights,
            dstarts,
        )  # fmt: skip
    else:
        copy_states(given.dends, dstarts)
    return Gradients(sum_of(dxs[0]), dweights)


def trace(
    run: Run,
    starts: States,
    y: FloatArray | None = None,
    ends: States | None = None,
    window: tuple[int, int] | None = None,
) -> CoreTrace:
    """Run one layer and direction and keep what the backward pass reads.

    Parameters
    ----------
    starts : of every state the initial one (B, P or H)
    y : (T, B, P), optional; outputs are written to it, up to the end of each row
    ends : like `starts`; final states are written to them
    window : the first step and the one after the last, of those to run and to keep; by default all
    """
    cell, weights, x, reverse, batch, masks = run
    T, B, _ = x.shape
    first, last = (0, T) if window is None else window
    steps = last - first
    own = None if masks is None else own_masks(masks)
    for start in starts:
        if start is not None and not start.flags.aligned:
            starts = all_aligned(starts)
    if ends is None:
        ends = (None,) * len(starts)
    memory = memory_of(cell, steps, B, own)
    x.flags.writeable = False
    kept = CoreTrace(cell, x, memory, own, reverse, batch, first, steps)
    if steps and B:
        taken = Steps(reverse, None if batch is None else batch.table, first, steps)
        in_core = None if own is None else own.in_core()
        core.forward(cell.shape, weights, x, taken, starts, in_core, memory, y, ends)
    else:
        _keep_states(kept, starts)
        copy_states(starts, ends)
    memory.flags.writeable = False
    return kept


def _keep_states(kept: CoreTrace, starts: States) -> None:
    """The trace of neither steps nor rows: at most initial states."""
    memory, batch = kept.memory, kept.ragged
    memory[:] = 0
    places = room_of(kept.cell, kept.steps, kept.x.shape[1], kept.masks).states
    order = slice(None) if batch is None else batch.order
    for at, width, start in zip(places, kept.cell.widths, starts, strict=True):
        if start is not None:
            rows = kept._array(at, kept.steps + 1, padded(width, memory.dtype))
            rows[..., :width] = start[order]


def arriving(dy: FloatArray | None, dends: States, flow: NDArray[np.float64] | None) -> Arriving:
    """What a user gave, as the core reads and writes it; `flow` is a copy where it cannot step."""
    if dy is not None and not (dy.flags.c_contiguous and dy.flags.aligned):
        dy = with_rows(dy)
    for dend in dends:
        if dend is not None and not dend.flags.aligned:
            dends = all_aligned(dends)
    if flow is not None:
        if not flow.flags.aligned or any(step % flow.itemsize for step in flow.strides):
            flow = flow.copy()
        flow[...] = 0
    return Arriving(dy, dends, flow)


@quiet
def sum_of(dxs: Sequence[FloatArray]) -> FloatArray:
    """What all directions of a layer give, in the memory of the first."""
    dx = dxs[0]
    for other in dxs[1:]:
        dx += other
    return dx


def nothing_yet(x: FloatArray, batch: Ragged | None) -> FloatArray:
    """Where gradients of the inputs are written to; past the end of its length a row has zeros."""
    return (np.empty if batch is None else np.zeros)(x.shape, x.dtype)


def one_backward(
    kept: CoreTrace, weights: Weights, given: Arriving
) -> tuple[Gradients, tuple[FloatArray, ...]]:
    """The gradients of inputs and weights of a lone pass, and those of the initial states."""
    gradients = Gradients(nothing_yet(kept.x, kept.ragged), [kept.cell.zeros()])
    return gradients, add_gradients(kept, weights, given, gradients)


def add_gradients(
    kept: CoreTrace, weights: Weights, given: Arriving, gradients: Gradients
) -> tuple[FloatArray, ...]:
    """Run back through a trace and add to `gradients`; return those of the initial states.

    The biases of products are not read.
    """
    B, dtype, masks, batch = kept.x.shape[1], kept.x.dtype, kept.masks, kept.ragged
    dy, dends, flow, more, drop = given
    dstarts = []
    for width in kept.cell.widths:
        dstarts.append(np.empty((B, width), dtype))
    if kept.steps and B:
        table = None if batch is None else batch.table
        taken = Steps(kept.reverse, table, kept.first, kept.steps)
        core.backward(
            kept.cell.shape, weights, kept.x, taken, None if masks is None else masks.in_core(),
            kept.memory, (dy, more, drop, *dends), flow,
            (gradients.x, tuple(dstarts), gradients.weights[0]),
        )  # fmt: skip
    else:
        copy_states(dends, dstarts)
    return tuple(dstarts)
