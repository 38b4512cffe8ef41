"""Every argument of every public function and method, wrong once: who says so, and in which words.

The signatures tell which arguments there are: a new one without a line here fails. The tables of
test_validation.py and of the files of each part go into more of what may be wrong.
"""

import inspect
import re

import numpy as np
import pytest
from model_rows import MODELS, model_rows
from own_options import WRONG, above, choice, flag, size, wrong_activations
from part_rows import CONSTRUCTORS, part_rows
from problems import pack
from training_rows import OPTIMIZERS, SCHEDULES, training_rows

import rnncore as rc
from rnncore import functional, reference
from rnncore._cells.kind import sized
from rnncore._cells.table import CELLS
from rnncore.layers.recurrent import RecurrentLayer

T, B, I, H = 5, 3, 4, 2


def f32(*shape):
    return np.zeros(shape, np.float32)


def f64(*shape):
    return np.zeros(shape)


def shape(name, expected, *wrong):
    """An array of the wrong shape, (9,) unless another one is given."""
    wrong = wrong or (9,)
    return f32(*wrong), f"{name} has shape {wrong}, expected {expected}"


def share(name):
    return 1.0, f"{name} is 1.0, expected a number of at least 0 and below 1"


RNG = ("seed", "rng is of type str, expected None, an integer or a numpy Generator")
LENGTHS = ([T + 1] * B, f"lengths[0] is {T + 1}, expected 0 to {T}, the steps of x")
DTYPE = (np.float16, "dtype is float16, expected float32 or float64")
PARAMS = (f32(1), "params is of type ndarray, expected a mapping of names to arrays")
PATH = ("layer.txt", "layer.txt has the suffix '.txt', expected '.npz' or '.safetensors'")
ROWS_OF_A_STREAM = ([B], f"rows holds {B}, expected integers from 0 to {B - 1}")
FLOW = (f64(9), "flow has shape (9,), expected ")

# Options


OWN_OPTIONS = {
    name: {option.name: WRONG[option.name] for option in kind.options}
    | {"activations": wrong_activations(kind)}
    for name, kind in CELLS.items()
}
BIAS_INIT = ("time", "bias_init is 'time', expected None, 'chrono' or ('chrono', T_max)")
OPTIONS = {name: size(name) for name in ("input_size", "hidden_size", "num_layers")}
OPTIONS |= {name: flag(name) for name in ("bias", "batch_first", "bidirectional")}
OPTIONS |= {name: share(name) for name in ("dropout", "recurrent_dropout", "zoneout")}
OPTIONS |= {"dtype": DTYPE, "rng": RNG, "clip": (-1.0, "clip is -1.0, expected None or a positive")}
OF_LAYERS = ("num_layers", "batch_first", "dropout", "bidirectional")


def not_of_a_cell(name, cell):
    return 1, f"{name} is given, but {cell} has no such option"


# What is called, with which arguments, and how each of them is refused


class Row:
    """A public function: `arguments` it takes, and for each a wrong one with its message."""

    def __init__(self, function, arguments, wrong, signature=None):
        self.function, self.arguments, self.wrong = function, arguments, wrong
        self.names = list(inspect.signature(signature or function).parameters)


def constructor_rows():
    common = [n for n in inspect.signature(RecurrentLayer).parameters if n != "own"]
    for name, own in OWN_OPTIONS.items():
        kind, cell = getattr(rc, name), getattr(rc, f"{name}Cell")
        own = own | ({"bias_init": BIAS_INIT} if CELLS[name].keeping else {})
        sizes = {"input_size": I, "hidden_size": H}
        row = Row(kind, sizes, OPTIONS | own)
        assert {*row.names} == {*common, *own}
        yield name, row
        wrong = OPTIONS | own | {n: not_of_a_cell(n, cell.__name__) for n in OF_LAYERS}
        row = Row(cell, sizes, wrong)
        row.names = list(dict.fromkeys([*row.names, *common, *own]))
        yield cell.__name__, row


