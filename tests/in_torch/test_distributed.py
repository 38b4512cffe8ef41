"""Two processes give the gradients and the parameters of one with the whole batch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import rnncore  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "torch_distributed.py"
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="a PyTorch without processes"
)


def run_example(path, *options, processes):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), str(EXAMPLE), "--save", str(path), *options]
    package = str(Path(rnncore.__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{processes} process(es), replaced: 'rnn'" in done.stdout
    return torch.load(path)


@pytest.mark.parametrize("options", [(), ("--same-lengths",)], ids=["lengths", "same-lengths"])
def test_two_processes_are_one(tmp_path, options):
    both = run_example(tmp_path / "two", "--steps", "20", *options, processes=2)
    one = run_example(tmp_path / "one", "--steps", "20", *options, processes=1)
    for found, expected in zip(both, one, strict=True):
        assert len(found) == 6
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_model_learns(capsys):
    spec = importlib.util.spec_from_file_location("torch_distributed", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(steps=101)
    first, last = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()[1:])
    assert last < first / 5
