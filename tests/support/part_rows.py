"""What the layers of models are called with, and how each wrong argument is refused."""

import numpy as np
from own_options import choice, flag, size
from refusals import f32

from rnncore import reference
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.reverse import Reverse

T, B, C, OUT = 5, 3, 4, 2
IDS = np.zeros((T, B), int)

RNG = ("seed", "rng is of type str, expected None, an integer or a numpy Generator")
DTYPE = (np.float16, "dtype is float16, expected float32 or float64")
EPS = (0.0, "eps is 0.0, expected a finite number of at least 1.18e-38")
SHARE = (2.0, "momentum is 2.0, expected a number from 0 to 1")
LENGTHS = ([T + 1] * B, f"lengths[0] is {T + 1}, expected 0 to {T}, the steps of x")
FUNCTION = ("sine", "function is 'sine', expected one of identity, sigmoid")
PADDING = ("wide", "padding is 'wide', expected 'valid', 'same', 'causal', an integer or a pair")
KIND = choice("kind", "last", "first", "mean", "max")
DRAWN = {"dtype": DTYPE, "rng": RNG}
NORM = {"size": size("size"), "eps": EPS, "affine": flag("affine"), "dtype": DTYPE}
POOL = {"kind": KIND, "window": size("window"), "stride": size("stride")}
POOL["padding"] = choice("padding", "valid", "same")
CONV = {name: size(name) for name in ("stride", "dilation")} | {"padding": PADDING}

# Class -> what it is made with, and what is wrong for each of its arguments.
CONSTRUCTORS = {
    Linear: (
        {"in_features": C, "out_features": OUT},
        {"in_features": size("in_features"), "out_features": size("out_features")}
        | {"bias": flag("bias"), **DRAWN},
    ),
    Embedding: (
        {"num_embeddings": C, "embedding_dim": OUT},
        {"num_embeddings": size("num_embeddings"), "embedding_dim": size("embedding_dim")} | DRAWN,
    ),
    Activation: ({"function": "relu"}, {"function": FUNCTION}),
    Dropout: (
        {"p": 0.5},
        {"p": (1.0, "p is 1.0, expected a number of at least 0 and below 1"), "rng": RNG},
    ),
    LayerNorm: ({"size": C}, NORM),
    BatchNorm: ({"size": C}, NORM | {"momentum": SHARE}),
    Conv1d: (
        {"in_channels": C, "out_channels": OUT, "kernel_size": 3},
        {name: size(name) for name in ("in_channels", "out_channels", "kernel_size")}
        | {"bias": flag("bias"), "batch_first": flag("batch_first"), **CONV, **DRAWN},
    ),
    Pool: ({"kind": "mean", "window": 2}, POOL | {"batch_first": flag("batch_first")}),
    Reverse: ({}, {"batch_first": flag("batch_first")}),
}


def part_rows(Row):
    for kind, (right, wrong) in CONSTRUCTORS.items():
        yield kind.__name__, Row(kind, right, wrong)
        yield from _calls(Row, kind.__name__, kind(**right))
    yield from _twins(Row)