def state_text(name, *shapes):
    return (f32(9), f"{name} has shape (9,), expected {shapes[0]}")


def layer_rows():
    for name, of_cell in CELLS.items():
        layer, states = getattr(rc, name)(I, H), of_cell.parts
        *_, trace = layer.forward(f32(T, B, I))
        x = shape("x", "(T, B, 4) or (T, 4)")
        state, dstate = shape("state", "(1, 3, 2)"), shape("dstate", "(1, 3, 2)")
        if len(states) > 1:
            expected = f"the tuple ({', '.join(states)})"
            state, dstate = (
                (f32(9), f"{of} is of type ndarray, expected {expected}")
                for of in ("state", "dstate")
            )
        called = {"x": x, "state": state, "lengths": LENGTHS}
        right = {"x": f32(T, B, I)}
        yield f"{name}()", Row(layer, right, called)
        limit = (1, "memory_limit is 1, expected at least ")
        forward = called | {"training": flag("training"), "memory_limit": limit}
        yield f"{name}.forward", Row(layer.forward, right, forward)
        backward = {
            "trace": (f32(1), "trace is of type ndarray, expected Trace"),
            "dy": shape("dy", "(5, 3, 2)"),
            "dstate": dstate,
            "flow": FLOW,
        }
        arriving = {"trace": trace, "dy": f32(T, B, H)}
        yield f"{name}.backward", Row(layer.backward, arriving, backward)
        yield f"{name}.load_params", Row(layer.load_params, {}, {"mapping": PARAMS})
        yield f"{name}.save", Row(layer.save, {}, {"path": PATH})
        another = "int8", "precision is 'int8', expected None or one of 'bfloat16'"
        yield f"{name}.freeze", Row(layer.freeze, {}, {"precision": another})

        frozen = layer.freeze()
        yield f"{name}.freeze()()", Row(frozen, right, called)
        yield f"{name}.freeze().compare", Row(frozen.compare, right, called)
        stream = frozen.stream(B)
        yield f"{name}.stream", Row(frozen.stream, {}, {"batch_size": size("batch_size")})
        read = {"x": shape("x", "(3, 4)"), "out": shape("out", "(3, 2)")}
        row = Row(lambda x, out=None, stream=stream: stream(x, out=out), {"x": f32(B, I)}, read)
        row.names = ["x", "out"]
        yield f"{name}.stream()()", row
        yield (
            f"{name}.stream().reset",
            Row(stream.reset, {}, {"state": state, "rows": ROWS_OF_A_STREAM}),
        )

        cell = getattr(rc, f"{name}Cell")(I, H)
        _, trace = cell.forward(f32(B, I))
        text = "(3, 2)"
        parts = {of: shape(of, text) for of in ("state", "dstate")}
        if len(states) > 1:
            parts = {"state": state, "dstate": dstate}
        called = {"x": shape("x", "(B, 4) or (4,)"), "state": parts["state"]}
        yield f"{name}Cell()", Row(cell, {"x": f32(B, I)}, called)
        forward = called | {"training": flag("training")}
        yield f"{name}Cell.forward", Row(cell.forward, {"x": f32(B, I)}, forward)
        backward = {"trace": (f32(1), "trace is of type ndarray, expected Trace")}
        backward["dstate"] = parts["dstate"]
        arriving = {"trace": trace, "dstate": pack([f32(B, H), None][: len(states)])}
        yield f"{name}Cell.backward", Row(cell.backward, arriving, backward)
        yield f"{name}Cell.load_params", Row(cell.load_params, {}, {"mapping": PARAMS})


def in_letters(sizes):
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


