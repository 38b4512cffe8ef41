"""What the estimators share: options, data, the training, and the model that comes of it."""

from __future__ import annotations

import copy
import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from rnncore.fitting.arrays import array_of
from rnncore.fitting.fit import fit
from rnncore.fitting.history import History
from rnncore.fitting.predict import predict
from rnncore.models.sequential import Sequential
from rnncore.sklearn.building import body_of, whole_of
from rnncore.sklearn.options import check_options, check_same_shape, optimizer_of, shape_of
from rnncore.sklearn.scaling import Scaling, scaling_of
from rnncore.sklearn.sequences import Numbers, Tokens, sequences_of
from rnncore.sklearn.stopping import Watch, held_back
from rnncore.sklearn.targets import Targets


class Task(NamedTuple):
    """What is to be learnt, checked.

    Attributes
    ----------
    rows : sequences as they come; places : for each, that of its target, or those of its steps
    weights : of the rows, for what is measured of features
    outputs, of_target : how many numbers there are for a row, or step, and how they are scaled
    strata : classes of the rows, of which each has its share among those that are held back
    late : where each row is, from 0 to 1, of which the last are held back
    learned : attributes that a training makes true
    """

    rows: list[Any]
    places: Any
    targets: Targets
    weights: np.ndarray | None
    outputs: int
    learned: dict[str, Any]
    of_target: Scaling | None = None
    strata: np.ndarray | None = None
    late: np.ndarray | None = None