def _calls(Row, name, part):
    x = IDS if name == "Embedding" else f32(T, B, C)
    if name == "Embedding":
        wrong = f32(T, B), "x has dtype float32, expected integers"
    elif part.dtype is None:
        wrong = np.zeros((T, B, C), int), "x has dtype int64, expected float32 or float64"
    elif name in ("Linear", "LayerNorm", "BatchNorm"):
        wrong = f32(9), "x has shape (9,), expected (4,)"
    else:
        wrong = f32(9), f"x has shape (9,), expected (T, B, {C}) or (T, {C})"
    called, right = {"x": wrong, "lengths": LENGTHS}, {"x": x}
    if not hasattr(part, "batch_first"):
        called["batch_first"] = flag("batch_first")
    yield f"{name}()", Row(part, right, called)
    forward = called | {"training": flag("training")}
    yield f"{name}.forward", Row(part.forward, right, forward)
    y, trace = part.forward(x)
    backward = {
        "trace": (1, "trace is of type int, expected PartTrace"),
        "dy": (f32(9), f"dy has shape (9,), expected {y.shape}"),
    }
    yield f"{name}.backward", Row(part.backward, {"trace": trace, "dy": y}, backward)
    params = f32(1), "params is of type ndarray, expected a mapping of names to arrays"
    yield f"{name}.load_params", Row(part.load_params, {}, {"mapping": params})
    path = "layer.txt", "layer.txt has the suffix '.txt', expected '.npz' or '.safetensors'"
    yield f"{name}.save", Row(part.save, {}, {"path": path})
    after = {"lengths": ([1.5], "lengths has dtype float64, expected integers")}
    yield f"{name}.lengths_after", Row(part.lengths_after, {"lengths": [1, 2]}, after)


def anyhow_of_y():
    return IDS, "y has dtype int64, expected float32 or float64"


def _twins(Row):
    x, weight = f32(T, B, C), f32(OUT, C, 3)
    anyhow = {"x": (IDS, "x has dtype int64, expected float32 or float64")}
    timed = {"x": (f32(9), "x has shape (9,), expected (T, B, C)"), "lengths": LENGTHS}
    vectors = {
        name: (f32(9), f"{name} has shape (9,), expected ({C},)")
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    both = {name: vectors[name] for name in ("weight", "bias")}
    batch = {"x": x, "running_mean": f32(C), "running_var": f32(C)}
    norm = {"eps": EPS, "momentum": SHARE, "training": flag("training")}
    convolved = {
        "weight": (f32(9), f"weight has shape (9,), expected (out, {C}, K)"),
        "bias": (f32(9), f"bias has shape (9,), expected ({OUT},)"),
    }
    flat = {"x": f32(T, C)}
    linear = {
        "weight": (f32(9), f"weight has shape (9,), expected (O, {C})"),
        "bias": (f32(9), f"bias has shape (9,), expected ({OUT},)"),
    }
    table = {
        "ids": (f32(T, B), "ids has dtype float32, expected integers"),
        "weight": (f32(9), "weight has shape (9,), expected (N, C)"),
    }
    merged = {"merge": choice("merge", "concat", "sum", "mul", "ave")}
    mask = {"mask": (f32(9), f"mask has shape (9,), expected ({T}, {C})")}
    yield (
        "rnncore.reference.dropout_forward",
        Row(reference.dropout_forward, flat | {"mask": f32(T, C)}, anyhow | mask),
    )
    yield "rnncore.reference.reverse_forward", Row(reference.reverse_forward, {"x": x}, timed)
    for name, right, wrong in (
        ("linear", {"x": x, "weight": f32(OUT, C)}, anyhow | linear),
        ("embedding", {"ids": IDS, "weight": f32(9, C)}, table),
        ("merge", {"y": x, "merge": "sum"}, {"y": anyhow_of_y()} | merged),
        ("activation", {"x": x, "function": "relu"}, anyhow | {"function": FUNCTION}),
        ("layer_norm", {"x": x, "weight": f32(C)}, anyhow | both | {"eps": EPS}),
        ("batch_norm", batch, timed | vectors | norm),
        ("conv1d", {"x": x, "weight": weight}, timed | convolved | CONV),
        ("pool", {"x": x, "kind": "mean", "window": 2}, timed | POOL),
    ):
        forward = getattr(reference, f"{name}_forward")
        yield f"rnncore.reference.{name}_forward", Row(forward, right, wrong)
        y, *_, trace = forward(**right)
        back = {
            "trace": (1, f"trace is of type int, expected {type(trace).__name__}"),
            "dy": (f32(9), f"dy has shape (9,), expected {y.shape}"),
        }
        backward = getattr(reference, f"{name}_backward")
        yield f"rnncore.reference.{name}_backward", Row(backward, {"trace": trace, "dy": y}, back)
