"""How many threads a pass may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnncore import _check
from rnncore._core import core

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]


def _cores() -> int:
    """Cores that this process may use: its affinity, within what its container allows."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such limit: no cgroups here, or a quota of "max"
        pass
    return cores


# Each is started, and takes memory, where the work is enough for all; none gains without a core.
MOST_THREADS = max(256, 4 * (os.cpu_count() or 1))


def _at_start() -> int:
    wanted = os.environ.get("RNNCORE_NUM_THREADS", "")
    if not wanted:
        return min(_cores(), MOST_THREADS)
    if wanted.isdecimal() and 0 < int(wanted[:9]) <= MOST_THREADS and len(wanted) < 9:
        return int(wanted)
    raise ValueError(
        f"RNNCORE_NUM_THREADS is {wanted[:20]!r}, expected an integer from 1 to {MOST_THREADS}"
    )


_limit = _at_start()
core.set_thread_limit(_limit)


def get_num_threads() -> int:
    """The most threads that a pass uses."""
    return _limit


def set_num_threads(n: int) -> None:
    """Let a pass use at most `n` threads, in the whole process.

    A pass uses as many as its work is worth: a small one only the thread that calls. At the start
    the limit is the environment variable ``RNNCORE_NUM_THREADS``, or else the number of cores that
    the process may use. No result depends on the number of threads.

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
    core.set_thread_limit(_limit)


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
