"""What PyTorch's operators over the steps of a sequence are as layers, and what takes some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from rnncore.convert import made, shapes
from rnncore.convert.flow import Axis, Entries, Link, Maker, Refusal, Value
from rnncore.convert.torch_node import Axes, Call, Final, Half, Recurrence, Step
from rnncore.convert.torch_ops import merged, reads
from rnncore.models.conv import Conv1d
from rnncore.models.pool import Pool
from rnncore.models.reverse import Reverse

# Some of the steps, or of the features


@reads("select", "select_copy")
def select(call: Call) -> Any:
    x, index = call.args[0], call.arg(2, "index")
    entries = x.entries if isinstance(x, Final | Half) else call.x.entries
    dim = shapes.place(call.arg(1, "dim"), len(entries))
    rest = (*entries[:dim], *entries[dim + 1 :])
    if isinstance(x, Final):
        return _select_state(x, entries[dim], index, rest)
    if not entries[dim]:
        return x.moved(rest)
    axis = entries[dim][0] if isinstance(x, Half) else call.x.single(dim)
    about = call.x.link.about if not isinstance(x, Half) else None
    if isinstance(about, Recurrence) and axis is about.directions:
        return Half(call.x, index % 2, rest)
    if axis.role == "C":
        raise Refusal("it takes one feature")
    axis.become("T", f"axis {dim}")
    if index % axis.size not in (0, axis.size - 1):
        raise Refusal(f"it takes step {index}, expected the first or the last")
    # Of a single step: the last, unless the module counts from the front.
    kind = "first" if index == 0 else "last"
    if isinstance(x, Half):
        return Half(x.y, x.which, rest, kind)
    return call.x.then(call.layer(kind), _pool(kind), rest, Step(call.x, kind))


@reads("unbind")
def unbind(call: Call) -> tuple[Axes, ...]:
    x, dim = call.args[0], call.arg(1, "dim", 0)
    entries = x.entries if isinstance(x, Final | Half) else call.x.entries
    size = shapes.size_of(entries[shapes.place(dim, len(entries))])
    if size > 4:
        raise Refusal(f"it takes all {size} of axis {dim} apart")
    return tuple(select(replace(call, args=(x, dim, k), options={})) for k in range(size))


@reads("split", "chunk", "split_with_sizes")
def split(call: Call) -> tuple[Axes, ...]:
    x, sizes, dim = call.args[0], call.args[1], call.arg(2, "dim", 0)
    entries = x.entries if isinstance(x, Final | Half) else call.x.entries
    size = shapes.size_of(entries[shapes.place(dim, len(entries))])
    if call.op == "chunk":
        sizes = -(-size // sizes)
    if isinstance(sizes, int):
        sizes = [min(sizes, size - start) for start in range(0, size, sizes)]
    if len(sizes) > 4:
        raise Refusal(f"it cuts axis {dim} into {len(sizes)} pieces")
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    if isinstance(x, Final) and set(sizes) == {1}:
        kept = [select(replace(call, args=(x, dim, k), options={})) for k in starts]
        return tuple(one.moved(shapes.unsqueezed(one.entries, dim)) for one in kept)
    pieces = zip(starts, sizes, strict=True)
    return tuple(slice_(replace(call, op="narrow", args=(x, dim, k, n))) for k, n in pieces)


def _select_state(x: Final, entry: tuple[Axis, ...], index: int, rest: Entries) -> Final:
    index %= shapes.size_of(entry)
    if entry == (x.layers, x.directions):
        layer, direction = divmod(index, x.directions.size)
        return x.chosen(x.layers, layer, rest).chosen(x.directions, direction, rest)
    if entry in ((x.layers,), (x.directions,)):
        return x.chosen(entry[0], index, rest)
    raise Refusal("it takes some rows of a final state")


def _pool(kind: str, **options: Any) -> Maker:
    return lambda batch_first: Pool(kind, batch_first=batch_first, **options)


@reads("slice", "narrow")
def slice_(call: Call) -> Axes:
    x, dim = call.args[0], call.arg(1, "dim", 0)
    if call.op == "narrow":
        start, step = call.args[2], 1
        end = start + call.args[3]
    else:
        start, end, step = call.arg(2, "start"), call.arg(3, "end"), call.arg(4, "step", 1)
    entries = x.entries if isinstance(x, Final | Half) else call.x.entries
    entry = entries[shapes.place(dim, len(entries))]
    size = shapes.size_of(entry)
    first, last, _ = slice(start, end).indices(size)
    if step == 1 and (first, last) == (0, size):
        return x  # type: ignore[no-any-return]
    if not isinstance(x, Value) or step != 1 or len(entry) != 1:
        raise Refusal(f"it takes the elements from {start} to {end} of axis {dim}")
    return _sliced(call, x, shapes.place(dim, len(entries)), first, last)


def _sliced(call: Call, x: Value, dim: int, first: int, last: int) -> Axes:
    axis, step = x.single(dim), x.link.about
    y = step.of if isinstance(step, Step) else x
    about = y.link.about
    if isinstance(about, Recurrence) and about.D == 2 and axis.role == "C":
        half = about.half.size
        if (first, last) in ((0, half), (half, 2 * half)):
            entries = (*x.entries[:dim], (about.half,), *x.entries[dim + 1 :])
            kind = step.kind if isinstance(step, Step) else ""
            return Half(y, first // half, entries, kind)
    if axis.role != "C" and last - first == 1 and axis.size in (last, first + axis.size):
        axis.become("T", f"axis {dim}")
        kind = "last" if last == axis.size else "first"
        entries = (*x.entries[:dim], (), *x.entries[dim + 1 :])
        return x.then(call.layer(kind), _pool(kind), entries)
    if axis.role == "T" and first == 0 and isinstance(about, Padding):
        return _chomped(x, dim, axis.size - last)
    raise Refusal(f"it takes the elements from {first} to {last} of axis {dim}")


@reads("flip")
def flip(call: Call) -> Value:
    x, dims = call.x, call.arg(1, "dims")
    if len(dims) != 1:
        raise Refusal("it turns more than the steps around")
    x.single(dims[0]).become("T", f"axis {dims[0]}")
    if len(x.live) < 2 or (len(x.live) == 2 and not any(axis.role == "C" for axis in x.live)):
        raise Refusal("it turns ids around, before their embedding")
    return x.then(call.layer(), lambda first: Reverse(batch_first=first), x.entries)


# Pools


@reads("mean", "amax", "max", "sum")
def over_an_axis(call: Call) -> Any:
    x, dims = call.args[0], call.arg(1, "dim")
    dims = [dims] if isinstance(dims, int) else dims
    keep = bool(call.arg(2, "keepdim", False))
    if not dims or len(dims) != 1:
        raise Refusal("it goes over several axes, expected the steps")
    if isinstance(x, Value):
        found = _over_directions(call, x, dims[0], keep)
        if found is not None:
            return found
    x = call.x
    kind = {"mean": "mean", "amax": "max", "max": "max"}.get(call.op)
    if kind is None:
        raise Refusal("it is a sum over an axis")
    dim = shapes.place(dims[0], len(x.entries))
    x.single(dim).become("T", f"axis {dim}")
    middle: Entries = ((),) if keep else ()
    found = x.then(
        call.layer(kind), _pool(kind), (*x.entries[:dim], *middle, *x.entries[dim + 1 :])
    )
    return (found, None) if call.op == "max" else found


def _over_directions(call: Call, x: Value, dim: int, keep: bool) -> Value | None:
    """The sum or mean of the two directions that a view has put on an axis of their own."""
    dim = shapes.place(dim, len(x.entries))
    entry = x.entries[dim]
    if len(entry) != 1 or entry[0] in x.live or keep or call.op not in ("sum", "mean"):
        return None
    merge = "sum" if call.op == "sum" else "ave"
    return merged(call, x, merge, (*x.entries[:dim], *x.entries[dim + 1 :]))


@reads("adaptive_avg_pool1d", "adaptive_max_pool1d")
def global_pool(call: Call) -> Any:
    size = call.arg(1, "output_size")
    if list(size) != [1]:
        raise Refusal(f"it makes {size} of the steps, expected 1")
    x = _channels_first(call.x)
    kind = "max" if call.op == "adaptive_max_pool1d" else "mean"
    found = x.then(call.layer(kind), _pool(kind), (*x.entries[:-1], ()))
    return (found, None) if kind == "max" else found


@reads("max_pool1d", "avg_pool1d", "max_pool1d_with_indices")
def window_pool(call: Call) -> Any:
    x, window = _channels_first(call.x), call.arg(1, "kernel_size")[0]
    stride = (call.arg(2, "stride") or [window])[0]
    padding = (call.arg(3, "padding") or [0])[0]
    ceil = call.arg(5 if call.op[0] == "m" else 4, "ceil_mode", False)
    dilation = (call.arg(4, "dilation") or [1])[0] if call.op[0] == "m" else 1
    T = x.single(-1).size
    if padding or dilation != 1 or (ceil and stride != 1):
        raise Refusal("it has padding, dilation or ceil_mode, which Pool has not")
    kind = "max" if call.op[0] == "m" else "mean"
    steps = (Axis((T - window) // stride + 1, "T"),)
    make = _pool(kind, window=window, stride=stride)
    found = x.then(call.layer(kind), make, (*x.entries[:-1], steps))
    return (found, None) if call.op.endswith("indices") else found


def _channels_first(x: Value) -> Value:
    """x, whose axes are (B, C, T) or (C, T)."""
    if len(x.entries) not in (2, 3):
        raise Refusal(f"it reads {len(x.entries)} axes, expected (B, C, T)")
    x = x.channels(-2)
    x = x.known(-1, "T", "the last axis of what it reads")
    if len(x.entries) == 3 and x.entries[0]:
        x.single(0).become("B", "axis 0 of what it reads")
    return x


# Convolutions


class Zeros:
    """Steps of zeros that the next convolution has to have: what they are put around."""

    def __init__(self, x: Value, longer: Axis, axis: Axis, sides: tuple[int, int]) -> None:
        self.x, self.longer, self.axis, self.sides = x, longer, axis, sides

    def without(self, entries: Entries) -> Value:
        """What they are put around, with its axes as those of `entries`."""
        return self.x.moved(
            tuple([tuple([self.axis if a is self.longer else a for a in e]) for e in entries])
        )


class Padding:
    """What is known of a convolution: how far after a row it reads, and how one that reads less."""

    def __init__(self, after: int, less: Callable[[int], Maker]) -> None:
        self.after, self.less = after, less


@reads("pad", "constant_pad_nd")
def pad(call: Call) -> Value:
    x, sides = call.x, call.arg(1, "pad")
    value = call.arg(3 if call.op == "pad" else 2, "value")
    if call.arg(2, "mode", "constant") not in ("constant", 0, 0.0) or value:
        raise Refusal("it pads with something else than zeros")
    pairs = [sides[k : k + 2] for k in range(0, len(sides), 2)]
    there = [k for k, pair in enumerate(pairs) if any(pair)]
    if not there:
        return x
    dim = len(x.entries) - 1 - there[0]
    before, after = pairs[there[0]]
    if len(there) > 1 or before < 0 or after < 0:
        raise Refusal("it pads other axes than the steps, or cuts them")
    axis = x.single(dim)
    axis.become("T", f"axis {dim}")
    longer = Axis(axis.size + before + after, "T")
    zeros = Zeros(x, longer, axis, (before, after))

    def make(batch_first: bool) -> Any:
        raise Refusal("steps of zeros are put around, and no convolution follows")

    return x.then("zeros", make, (*x.entries[:dim], (longer,), *x.entries[dim + 1 :]), zeros)


@reads("conv1d", "convolution")
def conv1d(call: Call) -> Value:
    x, weight = call.x, call.array(call.args[1], "weight")
    bias = call.array(call.arg(2, "bias"), "bias")
    assert weight is not None
    whole = call.op == "convolution"
    if weight.ndim != 3 or (whole and call.args[6]):
        raise Refusal("it is no Conv1d")
    stride, padding = (call.arg(3, "stride") or [1])[0], call.arg(4, "padding", [0])
    dilation, groups = (call.arg(5, "dilation") or [1])[0], call.arg(8 if whole else 6, "groups", 1)
    reach = dilation * (weight.shape[2] - 1)
    if isinstance(padding, str):
        sides = (reach // 2, reach - reach // 2) if padding == "same" else (0, 0)
    else:
        sides = (padding[0], padding[0])
    zeros = x.link.about
    if isinstance(zeros, Zeros):
        sides = (sides[0] + zeros.sides[0], sides[1] + zeros.sides[1])
        x = zeros.without(x.entries)
    try:
        weight = made.ungrouped(weight, groups)
    except ValueError as error:
        raise Refusal(f"it {error}") from error
    x = _channels_first(x)
    make = partial(_conv, weight, bias, stride, dilation)
    assert call.shape is not None
    entries = (*x.entries[:-2], (Axis(len(weight), "C"),), (Axis(call.shape[-1], "T"),))
    about = Padding(sides[1] if stride == 1 else 0, lambda cut: make((sides[0], sides[1] - cut)))
    return x.then(call.layer(), make(sides), entries, about)


def _conv(weight: Any, bias: Any, stride: int, dilation: int, sides: tuple[int, int]) -> Maker:
    out, channels, K = weight.shape
    reach = dilation * (K - 1)
    padding: Any = sides
    if not any(sides):
        padding = "valid"
    elif sides == (reach, 0):
        padding = "causal"
    elif sides == (reach // 2, reach - reach // 2) and stride == 1:
        padding = "same"
    options = {
        "in_channels": channels, "out_channels": out, "kernel_size": K, "stride": stride,
        "padding": padding, "dilation": dilation, "bias": bias is not None,
    }  # fmt: skip
    arrays = {"weight": weight, "bias": bias}
    return lambda batch_first: made.part(
        Conv1d, arrays, own=True, **options, batch_first=batch_first
    )


def _chomped(x: Value, dim: int, cut: int) -> Value:
    """A convolution without its last steps: those that only its padding has made."""
    link = x.link
    if not 0 < cut <= link.about.after:
        raise Refusal(f"it leaves out the last {cut} steps")
    short = Axis(x.single(dim).size - cut, "T")
    live = tuple([short if axis is x.single(dim) else axis for axis in x.live])
    shorter = Link(link.before, link.name, link.about.less(cut), live)
    return Value(shorter, (*x.entries[:dim], (short,), *x.entries[dim + 1 :]))
