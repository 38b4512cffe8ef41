"""What a model says of the arrays that it reads and gives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnncore.layers.frozen import Frozen
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.models.called import Model
from rnncore.models.freezing import FrozenModel
from rnncore.models.members import ends_time
from rnncore.models.part import Part
from rnncore.models.sequential import Sequential


class Layout(NamedTuple):
    """How arrays lie.

    Attributes
    ----------
    batch_first : whether rows are their first axis
    per_step : whether there is an output, and so a target, for every step
    dtype : of floats; None: as they come
    """

    batch_first: bool
    per_step: bool
    dtype: np.dtype[Any] | None


def whole(model: Any) -> Any:
    """A layer as a model of one; models of one's own, which have the same calls, as they are."""
    if isinstance(model, Part | RecurrentLayer | Frozen) and not isinstance(model, Model):
        return Sequential(model)
    return model


def layout_of(model: Any, target: Any = None, x: Any = None) -> Layout:
    """That of a model; of one of one's own, as x and its targets look."""
    if isinstance(model, FrozenModel):
        model = model.model
    if isinstance(model, Model):
        return Layout(bool(model.batch_first), not ends_time(model), model.dtype)
    dtype = getattr(model, "dtype", None)
    if target is not None and not hasattr(target, "shape"):
        per_step = bool(len(target)) and np.ndim(target[0]) > 0
    else:
        of_target, of_x = (tuple(getattr(a, "shape", ())[:2]) for a in (target, x))
        per_step = len(of_target) == 2 and of_target == of_x
    return Layout(
        bool(getattr(model, "batch_first", False)),
        per_step,
        None if dtype is None else np.dtype(dtype),
    )
