"""scikit-learn's own checks of estimators, but for those that sequences cannot pass."""

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
    "check_sample_weight_equivalence_on_dense_data": "batches are drawn: another order of rows",
}
NEEDS_PANDAS = (
    "check_array_api_input",
    "check_classifier_data_not_an_array",
    "check_regressor_data_not_an_array",
    "check_sample_weights_pandas_series",
)
OPTIONS = {"hidden_layer_sizes": 16, "max_iter": 200, "random_state": 0}


def checks():
    for kind in (SequenceClassifier, SequenceRegressor):
        counts = {}
        for estimator, check in estimator_checks_generator(kind(**OPTIONS)):
            name = getattr(check, "func", check).__name__
            if name in EXPECTED_TO_FAIL or name in NEEDS_PANDAS:
                continue
            counts[name] = counts.get(name, 0) + 1
            yield pytest.param(estimator, check, id=f"{kind.__name__}-{name}-{counts[name]}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_a_check_of_scikit_learn(estimator, check):
    check(estimator)
