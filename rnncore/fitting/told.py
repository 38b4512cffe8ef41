"""What a training was told, as plain numbers and texts, and whether another was told the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rnncore.fitting.batches import Given, Rows, split_of

TOLD = ("batch_size", "accumulate", "clip_norm", "patience", "window")  # of the options
_SOME = 16  # rows whose content is looked at


def name_of(given: Any) -> Any:
    """A text, or what can be told of a function: its name, and what it is bound to."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, partial):
        named = {name: _plain(value) for name, value in given.keywords.items()}
        return [name_of(given.func), [*map(_plain, given.args)], named]
    if hasattr(given, "state_dict") and hasattr(given, "options"):
        return [type(given).__name__, given.options]
    return getattr(given, "__qualname__", type(given).__qualname__)


def model_of(model: Any) -> Any:
    """Its kind, and the options that it was made with, where it has them."""
    return [type(model).__name__, getattr(model, "options", None)]


def told_of(train: Rows | Given, held: Rows | Given | None, validation: Any) -> dict[str, Any]:
    """Of the data; a share of it that is held back is its number."""
    whole = split_of(train, held) is None
    return {"data": _data(train), "validation": _data(held) if whole else float(validation)}


def _data(data: Rows | Given | None) -> Any:
    """How much there is, and a mark of some of it: what another data set would hardly share."""
    if data is None:
        return None
    if isinstance(data, Rows):
        places = np.unique(np.linspace(0, data.count - 1, min(_SOME, data.count)).astype(np.intp))
        some = [data.batch(places[k : k + 1]) for k in range(len(places))]
        lengths = () if data.lengths is None else (data.lengths,)
        arrays = [np.asarray(a) for batch in some for a in (batch.x, batch.target)]
        return {"rows": data.count, "mark": mark_of(*arrays, *lengths)}
    listed = data.listed
    if not listed:
        return {"batches": None}  # which may be drawn anew, or read once
    ends = [one for one in (listed[0], listed[-1]) if isinstance(one, tuple | list)]
    arrays = [np.asarray(a) for batch in ends for a in batch]
    return {"batches": len(listed), "mark": mark_of(*arrays)}


def mark_of(*arrays: np.ndarray) -> str:
    """A digest of shapes, dtypes and contents."""
    found = hashlib.blake2b(digest_size=8)
    for a in arrays:
        found.update(f"{a.dtype.str}{a.shape}".encode())
        found.update(np.ascontiguousarray(a).tobytes())
    return found.hexdigest()


def plain(told: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(told, default=_plain))
    return found


def check_same(stored: Mapping[str, Any], own: Mapping[str, Any], lr_now: float) -> None:
    """Raise ValueError that names what differs.

    A learning rate counts where no schedule gives it, and may be the one that the training had come
    to; a seed, where both are known.
    """
    for name, now in own.items():
        was = stored[name]
        if name == "lr" and (own["schedule"] is not None or now == lr_now):
            continue
        if name == "rng" and None in (was, now):
            continue
        if was != now:
            if name == "model" or isinstance(now, dict) or isinstance(was, dict):
                raise ValueError(f"{name} differs from what it was")
            raise ValueError(f"{name} was {_shown(was)} and is {_shown(now)}")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size <= _SOME else mark_of(value)
    if isinstance(value, np.generic):
        return value.item()
    return name_of(value) if callable(value) else str(value) if _is_odd(value) else value


def _is_odd(value: Any) -> bool:
    return not isinstance(value, str | int | float | bool | list | tuple | dict | None)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}..."
