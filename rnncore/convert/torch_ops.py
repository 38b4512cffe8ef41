"""What the operators of PyTorch are as layers: what moves axes, products and sums.

Each reader takes a `Call` and gives what flows on. Those of recurrent layers are in
`torch_recurrent`, those that go over time in `torch_steps`, functions in `torch_functions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncore.convert import flow, made, shapes
from rnncore.convert.flow import Axis, Refusal, Value
from rnncore.convert.torch_node import (
    Axes,
    Call,
    Final,
    Half,
    Magnitude,
    Recurrence,
    flowing,
    is_flow,
)
from rnncore.models.activation import Activation
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.linear import Linear

Reader = Callable[[Call], Any]
READERS: dict[str, Reader] = {}
_MOST_OF_DIAGONAL = 1024  # features: a factor each is a matrix here


def reads(*ops: str) -> Callable[[Reader], Reader]:
    """Let a function read the operators of these names: a decorator."""

    def register(reader: Reader) -> Reader:
        READERS.update(dict.fromkeys(ops, reader))
        return reader

    return register


# What only moves


@reads(
    "contiguous", "clone", "alias", "detach", "detach_copy", "lift_fresh_copy", "native_dropout",
    "dropout", "alpha_dropout", "feature_alpha_dropout", "feature_dropout",
)  # fmt: skip
def same(call: Call) -> Any:
    if call.op.endswith("dropout") and call.arg(2, "train", True):
        raise Refusal("it drops numbers at inference too (training=True)")
    return call.args[0]


@reads("marked_dropout")
def dropout(call: Call) -> Any:
    p = float(call.arg(1, "p"))
    if not 0 < p < 1:
        return call.args[0]
    return call.x.then(
        call.layer("dropout"), lambda batch_first: made.part(Dropout, {}, p=p), call.x.entries
    )


@reads("to", "_to_copy", "type_as")
def cast(call: Call) -> Any:
    return call.args[0]  # another dtype is found where the node's result is looked at


@reads("permute")
def permute(call: Call) -> Axes:
    x = _movable(call)
    return x.moved(shapes.permuted(x.entries, call.arg(1, "dims")))


@reads("transpose", "t", "swapaxes", "swapdims")
def transpose(call: Call) -> Axes:
    x = _movable(call)
    first, second = (0, -1) if call.op == "t" else (call.arg(1, "dim0"), call.arg(2, "dim1"))
    return x.moved(shapes.transposed(x.entries, first, second))


@reads("unsqueeze")
def unsqueeze(call: Call) -> Axes:
    x = _movable(call)
    return x.moved(shapes.unsqueezed(x.entries, call.arg(1, "dim")))


@reads("squeeze")
def squeeze(call: Call) -> Axes:
    x, dims = _movable(call), call.arg(1, "dim")
    return x.moved(shapes.squeezed(x.entries, [dims] if isinstance(dims, int) else dims))


@reads("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_copy", "expand_as")
def view(call: Call) -> Axes:
    x = _movable(call)
    assert call.shape is not None
    if isinstance(x, Value):
        x = _with_directions(x, call.shape)
    return x.moved(shapes.reshaped(x.entries, call.shape))


def _movable(call: Call) -> Value | Final:
    x = call.args[0]
    return x if isinstance(x, Final) else flowing(x, call.source)


def _with_directions(x: Value, shape: tuple[int, ...]) -> Value:
    """The features of two directions as two axes, where a view has them so."""
    about, last = x.link.about, x.entries[-1]
    if not isinstance(about, Recurrence) or about.D == 1 or len(last) != 1 or last[0].role != "C":
        return x
    if shape[-2:] != (about.D, about.half.size):
        return x
    return x.moved((*x.entries[:-1], (about.directions, about.half)))


# Products and sums


@reads("embedding")
def embedding(call: Call) -> Value:
    weight, ids = call.array(call.args[0], "weight"), flowing(call.args[1], call.source)
    if ids.link.before is not None:
        raise Refusal("its ids are computed, expected x itself")
    assert weight is not None
    V, D = weight.shape

    def make(batch_first: bool) -> Any:
        return made.part(Embedding, {"weight": weight}, own=True, num_embeddings=V, embedding_dim=D)

    return ids.then(call.layer(), make, (*ids.entries, (Axis(D, "C"),)))


@reads("linear")
def linear(call: Call) -> Value:
    weight, bias = call.array(call.args[1], "weight"), call.array(call.arg(2, "bias"), "bias")
    return product(call.x, call.layer(), weight, bias)


@reads("matmul", "mm")
def matmul(call: Call) -> Value:
    if is_flow(call.args[1]):
        raise Refusal("it multiplies two arrays that depend on x")
    weight = call.array(_turned(call.args[1]), "weight")
    if weight is None or weight.ndim != 2:
        raise Refusal("it multiplies by an array that is no matrix")
    return product(call.x, call.layer("linear"), weight, None)


@reads("addmm")
def addmm(call: Call) -> Value:
    bias, weight = call.array(call.args[0], "bias"), call.array(_turned(call.args[2]), "weight")
    if call.options or bias is None or bias.ndim != 1 or weight is None:
        raise Refusal("it scales what it adds, or adds a matrix")
    return product(flowing(call.args[1], call.source), call.layer("linear"), weight, bias)


def _turned(matrix: Any) -> Any:
    """With the axes that the weight of a Linear has: tied ones are the same again."""
    return matrix.T if getattr(matrix, "ndim", 0) == 2 else matrix


def product(x: Value, name: str, weight: Any, bias: Any) -> Value:
    """x times a matrix (out, in), and a bias."""
    if weight.ndim != 2:
        raise Refusal(f"its weight has shape {weight.shape}, expected (outputs, inputs)")
    x = x.channels(-1)
    out, features = weight.shape

    def make(batch_first: bool) -> Any:
        arrays = {"weight": weight, "bias": bias}
        sizes = {"in_features": features, "out_features": out}
        return made.part(Linear, arrays, own=True, **sizes, bias=bias is not None)

    return x.then(name, make, (*x.entries[:-1], (Axis(out, "C"),)))


@reads("add")
def add(call: Call) -> Any:
    a, b = call.args[:2]
    if call.arg(2, "alpha", 1) != 1:
        raise Refusal("it scales what it adds")
    if isinstance(a, Magnitude) and b == 1:
        return Magnitude(a.y, plus_one=True)
    if is_flow(a) and is_flow(b):
        return _sum(call, a, b)
    return _affine(call, *((a, b) if is_flow(a) else (b, a)), factor=False)


@reads("sub", "rsub")
def subtract(call: Call) -> Any:
    a, b = call.args[:2]
    if call.arg(2, "alpha", 1) != 1 or not is_flow(a) or is_flow(b) or call.op == "rsub":
        raise Refusal("it subtracts what depends on x")
    return _affine(call, a, -b, factor=False)


@reads("mul")
def multiply(call: Call) -> Any:
    a, b = call.args[:2]
    if is_flow(a) and is_flow(b):
        return _merged(call, a, b, "mul")
    return _affine(call, *((a, b) if is_flow(a) else (b, a)), factor=True)


@reads("div")
def divide(call: Call) -> Any:
    a, b = call.args[:2]
    if isinstance(b, Magnitude) and b.plus_one and isinstance(a, Value) and a.link is b.y.link:
        return a.then(call.layer("softsign"), activation("softsign"), a.entries, flow.POINTWISE)
    if not is_flow(a) or is_flow(b) or call.options.get("rounding_mode"):
        raise Refusal("it divides by what depends on x, or rounds")
    return _affine(call, a, 1 / b, factor=True)


@reads("abs")
def magnitude(call: Call) -> Magnitude:
    return Magnitude(call.x)


@reads("neg")
def negative(call: Call) -> Any:
    return _affine(call, call.args[0], -1.0, factor=True)


def _sum(call: Call, a: Any, b: Any) -> Value:
    if isinstance(a, Half) and isinstance(b, Half):
        return _merged(call, a, b, "sum")
    first, second = flowing(a, call.source), flowing(b, call.source)
    for inner, outer in ((first, second), (second, first)):
        links = flow.between(inner, outer)
        if links is None:
            continue
        if not links:
            break
        sizes = [[axis.size for axis in one.live] for one in (inner, outer)]
        if _told(inner) != _told(outer) or sorted(sizes[0]) != sorted(sizes[1]):
            raise Refusal("it adds arrays whose axes are not the same")
        owns = tuple([own for link in links for own in link.owns])
        name = call.source.name("residual")
        return inner.then(name, flow.residual(links), inner.entries, owns=owns)
    raise Refusal("it adds two arrays, neither of which is made of the other")


def _told(value: Value) -> list[list[str]]:
    return [[f"{axis.role or '?'}{axis.size}" for axis in entry] for entry in value.entries]


def _merged(call: Call, a: Any, b: Any, merge: str) -> Value:
    """The outputs of two directions as one."""
    fits = isinstance(a, Half) and isinstance(b, Half) and a.y.link is b.y.link
    if not fits or {a.which, b.which} != {0, 1} or a.step or b.step or a.entries != b.entries:
        raise Refusal("it multiplies two arrays that depend on x")
    return merged(call, a.y, merge, a.entries)


def merged(call: Call, y: Value, merge: str, entries: Any) -> Value:
    """What a layer of two directions gives, put together in another way; at these axes."""
    recurrence, before = y.link.about, y.link.before
    assert before is not None

    def make(batch_first: bool) -> Any:
        return Bidirectional(recurrence.plain(batch_first), merge)

    live = tuple([axis for entry in entries for axis in entry])
    link = flow.Link(before, y.link.name, make, live, None, y.link.owns)
    return Value(link, entries)


def activation(function: Any) -> flow.Maker:
    """A maker of the layer of a function."""
    return lambda batch_first: Activation(function)


def _affine(call: Call, x: Any, other: Any, *, factor: bool) -> Any:
    """x times, or plus, what does not depend on it: a number, or one for each feature."""
    value = flowing(x, call.source)
    by = np.asarray(other if isinstance(other, int | float) else call.array(other, "factor"))
    if by.size == 1:
        alpha, beta = (float(by.reshape(())), 0.0) if factor else (1.0, float(by.reshape(())))
        if (alpha, beta) == (1.0, 0.0):
            return value
        function = ("affine", alpha, beta)
        return value.then(call.layer("affine"), activation(function), value.entries, flow.POINTWISE)
    value = value.channels(-1)
    size = value.single(-1).size
    if by.shape[-1] != size or by.size != size or size > _MOST_OF_DIAGONAL:
        raise Refusal(f"it takes an array of shape {by.shape}, expected ({size},)")
    by = by.reshape(size)
    weight = np.diag(by) if factor else np.eye(size, dtype=by.dtype)
    return product(value, call.layer("affine"), weight, None if factor else by)
