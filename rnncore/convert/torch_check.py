"""Whether a converted model gives what the module gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert.widened import check_tensor

# Of the largest number: what float32 sums of another order come to, and others do not.
_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


class Example(NamedTuple):
    """What a module is called with.

    Attributes
    ----------
    args : as the module takes them: x, and initial states, which may be pairs
    tensors : all of them, in order
    """

    args: tuple[Any, ...]
    tensors: list[Any]

    @property
    def lengths(self) -> np.ndarray | None:
        """Of the rows, where a module packs: its other input of integers."""
        for one in self.tensors[1:]:
            if one.dim() == 1 and not one.is_floating_point():
                found: np.ndarray = one.detach().numpy().astype(np.int64)
                return found
        return None

    @property
    def arrays(self) -> list[np.ndarray]:
        return [one.detach().numpy() for one in self.tensors]

    def widened(self) -> Example:
        """With float32 in place of half precision."""
        import torch

        def wide(value: Any) -> Any:
            if isinstance(value, tuple | list):
                return tuple(wide(one) for one in value)
            narrow = value is not None and value.dtype in (torch.float16, torch.bfloat16)
            return value.float() if narrow else value

        return example_of(wide(self.args))


def example_of(example: Any) -> Example:
    """An example as users give it: a tensor or array, or a tuple of x and what follows.

    Raises
    ------
    TypeError for anything else; ValueError for what holds no tensor.
    """
    import torch

    found: list[Any] = []

    def taken(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return tuple(taken(one) for one in value)
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value))
        if isinstance(value, torch.Tensor):
            check_tensor("example", value)
            found.append(value.detach())
            return found[-1]
        if value is not None:
            raise TypeError(
                f"example is of type {type(value).__name__}, expected a tensor or an array"
            )
        return None

    args = taken(example)
    if not found:
        raise ValueError("example holds no tensor, expected x")
    return Example(args if isinstance(args, tuple) else (args,), found)


def run_module(module: Any, example: Example) -> np.ndarray:
    """The first output of a module, as an array."""
    import torch

    with torch.no_grad():
        y = module(*example.args)
    while isinstance(y, tuple | list) and y:
        y = y[0]
    if not isinstance(y, torch.Tensor):
        raise ValueError(f"module gives {type(y).__name__}, expected a tensor first")
    found: np.ndarray = y.detach().resolve_neg().numpy()
    return found


def run_model(
    model: Any, example: Example, states: Sequence[tuple[int, ...] | None], lengths: Any = None
) -> np.ndarray:
    """The output of a model, with its states taken from the module's inputs."""
    x, *_ = arrays = example.arrays
    state: Any = tuple([_state(arrays, one) for one in states])
    y, _ = model(x, None if all(one is None for one in state) else state, lengths=lengths)
    found: np.ndarray = y
    return found


def within(y: np.ndarray, roles: Sequence[str], lengths: np.ndarray) -> np.ndarray:
    """y with 0 past the rows' ends, where it has steps."""
    if "T" not in roles or "B" not in roles or y.ndim != len(roles):
        return y
    turned = np.moveaxis(y.copy(), [roles.index("B"), roles.index("T")], [0, 1])
    turned[np.arange(turned.shape[1]) >= lengths[:, np.newaxis]] = 0
    return np.moveaxis(turned, [0, 1], [roles.index("B"), roles.index("T")])


def run_layer(layer: Any, example: Example, states: Sequence[tuple[int, ...] | None]) -> np.ndarray:
    """The same of a single layer or cell."""
    x, *_ = arrays = example.arrays
    y = layer(x, *[_state(arrays, one) for one in states])
    while isinstance(y, tuple):
        y = y[0]
    found: np.ndarray = y
    return found


def _state(arrays: Sequence[np.ndarray], places: tuple[int, ...] | None) -> Any:
    if places is None:
        return None
    parts = tuple([arrays[k] for k in places])
    return parts[0] if len(parts) == 1 else parts


def compare(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Raise ValueError that tells how far two outputs are apart, if they are."""
    if found.shape != expected.shape:
        raise ValueError(
            f"the converted model gives shape {found.shape} for {what}, and the module"
            f" {expected.shape}: it is no chain of layers"
        )
    if not found.size:
        return
    known = np.isfinite(expected)
    if not np.array_equal(known, np.isfinite(found)):
        raise ValueError(f"the converted model and the module differ in what is finite, for {what}")
    largest = float(np.abs(expected[known]).max(initial=0.0))
    gap = float(np.abs(found[known] - expected[known]).max(initial=0.0))
    allowed = _TOLERANCE.get(found.dtype.name, 1e-4)
    if gap > allowed * max(largest, 1e-3):
        raise ValueError(
            f"the converted model differs from the module by {gap:.3g} for {what}, whose outputs"
            f" are up to {largest:.3g}: it is no chain of layers"
        )


def others_like(example: Example, roles: Sequence[str], states: set[int]) -> Example | None:
    """Of more rows and more steps than an example; None where that is not known.

    Parameters
    ----------
    example : with x first
    roles : of the axes of x
    states : the places of initial states, (.., B, ..) or without a batch; lengths grow as well
    """
    import torch

    more = {"B": 1, "T": 3}
    if not any(role in more for role in roles):
        return None
    rows, steps = (more[role] if role in roles else 0 for role in "BT")
    generator = torch.Generator().manual_seed(0)

    def drawn(like: Any, added: Sequence[int]) -> Any:
        shape = [size + k for size, k in zip(like.shape, added, strict=True)]
        if like.is_floating_point():
            return torch.randn(shape, generator=generator, dtype=like.dtype)
        top = int(like.max()) + 1 if like.numel() else 1
        return torch.randint(0, max(top, 1), shape, generator=generator, dtype=like.dtype)

    found = [drawn(example.tensors[0], [more.get(role, 0) for role in roles])]
    for k, one in enumerate(example.tensors[1:], 1):
        if k in states:
            one = drawn(one, (0, rows, 0) if one.dim() == 3 else (0,) * one.dim())
        elif one.dim() == 1 and not one.is_floating_point() and len(one):  # in falling order still
            one = torch.cat([one, *[one.min().reshape(1)] * rows]) + steps
        found.append(one)
    tensors = iter(found)

    def placed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple([placed(one) for one in value])
        return None if value is None else next(tensors)

    return example_of(placed(example.args))


def with_steps(example: Example) -> Example | None:
    """Of rows of features some with an axis more: a module that was given no x may see either.

    There are more steps than features, so that what takes one for the other cannot run.
    """
    import torch

    x = example.tensors[0]
    if len(example.tensors) > 1 or x.ndim != 2 or not x.is_floating_point():
        return None
    generator = torch.Generator().manual_seed(0)
    shape = x.shape[0], x.shape[1] + 1, x.shape[1]
    return example_of(torch.randn(shape, generator=generator, dtype=x.dtype))
