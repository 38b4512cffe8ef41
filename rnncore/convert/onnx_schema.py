"""What nodes have to be by the operators' own descriptions: how many inputs, which attributes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rnncore.convert.onnx_file import library

__all__ = ["check_node"]


@lru_cache(maxsize=2000)
def _described(op: str, opset: int) -> tuple[int, dict[str, int]] | None:
    """The fewest inputs, and the types of attributes by their names; None for no such operator."""
    defs = library().defs
    try:
        schema = defs.get_schema(op, opset, "")
    except defs.SchemaError:
        return None
    kinds = {name: int(attribute.type.value) for name, attribute in schema.attributes.items()}
    return schema.min_input, kinds


def check_node(proto: Any, opset: int) -> None:
    """Raise ValueError, which names the node, for what its operator does not have.

    Attributes that the operator does not know are left to those who read them.
    """
    found = _described(proto.op_type, opset)
    if found is None:
        return
    fewest, kinds = found
    name = f"node {proto.name!r} ({proto.op_type})"
    if len(proto.input) < fewest:
        raise ValueError(f"{name} has {len(proto.input)} inputs, expected at least {fewest}")
    for attribute in proto.attribute:
        expected = kinds.get(attribute.name, attribute.type)
        if attribute.type != expected:
            names = library().AttributeProto.AttributeType
            came = names.Name(attribute.type)
            raise ValueError(
                f"{name} has {attribute.name} of type {came}, expected {names.Name(expected)}"
            )
