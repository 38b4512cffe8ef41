"""What the file of a language model and of its training must hold.

All of it is checked before anything is made of it: sizes against the arrays that are there, so that
a damaged number can ask for no memory, and arrays by name, shape, dtype and content.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

import numpy as np

from rnncore import _check
from rnncore.language_model.text import in_short
from rnncore.layers import storage
from rnncore.layers.kinds import BY_PREFIX
from rnncore.layers.parameters import suffixes
from rnncore.layers.results import State
from rnncore.train.optim import Adam

VOCABULARY = 256
CELLS = BY_PREFIX

_MODEL = ("cell", "layers", "hidden", "embedding", "dtype")
_TRAINING = ("batch", "window", "position", "text")
_MOST_STEPS = 2**62  # of the optimiser: as many again can be counted in 64 bits
_CHECKSUMS = 2**32
_LONGEST_MESSAGE = 400

Arrays = Mapping[str, np.ndarray]


class Options(TypedDict):
    """What makes a model, but for its generator."""

    cell: str
    layers: int
    hidden: int
    embedding: int
    dtype: str


class Training(NamedTuple):
    """Where a training was when it was saved."""

    batch: int
    window: int
    position: int  # in the streams, of the next window
    text: int  # its CRC-32

    def position_in(self, path: str | os.PathLike[str], length: int) -> int:
        """The position, which streams of the text must hold."""
        if self.position > length:
            raise ValueError(
                f"{path} is no complete training: training.position is {self.position}, expected"
                f" at most {length}, the length of a stream"
            )
        return self.position


def read(
    path: str | os.PathLike[str], kind: str
) -> tuple[dict[str, Any], dict[str, np.ndarray], Training | None]:
    """Options, arrays and the training, if there is one, of a file that holds what it has to hold.

    Names and sizes are compared before the arrays are read, and then what is in them.

    Raises
    ------
    OSError, ValueError as `storage.load_arrays`, and ValueError as `check`.
    """
    with storage.opened(path, kind) as stored:
        check(path, stored.options, stored.described())
        arrays = stored.read()
    return stored.options, arrays, check(path, stored.options, arrays)


def check(
    path: str | os.PathLike[str], options: Mapping[str, Any], arrays: Arrays
) -> Training | None:
    """Check what was read from `path`; gives the training, or None where it holds a model alone.

    Raises
    ------
    ValueError that names the path and what is missing, unknown or wrong.
    """
    what = "language model"
    try:
        _no_others("", options, ("model", "training"))
        model = _entries("model", options.get("model"), _MODEL)
        shapes, dtype = _model_shapes(model, arrays), np.dtype(model["dtype"])
        for name, shape in shapes.items():
            _check.array(name, _found(arrays, name), shape, dtype=dtype)
        if "training" not in options:
            _no_others("", arrays, shapes)
            return None
        what = "training"
        entries = _entries("training", options["training"], _TRAINING)
        training = Training(
            *(
                _check.size(f"training.{name}", entries[name], minimum=least)
                for name, least in zip(_TRAINING, (1, 1, 0, 0), strict=True)
            )
        )
        if training.text >= _CHECKSUMS:
            raise ValueError(f"training.text is {training.text}, expected a CRC-32")
        kept = {
            **shapes,
            **_check_state(model, training, arrays, dtype),
            **_check_optimizer(shapes, arrays, dtype),
            **dict.fromkeys(f"best.{name}" for name in below("best", arrays)),
            **dict.fromkeys(f"history.{name}" for name in below("history", arrays)),
        }
        check_history(below("history", arrays))
        check_best(below("best", arrays), shapes, dtype)
        _no_others("", arrays, kept)
    except (TypeError, ValueError) as error:
        message = str(error)
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}..."
        raise ValueError(f"{path} is no complete {what}: {message}") from error
    return training


def check_history(history: Arrays) -> None:
    """Check that all arrays are numbers, finite, and one for each of the same steps.

    Raises
    ------
    ValueError, TypeError that name the array.
    """
    length = None
    for name, values in history.items():
        what = f"history.{name}"
        _check.instance(what, values, np.ndarray)
        if values.dtype.kind not in "iuf":
            raise TypeError(f"{what} has dtype {values.dtype}, expected integers or floats")
        length = values.size if length is None else length
        if values.shape != (length,):
            raise ValueError(f"{what} has shape {values.shape}, expected ({length},)")
        _check_finite(what, values)


def check_best(best: Arrays, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype) -> None:
    """Check that there are all parameters of a model, or none.

    Raises
    ------
    ValueError, TypeError that name the array.
    """
    for name, shape in shapes.items() if best else ():
        _check.array(f"best.{name}", _found(best, name, "best."), shape, dtype=dtype)
    _no_others("best.", best, shapes)


def training_arrays(
    optimizer: Arrays, state: State | None, history: Arrays, best: Arrays
) -> dict[str, np.ndarray]:
    """What is saved of a training besides the model, by the names that it has in the file."""
    parts = state if isinstance(state, tuple) else (state,)
    carried = {str(k): part for k, part in enumerate(parts) if part is not None}
    groups = {"optimizer": optimizer, "state": carried, "history": history, "best": best}
    return {
        f"{group}.{name}": array
        for group, arrays in groups.items()
        for name, array in arrays.items()
    }


def carried_state(arrays: Arrays) -> State | None:
    """The state that `training_arrays` was given."""
    parts = [part for _, part in sorted(below("state", arrays).items())]
    if len(parts) > 1:
        h, c = parts
        return h, c
    return parts[0] if parts else None


def of_reader(arrays: Arrays) -> Arrays:
    """The parameters to read a model with: the best ones, where a training has kept them."""
    return below("best", arrays) or arrays


def check_parameters(path: str | os.PathLike[str], parameters: Arrays) -> None:
    """Check that a model can compute something.

    Raises
    ------
    ValueError that names the path and the arrays that hold NaN or infinity.
    """
    if bad := not_finite(parameters):
        raise ValueError(f"{path} holds parameters that are not finite: {in_short(bad)}")


def not_finite(arrays: Arrays) -> list[str]:
    """The names of the arrays that hold NaN or infinity."""
    return [name for name, array in arrays.items() if not np.isfinite(array).all()]


def below(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays ``"prefix.name"`` by ``"name"``."""
    start = f"{prefix}."
    return {name.removeprefix(start): a for name, a in arrays.items() if name.startswith(start)}


