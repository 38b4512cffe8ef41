"""A model as a table: its layers, and how large they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rnncore.layers.frozen import Frozen
from rnncore.layers.parameters import count
from rnncore.models.members import Composite, leaves


def table(model: Any) -> str:
    """A line for each layer, with how many numbers its parameters are, and all of them."""
    rows = list(_rows(model, 1))
    wide = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [f"{name:{wide[0]}}  {text:{wide[1]}}  {size:>{wide[2]}}" for name, text, size in rows]
    last = f"  {_numbers(model):,} parameters, {nbytes(model):,} bytes"
    return "\n".join([f"{type(model).__name__}(", *lines, f"{last})"])


def nbytes(member: Any) -> int:
    """Of packed weights where layers are frozen, and of the parameters of others."""
    return sum(
        leaf.nbytes
        if isinstance(leaf, Frozen)
        else sum(value.nbytes for value in leaf.params.values())
        for _, leaf in leaves(member)
    )


def _numbers(member: Any) -> int:
    """How many numbers all parameters are."""
    layers = [leaf._layer if isinstance(leaf, Frozen) else leaf for _, leaf in leaves(member)]
    return sum(count(layer._shapes) for layer in layers)


def _rows(model: Any, depth: int) -> Iterator[tuple[str, str, str]]:
    indent = "  " * depth
    for name, member in zip(model.names, model, strict=True):
        chain = isinstance(member, Composite) and hasattr(member, "names")
        text = f"{type(member).__name__}:" if chain else repr(member)
        yield f"{indent}{name}", text, f"{_numbers(member):,}"
        if chain:
            yield from _rows(member, depth + 1)
