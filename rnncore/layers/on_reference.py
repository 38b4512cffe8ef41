"""A layer that computes in NumPy: its twin on `rnncore.reference`, to compare with and to time."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from rnncore._engine.runner import TWIN
from rnncore.layers.recurrent import RecurrentLayer

Layer = TypeVar("Layer", bound=RecurrentLayer[Any])


def on_reference(layer: Layer) -> Layer:
    """A layer with the same options and the same parameter arrays that computes in NumPy."""
    twin = copy.copy(layer)
    twin._runner = TWIN
    return twin
