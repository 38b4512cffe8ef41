"""Hooks of modules: those that make a weight anew are called, others are in a graph alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["hook_of", "renewed"]


def hook_of(module: Any) -> str:
    """Of a layer, or a Sequential and those in it, what no attribute tells; "" without any."""
    import torch
    from torch.nn.modules import module as common

    everywhere = [common._global_forward_pre_hooks, common._global_forward_hooks]
    for name, member in module.named_modules():
        if member is not module and type(member) is not torch.nn.Sequential:
            continue
        place = f"{name or 'module'} ({type(member).__name__})"
        if type(member) is torch.nn.Sequential and "forward" in vars(member):
            return f"{place} has a forward of its own"
        for hooks in (member._forward_pre_hooks, member._forward_hooks, *everywhere):
            for hook in hooks.values():
                if not isinstance(hook, _renewing()):
                    told = getattr(hook, "__qualname__", type(hook).__qualname__)
                    return f"{place} has the hook {told}"
    return ""


def _renewing() -> tuple[type[Any], ...]:
    """The classes of PyTorch's hooks that do no more than compute a weight from others."""
    from torch.nn.utils.prune import BasePruningMethod
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    return WeightNorm, SpectralNorm, BasePruningMethod


@contextmanager
def renewed(module: Any) -> Iterator[None]:
    """A module in eval mode whose weights are what its hooks make of them, and as it was after."""
    import torch

    before = []
    try:
        with torch.no_grad():
            for member in module.modules():
                for hook in member._forward_pre_hooks.values():
                    if isinstance(hook, _renewing()):
                        name = getattr(hook, "name", None) or hook._tensor_name
                        before.append((member, name, getattr(member, name)))
                        hook(member, ())
        yield
    finally:
        for member, name, value in reversed(before):
            setattr(member, name, value)
