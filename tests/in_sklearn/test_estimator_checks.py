"""scikit-learn's own checks of estimators, and those that sequences cannot pass."""

from collections import Counter
from importlib.util import find_spec

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.utils.estimator_checks import estimator_checks_generator

from rnncore.sklearn import SequenceClassifier, SequenceRegressor

OF_COLUMNS = "the columns of (n, T) are steps, of which rows may have more or fewer"
EXPECTED_TO_FAIL = {
    "check_n_features_in": OF_COLUMNS,
    "check_n_features_in_after_fitting": OF_COLUMNS,
    "check_estimators_partial_fit_n_features": OF_COLUMNS,
    "check_classifiers_train": OF_COLUMNS,
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
    """All of them, those that are expected to fail marked so: strictly, by pyproject.toml."""
    for kind in (SequenceClassifier, SequenceRegressor):
        own = kind(**OPTIONS, random_state=0, dtype="float64")
        marked = {"expected_failed_checks": EXPECTED_TO_FAIL, "mark": "xfail"}
        counts = Counter()
        for found in estimator_checks_generator(own, **marked):
            estimator, check = getattr(found, "values", found)
            name = getattr(check, "func", check).__name__
            if name in NEEDS and find_spec(NEEDS[name]) is None:
                continue
            counts[name] += 1
            marks = getattr(found, "marks", ())
            own_id = f"{kind.__name__}-{name}-{counts[name]}"
            yield pytest.param(estimator, check, id=own_id, marks=marks)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_a_check_of_scikit_learn(estimator, check):
    check(estimator)
