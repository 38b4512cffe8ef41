"""`pytest benchmarks/`: rnncore beside its NumPy twin, and beside the libraries installed.

Files and functions are named bench_*, which pyproject.toml has pytest collect. ``-k`` chooses:
``pytest benchmarks/bench_forward.py -k "gru and online-32"``.
"""

import one_thread  # noqa: F401  # isort: skip

import sys
from pathlib import Path

import pytest
from compare import Table

# Each cell and how to draw its inputs is written down once, beside the tests.
sys.path.append(str(Path(__file__).parent.parent / "tests"))

ROWS = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[ROWS] = {}
    # Mean and maximum tell of whatever else ran on the machine.
    if not any(arg.startswith("--benchmark-columns") for arg in config.invocation_params.args):
        config.option.benchmark_columns = ["min", "median", "rounds"]


@pytest.fixture
def add_row(request):
    """Call with (pass, cell, dtype) and a `compare.Row`: the tables are printed at the end."""
    rows = request.config.stash[ROWS]
    return lambda key, row: rows.setdefault(key, []).append(row)


def pytest_terminal_summary(terminalreporter, config):
    for key, rows in config.stash[ROWS].items():
        table = Table(*key)
        terminalreporter.section(table.title)
        for line in (table.header(), *map(table.line, rows), table.summary()):
            terminalreporter.line(line)
