"""Forecasts of the yearly sunspots, beside two that need no training and statsmodels' AutoReg:
``python benchmarks/bench_forecaster.py``.

The last 60 years are forecast, one and six years ahead, from each of them on. Options are chosen by
the 60 years before them, with what is earlier alone.
"""

from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.metrics import r2_score

from rnncore.sklearn import Forecaster

YEARS, SEEDS = 60, range(4)
FILE = Path(__file__).parents[1] / "examples" / "sunspots.csv"


def scores(past, future, horizon, **options):
    """R2 with each seed."""
    return [
        Forecaster(horizon=horizon, random_state=seed, **options).fit(past).score(future)
        for seed in SEEDS
    ]


def as_before(spots, horizon, years):
    """R2 of the last number before each forecast, or of those so many years before."""
    begin = len(spots) - YEARS
    at = np.arange(begin, len(spots) - horizon + 1)[:, np.newaxis] + np.arange(horizon)
    found = np.repeat(spots[at[:, :1] - 1], horizon, axis=1) if years is None else spots[at - years]
    return r2_score(spots[at].reshape(-1, 1), found.reshape(-1, 1))


def by_autoregression(spots, horizon):
    """R2 of AutoReg, whose lags are chosen by Akaike's criterion among up to 22."""
    from statsmodels.tsa.ar_model import ar_select_order

    begin = len(spots) - YEARS
    lags = ar_select_order(spots[:begin], 22, ic="aic").model.fit()
    const, *weights = lags.params
    found, right = [], []
    for origin in range(begin, len(spots) - horizon + 1):
        known = spots[:origin].tolist()
        for _ in range(horizon):
            known.append(const + np.dot(weights, known[: -len(weights) - 1 : -1]))
        found += known[origin:]
        right += spots[origin : origin + horizon].tolist()
    return r2_score(right, found)


def main():
    spots = np.loadtxt(FILE, delimiter=",", skiprows=5, usecols=1)
    past, chosen_by, future = np.split(spots, [-2 * YEARS, -YEARS])
    names = ("hidden_layer_sizes", "window", "tol")
    tried = [
        dict(zip(names, one, strict=True)) for one in product((16, 32), (11, 22), (1e-2, 1e-3))
    ]
    best = max(tried, key=lambda own: np.mean(scores(past, chosen_by, 6, **own)))
    print(f"chosen of {len(tried)} by the years before: {best}")
    print("R2                              one year ahead    six years ahead")
    found = [scores(spots[:-YEARS], future, horizon, **best) for horizon in (1, 6)]
    own = [f"{min(one):.2f} to {max(one):.2f}" for one in found]
    print(f"Forecaster, {len(SEEDS)} seeds              {own[0]:18}{own[1]}")
    for name, years in (("the last year again", None), ("the year 11 years before", 11)):
        one, six = (as_before(spots, horizon, years) for horizon in (1, 6))
        print(f"{name:32}{one:<18.2f}{six:.2f}")
    if find_spec("statsmodels"):
        one, six = (by_autoregression(spots, horizon) for horizon in (1, 6))
        print(f"{'AutoReg of statsmodels':32}{one:<18.2f}{six:.2f}")


if __name__ == "__main__":
    main()
