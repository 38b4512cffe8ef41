"""A forecaster of time series, by the rules of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from rnncore import _check
from rnncore.layers.parametrized import show_options
from rnncore.sklearn.base import SequenceEstimator, Task
from rnncore.sklearn.scaling import scaling_of
from rnncore.sklearn.series import Plan, Series, check_long, known_of, series_of
from rnncore.sklearn.targets import of_numbers


class Forecaster(SequenceEstimator):
    """A recurrent network that tells how a time series goes on.

    Parameters
    ----------
    window : how many steps are read before a forecast; None: the whole history
        With a window every stretch of so many steps is a row of the training. Without, a series is
        one, with a forecast at each of its steps: for many series.
    horizon : steps that are forecast
    strategy : "recursive", a step at a time, each of which reads the forecasts before it; or
        "direct", all at once
    difference : whether changes are read and told in place of levels
        Levels are forecast near those that were seen. Where there is a trend, or no level to come
        back to, changes go on with it.
    scale : whether what is read is brought to mean 0 and deviation 1; what is told always is
    cell, hidden_layer_sizes and others : as of `SequenceClassifier`
        With `early_stopping` the end of each series is held back; without a window some series.

    A series is (n,) or (n, K). Where it says `X`, this is what is known of the same steps and will
    be known of those that are forecast, (n,) or (n, F).

    Attributes
    ----------
    model_ : Sequential, which reads steps (B, T, columns) and gives (B, ahead * K) numbers, without
        a window at each step; `ahead` is 1 where it is recursive, else `horizon`
        Columns are the K numbers of y, or their change since the step before, and X at the `ahead`
        steps that follow. It gives y at these, or its change since the last step that was read.
    n_features_in_ : how many columns there are
    n_iter_, loss_, loss_curve_, best_loss_, validation_scores_, best_validation_score_
        As of `SequenceClassifier`.

    Examples
    --------
    >>> wave = np.sin(np.arange(120) / 2)
    >>> found = Forecaster(hidden_layer_sizes=16, window=10, horizon=5, tol=1e-3, random_state=0)
    >>> found = found.fit(wave[:100])
    >>> bool(abs(found.predict() - wave[100:105]).max() < 0.2), found.score(wave[100:]) > 0.95
    (True, True)
    """

    _is_causal = True

    def __init__(
        self,
        cell: str = "gru",
        hidden_layer_sizes: Any = (64,),
        *,
        window: int | None = 20,
        horizon: int = 1,
        strategy: str = "recursive",
        difference: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(cell, hidden_layer_sizes, pooling="last", embedding=None, **options)
        self.window = window
        self.horizon = horizon
        self.strategy = strategy
        self.difference = difference

    @property
    def _pools(self) -> bool:  # type: ignore[override]
        return self.window is not None

    # Training

    def fit(self, y: Any, X: Any = None) -> Forecaster:
        """Train with a series y, or a list of series, and X, if there is any."""
        anew = self._begins(part=False)
        if self.window is None and self.bidirectional:
            raise ValueError("bidirectional is True, and window None: a step would see the next")
        ahead = self.horizon if self.strategy == "direct" else 1
        plan, series = Plan(self.window, ahead, self.difference), series_of("y", y)
        check_long(series, plan.least + ahead)
        pasts = list(zip(series.each, known_of(X, [len(own) for own in series.each]), strict=True))
        own, x = pasts[0]
        columns = own.shape[1], None if x is None else x.shape[1]
        if not anew and columns != self._columns:
            raise ValueError(
                f"y and X have {columns} columns, expected {self._columns} as at first"
            )
        read = [plan.columns(own[:-ahead], x) for own, x in pasts]
        learned = {
            "n_features_in_": read[0].shape[1],
            "_plan": plan,
            "_columns": columns,
            "_flat": series.flat,
            "_listed": series.listed,
            "_pasts": [plan.cut(own, x, len(own)) for own, x in pasts],
        }
        self._fit(plan, read, [plan.told(own) for own, _ in pasts], learned, anew)
        return self

    def _fit(
        self,
        plan: Plan,
        rows: list[np.ndarray],
        told: list[np.ndarray],
        learned: dict[str, Any],
        anew: bool,
    ) -> None:
        """Train with what is read and told at every step of each series."""
        late = None
        if plan.window is not None:
            rows = [row for own in rows for row in plan.windows(own)]
            told = [own[plan.window - 1 :] for own in told]
            late = np.concatenate([np.arange(1, len(own) + 1) / len(own) for own in told])
        numbers = np.concatenate(told)
        places: Any = np.arange(len(numbers))
        if plan.window is None:
            places = np.split(places, np.cumsum([len(own) for own in told[:-1]]))
        of_target = scaling_of([numbers], None, np.float64) if anew else self._of_target
        (targets,) = of_target.scaled([numbers], self.dtype)
        task = Task(
            rows, places, of_numbers(targets, None), None, targets.shape[1],
            {**learned, "_of_target": of_target}, of_target, late=late,
        )  # fmt: skip
        self._train(task, anew=anew, part=False)

    # Forecasts

    def predict(self, horizon: int | None = None, X: Any = None, y: Any = None) -> np.ndarray:
        """What follows the series of `fit`, or y.

        Parameters
        ----------
        horizon : steps; by default as many as X tells of, or those of the option
            No more than these, where they are forecast directly.
        X : where `fit` had any, that of the steps that are forecast; beside y of its steps too
        y : another history, or a list of such

        Returns
        -------
        (horizon,) or (horizon, K) array; of a list (m, horizon) or (m, horizon, K)
        """
        check_is_fitted(self, "model_")
        plan: Plan = self._plan
        pasts, listed = self._pasts, self._listed
        if y is not None:
            series = self._like_that(y)
            pasts, listed = [(own, None) for own in series.each], series.listed
        shown = [0 if y is None else len(own) for own, _ in pasts]
        if horizon is None:
            told_of = 0 if X is None else len(series_of("X", X).each[0]) - shown[0]
            horizon = told_of if plan.ahead == 1 and told_of > 0 else self.horizon
        horizon = self._far(horizon)
        after = known_of(X, [n + max(horizon, plan.ahead) for n in shown], self._columns[1])
        if y is None:
            pairs = zip(pasts, after, strict=True)
            after = [None if x is None else np.concatenate([old, x]) for (_, old), x in pairs]
        ys = [own for own, _ in pasts]
        whole = [plan.cut(own, x, len(own)) for own, x in zip(ys, after, strict=True)]
        found = self._ahead(whole, horizon)
        found = found[..., 0] if self._flat else found
        return found if listed else found[0]

    def score(self, y: Any, X: Any = None) -> float:
        """R2 of forecasts of `horizon` steps, one from each step of y on, that read what is before.

        After a series y is what follows it, so that `TimeSeriesSplit` can be searched with; after a
        list, and of a list, it is other series, whose first steps are history alone: the window, or
        half of each series.
        """
        check_is_fitted(self, "model_")
        plan: Plan = self._plan
        horizon, series = self._far(self.horizon), self._like_that(y, least=1)
        xs = known_of(X, [len(own) for own in series.each], self._columns[1])
        pasts, true = [], []
        for own, x in zip(series.each, xs, strict=True):
            begin = plan.least if plan.window else max(plan.least, len(own) // 2)
            if not (series.listed or self._listed):
                old, old_x = self._pasts[0]
                begin, own = len(old), np.concatenate([old, own])
                x = None if x is None else np.concatenate([old_x, x])
            for k in range(begin, len(own) - max(horizon, plan.ahead) + 1):
                pasts.append(plan.cut(own[:k], x, k))
                true.append(own[k : k + horizon])
        if not pasts:
            raise ValueError(f"y has too few steps for a forecast of {horizon}")
        found, K = self._ahead(pasts, horizon), self._columns[0]
        return float(r2_score(np.reshape(true, (-1, K)), found.reshape(-1, K)))

    def _far(self, horizon: Any) -> int:
        """How many steps may be forecast: any, but directly those that were learnt."""
        steps, most = _check.size("horizon", horizon), self._plan.ahead
        if 1 < most < steps:
            raise ValueError(f"horizon is {steps}, expected at most {most}: it is direct")
        return steps

    def _like_that(self, y: Any, least: int | None = None) -> Series:
        """Series with as many columns as those of `fit`."""
        series, K = series_of("y", y), self._columns[0]
        if series.each[0].shape[1] != K:
            raise ValueError(f"y has {series.each[0].shape[1]} columns, expected {K}, as fit had")
        check_long(series, self._plan.least if least is None else least)
        return series

    def _ahead(self, pasts: list[Any], horizon: int) -> np.ndarray:
        """What follows each past, (m, horizon, K)."""
        plan: Plan = self._plan
        found: list[np.ndarray] = []
        while len(found) * plan.ahead < horizon:
            scores = self._outputs([plan.columns(y, x) for y, x in pasts])
            if plan.window is None:
                scores = np.stack([own[-1] for own in scores])
            after = self._of_target.undone(scores).reshape(len(pasts), plan.ahead, -1)
            found.append(plan.beside(after, np.stack([y[-1] for y, _ in pasts]), sign=1))
            on = [np.concatenate([y, own]) for (y, _), own in zip(pasts, found[-1], strict=True)]
            pasts = [plan.cut(y, x, len(y)) for y, (_, x) in zip(on, pasts, strict=True)]
        return np.concatenate(found, axis=1)[:, :horizon]


show_options(Forecaster.__init__, SequenceEstimator.__init__, without=("pooling", "embedding"))
