"""Whether two programs computed the same thing, as rounding lets them."""

import numpy as np

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


class DisagreementError(AssertionError):
    """Two libraries computed different things: their times are not to be compared."""


def assert_agree(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray], dtype: str, who: str
) -> None:
    """No value of `found` differs from `expected` by more than TOLERANCE of the largest there.

    The largest, since the small values are sums of larger ones that cancel.

    Raises
    ------
    DisagreementError that names the program `who` and the array, where one does.

    Examples
    --------
    >>> assert_agree({"y": np.array([1.0, 0.0])}, {"y": np.array([1.0, 1e-11])}, "float64", "other")
    >>> assert_agree({"y": np.array([1.0, 0.1])}, {"y": np.array([1.0, 0.2])}, "float64", "other")
    Traceback (most recent call last):
        ...
    rnncore._bench.agreement.DisagreementError: other: y differs by 0.1, the largest there is 1
    """
    if found.keys() != expected.keys():
        raise DisagreementError(f"{who}: {sorted(found)}, expected {sorted(expected)}")
    for name, value in expected.items():
        given = found[name]
        if (given.dtype, given.shape) != (np.dtype(dtype), value.shape):
            raise DisagreementError(
                f"{who}: {name} is {given.dtype} {given.shape}, not {value.shape}"
            )
        gap, largest = float(np.abs(given - value).max()), float(np.abs(value).max())
        if not gap <= TOLERANCE[dtype] * largest:  # a NaN differs from everything
            raise DisagreementError(
                f"{who}: {name} differs by {gap:.3g}, the largest there is {largest:.3g}"
            )
