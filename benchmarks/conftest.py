"""`pytest benchmarks/`: rnncore's passes, beside its NumPy twin, beside the libraries installed.

Files and functions are named bench_*, which pyproject.toml has pytest collect. ``-k`` chooses:
``pytest benchmarks/bench_forward.py -k "gru and online-32"``. Cases that take long are left out
unless ``--large`` is given. Everything runs on one core but what is marked `threads`.
"""

import one_thread  # noqa: F401  # isort: skip

import sys
from io import StringIO
from pathlib import Path

import pytest

from rnncore._bench import one_core

# Each cell and how to draw its inputs is written down once, beside the tests.
sys.path.append(str(Path(__file__).parent.parent / "tests" / "support"))

ROWS = pytest.StashKey[dict]()


def pytest_addoption(parser):
    parser.addoption("--large", action="store_true", help="also the cases that take long")


def pytest_configure(config):
    config.stash[ROWS] = {}
    config.addinivalue_line("markers", "large: takes long, and runs with --large alone")
    config.addinivalue_line("markers", "threads: needs more cores than one")
    # Mean and maximum tell of whatever else ran on the machine.
    if not any(arg.startswith("--benchmark-columns") for arg in config.invocation_params.args):
        config.option.benchmark_columns = ["min", "median", "rounds"]


def pytest_collection_modifyitems(config, items):
    if config.getoption("--large"):
        return
    large = [item for item in items if item.get_closest_marker("large")]
    config.hook.pytest_deselected(items=large)
    items[:] = [item for item in items if not item.get_closest_marker("large")]


@pytest.fixture(autouse=True)
def cores(request):
    """Pinned to one core, or skipped where there are not two."""
    if request.node.get_closest_marker("threads"):
        if one_core.usable_cores() < 2:
            pytest.skip("one core alone: nothing to share")
        yield
        return
    with one_core.pinned():
        yield


@pytest.fixture
def add_row(request):
    """Call with (title, peers) and a `measure.Row`: the tables are printed at the end."""
    rows = request.config.stash[ROWS]
    return lambda key, row: rows.setdefault(key, []).append(row)


def pytest_terminal_summary(terminalreporter, config):
    if not config.stash[ROWS]:
        return
    from rich.console import Console

    from rnncore._bench.measure import summary
    from rnncore._bench.report import WIDE, table

    for (title, peers), rows in config.stash[ROWS].items():
        terminalreporter.section(title)
        text = StringIO()
        Console(file=text, width=WIDE).print(table("", peers, rows))
        terminalreporter.write_line(text.getvalue().rstrip())
        terminalreporter.write_line(summary(rows))
