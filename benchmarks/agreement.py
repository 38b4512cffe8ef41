"""Whether two programs computed the same thing, as rounding lets them."""

import numpy as np

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def assert_agree(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray], dtype: str, who: str
) -> None:
    """No value of `found` differs from `expected` by more than TOLERANCE of the largest there.

    The largest, since the small values are sums of larger ones that cancel.

    Raises
    ------
    AssertionError that names the program `who` and the array, where one does.
    """
    assert found.keys() == expected.keys(), (who, found.keys(), expected.keys())
    for name, value in expected.items():
        assert found[name].dtype == value.dtype == dtype, (who, name, found[name].dtype)
        assert found[name].shape == value.shape, (who, name, found[name].shape)
        gap, scale = np.abs(found[name] - value).max(), np.abs(value).max()
        assert gap <= TOLERANCE[dtype] * scale, (who, name, float(gap), float(scale))
