"""What estimators take as X and as options, in which forms, and what they say to the rest."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from rnncore.sklearn import Forecaster, SequenceClassifier, SequenceRegressor, SequenceTagger

QUICK = {"hidden_layer_sizes": 5, "max_iter": 3, "random_state": 0}


def of_objects(rows):
    found = np.empty(len(rows), object)
    found[:] = rows
    return found


class Column:
    """What pandas and others have: no list, but with an array in it."""

    def __init__(self, rows):
        self._rows = rows

    def __array__(self, dtype=None, copy=None):
        return of_objects(self._rows)

    def __len__(self):
        return len(self._rows)


def alike(forms, y, **options):
    first = None
    for name, X in forms.items():
        found = SequenceClassifier(**QUICK, **options).fit(X, y)
        p = found.predict_proba(X)
        first = p if first is None else first
        np.testing.assert_array_equal(p, first, err_msg=name)
        for other in forms.values():
            np.testing.assert_array_equal(found.predict_proba(other), first)


def test_forms_of_numbers(rng):
    x, y = rng.standard_normal((20, 7)), rng.integers(2, size=20)
    alike(
        {
            "(n, T)": x,
            "(n, T, 1)": x[:, :, np.newaxis],
            "list of (T,)": list(x),
            "list of (T, 1)": list(x[:, :, np.newaxis]),
            "list of lists": x.tolist(),
            "objects": of_objects(list(x[:, :, np.newaxis])),
            "a column": Column(list(x)),
        },
        y,
    )


def test_forms_of_texts(rng):
    words = rng.choice(["red", "green", "blue"], (20, 4))
    texts, y = [" ".join(row) for row in words], rng.integers(2, size=20)
    alike(
        {
            "list of texts": texts,
            "array of texts": np.array(texts),
            "objects": of_objects(texts),
            "a column": Column(texts),
            "lists of words": words.tolist(),
            "tuples": [tuple(row) for row in words.tolist()],
            "array of words": words,
            "objects of words": words.astype(object),
            "objects of lists": of_objects(words.tolist()),
            "list of arrays": list(words),
        },
        y,
    )


def test_forms_of_integers(rng):
    """Ids of a vocabulary, which are no sizes: of any value, and 0 for those that come later."""
    ids, y = rng.choice([-3, 7, 10**12], (20, 4)), rng.integers(2, size=20)
    forms = {
        "(n, T)": ids,
        "lists": ids.tolist(),
        "list of arrays": list(ids),
        "objects": of_objects(list(ids)),
        "small": [row.astype(np.int64) for row in ids],
    }
    alike(forms, y, embedding=6)
    found = SequenceClassifier(**QUICK, embedding=6).fit(ids, y)
    assert found.vocabulary_ == {-3: 1, 7: 2, 10**12: 3}
    assert found.model_["embedding"].params["weight"].shape == (4, 6)
    np.testing.assert_array_equal(found.predict_proba([[5, 7]]), found.predict_proba([[6, 7]]))
    texts = [[str(one) for one in row] for row in ids]
    by_text = SequenceClassifier(**QUICK, embedding=6).fit(texts, y).vocabulary_
    assert by_text.keys() == {"-3", "7", str(10**12)}
    # Without an embedding they are numbers.
    assert SequenceClassifier(**QUICK).fit(ids, y).vocabulary_ is None


def test_words_and_rows_of_any_length(rng):
    good, bad = ["fine", "great", "lovely"], ["awful", "poor", "dull"]
    kinds = rng.integers(2, size=80)
    texts = [
        " ".join(["the", "film", "is", *rng.permutation((bad, good)[k])[: rng.integers(1, 4)]])
        for k in kinds
    ]
    options = {"hidden_layer_sizes": 12, "max_iter": 25, "random_state": 0, "embedding": 6}
    found = SequenceClassifier(**options).fit(texts, kinds)
    assert found.score(texts, kinds) > 0.95
    assert found.predict(["the film is lovely", "an awful mess"]).tolist() == [1, 0]
    ids = [[found.vocabulary_[word] for word in text.split()] for text in texts]
    other = SequenceClassifier(**options).fit(ids, kinds)
    np.testing.assert_array_equal(other.predict_proba(ids), found.predict_proba(texts))


REFUSED = {
    "NaN": (lambda X: [*X[:-1], X[-1] * np.nan], "NaN or infinity, in X"),
    "other features": (lambda X: [*X[:-1], X[-1][:, :1]], "expected one step or more of as many"),
    "no steps": (lambda X: [*X[:-1], X[-1][:0]], "expected one step or more"),
    "no numbers": (lambda X: [*X[:-1], np.array([["a", "b"]])], "is no sequence of numbers"),
    "lists within": (lambda X: [[[1.0, 2.0], [1.0]]] * 90, r"X\[0\] is no sequence of numbers"),
    "other count": (lambda X: X[:-1], "inconsistent numbers of samples"),
    "four axes": (lambda X: np.ones((90, 2, 2, 2)), "Found array with dim 4"),
    "no rows": (lambda X: [], "0 sample"),
    "no text": (lambda X: ["a"] * 89 + [3], r"X\[89\] is no text, and X\[0\] is one"),
    "no words": (lambda X: [["a"]] * 89 + [["a", 3]], r"X\[89\] is no list of texts, and X\[0\]"),
    "empty": (lambda X: ["a"] * 89 + [" "], r"X\[89\] has no tokens"),
    "bytes": (lambda X: np.array([b"a"] * 90), "."),
    "a text": (lambda X: "abc", "^X is of type str, expected a list or an array of sequences"),
    "a generator": (lambda X: iter(X), "^X is of type .*iterator, expected a list or an array of"),
    "dates": (lambda X: np.zeros((90, 3), "M8[D]"), r"^X has dtype datetime64\[D\], expected num"),
    "a mask": (lambda X: np.ma.masked_array(np.ones((90, 3, 1))), "^X is of type MaskedArray, exp"),
    "masks": (lambda X: [np.ma.masked_array(x) for x in X], r"^X\[0\] is of type MaskedArray, exp"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_is_refused(name, walks):
    X, y = walks
    make, message = REFUSED[name]
    with pytest.raises((TypeError, ValueError), match=message):
        SequenceClassifier(**QUICK).fit(make(X), y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(90, "M8[D]"), r"^y has dtype datetime64\[D\], expected numbers"),
        (["1"] * 90, "^y has dtype <U1, expected numbers"),
        (np.ma.masked_array(np.ones(90)), "^y is of type MaskedArray, expected a numpy array"),
    ],
)
def test_targets_that_are_no_numbers(y, message, walks):
    with pytest.raises(TypeError, match=message):
        SequenceRegressor(**QUICK).fit(walks[0], y)


def test_masks_of_labels_and_weights(walks):
    X, y = walks
    tags = [[one] * len(x) for x, one in zip(X, y, strict=True)]
    masked = np.ma.masked_array(y)
    for call, name in (
        (lambda: SequenceClassifier(**QUICK).fit(X, masked), "y"),
        (lambda: SequenceClassifier(**QUICK).fit(X, y, np.ma.ones(len(X))), "sample_weight"),
        (lambda: SequenceTagger(**QUICK).fit(X, [*map(np.ma.masked_array, tags)]), r"y\[0\]"),
    ):
        with pytest.raises(TypeError, match=f"^{name} is of type MaskedArray, expected a numpy"):
            call()


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor])
def test_weights_whose_sum_no_number_holds(kind, walks):
    X, y = walks
    y = (y == "up").astype(int)
    weights = np.where(np.arange(len(X)) % 3, 1.0, 2.0)
    small, large = (kind(**QUICK).fit(X, y, by * weights) for by in (1.0, 2.0**1022))
    np.testing.assert_array_equal(small.predict(X), large.predict(X))
    assert small.loss_ == large.loss_


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor, SequenceTagger])
def test_other_data_than_at_first(kind, rng):
    y = rng.integers(2, size=(10, 3)) if kind is SequenceTagger else rng.integers(2, size=10)
    numbers, texts, ids = rng.standard_normal((10, 3, 2)), ["a b c"] * 10, np.ones((10, 3), int)
    of_numbers = kind(**QUICK).fit(numbers, y)
    of_texts = kind(**QUICK).fit(texts, y)
    of_ids = kind(**QUICK, embedding=3).fit(ids, y)
    name = kind.__name__
    for found, X, message in (
        (of_numbers, np.ones((2, 3)), f"X has 1 features, but {name} is expecting 2 features"),
        (of_numbers, texts, f"X holds texts, but {name} was fitted with numbers"),
        (of_texts, numbers, f"X holds numbers, but {name} was fitted with texts"),
        (of_texts, ids, f"X holds numbers, but {name} was fitted with texts"),
        (of_ids, texts, f"X holds texts, but {name} was fitted with integers"),
        (of_ids, numbers, r"X\[0\] is no sequence \(T,\) of tokens"),
        (of_ids, numbers[:, :, 0], r"X\[0\] is no sequence \(T,\) of tokens"),
    ):
        with pytest.raises(ValueError, match=message):
            found.predict(X)
        with pytest.raises(ValueError, match=message):
            found.set_params(warm_start=True).fit(X, y[: len(X)])
    with pytest.raises(ValueError, match=r"embedding is given, and X\[0\] is no sequence"):
        kind(**QUICK, embedding=3).fit(numbers, y)


OPTIONS = {
    "cell": ("lstmm", "cell is 'lstmm', expected 'rnn' or 'gru' or 'lstm'"),
    "hidden_layer_sizes": ((3, 0), r"hidden_layer_sizes\[1\] is 0, expected an integer of at"),
    "layers": (0, "layers is 0, expected an integer of at least 1"),
    "bidirectional": ("no", "bidirectional is 'no', expected True or False"),
    "pooling": ("sum", "pooling is 'sum', expected 'last' or"),
    "conv": (0, "conv is 0, expected an integer of at least 1"),
    "embedding": (-1, "embedding is -1, expected an integer of at least 1"),
    "dropout": (1.0, "dropout is 1.0, expected a number of at least 0 and below 1"),
    "scale": ("x", "scale is 'x', expected True or False"),
    "solver": ("lbfgs", "solver is 'lbfgs', expected 'adam' or"),
    "alpha": (-1.0, "alpha is -1.0, expected a finite number of at least 0"),
    "batch_size": (2.5, "batch_size is 2.5, expected an integer"),
    "learning_rate_init": (0.0, "learning_rate_init is 0.0, expected a number above 0"),
    "schedule": (0.1, "schedule is of type float, expected a function"),
    "max_iter": (0, "max_iter is 0, expected an integer of at least 1"),
    "random_state": ("seed", "random_state: 'seed' cannot be used to seed"),
    "tol": (-1, "tol is -1, expected a finite number of at least 0"),
    "verbose": ("loud", "verbose is 'loud', expected True, False or a number"),
    "warm_start": ("no", "warm_start is 'no', expected True or False"),
    "early_stopping": (3, "early_stopping is 3, expected True or False"),
    "validation_fraction": (0.0, "validation_fraction is 0.0, expected a number above 0 and below"),
    "n_iter_no_change": (0, "n_iter_no_change is 0, expected an integer of at least 1"),
    "beta_1": (1.0, "beta_1 is 1.0, expected a number of at least 0 and below 1"),
    "beta_2": (-0.1, "beta_2 is -0.1, expected"),
    "epsilon": (0.0, "epsilon is 0.0, expected a finite number"),
    "clip_norm": (0.0, "clip_norm is 0.0, expected a number above 0"),
    "dtype": ("float16", "dtype is float16, expected float32 or float64"),
    "class_weight": ("even", "class_weight is 'even', expected a dict, 'balanced' or None"),
    "window": (0, "window is 0, expected an integer of at least 1"),
    "horizon": (0, "horizon is 0, expected an integer of at least 1"),
    "strategy": ("both", "strategy is 'both', expected 'recursive' or 'direct'"),
    "difference": (1, "difference is 1, expected True or False"),
}


@pytest.mark.parametrize(
    "kind", [SequenceClassifier, SequenceRegressor, SequenceTagger, Forecaster]
)
def test_every_option_is_checked_before_any_work(kind):
    for name in kind().get_params():
        value, message = OPTIONS[name]
        found = kind().set_params(**{name: value})
        # Nothing of what is given is looked at before.
        with pytest.raises((TypeError, ValueError), match=message):
            found.fit(None, None)
        assert found.get_params() == kind().set_params(**{name: value}).get_params()
    with pytest.raises(ValueError, match=r"alpha is 0.1, which solver='sgd' does not have"):
        kind(solver="sgd", alpha=0.1).fit(None, None)
    with pytest.raises(TypeError, match=r"unexpected keyword|multiple values"):
        kind(epochs=3)
    with pytest.raises(ValueError, match="hidden_layer_sizes is empty"):
        kind(hidden_layer_sizes=()).fit(None, None)


def test_options_as_a_search_hands_them(walks):
    X, y = walks
    found = SequenceClassifier(
        np.str_("rnn"), np.array([4, 3]), batch_size=np.int64(30), scale=np.bool_(True), verbose=0,
        learning_rate_init=np.float32(0.01), dtype=np.dtype("float64"), max_iter=np.int32(1),
        random_state=np.random.RandomState(3),
    ).fit(X, y)  # fmt: skip
    assert found.model_.dtype == np.float64
    assert found.model_["rnn1"].hidden_size == 3
