"""scikit-learn's own checks of estimators, and what those say that sequences cannot pass."""

from collections import Counter
from importlib.util import find_spec

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.utils.estimator_checks import estimator_checks_generator

from rnncore.sklearn import SequenceClassifier, SequenceRegressor

# The columns of (n, T) are steps, of which rows may have more or fewer: what these end with.
OF_COLUMNS = {
    "check_n_features_in": "^$",  # n_features_in_ is not the number of columns
    "check_n_features_in_after_fitting": "does not set the `n_features_in_` attribute",
    "check_estimators_partial_fit_n_features": "the number of features changes between calls to",
    "check_classifiers_train": "the number of features in predict is different from",
}
# Of libraries that may not be there; without them a check says that it does not look.
NEEDS = {
    "check_array_api_input": "array_api_strict",
    "check_classifier_data_not_an_array": "pandas",
    "check_regressor_data_not_an_array": "pandas",
    "check_sample_weights_pandas_series": "pandas",
}
OPTIONS = {"hidden_layer_sizes": 8, "learning_rate_init": 0.02, "max_iter": 100, "tol": 1e-3}


def checks():
    """All of them, by their names and numbers."""
    for kind in (SequenceClassifier, SequenceRegressor):
        own = kind(**OPTIONS, random_state=0, dtype="float64")
        counts = Counter()
        for estimator, check in estimator_checks_generator(own):
            name = check.func.__name__
            if name in NEEDS and find_spec(NEEDS[name]) is None:
                continue
            counts[name] += 1
            own_id = f"{kind.__name__}-{name}-{counts[name]}"
            yield pytest.param(name, estimator, check, id=own_id)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "estimator", "check"), list(checks()))
def test_a_check_of_scikit_learn(name, estimator, check):
    if name in OF_COLUMNS:
        with pytest.raises(AssertionError, match=OF_COLUMNS[name]):
            check(estimator)
    else:
        check(estimator)
