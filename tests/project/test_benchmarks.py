"""The suites of benchmarks are not run here, but they can be."""

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"  # there are none where a wheel is tested


def test_every_suite_can_be_collected(tmp_path):
    if BENCHMARKS.is_dir():
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", str(BENCHMARKS)]
        # Of a test run that is spread over processes: benchmarks refuse to be a part of one.
        own = {key: value for key, value in os.environ.items() if "XDIST" not in key}
        # Elsewhere, or Python would take the package of a checkout that was not built.
        found = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout[-2000:] + found.stderr