def wrong_weights(kind, forward):
    """Of a forward pass, or of the backward pass that is given the weights it reads."""
    taken = inspect.signature(forward).parameters
    for weight in kind.weights:
        name = weight.argument
        if weight.place == "w_hr":
            without = f"{name} is given, expected None: the forward pass ran"
            yield name, shape(name, "(P, H)"), (f32(1, H), without)
        elif weight.needs in taken:
            without = f"{name} is given and {weight.needs} is None, expected {name} to be None"
            yield name, (f32(9), without), (f32(9), without)
        else:
            refused = shape(name, sized(weight.shape, {"I": I, "H": H, "P": H}))
            told = refused
            if weight.stem == "weight_hh":  # its own shape tells H
                told = shape(name, in_letters(weight.shape).replace("P", "H"), 9, 9, 9)
            back = refused
            if weight.needs == "bias":
                back = f32(9), f"{name} is given, expected None: the forward pass ran without"
            yield name, told, back if weight.read_back else None


def functional_rows():
    for module in (functional, reference):
        for kind in CELLS.values():
            forward, backward = (
                getattr(module, f"{kind.prefix}_{way}") for way in ("forward", "backward")
            )
            always = [weight for weight in kind.weights if not weight.needs]
            sizes = {"I": I, "H": H, "P": H}
            weights = {weight.argument: f32(*sized(weight.shape, sizes)) for weight in always}
            right = {"x": f32(T, B, I), **weights}
            wrong = {
                "x": shape("x", "(T, B, I)"),
                "h_mask": shape("h_mask", "(3, 2)"),
                "clip": OPTIONS["clip"],
                "lengths": LENGTHS,
                "reverse": flag("reverse"),
                "training": flag("training"),
                **OWN_OPTIONS[kind.name],
            }
            wrong.pop("proj_size", None)  # w_hr says it
            arriving = {
                "trace": (f32(1), "trace is of type ndarray, expected "),
                "dy": shape("dy", "(5, 3, 2)"),
                "flow": FLOW,
            }
            for s in kind.parts:
                wrong[f"{s}0"] = shape(f"{s}0", "(3, 2)")
                wrong[f"keep_{s}"] = shape(f"keep_{s}", "(5, 3, 2)")
                arriving[f"d{s}"] = shape(f"d{s}", "(3, 2)")
            for name, told, told_back in wrong_weights(kind, forward):
                wrong[name] = told
                arriving |= {name: told_back} if told_back else {}
            name = f"{module.__name__}.{kind.prefix}"
            yield f"{name}_forward", Row(forward, right, wrong)
            right = {"trace": forward(**right), **weights, "dy": f32(T, B, H)}
            yield f"{name}_backward", Row(backward, right, arriving)


def fit_row():
    data = f32(T, B, I), f32(T, B, H)
    right = {"model": rc.GRU(I, H, rng=0), "data": data, "loss": "mse", "progress": False}
    wrong = {
        "model": (1, "model is of type int, which has no forward"),
        "data": (1, "data is of type int, expected (X, Y) or batches"),
        "loss": ("hinge", "loss is 'hinge', expected "),
        "optimizer": ("lion", "optimizer is 'lion', expected "),
        "lr": (-1.0, "lr is -1.0, expected a finite number of at least 0"),
        "schedule": (1, "schedule is of type int, expected a function of the number of steps"),
        "clip_norm": above("clip_norm"),
        "validation": (1, "validation is 1, expected a share above 0 and below 1, or data"),
        "patience": (3, "patience is given without validation"),
        "metrics": ("f1", "metrics is 'f1', expected "),
        "checkpoint": (1, "checkpoint is of type int, expected a path"),
        "rng": RNG,
        "callbacks": (1, "callbacks is of type int, expected a list"),
        "progress": flag("progress"),
        "weight_decay": (-1.0, "weight_decay is -1.0, expected a finite number of at least 0"),
        "comm": (1, "comm is of type int, which has no Get_rank: expected a communicator"),
        "ordered": ("yes", "ordered is 'yes', expected True, False or an integer"),
    }
    for name in ("epochs", "batch_size", "accumulate", "window"):
        wrong[name] = size(name)
    return Row(rc.fit, right, wrong)


