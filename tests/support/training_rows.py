"""What trainings are made of is called with, and how each wrong argument is refused."""

from types import SimpleNamespace

import numpy as np
from own_options import choice, flag, size
from refusals import f32

from rnncore import parallel
from rnncore.train import clipping, functions, generators, losses, optim, plateau, schedules

T, B, K = 5, 3, 2
IDS = np.zeros((T, B), int)
LENGTHS = ([T + 1] * B, f"lengths[0] is {T + 1}, expected 0 to {T}, the steps of x")
FORMS = f"expected ({T}, {B}), or 1 in place of some of these sizes, or one entry a row"
COUNTED = {
    "weight": (f32(9), f"weight has shape (9,), {FORMS}"),
    "mask": (f32(T, B), "mask has dtype float32, expected bool"),
    "lengths": LENGTHS,
    "batch_first": flag("batch_first"),
}
GROUPS = "is of type int, expected a dict of arrays, what has one as params, or a list of these"
PATH = ("layer.txt", "layer.txt has the suffix '.txt', expected '.npz' or '.safetensors'")
STATE = (1, "state is of type int, expected Mapping")
OWNER = (1, "owner is of type int, expected a layer, a model, a numpy Generator or a list of these")


def below(name):
    return -1.0, f"{name} is -1.0, expected a finite number of at least 0"


def share(name):
    return 1.0, f"{name} is 1.0, expected a number of at least 0 and below 1"


def no_floats(name):
    return IDS, f"{name} has dtype int64, expected float32 or float64"


def another_shape(name):
    return f32(9), f"{name} has shape (9,), expected ({T}, {B})"


# Class -> what is wrong for each of its arguments but `params` and `lr`.
OPTIMIZERS = {
    optim.SGD: {"momentum": share("momentum")},
    optim.RMSprop: {name: share(name) for name in ("alpha", "momentum")}
    | {name: below(name) for name in ("eps", "weight_decay")}
    | {"centered": flag("centered")},
}
for _kind in (optim.Adam, optim.AdamW):
    OPTIMIZERS[_kind] = {name: below(name) for name in ("eps", "weight_decay")}
    OPTIMIZERS[_kind]["betas"] = (0.9, "betas is 0.9, expected a pair of numbers")

STEP = (-1, "step is -1, expected an integer of at least 0")
SHARED = {"lr": below("lr"), "steps": size("steps")}
LOWEST = {"lowest": (2.0, "lowest is 2.0, expected at most lr, 1.0")}
AT_LEAST_0 = {name: (-1, f"{name} is -1, expected an integer of at least 0") for name in
              ("patience", "cooldown")}  # fmt: skip
# Class -> what it is made with, what is wrong for each argument, and what is for its calls.
SCHEDULES = {
    schedules.StepDecay: (
        {"lr": 1.0, "every": 2},
        {"lr": below("lr"), "every": size("every")}
        | {"factor": (0, "factor is 0, expected a number above 0 and at most 1")},
        {"step": STEP},
    ),
    schedules.CosineDecay: ({"lr": 1.0, "steps": 2}, SHARED | LOWEST, {"step": STEP}),
    schedules.OneCycle: (
        {"lr": 1.0, "steps": 9},
        {"lr": below("lr"), "steps": size("steps", 2), "up": share("up")}
        | {n: (0.5, f"{n} is 0.5, expected a number of at least 1") for n in ("start", "end")},
        {"step": STEP},
    ),
    schedules.WarmUp: (
        {"then": 1.0, "steps": 2},
        {"then": below("then"), "steps": size("steps"), "start": share("start")},
        {"step": STEP},
    ),
    plateau.OnPlateau: (
        {"lr": 1.0},
        {"lr": below("lr"), "mode": choice("mode", "min", "max"), **AT_LEAST_0, **LOWEST}
        | {name: share(name) for name in ("factor", "threshold")},
        {"value": (None, "value is None, expected a number")},
    ),
}


