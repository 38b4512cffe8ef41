"""A regressor of sequences, by the rules of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_y

from rnncore.fitting.arrays import array_of, check_numbers
from rnncore.sklearn.base import SequenceEstimator, Task
from rnncore.sklearn.classes import check_given
from rnncore.sklearn.scaling import scaling_of
from rnncore.sklearn.targets import of_numbers, shared_out


class SequenceRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]
    """A recurrent network that tells numbers of a sequence; options as of `SequenceClassifier`.

    Targets are (n,) or (n, K), and brought to mean 0 and deviation 1 in training. `predict` undoes
    that in float64; the last layer of `model_` does in `dtype`, and gives as many digits.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Train with sequences X and their numbers y, each with its weight."""
        return self._fit(X, y, sample_weight, part=False)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Train for one epoch more."""
        return self._fit(X, y, sample_weight, part=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, part: bool) -> SequenceRegressor:
        anew = self._begins(part=part)
        rows, known = self._rows(X, anew)
        if y is None:
            check_given(y, len(rows))
        y = _check_y(array_of("y", y), multi_output=True, y_numeric=True, estimator=self)
        check_numbers("y", y)
        check_given(y, len(rows))
        flat, numbers = y.ndim == 1, y.reshape(len(y), -1).astype(np.float64)
        weights, rows, numbers = self._kept(self._weights(sample_weight, len(rows)), rows, numbers)
        outputs = numbers.shape[1]
        if anew:
            of_target = scaling_of(list(numbers[:, np.newaxis]), weights, np.float64)
        else:
            of_target = self._of_target
            if (outputs, flat) != (before := (len(of_target.mean), self._flat)):
                expected = "(n,)" if self._flat else f"(n, {before[0]})"
                raise ValueError(f"y has shape {y.shape}, expected {expected} as at first")
        (targets,) = of_target.scaled([numbers], self.dtype)
        task = Task(
            rows, np.arange(len(rows)), of_numbers(targets, shared_out(weights, self.dtype)),
            weights, outputs, {**known, "_flat": flat, "_of_target": of_target}, of_target,
        )  # fmt: skip
        self._train(task, anew=anew, part=part)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers, (n,) or (n, K) as the targets were."""
        scores = self._scores(X)
        found: np.ndarray = self._of_target.undone(scores)
        return found[:, 0] if self._flat else found
