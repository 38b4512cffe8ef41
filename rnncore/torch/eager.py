"""Passes on tensors: their memory is handed to the core as it lies, and its arrays become tensors.

Nothing here is seen by autograd or by tracers; `ops` and `autograd` stand between them and this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, from_numpy

from rnncore._engine import threads
from rnncore._engine.cells import Weights
from rnncore.torch.kernel import NOTHING, Given, Kernel, kernel_of


class Views:
    """The weights of one module as the core reads them: views, kept for the next call.

    They show the memory of the parameters, whatever is written to it and by whom, and are made
    anew when a parameter lies elsewhere. A view keeps the memory that it shows, so that no other
    tensor can have come to lie there.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: tuple[list[int], Kernel, list[Weights]] | None = None

    def last(self, tensors: Sequence[Tensor]) -> tuple[Kernel, list[Weights]] | None:
        """What was made last, if it is of these tensors."""
        made = self._made
        if made is not None and made[0] == [tensor.data_ptr() for tensor in tensors]:
            return made[1:]
        return None

    def of(self, kernel: Kernel, tensors: Sequence[Tensor]) -> list[Weights]:
        """The weights of these tensors, in the order of `kernel.names`."""
        made, at = self._made, [tensor.data_ptr() for tensor in tensors]
        if made is not None and made[0] == at and made[1] is kernel:
            return made[2]
        arrays = [array(name, t) for name, t in zip(kernel.names, tensors, strict=True)]
        weights = kernel.weights(arrays)
        if all(tensor.is_contiguous() for tensor in tensors):
            self._made = at, kernel, weights
        return weights


def array(name: str, tensor: Tensor) -> Any:
    """The numbers of a tensor, not copied."""
    try:
        return tensor.detach().numpy() if tensor.requires_grad else tensor.numpy()
    except (RuntimeError, TypeError):
        if tensor.device.type == "cpu" and not tensor.is_neg():
            raise
    if tensor.is_neg():
        return tensor.detach().resolve_neg().numpy()
    raise RuntimeError(
        f"{name} is on {tensor.device}, expected the CPU, where rnncore computes: "
        "torch.nn has the layer for other devices, and rnncore.torch.restore(model) goes back"
    )


def _arrays(name: str, tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
    return tuple([None if tensor is None else array(name, tensor) for tensor in tensors])


def with_torchs_threads(function: Any, *args: Any) -> Any:
    """Call `function` while a pass may use as many threads as PyTorch's operators use."""
    n = torch.get_num_threads()
    if n == threads.get_num_threads():
        return function(*args)
    with threads.num_threads(min(n, threads.MOST_THREADS)):
        return function(*args)


def given(
    lengths: Tensor | None,
    drops: Sequence[Tensor] = (),
    h_masks: Sequence[Tensor] = (),
    keeps: Sequence[Tensor] = (),
) -> Given:
    """What passes read besides, as arrays."""
    if lengths is None and not (drops or h_masks or keeps):
        return NOTHING
    return Given(
        None if lengths is None else array("lengths", lengths),
        _arrays("a mask of dropout", drops),
        _arrays("a mask of recurrent dropout", h_masks),
        _arrays("a mask of zoneout", keeps),
    )


def quick(views: Views, x: Tensor, state: Any, weights: Sequence[Tensor]) -> Any:
    """(outputs, final state) of the core, for arguments as users have them; None: not without a
    look. A cell has no outputs: None."""
    last = views.last(weights)
    dtype = weights[0].dtype
    if last is None or x.dtype != dtype:
        return None
    if state is not None:
        parts = state if type(state) is tuple else (state,)
        if any(part.dtype != dtype for part in parts):
            return None
        parts = tuple([array("the state", part) for part in parts])
        state = parts if type(state) is tuple else parts[0]
    kernel, own = last
    found = with_torchs_threads(kernel.quick, own, array("x", x), state)
    if found is None:
        return None
    y, final = found
    final = tuple(map(from_numpy, final)) if type(final) is tuple else from_numpy(final)
    return None if y is None else from_numpy(y), final


def infer(
    spec: str,
    views: Views,
    x: Tensor,
    lengths: Tensor | None,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> list[Tensor]:
    """The outputs and the final states."""
    kernel = kernel_of(spec)
    found = with_torchs_threads(
        kernel.infer,
        views.of(kernel, weights),
        array("x", x),
        _arrays("the state", state) if state else (),
        None if lengths is None else array("lengths", lengths),
    )
    return [from_numpy(each) for each in found]


def forward(
    spec: str,
    views: Views,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    given: Given,
    make: Callable[..., Any] = np.empty,
) -> list[Tensor]:
    """The same, and what `backward` reads: a tensor, some of which is left as `make` gives it."""
    kernel = kernel_of(spec)
    size = kernel.reserve(x.shape, bool(given.h_masks), bool(given.keeps))
    reserve = make(size, kernel.dtype)
    found = with_torchs_threads(
        kernel.forward,
        views.of(kernel, weights),
        array("x", x),
        _arrays("the state", state) if state else (),
        given,
        reserve,
    )
    return [from_numpy(each) for each in (*found, reserve)]


def backward(
    spec: str,
    views: Views,
    wanted: Sequence[bool],
    x: Tensor,
    reserve: Tensor,
    weights: Sequence[Tensor],
    given: Given,
    arriving: Sequence[Tensor | None],
) -> list[Tensor]:
    """The gradients that are wanted, of x, of every state and of every weight."""
    kernel = kernel_of(spec)
    found = with_torchs_threads(
        kernel.backward,
        views.of(kernel, weights),
        array("x", x),
        given,
        array("what forward has left", reserve),
        _arrays("a gradient", arriving),
        wanted,
    )
    return [from_numpy(each) for each in found]
