"""One thread on one core, for rnncore and for every library that is compared with it.

The libraries of linear algebra read their variables once, when they are loaded: so they have to be
set before NumPy is imported. This file therefore imports nothing that would bring it.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from rnncore._console.signals import Ended

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",  # Apple's Accelerate
    "RNNCORE_NUM_THREADS": "1",
    "NPROC": "1",  # the thread pools of XLA, which JAX runs on
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_set() -> bool:
    """Whether this process was started with every library held to one thread."""
    return all(os.environ.get(name) == value for name, value in ONE_THREAD.items())


def run_command(arguments: Sequence[str]) -> int:
    """Run the command `rnncore` anew with every library held to one thread; give its status."""
    # The folders that modules come from are handed on, or a checkout in the current folder would
    # take the place of the package that is running.
    code = f"import sys; sys.path[:] = {sys.path!r}; from rnncore.cli import main; sys.exit(main())"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **ONE_THREAD}
    )
    try:
        while True:
            # Ctrl-C reaches the child too, which tells of it and ends.
            with contextlib.suppress(KeyboardInterrupt):
                status = child.wait()
                return status if status >= 0 else 128 - status
    except Ended:
        child.terminate()
        child.wait()
        raise


@contextlib.contextmanager
def pinned() -> Iterator[int | None]:
    """Keep this thread, and those that it starts, on one core: the last of those it may use.

    Gives the number of the core, or None where the system has no such call. The cores are those
    of before when it ends.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    core = max(before)  # the first one often serves the interrupts
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)
