"""Calls whose rows lie on several devices: each computes its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

Axes = Sequence[int | None]  # that of the rows, of every array; None: it has none


def by_rows(call: Callable[..., Any], of_given: Axes, of_results: Axes) -> Callable[..., Any]:
    """`call`, a function of arrays of any number of rows, as XLA may share it between devices.

    What is given without rows is the same for all of them, and of results without rows the call
    gives a sum over its own.
    """

    def shardings(mesh: Any, names: Any, axes: Axes, shapes: Sequence[Any]) -> tuple[Any, ...]:
        found = []
        for axis, shape in zip(axes, shapes, strict=True):
            names_of = [names if k == axis else None for k in range(len(shape.shape))]
            found.append(NamedSharding(mesh, PartitionSpec(*names_of)))
        return tuple(found)

    def names_of_rows(given: Sequence[Any]) -> Any:
        """The axes of the mesh that share the rows of the first array."""
        spec, axis = given[0].sharding.spec, of_given[0]
        return spec[axis] if axis is not None and axis < len(spec) else None

    def partition(mesh: Any, given: Sequence[Any], results: Sequence[Any]) -> tuple[Any, ...]:
        names = names_of_rows(given)

        def own(*arrays: Any) -> Any:
            found = call(*arrays)
            if not names:
                return found
            return [
                jax.lax.psum(each, names) if axis is None else each
                for each, axis in zip(found, of_results, strict=True)
            ]

        of_all = shardings(mesh, names, of_results, results)
        return mesh, own, list(of_all), shardings(mesh, names, of_given, given)

    def infer(mesh: Any, given: Sequence[Any], results: Sequence[Any]) -> Any:
        return list(shardings(mesh, names_of_rows(given), of_results, results))

    def rule(mesh: Any, given: Sequence[Any], results: Sequence[Any]) -> Any:
        """Every axis of every array by a name of its own, but for that of the rows."""
        others: list[str] = []

        def named(axes: Axes, arrays: Sequence[Any]) -> str:
            return ", ".join(
                " ".join("b" if k == axis else other() for k in range(len(array.shape)))
                for axis, array in zip(axes, arrays, strict=True)
            )

        def other() -> str:
            others.append(f"a{len(others)}")
            return others[-1]

        text = f"{named(of_given, given)} -> {named(of_results, results)}"
        return text, {"need_replication_factors": tuple(others)}

    shared = custom_partitioning(call)
    shared.def_partition(partition, infer_sharding_from_operands=infer, sharding_rule=rule)
    found: Callable[..., Any] = shared
    return found
