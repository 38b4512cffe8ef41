"""What `fit` is given, checked and in one form: data, optimisers, schedules, functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncore import _check
from rnncore._common.groups import flatten
from rnncore.fitting.arrays import array_of
from rnncore.fitting.batches import Given, Rows
from rnncore.fitting.layout import Layout, whole
from rnncore.fitting.scores import several, takes
from rnncore.layers.frozen import Frozen
from rnncore.models.called import Model
from rnncore.models.freezing import FrozenModel
from rnncore.models.members import is_recurrent, leaves
from rnncore.models.over_time import OverTime
from rnncore.train.optim import SGD, Adam, AdamW, RMSprop
from rnncore.train.optimizer import Optimizer

OPTIMIZERS = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


def model_of(model: Any) -> Any:
    """What can be trained; a layer as a model of one."""
    if isinstance(model, Frozen | FrozenModel):
        raise TypeError(
            "model is frozen, and cannot be trained: expected what freeze was called of"
        )
    own = whole(model)
    for name in ("forward", "backward", "params"):
        if not hasattr(own, name):
            raise TypeError(f"model is of type {type(model).__name__}, which has no {name}")
    if not own.params:
        raise ValueError("model has no parameters, expected some to train")
    return own


def pair_of(data: Any) -> tuple[Any, ...] | None:
    """(X, Y) or (X, Y, lengths); None where batches are given."""
    if not isinstance(data, tuple):
        return None
    if len(data) not in (2, 3):
        raise ValueError(f"data is a tuple of {len(data)}, expected (X, Y) or (X, Y, lengths)")
    if data[1] is None:
        raise TypeError("Y is None, expected targets")
    X, target, *lengths = data
    return array_of("X", X), array_of("Y", target), *lengths


def data_of(name: str, data: Any, layout: Layout, *, again: bool) -> Rows | Given:
    """What gives batches; `again`: more than once."""
    given = pair_of(data)
    if given is not None:
        X, Y, *lengths = given
        return Rows(X, Y, lengths[0] if lengths else None, layout)
    if not hasattr(data, "__iter__") or isinstance(data, str | bytes | dict):
        raise TypeError(
            f"{name} is of type {type(data).__name__}, expected (X, Y) or batches of (x, y)"
        )
    return Given(name, data, layout, again=again)


def validation_of(
    train: Rows | Given, given: Any, layout: Layout, rng: np.random.Generator
) -> Rows | Given | None:
    """Data of its own, or a share of the rows that are trained with."""
    if given is None:
        return None
    if isinstance(given, int) and not isinstance(given, bool):
        raise ValueError(f"validation is {given}, expected a share above 0 and below 1, or data")
    if not isinstance(given, float | np.floating):
        return data_of("validation", given, layout, again=True)
    share = _check.fraction("validation", float(given))
    if not share or isinstance(train, Given):
        raise ValueError(
            f"validation is {given}, expected a share above 0 and below 1 of data (X, Y), or data"
        )
    return train.split(share, rng)


def functions_of(name: str, given: Any) -> tuple[Callable[..., Any], ...]:
    found = tuple(several(name, given))
    for one in found:
        if not callable(one):
            raise TypeError(f"{name} has a {type(one).__name__}, expected functions")
    return found


def optimizer_of(given: Any, model: Any, lr: float, weight_decay: float | None) -> Any:
    """An optimiser of the model's parameters."""
    options = {}
    if weight_decay is not None:
        options["weight_decay"] = _check.not_negative("weight_decay", weight_decay)
    if isinstance(given, Optimizer):
        if options:
            raise ValueError("weight_decay is given beside an optimizer, which has its own")
        own = flatten("optimizer", given._params)
        if {id(a) for a in own.values()} != {id(a) for a in model.params.values()}:
            raise ValueError("optimizer is of other parameters than those of the model")
        return given
    if not (isinstance(given, type) and issubclass(given, Optimizer)):
        given = OPTIMIZERS[_check.choice("optimizer", given, list(OPTIMIZERS))]
    has = "weight_decay" in given._fixed
    if weight_decay and not has:
        raise ValueError(f"weight_decay is {weight_decay}, which {given.__name__} has not")
    return given(model, lr, **(options if has else {}))


def schedule_of(given: Any) -> Any:
    if given is None or (callable(given) and not isinstance(given, type)):
        return given
    raise TypeError(
        f"schedule is of type {type(given).__name__}, expected a function of the number of steps"
    )


def check_windows(model: Any, layout: Layout) -> None:
    """Whether a model can be trained on windows of its steps."""
    if layout.per_step is False:
        raise ValueError("window is given, and the model has no output, or no target, at each step")
    if isinstance(model, Model):
        for name, leaf in leaves(model):
            back = is_recurrent(leaf) and leaf.bidirectional
            if back or isinstance(leaf, OverTime):
                raise ValueError(
                    f"window is given, and layer {name.removesuffix('.')} reads steps beyond one"
                )
    elif not takes(model.forward, ("state",)):
        raise ValueError("window is given, and the model's forward takes no state")


def check_ends(data: Rows | Given, layout: Layout, window: int, *, whole: bool) -> None:
    """Whether no window has a single position, where a layer wants two; `whole`: no parts of it."""
    if layout.least == 1 or (whole and window >= layout.least):
        return
    if isinstance(data, Rows) and data.lengths is not None:
        raise ValueError(
            "window is given, rows have different lengths, and BatchNorm, which expects two"
            " positions, may find the end of the longest row alone: expected a window of two steps"
            " or more, and neither ordered nor comm"
        )
