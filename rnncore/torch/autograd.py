"""The passes as functions that PyTorch differentiates, transforms and traces.

`run` is what the modules call. It takes the shortest way there is: the pass itself where nobody
looks on, a `Function` where gradients or transforms are wanted, an operator where a tracer is at
work. A `Function` saves tensors and nothing else, so that PyTorch sees when one of them is changed
between forward and backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rnncore.torch import eager, ops, second
from rnncore.torch.eager import Views
from rnncore.torch.kernel import kernel_of

_ops = torch.ops.rnncore


class Sizes(NamedTuple):
    """How many tensors of each sort follow upon each other, where all stand in a row."""

    state: int
    weights: int
    drops: int
    h_masks: int
    keeps: int


class Call(NamedTuple):
    """What is called, besides tensors."""

    spec: str
    sizes: Sizes
    states: int  # of the cell
    double_backward: bool
    views: Views | None  # None where a tracer is at work, which cannot look into them


Tensors = Sequence[Tensor]
Masks = Sequence[Tensors]  # of dropout, of recurrent dropout, of zoneout


def run(
    spec: str,
    views: Views,
    x: Tensor,
    lengths: Tensor | None,
    state: Tensors,
    weights: Tensors,
    masks: Masks = ((), (), ()),
    states: int = 1,
    double_backward: bool = False,
) -> Sequence[Tensor]:
    """The outputs and the final states of a layer.

    `state` is empty for zeros, else it has all `states`. `masks` are those of dropout between the
    layers, of recurrent dropout and of zoneout, as in `kernel.Given`.
    """
    traced = _is_traced(x)
    if traced and (torch.compiler.is_exporting() or torch.jit.is_tracing()):
        # What is written down is the operator, which knows its gradient.
        return _exported(spec, x, lengths, state, weights, masks)
    if _needs_function(x, state, weights):
        sizes = Sizes(len(state), len(weights), *map(len, masks))
        call = Call(spec, sizes, states, double_backward, None if traced else views)
        given = call, x, lengths, *state, *weights, *chain(*masks)
        if traced:
            return TracedForward.apply(*given)[:-1]
        if _is_transformed():
            return Forward.apply(*given)[:-1]
        return _apply_directly(*given)
    if any(masks):
        return _forward(spec, None if traced else views, x, lengths, state, weights, masks)[:-1]
    if traced:
        return _ops.infer(spec, x, lengths, state, weights)
    return eager.infer(spec, views, x, lengths, state, weights)


def _exported(
    spec: str, x: Tensor, lengths: Tensor | None, state: Tensors, weights: Tensors, masks: Masks
) -> Sequence[Tensor]:
    if any(masks):
        return _ops.forward(spec, x, lengths, state, weights, *masks)[:-1]
    return _ops.infer(spec, x, lengths, state, weights)


def _is_traced(x: Tensor) -> bool:
    """Whether the call has to be seen as one of an operator."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or (type(x) is not Tensor and type(x) is not torch.nn.Parameter)
        or torch._C._len_torch_dispatch_stack() > 0
        or x.is_meta
    )


def _needs_function(x: Tensor, state: Tensors, weights: Tensors) -> bool:
    """Whether autograd or a transform of `torch.func` has to know of the call."""
    if torch.is_grad_enabled():
        if x.requires_grad:
            return True
        for tensor in weights:
            if tensor.requires_grad:
                return True
        for tensor in state:
            if tensor.requires_grad:
                return True
    return _is_transformed()


def _is_transformed() -> bool:
    """Whether a transform of `torch.func` or forward mode is at work."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


# For the compiler, which has transforms at work while it traces them: as
# `torch.compiler.assume_constant_result` says it, without importing the compiler.
_is_transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_seen(x: Tensor) -> bool:
    """Whether anybody but the caller has to know of a call: autograd, a tracer, a transform."""
    return torch.is_grad_enabled() or _is_traced(x) or _is_transformed()


def _forward(
    spec: str,
    views: Views | None,
    x: Tensor,
    lengths: Tensor | None,
    state: Tensors,
    weights: Tensors,
    masks: Masks,
) -> Sequence[Tensor]:
    if views is None:
        return _ops.forward(spec, x, lengths, state, weights, *masks)
    return eager.forward(spec, views, x, state, weights, eager.given(lengths, *masks))


def _split(tensors: Sequence[Any], sizes: Sequence[int]) -> list[Sequence[Any]]:
    found, at = [], 0
    for size in sizes:
        found.append(tensors[at : at + size])
        at += size
    return found


class TracedForward(torch.autograd.Function):
    """(outputs, final states, reserve) of (call, x, lengths, state.., weights.., masks..)."""

    @staticmethod
    def forward(
        call: Call, x: Tensor, lengths: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        state, weights, *masks = _split(tensors, call.sizes)
        return tuple(_forward(call.spec, call.views, x, lengths, state, weights, masks))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.call, x, lengths, *tensors = inputs
        ctx.mark_non_differentiable(output[-1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, lengths, output[-1], *tensors)

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor | None) -> tuple[Tensor | None, ...]:
        return TracedForward.gradients(ctx, arriving[:-1])

    @staticmethod
    def gradients(ctx: Any, given: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Of all inputs; None of those that nobody wants. `given` are those of what came out."""
        call, needs = ctx.call, ctx.needs_input_grad
        if all(each is None for each in given):
            return (None,) * len(needs)
        x, lengths, reserve, *tensors = ctx.saved_tensors
        state, weights, *masks = _split(tensors, call.sizes)
        states = call.states
        of_state = needs[3 : 3 + len(state)] or (False,) * states
        wanted = (needs[1], *of_state, *needs[3 + len(state) : 3 + len(state) + len(weights)])
        if call.views is None:
            found = _ops.backward(
                call.spec, wanted, x, lengths, reserve, weights, list(given), *masks
            )
        elif not torch.is_grad_enabled():
            found = eager.backward(
                call.spec, call.views, wanted, x, reserve, weights,
                eager.given(lengths, *masks), given,
            )  # fmt: skip
        elif call.double_backward:
            found = second.gradients(call.spec, wanted, x, lengths, state, weights, masks, given)
        else:
            found = Backward.apply(call, wanted, x, lengths, reserve, *given, *tensors)
        each = iter(found)
        grads = [next(each) if want else None for want in wanted]
        if not state:
            del grads[1 : 1 + states]
        return None, grads[0], None, *grads[1:], *[None] * sum(call.sizes[2:])

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _one_by_one(TracedForward if args[0].views is None else Forward, info, in_dims, args)