def _model_shapes(model: Mapping[str, Any], arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """The shapes of all parameters, which tell of wrong sizes once they are compared."""
    cell = _check.choice("model.cell", model["cell"], tuple(CELLS))
    _check.choice("model.dtype", model["dtype"], tuple(dtype.name for dtype in _check.FLOATS))
    layers, hidden, embedding = (
        _check.size(f"model.{name}", model[name]) for name in ("layers", "hidden", "embedding")
    )
    there = sum(name.startswith("recurrent.weight_hh") for name in arrays)
    if layers != there:
        raise ValueError(f"model.layers is {layers}, but there are parameters of {there}")
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (VOCABULARY, embedding)}
    for k, suffix in enumerate(suffixes(layers, 1)):
        inputs = hidden if k else embedding
        of_layer = cell_shapes(cell, inputs, hidden)
        shapes |= {f"recurrent.{stem}{suffix}": shape for stem, shape in of_layer.items()}
    return shapes | {"head.weight": (VOCABULARY, hidden), "head.bias": (VOCABULARY,)}


def cell_shapes(cell: str, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Of the parameters of one recurrent layer of the model, by the stems of their names."""
    kind = CELLS[cell]._kind
    return kind.shapes({**kind.defaults, "bias": True}, inputs, hidden)


def _check_state(
    model: Mapping[str, Any], training: Training, arrays: Arrays, dtype: np.dtype
) -> dict[str, Any]:
    if training.position == 0 and not below("state", arrays):
        return {}
    shape = (model["layers"], training.batch, model["hidden"])
    names = [f"state.{k}" for k in range(len(CELLS[model["cell"]]._kind.states))]
    for name in names:
        _check_finite(name, _check.array(name, _found(arrays, name), shape, dtype=dtype))
    return dict.fromkeys(names)


def _check_optimizer(
    shapes: Mapping[str, tuple[int, ...]], arrays: Arrays, dtype: np.dtype
) -> dict[str, Any]:
    steps = _found(arrays, "optimizer.steps")
    if steps.shape != () or steps.dtype.kind not in "iu" or not 0 <= steps < _MOST_STEPS:
        raise ValueError(f"optimizer.steps is {reprlib.repr(steps)}, expected a number of steps")
    parts = list(dict.fromkeys(name.partition(".")[0] for name in shapes))
    names = ["optimizer.steps"]
    for full, shape in shapes.items():
        part, _, parameter = full.partition(".")
        for slot in Adam._slots:
            names.append(f"optimizer.{slot}.{parts.index(part)}.{parameter}")
            value = _check.array(names[-1], _found(arrays, names[-1]), shape, dtype=dtype)
            if slot != "square":
                _check_finite(names[-1], value)
            elif not value.min() >= 0:  # the square of a large gradient may well be infinite
                raise ValueError(f"{names[-1]} is negative or NaN somewhere, expected squares")
    return dict.fromkeys(names)


def _check_finite(name: str, array: np.ndarray) -> None:
    if not_finite({name: array}):
        raise ValueError(f"{name} is not finite")


def _entries(what: str, found: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise TypeError(f"{what} is {reprlib.repr(found)}, expected {', '.join(names)}")
    for name in names:
        _found(found, name, f"{what}.")
    _no_others(f"{what}.", found, names)
    return found


def _found(among: Mapping[str, Any], name: str, prefix: str = "") -> Any:
    if name not in among:
        raise ValueError(f"{prefix}{name} is missing")
    return among[name]


def _no_others(prefix: str, found: Mapping[str, Any], known: Any) -> None:
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"{prefix}{reprlib.repr(unknown[0])[1:-1]} is unknown")
