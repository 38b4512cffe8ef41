"""Whether a training fits into the memory of this machine, before any of it is asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore._check import memory
from rnncore.language_model.files import CELLS, VOCABULARY, cell_shapes
from rnncore.layers.parameters import count

_COPIES = 4  # of every parameter: itself, its gradient, and two means of Adam
_ARRAY = 200  # bytes that an array takes besides its numbers


def check(options: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Refuse what would need more than there is, and name the option that is furthest from usual.

    Parameters
    ----------
    options : cell, layers, hidden, embedding, dtype, batch, window
    usual : the same with values that fit

    Raises
    ------
    ValueError that names the option of the command.
    """
    need, there = _least_bytes(**options), memory()
    if need <= there:
        return
    numbers = [name for name, value in usual.items() if isinstance(value, int)]
    name = max(numbers, key=lambda name: options[name] // usual[name])
    raise ValueError(
        f"--{name} {options[name]} is too large: the training needs at least {_gib(need)} of"
        f" memory, and this machine has {_gib(there)}"
    )


def _least_bytes(
    *, cell: str, layers: int, hidden: int, embedding: int, dtype: str, batch: int, window: int
) -> int:
    """What parameters, optimiser and the traces of one step take together."""
    gates = len(CELLS[cell]._kind.gates)
    first, other = (count(cell_shapes(cell, inputs, hidden)) for inputs in (embedding, hidden))
    parameters = VOCABULARY * (embedding + hidden + 1) + first + (layers - 1) * other
    trace = batch * window * (2 * embedding + layers * hidden * (gates + 2) + 2 * VOCABULARY)
    arrays = 4 * layers + 3
    size = np.dtype(dtype).itemsize
    return _COPIES * (size * parameters + _ARRAY * arrays) + size * trace


def _gib(size: int) -> str:
    return f"{min(size, 2**90) / 2**30:,.3g} GiB"
