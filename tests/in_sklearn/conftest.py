import numpy as np
import pytest


def pytest_collection_modifyitems(items):
    """Trainings here are short, and say so; what says it is tested where it is raised on."""
    for item in items:
        if item.path.parent.name == "in_sklearn":
            mark = "ignore:Maximum iterations:sklearn.exceptions.ConvergenceWarning"
            item.add_marker(pytest.mark.filterwarnings(mark), append=False)


@pytest.fixture
def walks(rng):
    """Sequences of two features, of very different size, and whether the first ends above 0."""
    X = [
        np.array([3.0, 1e4]) + np.array([1.0, 50.0]) * rng.standard_normal((T, 2))
        for T in rng.integers(2, 12, 90)
    ]
    return X, np.array(["down", "up"])[[int(x[-1, 0] > 3) for x in X]]
