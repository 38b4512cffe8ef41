"""What models and their readers are called with, and how each wrong argument is refused."""

from own_options import choice, flag, size
from refusals import f32

import rnncore as rc

T, B, I, H = 5, 3, 4, 2
LENGTHS = ([T + 1] * B, f"lengths[0] is {T + 1}, expected 0 to {T}, the steps of x")
PATH = ("layer.txt", "layer.txt has the suffix '.txt', expected '.npz' or '.safetensors'")
PARAMS = (f32(1), "params is of type ndarray, expected a mapping of names to arrays")
NO_LAYER = "is of type int, expected a layer of rnncore"
MODELS = (rc.Sequential, rc.Residual, rc.Bidirectional)


def states(name):
    return 1, f"{name} is of type int, expected a tuple of 1: one for each recurrent layer"


def made_of(kind):
    """A constructor that takes any number of layers."""
    return lambda layers=(), named=(), **options: kind(*layers, **dict(named), **options)


def model_rows(Row):
    relu = rc.Activation("relu")
    for kind in (rc.Sequential, rc.Residual):
        layout = {"batch_first": flag("batch_first")} if kind is rc.Sequential else {}
        row = Row(
            made_of(kind), {"layers": [relu]},
            {"layers": ([1], f"layer 0 {NO_LAYER}"), "named": ({"a": 1}, f"layer a {NO_LAYER}"),
             **layout},
            kind,
        )  # fmt: skip
        yield kind.__name__, row
    both = rc.GRU(I, H, bidirectional=True)
    yield "Bidirectional", Row(
        rc.Bidirectional, {"layer": both},
        {"layer": (1, "layer is of type int, expected a recurrent layer of rnncore"),
         "merge": choice("merge", "concat", "sum", "mul", "ave")},
    )  # fmt: skip
    model = rc.Sequential(rnn=rc.GRU(I, H))
    called = {
        "x": (f32(9), "x has shape (9,), expected (T, B, 4) or (T, 4)"),
        "state": states("state"),
        "lengths": LENGTHS,
    }
    right = {"x": f32(T, B, I)}
    for one in (model, rc.Residual(rc.GRU(I, I)), rc.Bidirectional(both)):
        kind = type(one).__name__
        y, _, trace = one.forward(f32(T, B, I))
        yield f"{kind}()", Row(one, right, called)
        yield f"{kind}.forward", Row(one.forward, right, called | {"training": flag("training")})
        backward = {
            "trace": (f32(1), "trace is of type ndarray, expected ModelTrace"),
            "dy": (f32(9), f"dy has shape (9,), expected {y.shape}"),
            "dstate": states("dstate"),
        }
        yield f"{kind}.backward", Row(one.backward, {"trace": trace, "dy": y}, backward)
        yield f"{kind}.load_params", Row(one.load_params, {}, {"mapping": PARAMS})
    yield "Sequential.save", Row(model.save, {}, {"path": PATH})
    another = "int8", "precision is 'int8', expected None or one of 'bfloat16'"
    yield "Sequential.freeze", Row(model.freeze, {}, {"precision": another})
    fast = model.freeze()
    yield "Sequential.freeze()()", Row(fast, right, called)
    yield "Sequential.freeze().compare", Row(fast.compare, right, called)
    yield "Sequential.freeze().save", Row(fast.save, {}, {"path": PATH})
    yield "Sequential.stream", Row(fast.stream, {}, {"batch_size": size("batch_size")})
    stream = fast.stream(B)
    rows = ([B], f"rows holds {B}, expected integers from 0 to {B - 1}")
    yield (
        "Sequential.stream().reset",
        Row(stream.reset, {}, {"state": states("state"), "rows": rows}),
    )
    row = Row(
        lambda x, out=None: stream(x, out=out), {"x": f32(B, I)},
        {"x": (f32(9), "x has shape (9,), expected (3, 4)"),
         "out": (f32(9), "out has shape (9,), expected (3, 2)")},
    )  # fmt: skip
    row.names = ["x", "out"]
    yield "Sequential.stream()()", row
    yield from reader_rows(Row)


def reader_rows(Row):
    """Their files are not there: what is wrong is said before that."""

    def torch(module=None, example=None, batch_first=False):
        rc.from_torch({} if module is None else module, example, batch_first=batch_first)

    def keras(path_or_model="none.keras", config=None, guard=True):
        rc.from_keras(path_or_model, config=config, guard=guard)

    def safetensors(path="none.safetensors", layer=None, prefix=""):
        rc.from_safetensors(path, rc.GRU(I, H) if layer is None else layer, prefix)

    yield "from_torch", Row(
        torch, {},
        {"module": (1, "module is of type int, expected a torch.nn.Module, a mapping of names to"),
         "example": (1, "example is "),
         "batch_first": flag("batch_first")},
        rc.from_torch,
    )  # fmt: skip
    yield "from_keras", Row(
        keras, {},
        {"path_or_model": (1, "path_or_model is of type int, expected a path or a model of Keras"),
         "config": (1, "config is of type int, expected "),
         "guard": flag("guard")},
        rc.from_keras,
    )  # fmt: skip
    of_onnx = {"path": (1, "path is of type int, expected a path, bytes or an onnx.ModelProto")}
    yield "from_onnx", Row(rc.from_onnx, {}, of_onnx)
    yield "from_safetensors", Row(
        safetensors, {},
        {"path": (1, "path is of type int, expected a path"),
         "layer": (1, "layer is of type int, expected a layer of rnncore"),
         "prefix": (1, "prefix is of type int, expected str")},
        rc.from_safetensors,
    )  # fmt: skip
