"""Who computes a layer: the compiled core, or its twin in NumPy."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnncore import reference
from rnncore._cells.results import FloatArray
from rnncore._common.quiet import quiet
from rnncore._core import core
from rnncore._engine import checkpoints, passes
from rnncore._engine.batch import Masks, Ragged
from rnncore._engine.cells import CellStack, Weights
from rnncore._engine.checkpoints import Checkpoints, Windows
from rnncore._engine.passes import Gradients, Run, States
from rnncore._engine.weights import all_by_argument, by_argument, of_arguments

_TOLD = ("proj_size", "bias")  # to the functional core by the weights that there are
Ends = tuple[FloatArray, ...]  # of every state, written to


class Runner(Protocol):
    """Computes the layers and directions of a stack, for inference or one by one for training."""

    def call(self, stack: CellStack, weights: Any, x: Any, state: Any) -> Any:
        """The outputs and the final state, or None where x or state needs a closer look."""

    def trace(self, stack: CellStack, weights: Any, x: Any, state: Any) -> Any:
        """The same and what `backward` reads of every layer and direction, without masks."""

    def back(self, stack: CellStack, weights: Any, kept: Any, dy: Any, dstate: Any) -> Any:
        """Gradients of x, the initial state and all `weights`; None as above."""

    def infer(
        self,
        stack: CellStack,
        weights: Any,
        x: FloatArray,
        starts: States,
        y: FloatArray,
        ends: Ends,
        batch: Ragged | None,
    ) -> None:
        """See `passes.infer`."""

    def forward(
        self, run: Run, starts: States, y: FloatArray, ends: Ends, windows: Windows | None
    ) -> Any:
        """What `backward` reads; `y` and `ends` are written to."""

    def backward(
        self,
        kept: Any,
        weights: Weights,
        dy: FloatArray | None,
        dends: States,
        flow: NDArray[np.float64] | None,
    ) -> tuple[Gradients, States]:
        """The gradients of inputs and weights, and those of the initial states."""


class CoreRunner:
    """The compiled core. Within a limit of memory it keeps states, and computes the rest again."""

    call = staticmethod(core.Stack.call)
    trace = staticmethod(passes.traces)
    back = staticmethod(passes.back)
    infer = staticmethod(passes.infer)

    def forward(
        self, run: Run, starts: States, y: FloatArray, ends: Ends, windows: Windows | None
    ) -> Any:
        if windows is None:
            return passes.trace(run, starts, y, ends)
        return checkpoints.forward(run, starts, y, ends, windows)

    def backward(
        self,
        kept: Any,
        weights: Weights,
        dy: FloatArray | None,
        dends: States,
        flow: NDArray[np.float64] | None,
    ) -> tuple[Gradients, States]:
        back = checkpoints.backward if isinstance(kept, Checkpoints) else passes.backward
        given = passes.arriving(dy, dends, flow)
        gradients, dstarts = back(kept, weights, given)
        if flow is not None and given.flow is not flow:
            flow[...] = given.flow
        return gradients, dstarts


class TwinRunner:
    """`rnncore.reference`, to compare with and to time; it keeps all, whatever the limit."""

    def call(self, stack: CellStack, weights: Any, x: Any, state: Any) -> Any:
        return None

    trace = call

    def back(self, stack: CellStack, weights: Any, kept: Any, dy: Any, dstate: Any) -> Any:
        return None

    def infer(
        self,
        stack: CellStack,
        weights: Any,
        x: FloatArray,
        starts: States,
        y: FloatArray,
        ends: Ends,
        batch: Ragged | None,
    ) -> None:
        cells, directions = stack.cells, stack.directions
        for layer in range(0, len(cells), directions):
            outputs = []
            for k in range(layer, layer + directions):
                run = Run(cells[k], weights[k], x, k > layer, batch, None)
                trace = _twin_of(run, [None if start is None else start[k] for start in starts])
                for end, rows in zip(ends, trace.states, strict=True):
                    end[k] = rows[-1]
                outputs.append(trace.y)
            x = np.concatenate(outputs, axis=-1)
        y[...] = x

    def forward(
        self, run: Run, starts: States, y: FloatArray, ends: Ends, windows: Windows | None
    ) -> Any:
        trace = _twin_of(run, starts)
        y[...] = trace.y
        for end, rows in zip(ends, trace.states, strict=True):
            end[...] = rows[-1]
        return trace

    def backward(
        self,
        kept: Any,
        weights: Weights,
        dy: FloatArray | None,
        dends: States,
        flow: NDArray[np.float64] | None,
    ) -> tuple[Gradients, States]:
        kind = kept.kind
        given = {f"d{part}": d for part, d in zip(kind.parts, dends, strict=True)}
        read = {weight.argument for weight in kind.weights if weight.read_back}
        given |= {name: w for name, w in by_argument(kind, weights).items() if name in read}
        back = getattr(reference, f"{kind.prefix}_backward")
        grads = back(kept, dy=dy, flow=flow, **given)._asdict()
        dstarts = tuple([grads[f"{part}0"] for part in kind.parts])
        return Gradients(grads["x"], of_arguments(kind, grads, both=True)), dstarts


def _twin_of(run: Run, starts: Any) -> Any:
    """The trace of a forward function of the reference."""
    cell, weights, x, reverse, batch, masks = run
    kind, (h_mask, keeps) = cell.kind, masks or Masks()
    given = {name: _sum(values) for name, values in all_by_argument(kind, weights).items()}
    given |= {f"{part}0": start for part, start in zip(kind.parts, starts, strict=True)}
    given |= {f"keep_{part}": keep for part, keep in zip(kind.parts, keeps, strict=False)}
    options = {name: value for name, value in cell.options.items() if name not in _TOLD}
    lengths = None if batch is None else batch.lengths
    forward = getattr(reference, f"{kind.prefix}_forward")
    return forward(x, h_mask=h_mask, lengths=lengths, reverse=reverse, **given, **options)


@quiet
def _sum(values: list[Any]) -> Any:
    there = [value for value in values if value is not None]
    return sum(there[1:], start=there[0]) if there else None


CORE = CoreRunner()
TWIN = TwinRunner()
