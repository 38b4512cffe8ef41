"""Gradients by PyTorch's own operations, which it can differentiate again.

The layer is computed once more by `torch._VF`, as `torch.nn` does, layer by layer, since the
masks of dropout are given, and autograd goes back through that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnncore.torch.kernel import describe, kernel_of

Tensors = Sequence[Tensor]
_OF_TORCH = {"LSTM": torch._VF.lstm, "GRU": torch._VF.gru}
_OF_RNN = {"tanh": torch._VF.rnn_tanh, "relu": torch._VF.rnn_relu}
_NOT_THERE = (
    "second derivatives are computed by PyTorch's own operations, which have no {}: "
    "there are first ones alone"
)


def gradients(
    spec: str,
    wanted: Sequence[bool],
    x: Tensor,
    lengths: Tensor | None,
    state: Tensors,
    weights: Tensors,
    masks: Sequence[Tensors],
    given: Sequence[Tensor | None],
) -> Sequence[Tensor]:
    """The gradients that are wanted, of x, of every state and of every weight.

    Raises
    ------
    RuntimeError for a cell or an option that PyTorch does not have.
    """
    drops, *others = masks
    if any(others):
        raise RuntimeError(_NOT_THERE.format("recurrent dropout and zoneout"))
    with torch.enable_grad():
        # Tensors of their own, so that the way from one to another outside does not count.
        x, own_weights = x.view_as(x), [weight.view_as(weight) for weight in weights]
        own_state = [part.view_as(part) for part in state] or _zeros(spec, x)
        outputs = _outputs(spec, x, lengths, own_state, own_weights, drops)
        inputs = [x, *own_state, *own_weights]
        there = [k for k, each in enumerate(given) if each is not None]
        return torch.autograd.grad(
            [outputs[k] for k in there],
            [each for each, want in zip(inputs, wanted, strict=True) if want],
            [given[k] for k in there],
            create_graph=True,
            materialize_grads=True,
        )


def _zeros(spec: str, x: Tensor) -> list[Tensor]:
    return [x.new_zeros(shape) for shape in kernel_of(spec).states(x.shape)]


def _outputs(
    spec: str, x: Tensor, lengths: Tensor | None, state: Tensors, weights: Tensors, drops: Tensors
) -> list[Tensor]:
    kernel, (kind, options) = kernel_of(spec), json.loads(spec)
    function = _function(kind, options)
    cell = kind.endswith("Cell")
    y = x[None] if cell else x.transpose(0, 1) if kernel.batch_first else x
    if cell:
        state = [part[None] for part in state]
    D, each, ends = kernel.directions, len(weights) // kernel.layers, []
    for layer in range(kernel.layers):
        of_layer = weights[layer * each : (layer + 1) * each]
        starts = [part[layer * D : (layer + 1) * D] for part in state]
        if layer and drops:
            y = y * drops[layer - 1]
        run = [function, starts, of_layer, options["bias"], D == 2]
        y, *final = _layer(y, *run) if lengths is None else _ragged(y, lengths, *run)
        ends.append(final)
    finals = [torch.cat(parts) for parts in zip(*ends, strict=True)]
    if cell:
        return [final[0] for final in finals]
    return [y.transpose(0, 1) if kernel.batch_first else y, *finals]


def _function(kind: str, options: dict[str, Any]) -> Any:
    """PyTorch's own, of a stack."""
    kind = kind.removesuffix("Cell")
    plain = dict(kernel_of(describe(kind, {"input_size": 1, "hidden_size": 1}))._layer.options)
    shared = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional",
              "dtype", "nonlinearity", "proj_size")  # fmt: skip
    others = {name: value for name, value in options.items() if name not in shared}
    if kind in ("IndRNN", "LayerNormLSTM") or any(plain[n] != v for n, v in others.items()):
        raise RuntimeError(_NOT_THERE.format(f"{kind} with {others}"))
    return _OF_RNN[options["nonlinearity"]] if kind == "RNN" else _OF_TORCH[kind]


def _layer(
    x: Tensor, function: Any, starts: Tensors, weights: Tensors, bias: bool, both: bool
) -> Tensors:
    """One layer of all steps: y and its final states."""
    hx = starts if len(starts) > 1 else starts[0]
    found: Tensors = function(x, hx, weights, bias, 1, 0.0, True, both, False)
    return found


def _ragged(
    x: Tensor,
    lengths: Tensor,
    function: Any,
    starts: Tensors,
    weights: Tensors,
    bias: bool,
    both: bool,
) -> Tensors:
    """The same of rows of these lengths. PyTorch has none of length 0: they take a step in vain."""
    order = torch.argsort(lengths, descending=True, stable=True)
    back = torch.argsort(order)
    ordered = lengths[order].clamp(min=1)
    data, sizes = torch._VF._pack_padded_sequence(x[:, order], ordered, False)
    hx = [start[:, order] for start in starts]
    y, *finals = function(
        data, sizes, hx if len(hx) > 1 else hx[0], weights, bias, 1, 0.0, True, both
    )
    y, _ = torch._VF._pad_packed_sequence(y, sizes, False, 0.0, len(x))
    some = (lengths > 0)[:, None]
    ends = [
        torch.where(some, end[:, back], start) for end, start in zip(finals, starts, strict=True)
    ]
    return [y[:, back] * some, *ends]
