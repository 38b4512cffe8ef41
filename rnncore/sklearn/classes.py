"""What estimators of classes share: the labels, their weights, scores that become probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from rnncore.sklearn.targets import shared_out


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
        of_rows = of_class if of_rows is None else of_rows * of_class
    if of_rows is not None and not of_rows.any():
        raise ValueError("class_weight and sample_weight leave no row a weight above 0")
    return shared_out(of_rows, dtype)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Of scores (..., classes)."""
    found: np.ndarray = np.exp(log_probabilities(scores))
    found /= found.sum(axis=-1, keepdims=True)
    return found


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """Their logarithms, which are finite where a probability rounds to 0."""
    scores = scores.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    found: np.ndarray = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return found


def decision(scores: np.ndarray) -> np.ndarray:
    """Scores as they are; of two classes by how much the second is above the first."""
    found: np.ndarray = scores[..., 1] - scores[..., 0] if scores.shape[-1] == 2 else scores
    return found
