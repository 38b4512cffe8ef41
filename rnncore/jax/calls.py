"""A stack as JAX calls it: through XLA's foreign function interface, with its gradient and batches.

What a call is about is a `Spec`; arrays are those of `core.asked`, in its order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnncore._core import core
from rnncore._engine.memory import padded
from rnncore.jax.rows import Axes, by_rows
from rnncore.layers.kinds import BY_PREFIX
from rnncore.layers.parameters import LATER
from rnncore.layers.recurrent import RecurrentLayer

TARGET = "rnncore.stack.1"  # the number goes up with every change of `core.asked`
INFER, TRACE, BACK = range(3)

Arrays = tuple[Any, ...]


def _register() -> None:
    """Let XLA know the core; one whose interface has another version would let no backend begin."""
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h").read_text("utf-8")
    found = dict(re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header))
    if found.get("MAJOR") != str(core.XLA_MAJOR):
        raise ImportError(
            f"the foreign function interface of JAX {jax.__version__} has version {found}, "
            f"expected {core.XLA_MAJOR}: another rnncore or another JAX is needed"
        )
    jax.ffi.register_ffi_target(TARGET, core.handler(int(found["MINOR"])), platform="cpu")


_register()


class Spec(NamedTuple):
    """All that is known of a call beside its arrays: it can be hashed, and says which are equal."""

    prefix: str
    options: tuple[tuple[str, Any], ...]  # the layer's, its sizes among them
    ragged: bool


class Calls(NamedTuple):
    """The three calls of a `Spec`, each a function of tuples of arrays."""

    infer: Callable[..., Any]  # weights, x, starts, lengths -> y, ends
    trace: Callable[..., Any]  # the same -> y, ends, kept
    back: Callable[..., Any]  # weights, x, lengths, kept, dy, dends -> dweights, dx, dstarts


@lru_cache(maxsize=256)
def layer_of(spec: Spec) -> RecurrentLayer[Any]:
    """A layer of these sizes and options, without parameters."""
    layer: RecurrentLayer[Any] = BY_PREFIX[spec.prefix](**dict(spec.options), rng=LATER)
    return layer


@lru_cache(maxsize=256)
def calls_of(spec: Spec) -> Calls:
    """The calls, each of which knows what to do where `jax.vmap` adds an axis."""
    infer = jax.custom_batching.custom_vmap(_forward(spec, INFER))
    infer.def_vmap(_folded(spec, infer, ragged=True))
    trace = jax.custom_batching.custom_vmap(_forward(spec, TRACE))
    # The rows of a ragged trace lie in an order of their own: those of two calls cannot be joined.
    trace.def_vmap(_folded(spec, trace, ragged=False))
    back = jax.custom_batching.custom_vmap(_backward(spec))
    back.def_vmap(_one_by_one(back))
    return Calls(infer, trace, back)


# The gradient


def _run(spec: Spec, weights: Arrays, x: Any, starts: Arrays, lengths: Any) -> Any:
    """y and the final states."""
    return calls_of(spec).infer(weights, x, starts, lengths)


def _run_forward(spec: Spec, weights: Arrays, x: Any, starts: Arrays, lengths: Any) -> Any:
    y, ends, kept = calls_of(spec).trace(weights, x, starts, lengths)
    return (y, ends), (weights, x, lengths, kept)


def _run_backward(spec: Spec, residual: Any, gradients: Any) -> Any:
    dy, dends = gradients
    dweights, dx, dstarts = calls_of(spec).back(*residual, dy, dends)
    if layer_of(spec).batch_first:
        dx = jnp.swapaxes(dx, 0, 1)
    return dweights, dx, dstarts, None


run = jax.custom_vjp(_run, nondiff_argnums=(0,))
run.defvjp(_run_forward, _run_backward)


# What is called


def _forward(spec: Spec, what: int) -> Callable[..., Any]:
    layer = layer_of(spec)
    states, row = len(layer._widths), 0 if layer.batch_first else 1

    def results(x: Any, *others: Any) -> list[Any]:
        y = _like((*x.shape[:2], layer.num_directions * layer._widths[0]), x)
        ends = [_like(start.shape, x) for start in others[:states]]
        return [y, *ends, *(_kept(layer, x) if what == TRACE else ())]

    def call(weights: Arrays, x: Any, starts: Arrays, lengths: Any) -> Any:
        rows = [row, *[1] * states]
        own = [*rows, *[0] * spec.ragged, *[None] * len(weights)]
        given = (x, *starts, *_given(lengths), *weights)
        y, *rest = _call(spec, what, results, given, own, rows)
        ends, kept = tuple(rest[:states]), tuple(rest[states:])
        return (y, ends, kept) if what == TRACE else (y, ends)

    return call


def _backward(spec: Spec) -> Callable[..., Any]:
    layer = layer_of(spec)
    states, row = len(layer._widths), 0 if layer.batch_first else 1

    def call(weights: Arrays, x: Any, lengths: Any, kept: Arrays, dy: Any, dends: Arrays) -> Any:
        def results(x: Any, *others: Any) -> list[Any]:
            dx = (x.shape[1], x.shape[0], x.shape[2]) if layer.batch_first else x.shape
            like = (*others[-states:], *others[spec.ragged :][: len(weights)])
            return [_like(dx, x), *(_like(each.shape, x) for each in like)]

        given = (x, *_given(lengths), *weights, *kept, dy, *dends)
        own = [row, *[0] * spec.ragged, *[None] * len(weights), *[1] * len(kept), row]
        rows = [1, *[1] * states, *[None] * len(weights)]
        dx, *rest = _call(spec, BACK, results, given, [*own, *[1] * states], rows)
        return tuple(rest[states:]), dx, tuple(rest[:states])

    return call


def _call(
    spec: Spec,
    what: int,
    results: Callable[..., list[Any]],
    given: Arrays,
    rows_of_given: Axes,
    rows_of_results: Axes,
) -> Any:
    """The results, which look as `results` says of what is `given`."""
    layer = layer_of(spec)
    asked = np.frombuffer(core.asked(what, layer._stack, spec.ragged, layer.bias), np.int64)
    _, _, functions, eps = layer._cells[0].shape.cell
    reals = np.array([eps, *([] if functions is None else functions.ravel())])

    def call(*given: Any) -> Any:
        return jax.ffi.ffi_call(TARGET, results(*given))(*given, a=asked, r=reals)

    if what == INFER or not spec.ragged:  # the order of a ragged trace is that of all its rows
        rows_of_results = [*rows_of_results, *[1] * (len(results(*given)) - len(rows_of_results))]
        call = by_rows(call, rows_of_given, rows_of_results)
    once = jax.custom_jvp(call)
    once.defjvp(_refuse)
    return once(*given)


def _refuse(primals: Any, tangents: Any) -> Any:
    """What is called is a part of a first derivative, and has none itself."""
    raise NotImplementedError(
        "a second derivative was asked for, expected a first one: those of rnncore.jax have none; "
        "a cell in jax.lax.scan has"
    )


def _kept(layer: RecurrentLayer[Any], x: Any) -> list[Any]:
    """What a trace is made of; see `core.asked`."""
    T, B = x.shape[:2] if not layer.batch_first else x.shape[1::-1]
    P, found = layer._widths[0], []
    for cell in layer._cells:
        for width in cell.widths:
            found.append(_like((T + 1, B, padded(width, layer.dtype)), x))
        units = padded(cell.H, layer.dtype)
        if cell.shape.slots > 1:
            found.append(_like((T, B, cell.shape.slots * units), x))
        if cell.projects:
            found.append(_like((T, B, units), x))
    return found + [_like((T, B, layer.num_directions * P), x)] * (layer.num_layers - 1)


def _like(shape: tuple[int, ...], x: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, x.dtype)


def _given(lengths: Any) -> Arrays:
    return () if lengths is None else (lengths,)


# Axes that `jax.vmap` adds: the first of every array that has one.


def _one_by_one(call: Callable[..., Any]) -> Callable[..., Any]:
    """Each by a call of its own."""

    def rule(axis_size: int, in_batched: Any, *given: Any) -> Any:
        leaves, tree = jax.tree.flatten(given)
        batched = jax.tree.leaves(in_batched)

        def one(own: list[Any]) -> Any:
            rest = iter(own)
            each = [next(rest) if b else leaf for leaf, b in zip(leaves, batched, strict=True)]
            return call(*tree.unflatten(each))

        own = [leaf for leaf, b in zip(leaves, batched, strict=True) if b]
        found = jax.lax.map(one, own)
        return found, jax.tree.map(lambda _: True, found)

    return rule


def _folded(spec: Spec, call: Callable[..., Any], *, ragged: bool) -> Callable[..., Any]:
    """As rows of one call, where all have the same weights; of `ragged` ones too, or not."""
    one_by_one, rows = _one_by_one(call), 0 if layer_of(spec).batch_first else 1

    def rule(
        axis_size: int, in_batched: Any, weights: Arrays, x: Any, starts: Arrays, lengths: Any
    ) -> Any:
        if any(in_batched[0]) or (spec.ragged and not ragged):
            return one_by_one(axis_size, in_batched, weights, x, starts, lengths)
        _, of_x, of_starts, of_lengths = in_batched
        B = x.shape[rows + of_x]

        def fold(value: Any, batched: bool, axis: int) -> Any:
            if not batched:
                value = jnp.broadcast_to(value, (axis_size, *value.shape))
            value = jnp.moveaxis(value, 0, axis)
            return value.reshape(*value.shape[:axis], axis_size * B, *value.shape[axis + 2 :])

        def unfold(value: Any, axis: int) -> Any:
            shape = value.shape
            value = value.reshape(*shape[:axis], axis_size, B, *shape[axis + 1 :])
            return jnp.moveaxis(value, axis, 0)

        starts = tuple(fold(*each, 1) for each in zip(starts, of_starts, strict=True))
        lengths = None if lengths is None else fold(lengths, of_lengths, 0)
        y, *rest = call(weights, fold(x, of_x, rows), starts, lengths)
        found = unfold(y, rows), *(tuple(unfold(each, 1) for each in some) for some in rest)
        return found, jax.tree.map(lambda _: True, found)

    return rule
