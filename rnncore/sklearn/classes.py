"""What estimators of classes share: labels, their weights, scores that become probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from rnncore.layers.parametrized import show_options
from rnncore.models.activation import Activation
from rnncore.sklearn.base import SequenceEstimator
from rnncore.sklearn.targets import shared_out
from rnncore.train.functions import softmax

if TYPE_CHECKING:
    from typing_extensions import Self


class ClassEstimator(SequenceEstimator):
    """One that tells classes; a subclass says how it is trained, in `_fit`."""

    def __init__(
        self,
        cell: str = "gru",
        hidden_layer_sizes: Any = (64,),
        *,
        class_weight: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(cell, hidden_layer_sizes, **options)
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train with sequences X and their classes y, each row with its weight.

        Weights count beside their mean: 2 everywhere is as none. A row of weight 0 is left out.
        """
        self._fit(X, y, sample_weight, None, anew=self._begins(part=False), part=False)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch more; the first time with all `classes` that there are."""
        anew = self._begins(part=True)
        if anew and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        self._fit(X, y, sample_weight, classes, anew=anew, part=True)
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, classes: Any, *, anew: bool, part: bool
    ) -> None:
        raise NotImplementedError


# Which scikit-learn reads too, to know the parameters.
show_options(ClassEstimator.__init__, SequenceEstimator.__init__)


def check_given(y: Any, count: int) -> None:
    """Raise ValueError, as scikit-learn words it, for other than one y for each of `count` rows."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    if not hasattr(y, "__len__") or len(y) != count:
        found = len(y) if hasattr(y, "__len__") else y
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: [{count}, {found}]"
        )


def classes_of(y: np.ndarray, classes: Any, before: np.ndarray | None) -> np.ndarray:
    """All classes, sorted: those that were given, or had been `before`, or those of y."""
    check_classification_targets(y)
    given = None if classes is None else np.unique(classes)
    if before is not None and given is not None and not np.array_equal(before, given):
        raise ValueError(
            f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {before!r}"
        )
    found: np.ndarray = before if before is not None else np.unique(y) if given is None else given
    other = set(y.tolist()) - set(found.tolist())
    if other:
        raise ValueError(f"y has classes that are not among {found.tolist()}: {sorted(other)}")
    if len(found) < 2:
        raise ValueError("The data contains one class, expected more than 1 class")
    return found


def weights_of(
    y: np.ndarray, of_rows: np.ndarray | None, class_weight: Any, dtype: Any
) -> np.ndarray | None:
    """The weight of each y, of its row and its class, as `Targets` wants it."""
    if class_weight is not None:
        of_class = compute_sample_weight(class_weight, y)
        of_class /= max(of_class.max(), np.finfo(np.float64).tiny)
        of_rows = of_class if of_rows is None else of_rows * of_class
    if of_rows is not None and not of_rows.any():
        raise ValueError("class_weight and sample_weight leave no row a weight above 0")
    return shared_out(of_rows, dtype)


_LOG_SOFTMAX = Activation("log_softmax")


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Of scores (..., classes), in float64."""
    return softmax(scores.astype(np.float64))


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """Their logarithms, which are finite where a probability rounds to 0."""
    return _LOG_SOFTMAX(scores.astype(np.float64))


def decision(scores: np.ndarray) -> np.ndarray:
    """Scores as they are; of two classes by how much the second is above the first."""
    found: np.ndarray = scores[..., 1] - scores[..., 0] if scores.shape[-1] == 2 else scores
    return found
