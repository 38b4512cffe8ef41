"""What a process takes of memory: in a new one each, where nothing else has left its marks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rnncore

of_a_process = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="a process reads of its memory in /proc/self/status, which Linux has",
)

START = """
import ctypes
import numpy as np
import rnncore as rc

# No huge pages: of a page of 2 MB the first byte that is touched takes all.
PR_SET_THP_DISABLE = 41
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)

def status(name):
    \"\"\"What the system tells of this process, in bytes.\"\"\"
    with open("/proc/self/status") as lines:
        (line,) = [line for line in lines if line.startswith(name + ":")]
    return int(line.split()[1]) * 1024
"""


def printed(code: str, *arguments: object) -> list[int]:
    """The numbers that `code` prints in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", START + code, *map(str, arguments)],
        cwd=Path(rnncore.__file__).parents[1],
        # What glibc maps goes back when it is freed: no memory of before is used again unseen.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "RNNCORE_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]
