"""The masks of Keras and lengths: what a chain of layers does to a mask, and steps without one.

A mask says of each step of each row whether it is there. A recurrent layer of Keras skips the steps
that are not: its state stays. So a row gives what it would give without them, and where its steps
stand first, with its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.convert import made
from rnncore.convert.keras_config import Node, refusal
from rnncore.models.unmasked import Unmasked, UnmaskedEmbedding

# What an array of Keras holds at the steps of a row that are not there.
AS_GIVEN, HELD, ZERO = "as given", "held", "zero"


@dataclass
class Mask:
    """The mask that is on its way through a chain of layers.

    Attributes
    ----------
    padding : what is at the steps that are not there; None where there is no mask
    maker : the layer that made it
    user : the last layer that skipped steps
    """

    padding: str | None = None
    maker: Node | None = None
    user: Node | None = None
    _ids: bool = False
    _value: float = 0.0

    def made_of_ids(self, node: Node) -> None:
        """By an Embedding, of the id 0."""
        self._made(node, AS_GIVEN)
        self._ids = True

    def made_of_rows(self, node: Node, value: float) -> None:
        """By a Masking, which also sets the steps to 0."""
        self._made(node, ZERO if value else AS_GIVEN)
        self._value = value

    def _made(self, node: Node, padding: str) -> None:
        if self.maker is not None:
            raise refusal(node, f"makes a mask, and {self.maker} has made one before")
        self.padding, self.maker = padding, node

    def used(self, node: Node, padding: str | None) -> None:
        """Steps are skipped by a layer, which leaves this at them; None: it leaves no steps."""
        if self.padding is not None:
            self.user, self.padding = node, padding

    def dropped(self, node: Node, allowed: str | None = None) -> None:
        """A layer takes all steps for real ones, which is no matter where they repeat the last.

        Raises
        ------
        ValueError where lengths would give something else.
        """
        if self.padding is None:
            return
        harmless = (AS_GIVEN,) if self.user is None else (allowed,)
        if self.padding not in harmless:
            raise refusal(
                node,
                f"drops the mask that {self.maker} has made, so that it reads the steps which"
                " were skipped before as if they were there; with lengths they are not",
            )
        self.padding = None

    def guarded(self, parts: dict[str, Any]) -> dict[str, Any]:
        """The parts of a chain, where the first refuses steps that Keras would skip, if it does."""
        if self.user is None:
            return parts
        if self._ids:
            name, first = next(iter(parts.items()))
            part = made.part(UnmaskedEmbedding, first.params, **first.options)
            return {**parts, name: part}
        name = "unmasked"
        while name in parts:
            name += "_"
        return {name: Unmasked(self._value), **parts}


def without_masked(x: np.ndarray, masked: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Move the steps that a model of Keras skips behind the others, and count the others.

    A recurrent layer of Keras skips masked steps wherever they are: before a row
    (``padding="pre"``), behind it, or in it. A model of `from_keras` wants them behind it, and its
    length.

    Parameters
    ----------
    x : (B, T) integers, or (B, T, I) floats
    masked : the id, or the number in all places, of a step that is not there

    Returns
    -------
    x : a new array of the same shape, with `masked` behind each row
    lengths : (B,) array, for ``model(x, lengths=lengths)``

    Examples
    --------
    >>> x, lengths = without_masked(np.array([[0, 0, 7, 3], [5, 0, 6, 0]]))
    >>> x, lengths
    (array([[7, 3, 0, 0],
           [5, 6, 0, 0]]), array([2, 2]))
    """
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "iuf" or x.ndim not in (2, 3):
        came = f"shape {x.shape} and dtype {x.dtype}" if isinstance(x, np.ndarray) else f"{type(x)}"
        raise ValueError(f"x has {came}, expected integers (B, T) or floats (B, T, I)")
    value = x.dtype.type(_check.real("masked", masked))
    there = x != value if x.ndim == 2 else (x != value).any(axis=-1)
    order = np.argsort(~there, axis=1, kind="stable")
    lengths = there.sum(axis=1).astype(np.intp)
    index = order if x.ndim == 2 else order[..., np.newaxis]
    moved = np.take_along_axis(x, index, axis=1)
    moved[np.arange(x.shape[1]) >= lengths[:, np.newaxis]] = value
    return moved, lengths
