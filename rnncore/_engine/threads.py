"""How many threads a pass may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rnncore import _check
from rnncore._core import core
from rnncore._engine.cores import usable_cores

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]


# Each is started, and takes memory, where the work is enough for all; none gains without a core.
MOST_THREADS = max(256, 4 * (os.cpu_count() or 1))


def _at_start() -> int:
    """What the first of the environment variables says that is set, else the cores there are."""
    wanted = os.environ.get("RNNCORE_NUM_THREADS", "")
    if wanted:
        if _is_limit(wanted):
            return int(wanted)
        expected = f"an integer from 1 to {MOST_THREADS}"
        raise ValueError(f"RNNCORE_NUM_THREADS is {wanted[:20]!r}, expected {expected}")
    # OpenMP's own variable, which joblib and others set for their workers. It may be a list, whose
    # first number is that of the outermost level (OpenMP 5.2, 21.1.2); of anything else that it may
    # be, OpenMP is to complain.
    openmp = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(openmp) if _is_limit(openmp) else min(usable_cores(), MOST_THREADS)


def _is_limit(text: str) -> bool:
    return text.isdecimal() and len(text) < 9 and 0 < int(text) <= MOST_THREADS


_limit = _at_start()
core.set_thread_limit(min(_limit, usable_cores()))


def get_num_threads() -> int:
    """The most threads that a pass uses."""
    return _limit


def set_num_threads(n: int) -> None:
    """Let a pass use at most `n` threads, in the whole process.

    A pass uses as many as its work is worth: a small one only the thread that calls. At the start
    the limit is the environment variable ``RNNCORE_NUM_THREADS``, or else ``OMP_NUM_THREADS``,
    which joblib and others set for their workers, or else the number of cores that the process may
    use: those of its affinity mask, within the quota of its container. A stream follows the limit
    from its next step on. No result depends on the number of threads.

    More threads than cores are not started. Where other programs keep threads from running, or
    threads of other libraries that spin, a pass goes on with fewer of them for a while.

    Raises
    ------
    TypeError, ValueError if `n` is no integer of at least 1, or is above both 256 and four times
    the number of the machine's cores.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(before)
    """
    global _limit
    _limit = _check.size("n", n, maximum=MOST_THREADS)
    core.set_thread_limit(min(_limit, usable_cores()))


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """`set_num_threads` for the time of a ``with`` block.

    Examples
    --------
    >>> with num_threads(1):
    ...     get_num_threads()
    1
    """
    before = _limit
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)
