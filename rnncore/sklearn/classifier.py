"""A classifier of sequences, by the rules of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import _check_y, column_or_1d

from rnncore.fitting.arrays import array_of
from rnncore.sklearn.base import Task
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


class SequenceClassifier(ClassifierMixin, ClassEstimator):  # type: ignore[misc]
    """A recurrent network that tells the class of a sequence.

    The options have the names that scikit-learn's `MLPClassifier` has for them, where it has any.

    Parameters
    ----------
    cell : "rnn", "gru" or "lstm"
    hidden_layer_sizes : units of the recurrent layers, one after the other; layers : of each size
    bidirectional : whether they read from both ends
    pooling : "last", "first", "mean" or "max", what of all steps makes the answer
    conv : steps of a convolution before them, of the first of these sizes; None: none
    embedding : the size of the vectors of tokens; None: 32 for texts, and integers are numbers
    dropout : between layers and before the last one
    scale : whether features are brought to mean 0 and deviation 1, as they are in training
        Measured over all steps, each row with its sample weight.
    solver, alpha, batch_size, learning_rate_init, max_iter, tol, n_iter_no_change, early_stopping,
    validation_fraction, warm_start, random_state, verbose, beta_1, beta_2, epsilon
        As of `MLPClassifier`; `solver` is "adam", "adamw", "rmsprop" or "sgd", `alpha` the weight
        decay of the first two. With `early_stopping` the weights come back that were best for the
        rows that are held back: those with the least loss.
        A training that goes on, by `warm_start` or `partial_fit`, takes the options of training as
        they are then (another `solver` begins anew); other layers are an error.
    schedule, clip_norm : as of `rnncore.fit`, which gets a copy of the schedule
    class_weight : dict, "balanced" or None
    dtype : "float32" or "float64"

    X is a list, or an array of objects, of sequences (T_i, F), (T_i,) of one feature, or of tokens
    (lists of texts, or texts whose words they are); or an array (n, T, F) or (n, T). With
    `embedding` integers (n, T), or rows (T_i,) of them, are tokens too.

    Attributes
    ----------
    model_ : Sequential, which reads features as they come, (B, T, F), or ids (B, T)
        `freeze`, `stream`, `save`, export. Its parameters are those of this training: one that goes
        on makes another model.
    classes_, n_features_in_, n_iter_, loss_, loss_curve_, best_loss_, validation_scores_,
    best_validation_score_
        As of `MLPClassifier`; the last is that of the weights that came back.
    vocabulary_ : dict of tokens to ids, where 0 is any other; None for numbers

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((steps, 2)) for steps in rng.integers(3, 9, 60)]
    >>> y = ["up" if x[-1, 0] > 0 else "down" for x in X]
    >>> found = SequenceClassifier(hidden_layer_sizes=8, tol=0.01, random_state=0).fit(X, y)
    >>> found.score(X, y) > 0.9, found.classes_.tolist()
    (True, ['down', 'up'])
    """

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, classes: Any, *, anew: bool, part: bool
    ) -> None:
        rows, known = self._rows(X, anew)
        if y is None:
            check_given(y, len(rows))
        y = _check_y(column_or_1d(array_of("y", y), warn=True), multi_output=False, estimator=self)
        check_given(y, len(rows))
        labels = classes_of(y, classes, None if anew else self.classes_)
        weights, rows, y = self._kept(self._weights(sample_weight, len(rows)), rows, y)
        own = np.searchsorted(labels, y)
        of_each = weights_of(y, weights, self.class_weight, self.dtype)
        task = Task(
            rows, np.arange(len(rows)), of_classes(own, of_each), weights, len(labels),
            {**known, "classes_": labels}, strata=own,
        )  # fmt: skip
        self._train(task, anew=anew, part=part)

    def predict(self, X: Any) -> np.ndarray:
        """The classes (n,) that are most likely."""
        scores = self._scores(X)
        found: np.ndarray = self.classes_[scores.argmax(axis=1)]
        return found

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes)."""
        return probabilities(self._scores(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Their logarithms."""
        return log_probabilities(self._scores(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (n, classes); of two classes (n,), above 0 for the second."""
        return decision(self._scores(X))