def training_rows(Row):
    yield from _losses(Row)
    yield from _optimizers(Row)
    for kind, (right, wrong, called) in SCHEDULES.items():
        schedule, name = kind(**right), kind.__name__
        yield name, Row(kind, right, wrong)
        yield f"{name}()", Row(schedule, {}, called)
        yield f"{name}.state_dict", Row(schedule.state_dict, {}, {})
        yield f"{name}.load_state_dict", Row(schedule.load_state_dict, {}, {"state": STATE})
    alone = SimpleNamespace(**dict.fromkeys(parallel._CALLS) | {"Get_size": lambda: 1})
    alone.Get_rank = lambda: 0
    right = {"grads": {"p": f32(2)}, "comm": alone}
    wrong = {"grads": (1, f"grads {GROUPS}"), "ordered": flag("ordered")}
    wrong["comm"] = 1, "comm is of type int, which has no Get_rank: expected a communicator"
    yield "parallel.all_reduce", Row(parallel.all_reduce, right, wrong)
    rng = np.random.default_rng(0)
    yield "rng_state", Row(generators.rng_state, {"owner": rng}, {"owner": OWNER})
    yield (
        "set_rng_state",
        Row(
            generators.set_rng_state,
            {"owner": rng, "state": generators.rng_state(rng)},
            {"owner": OWNER, "state": STATE},
        ),
    )


def _losses(Row):
    integer = {"ignore_index": (0.5, "ignore_index is 0.5, expected an integer")}
    yield (
        "softmax_cross_entropy",
        Row(
            losses.softmax_cross_entropy,
            {"logits": f32(T, B, K), "targets": IDS},
            {"logits": no_floats("logits"), **COUNTED, **integer}
            | {"targets": (f32(T, B), "targets has dtype float32, expected integers")}
            | {"class_weight": (f32(9), f"class_weight has shape (9,), expected ({K},)")}
            | {"label_smoothing": share("label_smoothing")},
        ),
    )
    for function, names in (
        (losses.mse, ("y", "target")),
        (losses.mae, ("y", "target")),
        (losses.huber, ("y", "target")),
        (losses.bce_with_logits, ("logits", "targets")),
    ):
        wrong = {names[0]: no_floats(names[0]), names[1]: another_shape(names[1]), **COUNTED}
        if function is losses.huber:
            wrong["delta"] = (0, "delta is 0, expected a number above 0")
        yield function.__name__, Row(function, dict.fromkeys(names, f32(T, B)), wrong)
    x = {"x": no_floats("x")}
    axis = {"axis": (2, "axis is 2, expected an integer of at most 1")}
    yield "softmax", Row(functions.softmax, {"x": f32(T, B)}, x | axis)
    yield "sigmoid", Row(functions.sigmoid, {"x": f32(T, B)}, x)


def _optimizers(Row):
    for kind, wrong in OPTIMIZERS.items():
        right, name = {"params": {"p": f32(2)}, "lr": 0.1}, kind.__name__
        wrong = {"params": (1, f"params {GROUPS}"), "lr": below("lr"), **wrong}
        yield name, Row(kind, right, wrong)
        made = kind(**right)
        yield f"{name}.step", Row(made.step, {}, {"grads": (1, f"grads {GROUPS}")})
        yield f"{name}.state_dict", Row(made.state_dict, {}, {})
        yield f"{name}.save", Row(made.save, {}, {"path": PATH})
        for method in (made.load_state, made.load_state_dict):
            yield f"{name}.{method.__name__}", Row(method, {}, {"state": STATE})
    for function, bound in (
        (clipping.clip_grad_norm, "max_norm"),
        (clipping.clip_grad_value, "limit"),
    ):
        wrong = {
            "grads": (1, f"grads {GROUPS}"),
            bound: (0, f"{bound} is 0, expected a number above 0"),
        }
        yield function.__name__, Row(function, {"grads": {"p": f32(2)}, bound: 1.0}, wrong)