class State(NamedTuple):
    """What the next training goes on from; nothing here is ever changed.

    Attributes
    ----------
    body : the layers that are trained
    shape : the options that made them
    optimizer : the name of one and its state
    schedule : as it was given, and what has become of it
    """

    body: Sequential
    generator: np.random.Generator
    shape: dict[str, Any]
    scaling: Scaling | None
    of_target: Scaling | None
    optimizer: tuple[str, dict[str, Any]] | None = None
    schedule: tuple[Any, Any] = (None, None)


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]
    """A recurrent network that is trained on sequences; see `SequenceClassifier`."""

    _pools = True  # whether there is one output for a sequence
    _is_causal = False  # whether no output may see a later step

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

    def _begins(self, *, part: bool) -> bool:
        """Check the options; whether a training begins, or goes on."""
        check_options(self)
        if part and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not hasattr(self, "_state") or not (part or self.warm_start):
            return True
        check_same_shape(self._state.shape, self)
        return False

    def _read(self, X: Any) -> tuple[list[Any], dict[str, Any]]:
        """Sequences that a training begins with, and what is known of X then."""
        found = sequences_of(X, np.dtype(self.dtype), ids=self.embedding is not None)
        known: dict[str, Any] = {
            "n_features_in_": found.features,
            "_kind": found.kind,
            "vocabulary_": None,
        }
        if isinstance(found, Tokens):
            words = sorted({token for row in found.rows for token in row})
            # 0 stands for all that were not there in training.
            known["vocabulary_"] = {token: k for k, token in enumerate(words, 1)}
            return _ids(found.rows, known["vocabulary_"]), known
        return found.rows, known

    def _more(self, X: Any) -> list[Any]:
        """Sequences like those."""
        dtype = np.dtype(self._state.shape["dtype"])
        found = sequences_of(X, dtype, ids=self._kind == "integers")
        name = type(self).__name__
        if found.kind != self._kind:
            raise ValueError(f"X holds {found.kind}, but {name} was fitted with {self._kind}")
        if isinstance(found, Numbers) and found.features != self.n_features_in_:
            raise ValueError(
                f"X has {found.features} features, but {name} is expecting"
                f" {self.n_features_in_} features as input"
            )
        return _ids(found.rows, self.vocabulary_) if isinstance(found, Tokens) else found.rows

    def _rows(self, X: Any, anew: bool) -> tuple[list[Any], dict[str, Any]]:
        return self._read(X) if anew else (self._more(X), {})

    def _weights(self, sample_weight: Any, count: int) -> np.ndarray | None:
        if sample_weight is None:
            return None
        given = np.zeros((count, 1))
        found: np.ndarray = _check_sample_weight(
            array_of("sample_weight", sample_weight),
            given,
            dtype=np.float64,
            ensure_non_negative=True,
        )
        if not found.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        shared: np.ndarray = found / found.max()  # their ratios count: no sum overflows
        return shared

    @staticmethod
    def _kept(weights: np.ndarray | None, *of_rows: Any) -> tuple[Any, ...]:
        """Weights and lists without the rows of weight 0, which are as if they were not there."""
        if weights is None or weights.all():
            return weights, *of_rows
        at = np.flatnonzero(weights)
        lists = (
            own[at] if isinstance(own, np.ndarray) else [own[k] for k in at] for own in of_rows
        )
        return weights[at], *lists

    # Training

    def _train(self, task: Task, *, anew: bool, part: bool) -> None:
        """Train, on copies: nothing of the estimator changes before all has gone well."""
        before: State = self._begun(task) if anew else self._state
        # Plain arrays too where they are mapped from a file, or may only be read.
        plain = {id(a): np.array(a) for a in before.body.params.values()}
        body, own = copy.deepcopy((before.body, before.generator), plain)
        optimizer = optimizer_of(self, body)
        if before.optimizer is not None and before.optimizer[0] == self.solver:
            state = before.optimizer[1]
            optimizer.load_state({**state["slots"], "steps": np.array(state["steps"])})
        given, schedule = before.schedule
        if given is not self.schedule or not part:
            schedule = copy.deepcopy(self.schedule)
        rows = task.rows if before.scaling is None else before.scaling.scaled(task.rows, body.dtype)
        data, held = self._split(rows, task, own)
        watch = Watch(self.tol, self.n_iter_no_change, validated=held is not None)
        history = fit(
            body,
            data,
            loss=task.targets,
            epochs=1 if part else self.max_iter,
            batch_size=self.batch_size,
            optimizer=optimizer,
            schedule=schedule,
            clip_norm=self.clip_norm,
            validation=held,
            metrics=task.targets.score,
            rng=own,
            callbacks=watch,
            progress=bool(self.verbose),
        )
        watch.give_back(body)
        self._state: State = before._replace(
            body=body,
            generator=own,
            optimizer=(self.solver, optimizer.state_dict()),
            schedule=(self.schedule, schedule),
        )
        self._learn(task, history, watch, anew=anew)
        if not part and not history.stopped:
            warnings.warn(
                f"Maximum iterations ({self.max_iter}) reached and the optimization hasn't"
                " converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _begun(self, task: Task) -> State:
        """The first state of a training."""
        generator = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        words = task.learned.get("vocabulary_")
        scaling, features = None, task.learned["n_features_in_"]
        if words is not None:
            features = self.embedding or 32
        elif self.scale:
            scaling = scaling_of(task.rows, task.weights, np.dtype(self.dtype))
        tokens = None if words is None else len(words) + 1
        body = body_of(self, features, task.outputs, generator, tokens=tokens)
        return State(body, generator, shape_of(self), scaling, task.of_target)

    def _split(self, rows: list[Any], task: Task, rng: np.random.Generator) -> tuple[Any, Any]:
        """What is learnt from, and what is held back."""
        if not self.early_stopping:
            return (rows, task.places), None
        share = self.validation_fraction
        if task.late is not None:
            held = task.late > 1 - share
        else:
            held = held_back(len(rows), share, task.strata, rng)
        if held.all():
            raise ValueError(f"early_stopping is True, and would hold back all {len(rows)} rows")
        parts = []
        for which in (~held, held):
            at = np.flatnonzero(which)
            parts.append(([rows[k] for k in at], [task.places[k] for k in at]))
        return parts[0], parts[1]

    def _learn(self, task: Task, history: History, watch: Watch, *, anew: bool) -> None:
        """Set the attributes that a training makes true."""
        for name, value in task.learned.items():
            setattr(self, name, value)
        curve = [] if anew else self.loss_curve_
        self.loss_curve_: list[float] = curve + history.loss.tolist()
        self.loss_, self.n_iter_ = self.loss_curve_[-1], len(self.loss_curve_)
        self.best_loss_: float | None = min(self.loss_curve_)
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_: float | None = None
        if self.early_stopping:
            self.validation_scores_ = history.val_score.tolist()
            self.best_loss_ = None
            self.best_validation_score_ = self.validation_scores_[watch.epoch]
        body, of_target = self._state.body, self._state.of_target
        self.model_: Sequential = whole_of(body, self._state.scaling, of_target)

    def _scores(self, X: Any) -> Any:
        """The outputs for all of X: of what is scaled in float64, before it is rounded."""
        check_is_fitted(self, "model_")
        return self._outputs(self._more(X))

    def _outputs(self, rows: list[Any]) -> Any:
        body, scaling = self._state.body, self._state.scaling
        return predict(body, rows if scaling is None else scaling.scaled(rows, body.dtype))


def _ids(rows: list[list[Any]], vocabulary: dict[Any, int]) -> list[np.ndarray]:
    return [np.array([vocabulary.get(token, 0) for token in row], np.intp) for row in rows]
