"""What the estimators share: options, data, the training, and the model that comes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from rnncore import _check
from rnncore.fitting.fit import fit
from rnncore.fitting.given import OPTIMIZERS
from rnncore.fitting.predict import predict
from rnncore.models.sequential import Sequential
from rnncore.sklearn.building import body_of, whole_of
from rnncore.sklearn.sequences import are_tokens, numbers_of, tokens_of
from rnncore.train.optim import Adam


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]
    """A recurrent network that is trained on sequences; see `SequenceClassifier`."""

    _pools = True  # whether there is one output for a sequence

    def __init__(
        self,
        cell: str = "gru",
        hidden_layer_sizes: Any = (64,),
        *,
        layers: int = 1,
        bidirectional: bool = False,
        pooling: str = "last",
        conv: int | None = None,
        embedding: int | None = None,
        dropout: float = 0.0,
        scale: bool = True,
        solver: str = "adam",
        alpha: float = 0.0,
        batch_size: int = 32,
        learning_rate_init: float = 5e-3,
        schedule: Any = None,
        max_iter: int = 100,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        clip_norm: float | None = 1.0,
        dtype: str = "float32",
    ) -> None:
        self.cell = cell
        self.hidden_layer_sizes = hidden_layer_sizes
        self.layers = layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.conv = conv
        self.embedding = embedding
        self.dropout = dropout
        self.scale = scale
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.max_iter = max_iter
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.clip_norm = clip_norm
        self.dtype = dtype

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags

    # Data

    def _rows(self, X: Any, *, first: bool) -> list[np.ndarray]:
        """What the layers read of X; `first`: of the data that says what the others are like."""
        if are_tokens(X) if first else hasattr(self, "vocabulary_"):
            return self._ids(X, first=first)
        rows, features = numbers_of(X, np.dtype(self.dtype))
        if first:
            self.n_features_in_ = features
            self.__dict__.pop("vocabulary_", None)
        elif features != self.n_features_in_:
            raise ValueError(
                f"X has {features} features, but {type(self).__name__} is expecting"
                f" {self.n_features_in_} features as input"
            )
        return rows

    def _ids(self, X: Any, *, first: bool) -> list[np.ndarray]:
        rows = tokens_of(X)
        if first:
            words = sorted({token for row in rows for token in row})
            # 0 stands for all that were not there in training.
            self.vocabulary_ = {token: k + 1 for k, token in enumerate(words)}
            self.n_features_in_ = 1
        ids = self.vocabulary_
        return [np.array([ids.get(token, 0) for token in row], np.intp) for row in rows]

    def _measure(self, rows: list[np.ndarray]) -> None:
        """The mean and the deviation of every feature over all steps."""
        self._mean = self._deviation = None
        if hasattr(self, "vocabulary_") or not self.scale:
            return
        steps = sum(map(len, rows))
        mean = sum(row.sum(axis=0, dtype=np.float64) for row in rows) / steps
        squares = sum(((row - mean) ** 2).sum(axis=0) for row in rows)
        deviation = np.sqrt(squares / steps)
        deviation[deviation <= 1e-6 * (1 + abs(mean))] = 1.0  # a feature that is always the same
        self._mean = mean.astype(self.dtype)
        self._deviation = deviation.astype(self.dtype)

    def _scaled(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        if self._mean is None:
            return rows
        return [(row - self._mean) / self._deviation for row in rows]

    # Training

    def _train(
        self, rows: list[np.ndarray], places: Any, loss: Any, score: Any, *, epochs: int, anew: bool
    ) -> None:
        """Train with targets that are the places of what `loss` and `score` know."""
        if anew:
            self._begin(rows)
        own = self._generator
        history = fit(
            self._body,
            (self._scaled(rows), places),
            loss=loss,
            epochs=epochs,
            batch_size=_check.size("batch_size", self.batch_size),
            optimizer=self._optimizer,
            schedule=self.schedule,
            clip_norm=self.clip_norm,
            validation=self.validation_fraction if self.early_stopping and epochs > 1 else None,
            patience=self.n_iter_no_change if self.early_stopping and epochs > 1 else None,
            metrics=score,
            rng=own,
            callbacks=[] if self.early_stopping else self._no_change,
            progress=bool(self.verbose),
        )
        self.loss_curve_ += history.loss.tolist()
        self.best_loss_ = min(self.loss_curve_)
        self.n_iter_ = len(self.loss_curve_)
        if "val_score" in history:
            self.validation_scores_ = history.val_score.tolist()
        self.loss_ = self.loss_curve_[-1]
        self._finish()

    def _begin(self, rows: list[np.ndarray]) -> None:
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self._generator = np.random.default_rng(seed)
        self._measure(rows)
        tokens = len(self.vocabulary_) + 1 if hasattr(self, "vocabulary_") else None
        features = self.n_features_in_ if tokens is None else self.embedding or 32
        self._body = body_of(self, features, self._outputs, self._generator, tokens=tokens)
        kind = OPTIMIZERS[_check.choice("solver", self.solver, list(OPTIMIZERS))]
        options: dict[str, Any] = {}
        if issubclass(kind, Adam):
            betas = (self.beta_1, self.beta_2)
            options = {"betas": betas, "eps": self.epsilon, "weight_decay": self.alpha}
        elif self.alpha:
            raise ValueError(f"alpha is {self.alpha}, which solver={self.solver!r} does not have")
        self._optimizer = kind(self._body, self.learning_rate_init, **options)
        self.loss_curve_: list[float] = []

    def _finish(self) -> None:
        """The model that was trained, with what it does to features and targets."""
        target = getattr(self, "_target_scale", None)
        self.model_: Sequential = whole_of(self._body, self._mean, self._deviation, target)

    def _no_change(self, training: Any) -> bool:
        """Whether the loss has not fallen by `tol` for `n_iter_no_change` epochs."""
        losses, wait = training.history.loss, self.n_iter_no_change
        return len(losses) > wait and bool(losses[-wait:].min() > losses[:-wait].min() - self.tol)

    def _is_new(self) -> bool:
        return not (self.warm_start and hasattr(self, "model_"))

    def _weights(self, sample_weight: Any, count: int) -> np.ndarray | None:
        if sample_weight is None:
            return None
        found = _check_sample_weight(sample_weight, np.zeros((count, 1)), ensure_non_negative=True)
        own: np.ndarray = found.astype(self.dtype)
        return own

    def _outputs_for(self, X: Any) -> Any:
        check_is_fitted(self, "model_")
        return predict(self.model_, self._rows(X, first=False))
