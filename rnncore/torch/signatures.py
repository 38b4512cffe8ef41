"""What `help` and editors show of the constructors: every option by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn


def shown(kind: Any, more: Sequence[str]) -> Callable[..., None]:
    """A constructor that hands on what it is given, and says what that may be.

    As of PyTorch's module, which in turn does not tell of layers; then, by name alone, `more`, with
    the values that they have in the class.
    """

    def constructed(self: Any, *args: Any, **options: Any) -> None:
        super(kind, self).__init__(*args, **options)

    of_layers = issubclass(kind._stock, nn.RNNBase)
    stock = inspect.signature((nn.RNNBase if of_layers else kind._stock).__init__)
    taken = [p for name, p in stock.parameters.items() if name not in ("mode", "proj_size")]
    if "proj_size" in kind._shared:
        taken.insert(-2, stock.parameters["proj_size"])  # before device and dtype
    if "nonlinearity" in kind._shared and of_layers:
        like = stock.parameters["num_layers"]
        place = 1 + taken.index(like)
        taken.insert(place, like.replace(name="nonlinearity", annotation=str, default="tanh"))
    usual = dict(kind._defaults)
    taken = [p.replace(default=usual[p.name]) if p.name in usual else p for p in taken]
    named = inspect.Parameter.KEYWORD_ONLY
    if of_layers:  # by position proj_size comes before them, of layers that have none too
        taken[-2:] = (p.replace(kind=named) for p in taken[-2:])
    own = [inspect.Parameter(name, named, default=getattr(kind, name)) for name in more]
    told: Any = constructed
    told.__signature__ = stock.replace(parameters=[*taken, *own])
    told.__doc__ = kind.__init__.__doc__
    return constructed
