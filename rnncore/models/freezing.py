"""Models for inference alone."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._common.sealed import Sealed
from rnncore.layers import storage
from rnncore.layers.frozen import Comparison, comparison
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.layers.results import Array
from rnncore.models import files, texts
from rnncore.models.streams import ModelStream

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class FrozenModel(Sealed):
    """An immutable copy of a model, made by `model.freeze()`; threads may share it.

    It gives the results that the model gave when it was frozen, bit for bit. With a `precision`
    below float32 the weights of its recurrent layers are narrower; those of others stay.

    Attributes
    ----------
    precision : None, "bfloat16", "w8a16" or "w8a8"
    nbytes : of the packed weights of recurrent layers, and of the parameters of all others
    model : the layers, frozen
    """

    _fixed = ("precision", "model")

    def __init__(self, model: Any, precision: str | None, exact: Any = None) -> None:
        """Of a `Sequential` of frozen layers, and of the one that it was frozen from."""
        self.model, self.precision, self._exact = model, precision, exact

    @property
    def nbytes(self) -> int:
        return texts.nbytes(self.model)

    def __call__(
        self, x: Array, state: Any = None, *, lengths: ArrayLike | None = None
    ) -> tuple[Array, tuple[Any, ...]]:
        """The outputs and the final states, as the model gave them; see `Sequential`."""
        y, last = self.model(x, state, lengths=lengths)
        return y, last

    def compare(self, x: Array, state: Any = None, lengths: ArrayLike | None = None) -> Comparison:
        """How far `y` is from that of the model as it was frozen, for this `x`.

        Raises
        ------
        ValueError after a file: narrow weights are all that is left there.
        """
        if self._exact is None:
            raise ValueError(
                "the model that this one was frozen from is not here, only its rounded weights:"
                " compare before saving"
            )
        exact = self._exact(x, state, lengths=lengths)[0]
        return comparison(self(x, state, lengths=lengths)[0], exact)

    def save(self, path: storage.Place) -> None:
        """Save it to a .npz or .safetensors file, int8 as int8; `rnncore.load` makes it anew."""
        files.save(self.model, path, type(self).__name__, {"precision": self.precision})

    def stream(self, batch_size: int = 1) -> ModelStream:
        """States that read one step at a time, starting from zeros; see `ModelStream`."""
        return ModelStream(self.model, batch_size)

    def __copy__(self) -> FrozenModel:
        return self

    def __deepcopy__(self, memo: Any) -> FrozenModel:
        return self

    def __repr__(self) -> str:
        precision = "" if self.precision is None else repr(self.precision)
        return f"{self.model!r}.freeze({precision})"


def frozen_model(model: Any, precision: str | None) -> FrozenModel:
    """A copy of a `Sequential` that nobody can change.

    Raises
    ------
    ValueError for a precision that there is not, or not for one of the recurrent layers.
    """
    precision = files.checked(model, precision)

    def freeze(leaf: Any) -> Any:
        return leaf.freeze(precision) if isinstance(leaf, RecurrentLayer) else _fixed_copy(leaf)

    frozen = model._with(freeze)
    exact = model._with(_fixed_copy) if precision is not None else frozen
    return FrozenModel(frozen, precision, exact)


def _fixed_copy(leaf: Any) -> Any:
    """A copy with arrays that nobody can write to."""
    own = copy.copy(leaf)
    for what in ("params", "buffers"):
        arrays = {name: np.array(value) for name, value in getattr(leaf, what, {}).items()}
        for value in arrays.values():
            value.flags.writeable = False
        if hasattr(leaf, what):
            setattr(own, what, arrays)
    return own