def other_rows():
    yield "gradcheck", Row(
        rc.gradcheck, {"layer": rc.GRU(I, H, dtype=float), "x": f64(T, B, I)},
        {"layer": (1, "layer is of type int, expected what has params, forward and backward"),
         "x": (f64(9), "x has shape (9,), expected (T, B, 4) or (T, 4)"),
         "state": (f64(9), "state has shape (9,), expected (1, 3, 2)"),
         "lengths": LENGTHS,
         "directions": size("directions"),
         "eps": above("eps"),
         "rtol": above("rtol"),
         "raise_exception": flag("raise_exception"),
         "rng": RNG},
    )  # fmt: skip
    yield "gradient_flow", Row(
        rc.gradient_flow, {"layer": rc.GRU(I, H, dtype=float), "x": f64(T, B, I)},
        {"layer": (1, "layer is of type int, expected RecurrentLayer"),
         "x": (f64(9), "x has shape (9,), expected (T, B, 4) or (T, 4)"),
         "dy": (f64(9), f"dy has shape (9,), expected ({T}, {B}, {H})")},
    )  # fmt: skip
    yield "load", Row(
        lambda path="none.npz", verify=True: rc.load(path, verify=verify), {},
        {"path": PATH, "verify": flag("verify")}, rc.load,
    )  # fmt: skip
    yield "fit", fit_row()
    yield "predict", Row(
        rc.predict, {"model": rc.GRU(I, H), "X": f32(T, B, I)},
        {"model": (1, "model is of type int, which has no forward"),
         "X": ("abc", "X is of type str, expected an array or a list of sequences"),
         "batch_size": size("batch_size"),
         "lengths": LENGTHS},
    )  # fmt: skip
    yield "set_num_threads", Row(rc.set_num_threads, {}, {"n": size("n")})
    yield "get_num_threads", Row(rc.get_num_threads, {}, {})

    def entered(n):
        with rc.num_threads(n):
            pass

    yield "num_threads", Row(entered, {}, {"n": size("n")}, rc.num_threads)
    yield "show_config", Row(rc.show_config, {}, {"mode": choice("mode", "stdout", "dicts")})


ROWS = dict(
    [
        *constructor_rows(),
        *layer_rows(),
        *part_rows(Row),
        *model_rows(Row),
        *functional_rows(),
        *training_rows(Row),
        *other_rows(),
    ]
)
CASES = [(name, argument) for name, row in ROWS.items() for argument in row.wrong]


def test_the_table_has_every_public_name():
    assert {name for name in ROWS if "." not in name and "()" not in name} == set(rc.__all__)
    for module in (functional, reference):
        own = {f"{module.__name__}.{name}" for name in module.__all__}
        assert own == {name for name in ROWS if name.startswith(f"{module.__name__}.")}
    kinds = [getattr(rc, name + cell) for name in CELLS for cell in ("", "Cell")]
    for kind in (*kinds, *MODELS, *CONSTRUCTORS, *OPTIMIZERS, *SCHEDULES):
        methods = {m for m, _ in inspect.getmembers(kind, inspect.isfunction) if m[0] != "_"}
        of_kind = {name for name in ROWS if name.startswith(f"{kind.__name__}.")}
        assert {f"{kind.__name__}.{m}" for m in methods} <= of_kind


@pytest.mark.parametrize("name", ROWS)
def test_the_table_has_every_argument(name):
    assert sorted(ROWS[name].wrong) == sorted(ROWS[name].names)


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_it_is_refused(name, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = ROWS[name]
    value, message = row.wrong[argument]
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        row.function(**{**row.arguments, argument: value})


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.arguments])
def test_the_others_are_right(name, tmp_path, monkeypatch):
    """What is refused is the one wrong argument."""
    monkeypatch.chdir(tmp_path)  # a file may be saved
    ROWS[name].function(**ROWS[name].arguments)
