"""Every instruction set that was built and that this processor runs, not only the one in use."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import core_results
import numpy as np
import pytest
from cells import CELLS

from rnncore import _core

HERE = Path(__file__).parents[1]
OTHERS = [isa for isa in _core.available() if isa != _core.isa]

# Machine epsilons of the largest output of a problem, for outputs, and of its largest gradient, for
# gradients: one that is a single number may be a sum that cancels. Measured: 7 and 18 on x86_64_v2,
# where products are rounded before they are added; x86_64_v3 gives the very bits of x86_64_v4.
BOUND = 32
# A norm of numbers that are nearly equal, as with one unit, makes of their roundings what is up to
# 1 / sqrt(eps) times as large. Measured: 47 of gradients with the default eps, 5 with 0.1.
BOUND_OF_A_NORM = 128


def bound(cell):
    eps = (cell.kind.defaults | cell.options).get("eps", 1.0)
    return BOUND_OF_A_NORM if eps < 0.01 else BOUND


def run_on(isa, *arguments):
    """Run Python in a process whose core is `isa`."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=HERE,
        env={**os.environ, "RNNCORE_ISA": isa},
        capture_output=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def results_in_use():
    return core_results.results()


@pytest.mark.parametrize("isa", OTHERS)
def test_results_are_those_of_the_core_in_use_but_for_rounding(isa, results_in_use):
    done = run_on(isa, "support/core_results.py")
    assert done.returncode == 0, done.stderr.decode()
    config, results = pickle.loads(done.stdout)
    assert config["instruction set"] == isa
    assert results.keys() == results_in_use.keys()
    for problem, both in results_in_use.items():
        for found, expected in zip(results[problem], both, strict=True):
            assert found.keys() == expected.keys()
            scale = max(np.abs(value).max() for value in expected.values())
            for name, value in expected.items():
                gap = np.abs(found[name] - value).max()
                tolerance = bound(CELLS[problem[1]]) * np.finfo(value.dtype).eps * scale
                assert gap <= tolerance, (problem, name)


@pytest.mark.parametrize("isa", OTHERS)
@pytest.mark.parametrize(
    "file",
    [
        "core/test_accuracy.py",
        "core/test_denormals.py",
        "check/test_hostile.py",
        "core/test_rows.py",
        "layers/test_small_calls.py",
        "layers/test_precision.py",
        "train/test_losses.py",
        "train/test_steps.py",
    ],
)
def test_it_passes_the_tests_of_the_core(isa, file):
    done = run_on(isa, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", file)
    assert done.returncode == 0, done.stdout.decode()