def _no_forward_mode(ctx: Any, *tangents: Any) -> Any:
    raise NotImplementedError(
        "forward-mode gradients are not there in rnncore.torch: use reverse mode, or "
        "rnncore.torch.restore(model), since torch.nn has them"
    )


class Forward(TracedForward):
    """The same, where no tracer is at work: it would not take a function that refuses."""

    jvp = staticmethod(_no_forward_mode)


class Direct(Forward):
    """The same, where no transform is at work either: it takes half the time of such a call.

    The reserve does not come out.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        call, x, lengths, *tensors = inputs
        state, weights, *masks = _split(tensors, call.sizes)
        *found, reserve = _forward(call.spec, call.views, x, lengths, state, weights, masks)
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, lengths, reserve, *tensors)
        return tuple(found)

    setup_context = torch.autograd.Function.setup_context

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor | None) -> tuple[Tensor | None, ...]:
        return TracedForward.gradients(ctx, arriving)


# What `Direct.apply` comes to without transforms, after looking for them and their leftovers.
_apply_directly = super(torch.autograd.Function, Direct).apply


class Backward(torch.autograd.Function):
    """The gradients that are wanted, as a function that refuses to be differentiated itself."""

    @staticmethod
    def forward(
        call: Call,
        wanted: tuple[bool, ...],
        x: Tensor,
        lengths: Tensor | None,
        reserve: Tensor,
        *tensors: Any,
    ) -> tuple[Tensor, ...]:
        outputs = len(tensors) - sum(call.sizes)
        given, _, weights, *masks = _split(tensors, (outputs, *call.sizes))
        if call.views is None:
            found = _ops.backward(
                call.spec, wanted, x, lengths, reserve, weights, list(given), *masks
            )
        else:
            found = eager.backward(
                call.spec, call.views, wanted, x, reserve, weights,
                eager.given(lengths, *masks), given,
            )  # fmt: skip
        return tuple(found)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *arriving: Any) -> Any:
        raise RuntimeError(
            "second derivatives through a layer of rnncore.torch: give it double_backward=True, "
            "with which PyTorch's own operations compute gradients that are differentiated again"
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _one_by_one(Backward, info, in_dims, args)

    jvp = staticmethod(_no_forward_mode)


def _one_by_one(function: Any, info: Any, in_dims: Any, args: Any) -> Any:
    """One call for each example of a batch that `torch.func.vmap` has made."""
    found = []
    for k in range(info.batch_size):
        own = [
            arg.select(dim, k) if isinstance(arg, Tensor) and dim is not None else arg
            for arg, dim in zip(args, in_dims, strict=True)
        ]
        found.append(function.apply(*own))
    stacked = tuple([torch.stack(each) for each in zip(*found, strict=True)])
    return stacked, (0,) * len(stacked)


# The operators where they are called by themselves, as an exported program does


def _operator_infer(
    spec: str, x: Tensor, lengths: Tensor | None, state: Tensors, weights: Tensors
) -> Sequence[Tensor]:
    if not _needs_function(x, state, weights):
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.infer(spec, x, lengths, state, weights)
    return _operator_forward(spec, x, lengths, state, weights, (), (), ())[:-1]


def _operator_forward(
    spec: str, x: Tensor, lengths: Tensor | None, state: Tensors, weights: Tensors, *masks: Tensors
) -> Sequence[Tensor]:
    if not _needs_function(x, state, weights):
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.forward(spec, x, lengths, state, weights, *masks)
    call = _operator_call(spec, state, weights, masks)
    return list(TracedForward.apply(call, x, lengths, *state, *weights, *chain(*masks)))


def _operator_backward(
    spec: str,
    wanted: Sequence[bool],
    x: Tensor,
    lengths: Tensor | None,
    reserve: Tensor,
    weights: Tensors,
    arriving: Sequence[Tensor | None],
    *masks: Tensors,
) -> Sequence[Tensor]:
    given = [each for each in arriving if each is not None]
    if not _needs_function(x, given, weights):
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.backward(spec, wanted, x, lengths, reserve, weights, arriving, *masks)
    call = _operator_call(spec, (), weights, masks)
    tensors = *arriving, *weights, *chain(*masks)
    return list(Backward.apply(call, tuple(wanted), x, lengths, reserve, *tensors))


def _operator_call(spec: str, state: Tensors, weights: Tensors, masks: Sequence[Tensors]) -> Call:
    sizes = Sizes(len(state), len(weights), *map(len, masks))
    return Call(spec, sizes, len(kernel_of(spec).widths), False, None)


ops.library.impl("infer", _operator_infer, "Autograd")
ops.library.impl("forward", _operator_forward, "Autograd")
ops.library.impl("backward", _operator_backward, "Autograd")
