"""What a model says of the arrays that it reads and gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncore._common.quiet import quiet
from rnncore.layers.cells import Cell
from rnncore.layers.frozen import Frozen
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.called import Model
from rnncore.models.chain import Chain
from rnncore.models.embedding import Embedding
from rnncore.models.freezing import FrozenModel
from rnncore.models.members import ends_time, leaves
from rnncore.models.part import Part
from rnncore.models.residual import Residual
from rnncore.models.sequential import Sequential


class Layout(NamedTuple):
    """How arrays lie.

    Attributes
    ----------
    batch_first : whether rows are their first axis
    per_step : whether there is an output, and so a target, for every step; None: as outputs look
    dtype : of floats; None: as they come
    ids : whether integers are wanted, and not numbers; None: as they come
    after : the steps that a row of so many has in the output
    least : rows that are computed together, where there are as many: `BatchNorm` wants two
    """

    batch_first: bool
    per_step: bool | None
    dtype: np.dtype[Any] | None
    ids: bool | None = None
    after: Callable[[Any], Any] = lambda lengths: lengths
    least: int = 1

    @property
    def axis(self) -> int:
        """That of rows."""
        return 0 if self.batch_first else 1

    @quiet  # what is beyond the dtype is infinity, and told of where it matters
    def numbers(self, x: np.ndarray) -> np.ndarray:
        """x in the model's dtype, where it reads numbers."""
        wanted = x.dtype.kind == "f" or (x.dtype.kind in "iub" and self.ids is False)
        return x.astype(self.dtype, copy=False) if wanted and self.dtype is not None else x

    def has_steps(self, y: np.ndarray, x: np.ndarray) -> bool:
        """Whether an output has one for each step."""
        if self.per_step is not None:
            return self.per_step
        return bool(y.shape[:2] == x.shape[:2])


def whole(model: Any) -> Any:
    """A layer as a model of one; models of one's own, which have the same calls, as they are."""
    if isinstance(model, type):
        raise TypeError(
            f"model is the class {model.__name__}, expected a layer or model made of it"
        )
    if isinstance(model, Cell):
        raise TypeError(
            f"model is of type {type(model).__name__}, which takes one step: expected a layer, or"
            " a model"
        )
    if isinstance(model, Part | RecurrentLayer | Frozen) and not isinstance(model, Model):
        return Sequential(model)
    return model


def layout_of(model: Any, target: Any = None, x: Any = None) -> Layout:
    """That of a model; of one of one's own, as x and its targets look."""
    if isinstance(model, FrozenModel):
        model = model.model
    if isinstance(model, Model):
        first = next(leaf for _, leaf in leaves(model))
        return Layout(
            bool(model.batch_first),
            not ends_time(model),
            model.dtype,
            isinstance(first, Embedding),
            lambda lengths: _after(model, lengths),
            2 if any(isinstance(leaf, BatchNorm) for _, leaf in leaves(model)) else 1,
        )
    dtype = getattr(model, "dtype", None)
    per_step = None
    if target is not None and (not hasattr(target, "shape") or target.dtype == object):
        per_step = bool(len(target)) and np.ndim(target[0]) > 0
    elif target is not None:
        of_target, of_x = (tuple(getattr(a, "shape", ())[:2]) for a in (target, x))
        per_step = len(of_target) == 2 and of_target == of_x
    own = None if dtype is None else np.dtype(dtype)
    return Layout(bool(getattr(model, "batch_first", False)), per_step, own)


def _after(member: Any, lengths: Any) -> Any:
    """The lengths of rows after a member, which stay within a Residual."""
    if isinstance(member, Part):
        return member.lengths_after(lengths)
    if isinstance(member, Chain) and not isinstance(member, Residual):
        for own in member:
            lengths = None if lengths is None else _after(own, lengths)
    return lengths
