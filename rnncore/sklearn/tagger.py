"""A classifier of every step of a sequence, by the rules of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from rnncore.fitting.arrays import array_of
from rnncore.layers.parametrized import show_options
from rnncore.sklearn.base import SequenceEstimator, Task
from rnncore.sklearn.classes import (
    ClassEstimator,
    check_given,
    classes_of,
    decision,
    log_probabilities,
    probabilities,
    weights_of,
)
from rnncore.sklearn.targets import of_classes


class SequenceTagger(ClassEstimator):
    """A recurrent network that tells the class of every step; options of `SequenceClassifier`.

    But for `pooling`: there is none. y is a list of lists of classes, one for each step, or an
    array (n, T). Results are lists of arrays, one for each sequence.

    Examples
    --------
    Whether there were more ups than downs so far:

    >>> rng = np.random.default_rng(0)
    >>> X = [rng.choice([-1.0, 1.0], steps) for steps in rng.integers(3, 9, 60)]
    >>> y = [["more" if up else "less" for up in x.cumsum() > 0] for x in X]
    >>> found = SequenceTagger(hidden_layer_sizes=8, tol=0.01, random_state=0).fit(X, y)
    >>> found.predict([[1.0, -1.0, -1.0, 1.0, 1.0]])[0].tolist()
    ['more', 'less', 'less', 'less', 'more']
    """

    _pools = False

    def __init__(
        self,
        cell: str = "gru",
        hidden_layer_sizes: Any = (64,),
        *,
        class_weight: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            cell, hidden_layer_sizes, class_weight=class_weight, pooling="last", **options
        )

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, classes: Any, *, anew: bool, part: bool
    ) -> None:
        rows, known = self._rows(X, anew)
        tags = _tags_of(y, [len(row) for row in rows])
        labels = classes_of(np.concatenate(tags), classes, None if anew else self.classes_)
        weights, rows, tags = self._kept(self._weights(sample_weight, len(rows)), rows, tags)
        steps, flat = [len(row) for row in rows], np.concatenate(tags)
        of_step = None if weights is None else np.repeat(weights, steps)
        of_each = weights_of(flat, of_step, self.class_weight, self.dtype)
        places = np.split(np.arange(len(flat)), np.cumsum(steps[:-1]))
        task = Task(
            rows, places, of_classes(np.searchsorted(labels, flat), of_each), weights, len(labels),
            {**known, "classes_": labels},
        )  # fmt: skip
        self._train(task, anew=anew, part=part)

    def predict(self, X: Any) -> list[np.ndarray]:
        """For every sequence the most likely class of each step, (T_i,)."""
        return [self.classes_[scores.argmax(axis=1)] for scores in self._scores(X)]

    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """For every sequence the probabilities (T_i, classes)."""
        return [probabilities(scores) for scores in self._scores(X)]

    def predict_log_proba(self, X: Any) -> list[np.ndarray]:
        """Their logarithms."""
        return [log_probabilities(scores) for scores in self._scores(X)]

    def decision_function(self, X: Any) -> list[np.ndarray]:
        """Scores (T_i, classes); of two classes (T_i,), above 0 for the second."""
        return [decision(scores) for scores in self._scores(X)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of steps whose class is told right, rows weighted by `sample_weight`."""
        check_is_fitted(self, "model_")
        found = self.predict(X)
        steps = np.array([len(own) for own in found])
        tags = _tags_of(y, steps.tolist())
        weights = self._weights(sample_weight, len(found))
        of_rows = np.ones(len(found)) if weights is None else weights
        right = np.array([np.sum(a == b) for a, b in zip(found, tags, strict=True)])
        return float((of_rows * right).sum() / (of_rows * steps).sum())


show_options(SequenceTagger.__init__, SequenceEstimator.__init__, without=("pooling",))


def _tags_of(y: Any, steps: list[int]) -> list[np.ndarray]:
    """The classes of each row, (T_i,), in one dtype."""
    check_given(y, len(steps))
    found = []
    for k, (own, T) in enumerate(zip(y, steps, strict=True)):
        if isinstance(own, str) or not hasattr(own, "__len__") or np.ndim(own) != 1:
            raise ValueError(f"y[{k}] is no list of classes, expected one for each step of X[{k}]")
        if len(own) != T:
            raise ValueError(f"y[{k}] has {len(own)} classes and X[{k}] {T} steps")
        found.append(np.asarray(array_of(f"y[{k}]", own)))
    whole = np.concatenate(found)
    if whole.dtype.kind not in "biufU" or len({a.dtype.kind in "U" for a in found}) > 1:
        raise ValueError("y holds classes of several kinds, expected texts alone or numbers alone")
    return np.split(whole, np.cumsum(steps[:-1]))
