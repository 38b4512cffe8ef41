"""What the options of an estimator may be: said by their own names, before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from rnncore import _check
from rnncore.fitting.given import OPTIMIZERS, schedule_of
from rnncore.layers import GRU, LSTM, RNN
from rnncore.train.optim import Adam

CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
# What makes the layers, and cannot change while a training goes on.
OF_LAYERS = (
    *("cell", "hidden_layer_sizes", "layers", "bidirectional", "pooling", "conv", "embedding"),
    *("dropout", "scale", "dtype", "window", "horizon", "strategy", "difference"),
)
Check = Callable[[str, Any], object]


def sizes_of(given: Any) -> tuple[int, ...]:
    """`hidden_layer_sizes` one by one."""
    name = "hidden_layer_sizes"
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes):
        found = tuple(_check.size(f"{name}[{k}]", size) for k, size in enumerate(given))
        if not found:
            raise ValueError(f"{name} is empty, expected at least one size")
        return found
    return (_check.size(name, given),)


def _or_none(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _one_of(*words: str) -> Check:
    return lambda name, value: _check.choice(name, value, words)


def _share(name: str, value: Any) -> None:
    if not _check.fraction(name, value):
        raise ValueError(f"{name} is {value}, expected a number above 0 and below 1")


def _shown(name: str, value: Any) -> None:
    if not isinstance(value, int | np.integer | np.bool_) or value < 0:
        raise TypeError(f"{name} is {value!r}, expected True, False or a number of at least 0")


def _class_weight(name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for label, weight in value.items():
            _check.not_negative(f"{name}[{label!r}]", weight)
    elif value is not None and not (isinstance(value, str) and value == "balanced"):
        raise ValueError(f"{name} is {value!r}, expected a dict, 'balanced' or None")


def _seed(name: str, value: Any) -> None:
    try:
        check_random_state(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


_CHECKS: dict[str, Check] = {
    "cell": _one_of(*CELLS),
    "hidden_layer_sizes": lambda name, value: sizes_of(value),
    "layers": _check.size,
    "bidirectional": _check.flag,
    "pooling": _one_of("last", "first", "mean", "max"),
    "conv": _or_none(_check.size),
    "embedding": _or_none(_check.size),
    "dropout": _check.fraction,
    "scale": _check.flag,
    "solver": _one_of(*OPTIMIZERS),
    "alpha": _check.not_negative,
    "batch_size": _check.size,
    "learning_rate_init": _check.positive,
    "schedule": lambda name, value: schedule_of(value),
    "max_iter": _check.size,
    "random_state": _seed,
    "tol": _check.not_negative,
    "verbose": _shown,
    "warm_start": _check.flag,
    "early_stopping": _check.flag,
    "validation_fraction": _share,
    "n_iter_no_change": _check.size,
    "beta_1": _check.fraction,
    "beta_2": _check.fraction,
    "epsilon": _check.normal,
    "clip_norm": _or_none(_check.positive),
    "dtype": _check.float_dtype,
    "class_weight": _class_weight,
    "horizon": _check.size,
    "window": _or_none(_check.size),
    "strategy": _one_of("recursive", "direct"),
    "difference": _check.flag,
}


def check_options(estimator: Any) -> None:
    """Raise TypeError or ValueError for an option that cannot be."""
    for name, check in _CHECKS.items():
        if hasattr(estimator, name):  # not all have all
            check(name, getattr(estimator, name))
    if estimator.alpha and not issubclass(OPTIMIZERS[estimator.solver], Adam):
        raise ValueError(
            f"alpha is {estimator.alpha}, which solver={estimator.solver!r} does not have"
        )


def shape_of(estimator: Any) -> dict[str, Any]:
    """The options that make the layers, as they are now."""
    # Attributes: of a subclass fewer may be parameters.
    found = {name: getattr(estimator, name) for name in OF_LAYERS if hasattr(estimator, name)}
    if found.get("strategy") == "recursive":
        del found["horizon"]
    return found | {
        "hidden_layer_sizes": sizes_of(estimator.hidden_layer_sizes),
        "dtype": np.dtype(estimator.dtype).name,
    }


def check_same_shape(before: Mapping[str, Any], estimator: Any) -> None:
    """Raise ValueError for an option whose layers have been trained with another value."""
    for name, value in shape_of(estimator).items():
        if value != before.get(name, value):
            raise ValueError(
                f"{name} is {value!r}, and the training that goes on began with {before[name]!r}:"
                " expected that, or warm_start=False"
            )


def optimizer_of(estimator: Any, body: Any) -> Any:
    """A new optimiser of a model's parameters."""
    kind = OPTIMIZERS[estimator.solver]
    options: dict[str, Any] = {}
    if issubclass(kind, Adam):
        betas = (estimator.beta_1, estimator.beta_2)
        options = {"betas": betas, "eps": estimator.epsilon, "weight_decay": estimator.alpha}
    return kind(body, estimator.learning_rate_init, **options)
