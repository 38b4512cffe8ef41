"""A model of PyTorch whose recurrent layers are computed by rnncore from now on, and back."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.utils import parametrize

from rnncore.torch import cells, layers
from rnncore.torch.module import FOLLOWS, Recurrent

__all__ = ["Report", "replace", "restore"]

_OURS: dict[type[nn.Module], type[Recurrent]] = {
    nn.RNN: layers.RNN,
    nn.GRU: layers.GRU,
    nn.LSTM: layers.LSTM,
    nn.RNNCell: cells.RNNCell,
    nn.GRUCell: cells.GRUCell,
    nn.LSTMCell: cells.LSTMCell,
}
_BASES = (nn.RNNBase, nn.RNNCellBase)  # of PyTorch's own
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}


@dataclass(frozen=True)
class Report:
    """What `replace` or `restore` did with the recurrent modules of a model.

    Attributes
    ----------
    replaced : the names of those that were replaced; "" is the model itself
    left : of the others, the reason by the name
    """

    replaced: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"replaced: {', '.join(map(repr, self.replaced)) or 'nothing'}"]
        lines += [f"left: {name!r}, {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)


def replace(model: nn.Module) -> Report:
    """Let rnncore compute the recurrent layers and cells of a model, in place.

    Every `torch.nn.RNN`, `GRU`, `LSTM` and every such cell in `model`, or `model` itself, becomes
    the module of rnncore.torch of that name: the same object, with the same parameters, hooks and
    flags, so that optimisers and whatever else knows of them go on as they were. It is no instance
    of PyTorch's class any more.

    Returns
    -------
    Report: what was replaced, and what was not and why: quantised modules, parametrised ones
    (replace before the parametrisation), those on another device than the CPU, of another dtype
    than float32 and float64, of a class of its own.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 5))
    >>> print(replace(model))
    replaced: '1'
    >>> model[1]
    GRU(4, 5)
    """
    report = Report()
    for name, module in model.named_modules():
        reason = _why_not(module)
        if reason is None:
            continue
        if reason:
            report.left[name] = reason
        else:
            module.__dict__.pop("_flat_weights", None)
            module.__dict__.pop("_flat_weight_refs", None)
            module.__class__ = _OURS[type(module)]
            module.refresh()
            report.replaced.append(name)
    return report


def restore(model: nn.Module) -> Report:
    """Undo `replace`: let PyTorch compute the recurrent layers and cells of a model, in place.

    Returns
    -------
    Report: what has become PyTorch's module, and what has not since PyTorch does not have it.
    """
    report = Report()
    for name, module in model.named_modules():
        if not isinstance(module, Recurrent):
            continue
        reason = _why_not_back(module)
        if reason:
            report.left[name] = reason
            continue
        for own in (*FOLLOWS, "double_backward"):
            module.__dict__.pop(own, None)
        module.__class__ = _THEIRS[type(module)]
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
        report.replaced.append(name)
    return report


_OWN_FORWARD = "the object has a forward of its own, which calls that of its class as it was"


def _why_not_back(module: Recurrent) -> str:
    """Why a module is left as it is; empty where PyTorch's own takes its place."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        return "it is parametrised: remove the parametrisation first"
    if kind not in _THEIRS:
        if kind.__name__ == kind._kind:
            return f"torch.nn has no {kind.__name__}"
        return f"it is of a class of its own, {kind.__name__}"
    if "forward" in vars(module):
        return _OWN_FORWARD
    options = ("recurrent_dropout", "zoneout", "activations", "clip", *kind._own)
    there = [name for name in options if getattr(module, name) != getattr(kind, name)]
    return f"torch.nn has no {', '.join(there)}" if there else ""


def _why_not(module: nn.Module) -> str | None:
    """Why a module is left as it is; empty where it is replaced, None where it is not recurrent."""
    names = {kind.__name__ for kind in _OURS}
    if type(module) not in _OURS:
        if isinstance(module, tuple(_OURS)):
            if parametrize.is_parametrized(module):
                return "it is parametrised: replace the model before the parametrisation"
            return f"it is of a class of its own, {type(module).__name__}"
        if isinstance(module, torch.jit.ScriptModule):
            return "it is scripted" if module.original_name in names else None
        if type(module).__name__ in names and "quantized" in type(module).__module__:
            return "it is quantised"
        return "it is of a class of its own" if isinstance(module, _BASES) else None
    if "forward" in vars(module):
        return _OWN_FORWARD
    for name, parameter in module.named_parameters():
        if parameter.device.type not in ("cpu", "meta"):
            return f"{name} is on {parameter.device}, and rnncore computes on the CPU"
        if parameter.dtype not in (torch.float32, torch.float64):
            return f"{name} is {parameter.dtype}, and rnncore computes in float32 and float64"
    return ""
