"""Nodes that turn axes and reckon with sizes: what they make of a chain's output, and of shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnncore.convert.onnx_values import (
    Const,
    Dims,
    Filled,
    Flow,
    LengthsIn,
    MisfitError,
    OfLengths,
    Size,
    StateIn,
    StateOut,
    product,
)  # fmt: skip

__all__ = ["SHAPES", "axes_of", "ints_of", "kept", "product_of_sizes", "times"]


def ints_of(value: Any, what: str) -> list[int]:
    """The integers of a constant."""
    if isinstance(value, Const) and value.array.dtype.kind in "iu":
        return [int(number) for number in value.array.ravel()]
    if isinstance(value, Dims) and all(size.number is not None for size in value.sizes):
        return [int(size.factor) for size in value.sizes]
    raise MisfitError(f"its {what} are no constant")


def as_dims(value: Any) -> Dims | None:
    """Sizes, of which constants of integers are some."""
    if isinstance(value, Dims):
        return value
    if isinstance(value, Const) and value.array.dtype.kind in "iu" and value.array.ndim < 2:
        sizes = tuple(Size(int(number)) for number in value.array.ravel())
        return Dims(sizes, value.array.ndim == 0)
    return None


def axes_of(call: Any, since: int) -> list[int] | None:
    """The axes of a node: an attribute before this opset, an input from then on."""
    found: list[int] | None = call.node.attributes.get("axes")
    if found is None and len(call.inputs) > 1 and call.inputs[1] is not None:
        found = ints_of(call.inputs[1], "axes")
    return found


def sizes_of(flow: Flow) -> tuple[Size, ...]:
    if flow.width is None and "F" in flow.axes:
        raise MisfitError("it reads how many features there are, before any layer says so")
    known = {"F": Size(flow.width or 0), "D": Size(flow.directions), "-": Size(1)}
    known["01"] = Size(1, ("0", "1"))
    return tuple(known.get(axis, Size(1, (axis,))) for axis in flow.axes)


# Shapes


def _shape(call: Any) -> Any:
    flow = call.inputs[0]
    if isinstance(flow, StateIn | LengthsIn | StateOut):
        return None
    if not isinstance(flow, Flow):
        raise MisfitError("it reads the shape of no layer's output")
    start, end = call.node.attributes.get("start", 0), call.node.attributes.get("end")
    if flow.width is None and "F" in flow.axes:
        flow = flow._replace(width=call.declared_width or 0)
    return Dims(sizes_of(flow)[start:end])


def _constant_of_shape(call: Any) -> Any:
    value = call.node.attributes.get("value")
    return Filled(0.0 if value is None else float(np.ravel(value)[0]))


def _expand(call: Any) -> Any:
    value = call.inputs[0]
    if isinstance(value, Const) and value.array.size and (value.array == value.array.flat[0]).all():
        return Filled(float(value.array.flat[0]))
    if isinstance(value, Filled):
        return value
    if isinstance(value, Dims) and len(value.sizes) == 1:
        return Filled(value.sizes[0])
    if isinstance(value, Flow):
        return _same_shape(value, call.inputs[1])
    raise MisfitError("it repeats what is no constant")


def _same_shape(flow: Flow, target: Any) -> Flow:
    """A flow that is expanded to the shape that it has."""
    dims = as_dims(target)
    if (
        dims is None
        or len(dims.sizes) != len(flow.axes)
        or any(
            size.number != 1 and size != own
            for size, own in zip(dims.sizes, sizes_of(flow), strict=True)
        )
    ):
        raise MisfitError("it repeats the output of a layer")
    return flow


def _elements(call: Any, what: Callable[[list[Size]], Any]) -> Dims | None:
    """`what` of the sizes of the first input."""
    dims = as_dims(call.inputs[0])
    return None if dims is None else what(list(dims.sizes))


# Axes


def _turned(flow: Flow, order: Any) -> Flow:
    return flow._replace(axes=tuple(flow.axes[k] for k in order))


def _transpose(call: Any) -> Any:
    value = call.inputs[0]
    if isinstance(value, Flow):
        perm = call.node.attributes.get("perm") or range(len(value.axes))[::-1]
        if sorted(perm) != list(range(len(value.axes))):
            raise MisfitError(f"it turns {len(value.axes)} axes by {list(perm)}")
        return _turned(value, perm)
    return kept(value)


def kept(value: Any) -> Any:
    """States and lengths stay what they are, however they are turned and cut."""
    if isinstance(value, StateOut):
        return StateOut()
    if isinstance(value, LengthsIn):
        return value._replace(axes=None)
    if isinstance(value, StateIn | Filled):
        return value
    raise MisfitError("it turns what is no output of a layer")


def _squeeze(call: Any) -> Any:
    value, axes = call.inputs[0], axes_of(call, 13)
    if isinstance(value, Dims):
        return value._replace(scalar=True)
    if isinstance(value, StateOut) and value.last is not None:
        return StateOut((_without(value.last, axes),))
    return _without(value, axes) if isinstance(value, Flow) else kept(value)


def _without(flow: Flow, axes: list[int] | None) -> Flow:
    ones = {k for k, axis in enumerate(flow.axes) if axis == "-"}
    ones |= {k for k, axis in enumerate(flow.axes) if axis == "D" and flow.directions == 1}
    own = ones if axes is None else {axis % len(flow.axes) for axis in axes}
    if not own <= ones:
        raise MisfitError("it takes away an axis that has more than one place")
    return flow._replace(axes=tuple(a for k, a in enumerate(flow.axes) if k not in own))


def _unsqueeze(call: Any) -> Any:
    value, axes = call.inputs[0], axes_of(call, 13)
    if isinstance(value, Dims):
        return value._replace(scalar=False)
    known = isinstance(value, Flow | OfLengths | LengthsIn) and value.axes is not None
    if not known or axes is None:
        return kept(value)
    found, total = list(value.axes), len(value.axes) + len(axes)
    for axis in sorted(axis % total for axis in axes):
        found.insert(axis, "-")
    return value._replace(axes=tuple(found))


def _flatten(call: Any) -> Any:
    flow, axis = call.inputs[0], call.node.attributes.get("axis", 1)
    if not isinstance(flow, Flow):
        return kept(flow)
    axis = axis + len(flow.axes) if axis < 0 else axis
    sizes = sizes_of(flow)
    return _reshaped(flow, [product(sizes[:axis]), product(sizes[axis:])])


def _reshape(call: Any) -> Any:
    value, target = call.inputs[0], as_dims(call.inputs[1])
    if isinstance(value, Dims):
        return value._replace(scalar=target is not None and not target.sizes)
    if not isinstance(value, Flow):
        return kept(value)
    if target is None:
        raise MisfitError("its shape is made of what is no shape")
    sizes = list(target.sizes)
    for k, size in enumerate(sizes):
        if size == Size(0) and not call.node.attributes.get("allowzero") and k < len(value.axes):
            sizes[k] = sizes_of(value)[k]
    return _reshaped(value, sizes, call.declared)


def _reshaped(flow: Flow, sizes: list[Size], declared: Mapping[str, int] | None = None) -> Flow:
    """The flow with axes of these sizes, if they are its axes with those of size 1 moved.

    Directions followed by features are features; both axes of the input may become one and come
    apart again. A number where the input has a size of its own is that size as exported.
    """
    core = [axis for axis in flow.axes if axis != "-"]
    if flow.directions == 1:
        core = [axis for axis in core if axis != "D"]
    for k in range(len(core) - 1, 0, -1):
        if core[k - 1 : k + 1] == ["D", "F"]:
            core[k - 1 : k + 1] = ["DF"]
    layouts = [core]
    if len(core) > 1 and sorted(core[:2]) == ["0", "1"]:
        layouts.append(["01" if core[:2] == ["0", "1"] else "10", *core[2:]])
    if core and core[0] in ("01", "10"):
        layouts.append([*core[0], *core[1:]])
    for axes in layouts:
        found = _aligned(flow, axes, sizes, declared or {})
        if found is not None:
            width = flow.width
            if "DF" in found:
                assert width is not None
                width *= flow.directions
            new = tuple("F" if axis == "DF" else axis for axis in found)
            dirs = flow.directions if "D" in new else 1
            return flow._replace(axes=new, width=width, directions=dirs)
    raise MisfitError("it cuts its input into axes that no layer here gives")


def _aligned(
    flow: Flow, axes: list[str], sizes: list[Size], declared: Mapping[str, int]
) -> list[str] | None:
    """`axes` with axes of size 1 among them, as `sizes` has them."""
    left, found = list(axes), []
    spare = len(sizes) - len(axes)  # axes of size 1 to be put in
    for size in sizes:
        if left and _matches(flow, left[0], size, declared):
            found.append(left.pop(0))
        elif size == Size(1) and spare > 0:
            found.append("-")
            spare -= 1
        else:
            return None
    return None if left else found


def _matches(flow: Flow, axis: str, size: Size, declared: Mapping[str, int]) -> bool:
    if size == Size(-1):
        return True
    width = flow.width
    known = {"F": width, "D": flow.directions, "DF": (width or 0) * flow.directions}
    if axis in known:
        return size == Size(known[axis] or 0)
    if size.number is None:
        return size == Size(1, tuple(sorted(axis)))
    if size.number == 1:
        return declared.get(axis) == 1
    return len(axis) == 1 and declared.get(axis, size.number) == size.number


# Reckoning with sizes


def _concat(call: Any) -> Any:
    if all(isinstance(value, StateOut) for value in call.inputs):
        return StateOut(tuple(last for value in call.inputs for last in value.lasts))
    filled = [value.value for value in call.inputs if isinstance(value, Filled)]
    if len(filled) == len(call.inputs) and len(set(filled)) == 1:
        return call.inputs[0]
    parts = [as_dims(value) for value in call.inputs]
    if any(part is None for part in parts):
        raise MisfitError("it joins what is not the output of one layer")
    return Dims(tuple(size for part in parts for size in part.sizes))  # type: ignore[union-attr]


def _split_states(call: Any) -> Any:
    value = call.inputs[0]
    if not isinstance(value, StateIn | Filled | StateOut):
        raise MisfitError("it splits the output of a layer")
    return tuple(kept(value) for _ in call.node.outputs)


def times(call: Any) -> Any:
    a, b = map(as_dims, call.inputs)
    if a is None or b is None or len(a.sizes) != 1 or len(b.sizes) != 1:
        return None
    return Dims((product((a.sizes[0], b.sizes[0])),), a.scalar and b.scalar)


def product_of_sizes(call: Any) -> Any:
    keep = bool(call.node.attributes.get("keepdims", 1))
    return _elements(call, lambda sizes: Dims((product(tuple(sizes)),), not keep))


def _pass(call: Any) -> Any:
    return call.inputs[0]


def _cast(call: Any) -> Any:
    """Numbers stay what they are: floats float32 or float64, ids integers of 32 or 64 bits."""
    value, to = call.inputs[0], call.node.attributes.get("to")
    right = True
    if isinstance(value, Flow):
        right = to in ((1, 11) if "F" in value.axes else (6, 7))
    elif isinstance(value, StateIn | StateOut):
        right = to in (1, 11)
    if not right:
        raise MisfitError(f"it makes numbers of type {to} of its input, which loses some of it")
    return value


def _tile(call: Any) -> Any:
    value = call.inputs[0]
    if not isinstance(value, Flow):
        return _expand(call)
    if any(repeat != 1 for repeat in ints_of(call.inputs[1], "repeats")):
        raise MisfitError("it repeats the output of a layer")
    return value


SHAPES: Mapping[str, Callable[[Any], Any]] = {
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Dropout": _pass,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _pass,
    "Reshape": _reshape,
    "Shape": _shape,
    "Split": _split_states,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
