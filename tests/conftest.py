import importlib
import signal
import zlib

import numpy as np
import pytest
from commands import SENTENCES, SMALL

from rnncore import cli


def pytest_configure(config):
    """Heed signals, also where the tests run in the background: their children ignore the same."""
    heeded = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL}
    for name, handler in (heeded | {"SIGHUP": signal.SIG_DFL}).items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture
def rng(request):
    """A generator seeded by the name of the test: a test draws the same whichever others run."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(params=["reference", "functional"])
def implementation(request):
    """The functional core, once in NumPy and once compiled."""
    return importlib.import_module(f"rnncore.{request.param}")


@pytest.fixture
def text(tmp_path):
    (tmp_path / "cats.txt").write_text(SENTENCES * 60)
    return tmp_path / "cats.txt"


@pytest.fixture
def train(text, capsys):
    """Train in this process, on `text`; gives the status, what was printed, and a line of error."""

    def run_command(*arguments, seconds=0.2):
        options = [*SMALL, "--seconds", seconds, "--out", text.parent / "out", *arguments]
        status = cli.main(["train", *map(str, [text, *options])])
        output, errors = capsys.readouterr()
        assert len(errors.splitlines()) <= 1
        return status, output, errors

    run_command.out = text.parent / "out"
    return run_command
