"""How each layer of a frozen model goes a step: what of it the compiled core runs.

A layer that has to see steps that are still to come has no such way, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncore._core import core
from rnncore._engine import rows
from rnncore._engine.memory import contiguous
from rnncore.layers.frozen import Frozen, Stream
from rnncore.models import members
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.chain import Chain
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.residual import Residual


class Steps:
    """The steps of a model for a batch of so many rows, and what they remember.

    Attributes
    ----------
    streams : of the recurrent layers
    memories : of other layers that remember steps: arrays (.., B, ..) with the axis of the batch
    """

    def __init__(self, batch_size: int, dtype: np.dtype[Any]) -> None:
        self.batch_size, self.dtype = batch_size, dtype
        self.streams: list[Stream[Any]] = []
        self.memories: list[tuple[np.ndarray, int]] = []
        self.phased: list[core.WindowStep | core.PoolStep] = []  # which of two memories is now

    def of(self, name: str, member: Any, width: int) -> list[core.RowStep]:
        """Those of a member that reads rows of so many numbers; none where it does nothing.

        Raises
        ------
        ValueError for one that does not go step by step.
        """
        if isinstance(member, Chain):
            return self._chain(member, width)
        if isinstance(member, Bidirectional) or (
            isinstance(member, Frozen) and member.bidirectional
        ):
            raise ValueError(f"{name} has two directions, expected one to stream")
        if isinstance(member, Frozen):
            self.streams.append(Stream(member, self.batch_size))
            return [core.LayerStep(self.streams[-1])]
        make = _MAKERS.get(type(member))
        found = None if make is None else make(self, member, width)
        if found is None:
            raise ValueError(f"{name} is {member!r}, which does not go step by step")
        return found

    def _chain(self, chain: Chain, width: int) -> list[core.RowStep]:
        found: list[core.RowStep] = []
        at = width
        for name, member in zip(chain.names, chain, strict=True):
            found += self.of(name, member, at)
            at = _width_after(member, at)
        if isinstance(chain, Residual) and found:
            return [core.ChainStep(found, self.batch_size, True)]
        if isinstance(chain, Residual):  # x + x
            raise ValueError("a residual has no layers that do anything, expected one to stream")
        return found

    def zeros(self, *shape: int, batch_axis: int, dtype: Any = None) -> np.ndarray:
        array = np.zeros(shape, self.dtype if dtype is None else dtype)
        self.memories.append((array, batch_axis))
        return array


def _width_after(member: Any, width: int) -> int:
    given = members.width_given(member, width)
    return width if given is None else given


def _embedding(steps: Steps, member: Embedding, width: int) -> list[core.RowStep]:
    return [core.LookupStep(contiguous(member.params["weight"]))]


def _linear(steps: Steps, member: Linear, width: int) -> list[core.RowStep]:
    bias = member.params.get("bias")
    return [
        core.LinearStep(
            contiguous(member.params["weight"]), None if bias is None else contiguous(bias)
        )
    ]


def _activation(steps: Steps, member: Activation, width: int) -> list[core.RowStep]:
    return [rows.step_of(member._function, steps.dtype.itemsize, width)]


def _dropout(steps: Steps, member: Dropout, width: int) -> list[core.RowStep]:
    return []


def _layer_norm(steps: Steps, member: LayerNorm, width: int) -> list[core.RowStep]:
    weight, bias = member.params.get("weight"), member.params.get("bias")
    return [core.NormStep(steps.dtype.itemsize, member.size, member.eps, weight, bias)]


def _batch_norm(steps: Steps, member: BatchNorm, width: int) -> list[core.RowStep]:
    return [core.ScaleStep(*map(contiguous, member._scale_and_shift()))]


def _conv(steps: Steps, member: Conv1d, width: int) -> list[core.RowStep] | None:
    """Of a causal one with a stride of 1, whose last inputs are kept."""
    weight, bias = member._weights()
    product = core.LinearStep(contiguous(weight), None if bias is None else contiguous(bias))
    if member.stride != 1 or (member.padding != "causal" and member.kernel_size > 1):
        return None
    if member.kernel_size == 1:
        return [product] if member.padding in ("valid", "same", "causal") else None
    span = (member.kernel_size - 1) * member.dilation + 1
    history = steps.zeros(2, steps.batch_size, span, member.in_channels, batch_axis=1)
    steps.phased.append(core.WindowStep(history, member.dilation))
    return [steps.phased[-1], product]


def _pool(steps: Steps, member: Pool, width: int) -> list[core.RowStep] | None:
    """Of all steps so far."""
    if member.window is not None:
        return None
    so_far = steps.zeros(2, steps.batch_size, width, batch_axis=1)
    counts = steps.zeros(steps.batch_size, batch_axis=0, dtype=np.intp)
    mean = member.kind == "mean"
    kind = core.POOLS["sum" if mean else member.kind]
    steps.phased.append(core.PoolStep(so_far, counts, kind, mean))
    return [steps.phased[-1]]


_MAKERS: dict[type, Callable[[Steps, Any, int], list[core.RowStep] | None]] = {
    Embedding: _embedding,
    Linear: _linear,
    Activation: _activation,
    Dropout: _dropout,
    LayerNorm: _layer_norm,
    BatchNorm: _batch_norm,
    Conv1d: _conv,
    Pool: _pool,
}
