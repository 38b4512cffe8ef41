"""Classifiers, regressors and taggers of sequences, by the rules of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y, check_is_fitted, column_or_1d

from rnncore.layers.parametrized import show_options
from rnncore.sklearn.base import SequenceEstimator
from rnncore.train.functions import softmax
from rnncore.train.losses import mse, softmax_cross_entropy


def _given(y: Any) -> None:
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")


def _rows_of(y: Any, count: int) -> None:
    if len(y) != count:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: [{count}, {len(y)}]"
        )


class _Classes:
    """The loss and the score of classes, for targets that are places in `labels`."""

    def __init__(self, labels: np.ndarray, weights: np.ndarray | None) -> None:
        self._labels, self._weights = labels, weights

    def __call__(self, y: np.ndarray, places: np.ndarray, **given: Any) -> Any:
        weight = None if self._weights is None else self._weights[places]
        if weight is not None and not weight.any():  # of a batch that says nothing
            return 0.0, np.zeros_like(y)
        return softmax_cross_entropy(y, self._labels[places], weight=weight, **given)

    def score(self, y: np.ndarray, places: np.ndarray) -> float:
        return float(np.mean(y.argmax(axis=-1) == self._labels[places]))


class _Numbers:
    """The same of numbers."""

    def __init__(self, targets: np.ndarray, weights: np.ndarray | None) -> None:
        self._targets, self._weights = targets, weights

    def __call__(self, y: np.ndarray, places: np.ndarray, **given: Any) -> Any:
        weight = None if self._weights is None else self._weights[places]
        if weight is not None and not weight.any():
            return 0.0, np.zeros_like(y)
        return mse(y, self._targets[places], weight=weight, **given)

    def score(self, y: np.ndarray, places: np.ndarray) -> float:
        return float(1 - np.mean((y - self._targets[places]) ** 2))


class SequenceClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]
    """A recurrent network that tells the class of a sequence.

    The options have the names that scikit-learn's `MLPClassifier` has for them, where it has any.

    Parameters
    ----------
    cell : "rnn", "gru" or "lstm"
    hidden_layer_sizes : units of the recurrent layers, one after the other; layers : of each size
    bidirectional : whether they read from both ends
    pooling : "last", "first", "mean" or "max", what of all steps makes the answer
    conv : steps of a convolution before them, of the first of these sizes; None: none
    embedding : the size of the vectors of tokens
    dropout : between layers and before the last one
    scale : whether features are brought to mean 0 and deviation 1, as they are in training
    solver, alpha, batch_size, learning_rate_init, max_iter, tol, n_iter_no_change, early_stopping,
    validation_fraction, warm_start, random_state, verbose, beta_1, beta_2, epsilon
        As of `MLPClassifier`; `solver` is "adam", "adamw", "rmsprop" or "sgd", `alpha` the weight
        decay of the first two. Training ends where the loss has not fallen by `tol` for
        `n_iter_no_change` epochs; with `early_stopping`, where that of the rows that are held back
        has not, whose best weights come back.
    schedule, clip_norm : as of `rnncore.fit`
    class_weight : dict, "balanced" or None
    dtype : "float32" or "float64"

    X is a list, or an array of objects, of sequences (T_i, F), (T_i,) of one feature, or of tokens
    (lists of texts, or texts whose words they are); or an array (n, T, F) or (n, T).

    Attributes
    ----------
    model_ : Sequential, which reads features as they come: `freeze`, `stream`, `save`, export
    classes_, n_features_in_, n_iter_, loss_, loss_curve_, best_loss_, validation_scores_
        As of `MLPClassifier`.
    vocabulary_ : dict of tokens to ids; 0 is any other

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((steps, 2)) for steps in rng.integers(3, 9, 60)]
    >>> y = ["up" if x[-1, 0] > 0 else "down" for x in X]
    >>> found = SequenceClassifier(hidden_layer_sizes=8, max_iter=60, random_state=0).fit(X, y)
    >>> found.score(X, y) > 0.9, found.classes_.tolist()
    (True, ['down', 'up'])
    """

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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceClassifier:
        """Train with sequences X and their classes y (n,), each with its weight."""
        return self._fit(X, y, sample_weight, None, self.max_iter, self._is_new())

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> SequenceClassifier:
        """Train for one epoch more; the first time with all `classes` that there are."""
        new = not hasattr(self, "model_")
        if new and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return self._fit(X, y, sample_weight, classes if new else self.classes_, 1, new)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, classes: Any, epochs: int, anew: bool
    ) -> SequenceClassifier:
        rows = self._rows(X, first=anew)
        _given(y)
        y = _check_y(column_or_1d(y, warn=True), multi_output=False, estimator=self)
        check_classification_targets(y)
        _rows_of(y, len(rows))
        if anew:
            self.classes_ = np.unique(y if classes is None else classes)
        labels = np.searchsorted(self.classes_, y)
        known = labels < len(self.classes_)
        if not known.all() or (self.classes_[labels] != y).any():
            raise ValueError(f"y has classes that are not among {self.classes_.tolist()}")
        if len(self.classes_) < 2:
            raise ValueError("The data contains one class, expected more than 1 class")
        weights = self._weights(sample_weight, len(rows))
        if self.class_weight is not None:
            of_class = compute_sample_weight(self.class_weight, y).astype(self.dtype)
            weights = of_class if weights is None else weights * of_class
        self._outputs = len(self.classes_)
        known_of = _Classes(labels, weights)
        self._train(rows, np.arange(len(rows)), known_of, known_of.score, epochs=epochs, anew=anew)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The classes (n,) that are most likely."""
        scores = self._outputs_for(X)
        found: np.ndarray = self.classes_[scores.argmax(axis=1)]
        return found

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes)."""
        return softmax(self._outputs_for(X).astype(np.float64))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Their logarithms."""
        found: np.ndarray = np.log(self.predict_proba(X))
        return found

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (n, classes); of two classes (n,), above 0 for the second."""
        scores: np.ndarray = self._outputs_for(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


# Which scikit-learn reads too, to know the parameters.
show_options(SequenceClassifier.__init__, SequenceEstimator.__init__)


class SequenceRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]
    """A recurrent network that tells numbers of a sequence; options as of `SequenceClassifier`.

    Targets are (n,) or (n, K), and brought to mean 0 and deviation 1 in training.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Train with sequences X and their numbers y, each with its weight."""
        return self._fit(X, y, sample_weight, self.max_iter, self._is_new())

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Train for one epoch more."""
        return self._fit(X, y, sample_weight, 1, not hasattr(self, "model_"))

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, epochs: int, anew: bool
    ) -> SequenceRegressor:
        rows = self._rows(X, first=anew)
        _given(y)
        y = _check_y(y, multi_output=True, y_numeric=True, estimator=self)
        _rows_of(y, len(rows))
        targets = y.reshape(len(y), -1).astype(np.float64)
        if anew:
            self._flat, self._outputs = y.ndim == 1, targets.shape[1]
            deviation = targets.std(axis=0)
            deviation[deviation == 0] = 1.0
            self._target_scale = targets.mean(axis=0), deviation
        elif targets.shape[1] != self._outputs:
            raise ValueError(f"y has {targets.shape[1]} numbers a row, expected {self._outputs}")
        mean, deviation = self._target_scale
        known = _Numbers(
            ((targets - mean) / deviation).astype(self.dtype),
            self._weights(sample_weight, len(rows)),
        )
        self._train(rows, np.arange(len(rows)), known, known.score, epochs=epochs, anew=anew)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers, (n,) or (n, K) as the targets were."""
        found: np.ndarray = self._outputs_for(X).astype(np.float64)
        return found[:, 0] if self._flat else found


class SequenceTagger(SequenceEstimator):
    """A recurrent network that tells the class of every step; options of `SequenceClassifier`.

    y is a list of lists of classes, one for each step, or an array (n, T); `pooling` says nothing.
    """

    _pools = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceTagger:
        """Train with sequences X and the classes of their steps, each row with its weight."""
        anew = self._is_new()
        rows = self._rows(X, first=anew)
        _given(y)
        _rows_of(y, len(rows))
        for k, (row, own) in enumerate(zip(rows, y, strict=True)):
            if len(row) != len(own):
                raise ValueError(f"y[{k}] has {len(own)} classes and X[{k}] {len(row)} steps")
        flat = np.array([one for own in y for one in own])
        check_classification_targets(flat)
        if anew:
            self.classes_ = np.unique(flat)
        elif not np.isin(flat, self.classes_).all():
            raise ValueError(f"y has classes that are not among {self.classes_.tolist()}")
        weights = self._weights(sample_weight, len(rows))
        ends = np.cumsum([len(row) for row in rows])
        places = [np.arange(end - len(row), end) for row, end in zip(rows, ends, strict=True)]
        if weights is not None:
            weights = np.repeat(weights, [len(row) for row in rows])
        self._outputs = len(self.classes_)
        known = _Classes(np.searchsorted(self.classes_, flat), weights)
        self._train(rows, places, known, known.score, epochs=self.max_iter, anew=anew)
        return self

    def predict(self, X: Any) -> list[np.ndarray]:
        """For every sequence the most likely class of each step, (T_i,)."""
        return [self.classes_[scores.argmax(axis=1)] for scores in self._outputs_for(X)]

    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """For every sequence the probabilities (T_i, classes)."""
        return [softmax(scores.astype(np.float64)) for scores in self._outputs_for(X)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of steps whose class is told right, rows weighted by `sample_weight`."""
        check_is_fitted(self, "model_")
        found = self.predict(X)
        weights = np.ones(len(found)) if sample_weight is None else np.asarray(sample_weight)
        right = np.array([np.sum(a == np.asarray(b)) for a, b in zip(found, y, strict=True)])
        steps = np.array([len(own) for own in found])
        return float((weights * right).sum() / (weights * steps).sum())
