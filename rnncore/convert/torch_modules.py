"""Single modules of PyTorch as layers, and what PyTorch can run of those within each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import numpy as np

from rnncore.convert import made
from rnncore.convert.widened import Copies
from rnncore.layers import cells, kinds
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear

_RECURRENT = ("RNN", "GRU", "LSTM", "IndRNN", "LayerNormLSTM")
_OPTIONS = (
    "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
    "recurrent_dropout", "zoneout", "activations", "clip", "reset", "peephole", "coupled", "eps",
)  # fmt: skip
_OF_LAYERS = ("num_layers", "batch_first", "dropout", "bidirectional")  # not of cells


def layer_of(module: Any) -> Any:
    """The layer that a module is; None where it is no single layer whose class is known.

    Raises
    ------
    ValueError, TypeError for such a module with an option that no layer has.
    """
    kind = type(module)
    name, home = kind.__name__, kind.__module__
    if home.split(".")[0] not in ("torch", "rnncore"):
        return None
    if "quantized" in home:
        raise TypeError(f"module is quantised ({home}.{name}), expected float32 or float64")
    if "forward" in vars(module) or home.startswith("torch.nn.utils"):
        return None
    if name in _RECURRENT:
        return _recurrent(module, getattr(kinds, name))
    if name.removesuffix("Cell") in _RECURRENT:
        return _recurrent(module, getattr(cells, name))
    reader = _READERS.get(name)
    if reader is not None:
        return reader(module)
    function = function_of(module)
    return None if function is None else Activation(function)


def _arrays(module: Any, *names: str) -> dict[str, np.ndarray | None]:
    found, copies = {name: getattr(module, name) for name in names}, Copies()
    return {name: None if a is None else copies(name, a) for name, a in found.items()}


def _recurrent(module: Any, kind: Any) -> Any:
    options = {name: getattr(module, name) for name in _OPTIONS if hasattr(module, name)}
    if kind.__name__.endswith("Cell"):
        options = {name: value for name, value in options.items() if name not in _OF_LAYERS}
    nonlinearity = getattr(module, "nonlinearity", None)
    if nonlinearity is not None:
        options["nonlinearity"] = nonlinearity
    if getattr(module, "proj_size", 0):
        options["proj_size"] = module.proj_size
    params, copies = {}, Copies()
    for name, tensor in module.named_parameters(remove_duplicate=False):
        stem, _, end = name.rpartition("_")
        if end in ("g", "v", "orig") and stem in vars(module):  # of which a hook makes another
            name, tensor = stem, getattr(module, stem)
        params[name] = copies(name, tensor)
    options["bias"] = bool(options["bias"])
    return made.recurrent(kind, options, params, own=True)


def _linear(module: Any) -> Any:
    arrays = _arrays(module, "weight", "bias")
    return made.part(
        Linear, arrays, own=True, in_features=module.in_features, out_features=module.out_features,
        bias=module.bias is not None,
    )  # fmt: skip


def _embedding(module: Any) -> Any:
    check_embedding("module", module)
    sizes = {name: getattr(module, name) for name in ("num_embeddings", "embedding_dim")}
    return made.part(Embedding, _arrays(module, "weight"), own=True, **sizes)


def check_embedding(name: str, module: Any) -> None:
    """Refuse an embedding whose weight changes when it is read."""
    if module.max_norm is not None:
        raise ValueError(
            f"{name} has max_norm={module.max_norm}, which changes the weight at every call,"
            " expected None"
        )


def _layer_norm(module: Any) -> Any:
    if len(module.normalized_shape) != 1:
        raise ValueError(
            f"module normalises the axes {tuple(module.normalized_shape)}, expected the last one"
        )
    arrays = _arrays(module, "weight", "bias")
    if arrays["weight"] is not None and arrays["bias"] is None:
        arrays["bias"] = np.zeros_like(arrays["weight"])
    affine = arrays["weight"] is not None
    size = module.normalized_shape[0]
    return made.part(LayerNorm, arrays, own=True, size=size, eps=module.eps, affine=affine)


def _batch_norm(module: Any) -> Any:
    if module.running_mean is None:
        raise ValueError(
            "module has no running mean and variance (track_running_stats=False), expected them"
        )
    arrays = _arrays(module, "weight", "bias", "running_mean", "running_var")
    return made.part(
        BatchNorm, arrays, own=True, size=module.num_features, eps=module.eps,
        momentum=module.momentum, affine=arrays["weight"] is not None,
    )  # fmt: skip


def check_momentum(name: str, module: Any) -> None:
    """Refuse a norm whose running mean and variance are averages of all batches alike."""
    if module.momentum is None:
        raise ValueError(
            f"{name} has momentum=None, an average over all batches, expected a number: for"
            " inference any will do"
        )


def _conv(module: Any) -> Any:
    if module.groups != 1 or module.padding_mode != "zeros":
        raise ValueError(
            f"module has groups={module.groups} and padding_mode={module.padding_mode!r},"
            " expected 1 and 'zeros'"
        )
    padding = module.padding
    return made.part(
        Conv1d, _arrays(module, "weight", "bias"), own=True, in_channels=module.in_channels,
        out_channels=module.out_channels, kernel_size=module.kernel_size[0],
        stride=module.stride[0], dilation=module.dilation[0], bias=module.bias is not None,
        padding=padding if isinstance(padding, str) else padding[0], batch_first=True,
    )  # fmt: skip


def _dropout(module: Any) -> Any:
    return Dropout(module.p) if module.p < 1 else Activation("identity")


_READERS = {
    "Linear": _linear,
    "NonDynamicallyQuantizableLinear": _linear,
    "Embedding": _embedding,
    "LayerNorm": _layer_norm,
    "BatchNorm1d": _batch_norm,
    "Conv1d": _conv,
    "Dropout": _dropout,
}
_FUNCTIONS = {
    "ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "SiLU": "silu", "Mish": "mish",
    "SELU": "selu", "ReLU6": "relu6", "Hardswish": "hard_swish", "Softsign": "softsign",
    "LogSigmoid": "log_sigmoid", "Identity": "identity",
}  # fmt: skip


def function_of(module: Any) -> Any:
    """What `Activation` calls the function of a module; None where it has none."""
    name = type(module).__name__
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    if name == "Hardsigmoid":
        return ("hard_sigmoid", 1 / 6, 0.5)
    if name == "GELU":
        return "gelu" if module.approximate == "none" else "gelu_tanh"
    if name == "LeakyReLU":
        return ("leaky_relu", float(module.negative_slope))
    if name in ("ELU", "CELU"):
        return (name.lower(), float(module.alpha))
    if name == "Hardtanh":
        return ("hard_tanh", float(module.min_val), float(module.max_val))
    if name == "Softplus":
        if told := other_softplus(module.beta, module.threshold):
            raise ValueError(f"module is a Softplus with {told}")
        return "softplus"
    if name in ("Softmax", "LogSoftmax") and module.dim == -1:
        return "softmax" if name == "Softmax" else "log_softmax"
    return None


def other_softplus(beta: float, threshold: float) -> str:
    """What makes a softplus another function, x itself above a threshold or scaled, or ""."""
    if beta == 1 and 20 <= threshold <= 80:  # from 20 on it is x as far as float32 goes
        return ""
    return f"beta={beta} and threshold={threshold}, expected 1 and 20"


# What an exported graph leaves out


@contextmanager
def marked_dropout(module: Any) -> Iterator[None]:
    """A module whose Dropout modules show in its graph, where they would do nothing."""
    import torch

    found = [m for m in module.modules() if type(m) is torch.nn.Dropout and 0 < m.p < 1]
    found = [member for member in found if "forward" not in vars(member)]
    mark = _mark() if found else None
    try:
        for member in found:
            member.forward = partial(_marked, mark, member.p)
        yield
    finally:
        for member in found:
            member.__dict__.pop("forward", None)


def _marked(mark: Any, p: float, input: Any) -> Any:
    return mark(input, p)


@lru_cache(maxsize=1)
def _mark() -> Any:
    """An operator that gives what it reads, and that no exporter takes away."""
    import torch

    library = torch.library.Library("rnncore_convert", "DEF")
    library.define("marked_dropout(Tensor x, float p) -> Tensor")
    library.impl("marked_dropout", lambda x, p: x.clone(), "CompositeExplicitAutograd")
    _LIBRARIES.append(library)  # it lives as long as this object
    return torch.ops.rnncore_convert.marked_dropout.default


_LIBRARIES: list[Any] = []


# Nested Sequentials


def first_outputs(module: Any) -> Any:
    """A module that runs Sequentials as PyTorch does, but hands on the first output of a layer.

    PyTorch's own hand the pair of a recurrent layer on, which no other layer reads.
    """
    import torch

    class FirstOutputs(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            for name, member in module._modules.items():
                nested = type(member) is torch.nn.Sequential
                self.add_module(name, first_outputs(member) if nested else member)

        def forward(self, x: Any) -> Any:
            for member in self._modules.values():
                x = member(x)
                x = x[0] if isinstance(x, tuple) else x
            return x

    wrapped = FirstOutputs()
    wrapped.train(module.training)
    return wrapped


def flat(module: Any) -> list[Any]:
    """The modules of nested Sequentials, in order."""
    import torch

    found = []
    for member in module:
        found += flat(member) if type(member) is torch.nn.Sequential else [member]
    return found


def example_for(module: Any) -> Any:
    """An x that a Sequential of known modules can read; None where it cannot be told.

    The first module with a size tells the features, and the kinds of all how many axes there are.
    """
    import torch

    members = flat(module)
    names = [type(member).__name__ for member in members]
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    over_time = _RECURRENT + ("Conv1d", "MaxPool1d", "AvgPool1d", "AdaptiveAvgPool1d", "Embedding")
    steps = any(name in over_time or name.startswith("Adaptive") for name in names)
    for member, name in zip(members, names, strict=True):
        if name == "Embedding":
            generator = torch.Generator().manual_seed(0)
            return torch.randint(member.num_embeddings, (2, 37), generator=generator)
        shape: Sequence[int] | None = None
        if name in _RECURRENT:
            shape = (37, 2, member.input_size)
        elif name == "Conv1d":
            shape = (2, member.in_channels, _steps(members))
        elif name == "Linear":
            shape = (2, 37, member.in_features) if steps else (2, member.in_features)
        elif name == "LayerNorm" and len(member.normalized_shape) == 1:
            size = member.normalized_shape[0]
            shape = (2, 37, size) if steps else (2, size)
        elif name == "BatchNorm1d":
            shape = (2, member.num_features, 37) if "Conv1d" in names else (2, member.num_features)
        if shape is not None:
            generator = torch.Generator().manual_seed(0)
            return torch.randn(tuple(shape), generator=generator, dtype=dtype)
    return None


def _steps(members: Sequence[Any]) -> int:
    """Enough for all windows of a Sequential."""
    needed = 8
    for member in reversed(members):
        size, stride = (_first(getattr(member, n, 1)) for n in ("kernel_size", "stride"))
        needed = (needed - 1) * (stride or size) + size * _first(getattr(member, "dilation", 1))
    return min(needed, 4096)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value or 1)
