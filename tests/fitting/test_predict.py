"""Outputs for many rows: those of a call for each."""

import numpy as np
import pytest

import rnncore as rc


def model_of(kind, *, batch_first=False):
    layer = rc.GRU(3, 4, batch_first=batch_first, rng=0)
    if kind == "layer":
        return layer
    pool = [rc.Pool("max", batch_first=batch_first)] if kind == "rows" else []
    return rc.Sequential(layer, *pool, rc.Linear(4, 2, rng=1))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["layer", "steps", "rows"])
def test_sequences(kind, batch_first, frozen, rng):
    model = model_of(kind, batch_first=batch_first)
    X = [rng.standard_normal((T, 3)).astype(np.float32) for T in rng.integers(1, 9, 13)]
    y = rc.predict(model.freeze() if frozen else model, X, batch_size=4)
    assert len(y) == 13
    for x, own in zip(X, y, strict=True):
        one = model(x[:, np.newaxis] if not batch_first else x[np.newaxis])[0]
        one = one[0] if kind == "rows" or batch_first else one[:, 0]
        np.testing.assert_array_equal(own, one)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["layer", "steps", "rows"])
def test_arrays(kind, batch_first, lengths, rng):
    model = model_of(kind, batch_first=batch_first)
    x = rng.standard_normal((13, 6, 3) if batch_first else (6, 13, 3)).astype(np.float32)
    own = rng.integers(1, 6, 13) if lengths else None
    y = rc.predict(model, x, batch_size=4, lengths=own)
    np.testing.assert_array_equal(y, model(x, lengths=own)[0])


def test_ids_of_an_embedding(rng):
    model = rc.Sequential(rc.Embedding(9, 3, rng=0), rc.GRU(3, 4, rng=0), rc.Pool("last"))
    X = [rng.integers(9, size=T) for T in (3, 1, 5)]
    y = rc.predict(model, X)
    for x, own in zip(X, y, strict=True):
        np.testing.assert_array_equal(own, model(x[:, np.newaxis])[0][0])
