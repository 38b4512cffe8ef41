"""The passes as operators of PyTorch, for its compiler and exporter: with what they would give.

An operator has no gradient of its own; `rnncore.torch.autograd` puts the two passes together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rnncore.torch import eager
from rnncore.torch.kernel import kernel_of

_READ = "Tensor x, Tensor? lengths, Tensor[] state, Tensor[] weights"
_MASKS = "Tensor[] drops, Tensor[] h_masks, Tensor[] keeps"

library = torch.library.Library("rnncore", "DEF")
library.define(f"infer(str spec, {_READ}) -> Tensor[]")
library.define(f"forward(str spec, {_READ}, {_MASKS}) -> Tensor[]")
library.define(
    "backward(str spec, bool[] wanted, Tensor x, Tensor? lengths, Tensor reserve, "
    f"Tensor[] weights, Tensor?[] arriving, {_MASKS}) -> Tensor[]"
)

Tensors = Sequence[Tensor]


def _infer(
    spec: str, x: Tensor, lengths: Tensor | None, state: Tensors, weights: Tensors
) -> list[Tensor]:
    return eager.infer(spec, eager.Views(), x, lengths, state, weights)


def _forward(
    spec: str, x: Tensor, lengths: Tensor | None, state: Tensors, weights: Tensors, *masks: Tensors
) -> list[Tensor]:
    given = eager.given(lengths, *masks)
    # An operator's outputs are functions of its inputs, to the last number: so none is left open.
    return eager.forward(spec, eager.Views(), x, state, weights, given, np.zeros)


def _backward(
    spec: str,
    wanted: Sequence[bool],
    x: Tensor,
    lengths: Tensor | None,
    reserve: Tensor,
    weights: Tensors,
    arriving: Sequence[Tensor | None],
    *masks: Tensors,
) -> list[Tensor]:
    given = eager.given(lengths, *masks)
    return eager.backward(spec, eager.Views(), wanted, x, reserve, weights, given, arriving)


library.impl("infer", _infer, "CPU")
library.impl("forward", _forward, "CPU")
library.impl("backward", _backward, "CPU")


# What they would give, of which nothing but the shapes is known


@torch.library.register_fake("rnncore::infer", lib=library)
def _fake_infer(
    spec: str, x: Tensor, lengths: Tensor | None, state: Tensors, weights: Tensors
) -> list[Tensor]:
    return [x.new_empty(shape) for shape in kernel_of(spec).outputs(x.shape)]


@torch.library.register_fake("rnncore::forward", lib=library)
def _fake_forward(
    spec: str, x: Tensor, lengths: Tensor | None, state: Tensors, weights: Tensors, *masks: Tensors
) -> list[Tensor]:
    size = kernel_of(spec).reserve(x.shape, *map(bool, masks[1:]))
    return [*_fake_infer(spec, x, lengths, state, weights), x.new_empty(size)]


@torch.library.register_fake("rnncore::backward", lib=library)
def _fake_backward(
    spec: str,
    wanted: Sequence[bool],
    x: Tensor,
    lengths: Tensor | None,
    reserve: Tensor,
    weights: Tensors,
    arriving: Sequence[Tensor | None],
    *masks: Tensors,
) -> list[Tensor]:
    kernel = kernel_of(spec)
    shapes = [x.shape, *kernel.states(x.shape), *kernel.shapes]
    found = [x.new_empty(shape) for shape, want in zip(shapes, wanted, strict=True) if want]
    if wanted[0] and kernel.batch_first:  # its memory has the steps first
        found[0] = x.new_empty(found[0].swapaxes(0, 1).shape).swapaxes(0, 1)
    return found
