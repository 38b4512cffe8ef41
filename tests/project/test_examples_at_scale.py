"""The examples for several processes, run by several: what they print, and that bits are alike."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_examples import EXAMPLES, printed, words

import rnncore

ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(Path(rnncore.__file__).parents[1]), str(EXAMPLES)])
}


def lines_of(command, folder):
    done = subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, **ENVIRONMENT, "RNNCORE_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not os.listdir(folder)
    return done.stdout.splitlines()


def assert_shown(name, lines):
    found = [words(line) for line in lines]
    for line in printed(name):
        assert words(line) in found


def test_a_training_of_two_processes(tmp_path):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    mpiexec = Path(sys.executable).with_name("mpiexec")
    one = [sys.executable, EXAMPLES / "mpi_training.py", "--rows", "100", "--epochs", "2"]
    alone, two = (lines_of([*first, *one], tmp_path) for first in ([], [mpiexec, "-n", "2"]))
    assert_shown("mpi_training", two)
    assert alone[0].startswith("1 process(es)")
    assert two[0].startswith("2 process(es)")
    assert alone[1:] == two[1:]
    errors = [float(line.split()[6].strip(",")) for line in two[1:3]]
    assert errors[1] < errors[0]


SEARCH = """
import numpy as np
import dask_search

if __name__ == "__main__":
    found, counts, right = dask_search.main(rows=60, epochs=4, files=2, folder=".")
    alone = dask_search.search(60, 4)
    for name in ("params", "mean_test_score", "split0_test_score", "split1_test_score"):
        assert np.all(found.cv_results_[name] == alone.cv_results_[name]), name
    frozen = alone.best_estimator_.model_.freeze("w8a16")
    paths = dask_search.write(".", 2, 100)
    own = np.sum([dask_search.score(path, frozen, alone.classes_) for path in paths], axis=0)
    assert own.tolist() == [*counts, right]
    for path in paths:
        path.unlink()
"""


def test_a_search_of_two_processes(tmp_path):
    for library in ("distributed", "sklearn", "joblib"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    lines = lines_of([sys.executable, "-c", SEARCH], tmp_path)
    assert_shown("dask_search", lines)
    assert lines[0].startswith("2 workers: ")
