"""Whether two programs computed the same thing, as rounding lets them."""

import numpy as np

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


# Of the mean magnitude, for what rounds on purpose: weights of 8 bits stay below 0.02, but for the
# smallest layers and those with a norm, 0.07.
NARROW = 0.1


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


def assert_near(found: np.ndarray, expected: np.ndarray, who: str) -> None:
    """`found` is `expected`, (T, B, H), with the errors of a low precision.

    At every step the mean error is at most `NARROW` of the mean magnitude over all of them.

    Raises
    ------
    DisagreementError that names the program `who`, where it computed something else.

    Examples
    --------
    >>> y = np.array([1.0, -1.0]).reshape(2, 1, 1)
    >>> assert_near(y + 0.01, y, "other")
    >>> assert_near(y * y, y, "other")
    Traceback (most recent call last):
        ...
    rnncore._bench.agreement.DisagreementError: other: y differs by 2 at step 1, its mean size is 1
    """
    if found.shape != expected.shape:
        raise DisagreementError(f"{who}: y is {found.shape}, not {expected.shape}")
    gaps, size = np.abs(found - expected).mean(axis=(1, 2)), float(np.abs(expected).mean())
    step = int(gaps.argmax())  # a NaN counts as the largest
    if not gaps[step] <= NARROW * size:
        raise DisagreementError(
            f"{who}: y differs by {gaps[step]:.3g} at step {step}, its mean size is {size:.3g}"
        )
