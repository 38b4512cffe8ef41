"""A bound on work that is the same on every machine, busy or not."""

import contextlib
import sys

_CALLS = 2_000_000  # of functions, Python's and C's: about a second of them


@contextlib.contextmanager
def little_work():
    """End a block with an AssertionError once it has called so many functions."""
    done = 0

    def count(frame, event, argument):
        nonlocal done
        done += event in ("call", "c_call")
        if done > _CALLS:
            sys.setprofile(None)
            raise AssertionError(f"more than {_CALLS:,} calls")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
    assert done <= _CALLS  # also where somebody has caught the error
