"""`rnncore bench`: small selections, with and without libraries to compare with."""

import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from bench_command import ALONE, Absent, Full, run
from rich.console import Console

from rnncore._bench import command, library, measure, one_core, peers, picture, report, steps
from rnncore._bench.agreement import DisagreementError, assert_agree
from rnncore._bench.limits import Cache, Machine, best_of, limit
from rnncore._bench.workloads import KINDS, Workload, workloads_of
from rnncore._console.command import InputError
from rnncore._console.signals import Ended

SECONDS = 1e-3
TINY = {"tiny": Workload(3, 2, 4, 5), "one row": Workload(2, 1, 3, 3)}
SWEEPS = (
    [Workload(2, 1, 4, 4), Workload(2, 1, 8, 8)],
    [Workload(2, 3, 4, 4), Workload(2, 3, 8, 8)],
)


class Other(library.RNNCore):
    """A library that computes the same, by another name."""

    name = "torch"

    def inference(self):
        for _ in range(3):
            super().inference()
        return super().inference()


class Wrong(library.RNNCore):
    """One that is a little wrong."""

    name = "wrong"

    def arrays(self, result, passed):
        return {name: value * 1.001 for name, value in super().arrays(result, passed).items()}


@pytest.fixture
def only(monkeypatch):
    """Call with the libraries that are there to compare with."""

    def set_peers(*kinds):
        for module in (peers, measure, command):
            monkeypatch.setattr(module, "PEERS", kinds)
        monkeypatch.setattr(peers.ONNXRuntime, "needs", Absent.needs)

    return set_peers


def machine_of(numbers):
    """What was written of a machine."""
    return Machine(**{**numbers, "caches": tuple(Cache(**one) for one in numbers["caches"])})


def bench(out, cell="lstm", passed="inference", dtype="float32", sweeps=()):
    """What a run on tiny workloads prints, and the numbers that it writes."""
    text = io.StringIO()
    selection = command.Selection(cell, passed, dtype, SECONDS, TINY, sweeps)
    command.run(Console(file=text, width=80), selection, out)
    return text.getvalue(), json.loads((out / command.NUMBERS).read_text())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("passed", library.PASSES)
@pytest.mark.parametrize("cell", KINDS)
def test_every_figure_follows_from_the_times(cell, passed, dtype, only, tmp_path):
    only(Other)
    printed, numbers = bench(tmp_path, cell, passed, dtype)
    assert set(numbers["workloads"]) == set(TINY)
    for name, sizes in TINY.items():
        row = numbers["workloads"][name]
        T, B, I, H = sizes
        assert row["sizes"] == sizes._asdict()
        products = {"rnn": I + H, "gru": 3 * (I + H), "lstm": 4 * (I + H), "indrnn": I}
        products["layer_norm_lstm"] = products["lstm"]
        flops = 2 * T * B * products[cell] * H * (3 if passed == "training" else 1)
        assert row["gflops"] == pytest.approx(flops / row["seconds"] / 1e9)
        assert row["peak"] == row["machine"]["peak"]
        assert row["of_peak"] == pytest.approx(row["gflops"] / row["peak"])
        assert row["limit"] == limit(machine_of(row["machine"]), cell, dtype, sizes, passed)
        assert row["of_limit"] == pytest.approx(row["limit"] / row["seconds"])
        assert row["ratios"]["torch"] > 0
        (line,) = [line for line in printed.splitlines() if f"{T},{B},{I},{H} " in line]
        assert f" {row['ratios']['torch']:.2f} " in line
        assert f" {1e6 * row['limit']:.1f} " in line
        assert f" {row['of_limit']:.0%} " in line
    of_rows = [machine_of(row["machine"]) for row in numbers["workloads"].values()]
    assert machine_of(numbers["machine"]) == best_of(of_rows)
    for line in report.machine_lines(numbers["core"], best_of(of_rows)):
        assert f"{line}\n" in printed
    assert numbers["step"]["units"] == steps.UNITS
    assert numbers["step"]["ratios"] == {}
    assert "best other library: geometric mean" in printed
    assert f"one step of {steps.UNITS} units" in printed


def test_the_picture_shows_something(only, tmp_path):
    from matplotlib.image import imread

    only(Other)
    printed, numbers = bench(tmp_path, sweeps=SWEEPS)
    assert [row["sizes"]["H"] for row in numbers["sweep"]] == [4, 8, 4, 8]
    assert all(f"2 steps of {rows}" in printed for rows in ("1 row", "3 rows"))
    picture = imread(tmp_path / command.PICTURE)
    assert picture.shape[0] > 500
    assert picture.shape[1] > 1000
    assert picture.std() > 0.05


def test_every_library_has_a_line_of_its_own():
    assert set(picture.STYLES) == {kind.name for kind in (library.RNNCore, *peers.PEERS)}
    apart = [(s["color"], s["marker"], str(s["linestyle"])) for s in picture.STYLES.values()]
    assert all(len(set(kind)) == len(apart) for kind in zip(*apart, strict=True))


def test_what_is_not_installed_is_left_out_and_named(only, tmp_path):
    only(Absent)
    printed, numbers = bench(tmp_path)
    assert "absent is left out: No module named 'a_module_that_is_not_installed'" in printed
    assert numbers["workloads"]["tiny"]["ratios"] == {}
    assert "no other library that has this cell is installed" in printed


@pytest.mark.parametrize("passed", library.PASSES)
def test_nothing_is_timed_that_computes_something_else(passed, only):
    only(Wrong)
    with pytest.raises(DisagreementError, match=r"wrong: y differs by .*, the largest there is"):
        measure.compare(passed, "gru", "float32", TINY["tiny"], SECONDS)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_not_finite_agrees_with_nothing(broken):
    with pytest.raises(DisagreementError):
        assert_agree({"y": np.array([broken, 1])}, {"y": np.ones(2)}, "float64", "it")


def test_pinned_gives_the_cores_back(monkeypatch):
    cores = [{0, 2, 3}]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores[-1], raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, to: cores.append(to), raising=False)

    def fail():
        with one_core.pinned() as core:
            assert (core, cores[-1]) == (3, {3})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert cores == [{0, 2, 3}, {3}, {0, 2, 3}]


def test_pinned_is_nothing_where_the_system_cannot(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with one_core.pinned() as core:
        assert core is None


def test_the_public_workloads_are_there():
    lstm = set(workloads_of("lstm").values())
    assert {Workload(150, B, 256, 256) for B in (16, 32, 64)} <= lstm
    assert {Workload(25, B, 512, 512) for B in (16, 32)} <= lstm
    assert Workload(1, 32, 512, 512) in workloads_of("gru").values()
    assert all(Workload(50, 64, 500, 500) in workloads_of(cell).values() for cell in KINDS)


# The command itself


def test_the_command_runs_where_no_other_library_is_installed(tmp_path):
    done = run(
        tmp_path, "--workloads", "online-32", "--seconds", SECONDS, "--out", "out", code=ALONE
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "100,1,32,32" in done.stdout
    for kind in peers.PEERS:
        assert f"{kind.name} is left out" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == [command.NUMBERS]


def test_the_command_starts_itself_with_one_thread(tmp_path):
    code = (
        "import subprocess, rnncore.cli, rnncore._bench.one_core as one_core\n"
        "class Child(subprocess.Popen):\n"
        "    def __init__(self, command, env):\n"
        "        show = 'import os, sys; print(*[os.environ[k] for k in sys.argv[1:]])'\n"
        "        assert command[3:] == sys.argv[1:], command\n"
        "        super().__init__([sys.executable, '-c', show, *one_core.ONE_THREAD], env=env)\n"
        "subprocess.Popen = Child\n"
        "sys.exit(rnncore.cli.main())"
    )
    done = run(tmp_path, "--out", "out", code=code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == list(one_core.ONE_THREAD.values())


def test_a_child_takes_the_package_that_runs_not_one_in_the_current_folder(tmp_path):
    (tmp_path / "rnncore.py").write_text("raise SystemExit('the wrong one')")
    folder = str(Path(command.__file__).parents[2])
    code = (
        f"sys.path[:] = [{folder!r}, *sys.path[1:]];"
        "from rnncore._bench import one_core; sys.exit(one_core.run_command(['--version']))"
    )
    done = run(tmp_path, code=code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rnncore ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell", "gan"], "--cell: invalid choice: 'gan'"),
        (["--pass", "backward"], "--pass: invalid choice: 'backward'"),
        (["--seconds", "0"], "--seconds: '0' is not a number above 0"),
        (["--workloads", "huge"], "no workload huge for lstm; there are step-64"),
        (["--workloads", "", "x"], "no workload '', x for lstm"),
        (["--out", "file"], "cannot write to file, which is a file"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, message, tmp_path):
    (tmp_path / "file").touch()
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("rnncore bench: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_extra_is_asked_for_first(tmp_path):
    code = "sys.modules['matplotlib'] = None; from rnncore.cli import main; sys.exit(main())"
    done = run(tmp_path, code=code)
    assert done.returncode == 2
    assert done.stderr == "rnncore bench: matplotlib not found: pip install matplotlib\n"


@pytest.mark.parametrize(
    ("arguments", "module"), [((), "command"), (("--precision",), "precision_command")]
)
def test_a_library_that_is_wrong_is_told_and_status_1(arguments, module, tmp_path):
    code = (
        f"from rnncore._bench import {module} as command, one_core\n"
        "from rnncore._bench.agreement import DisagreementError\n"
        "import os, rnncore.cli\n"
        "os.environ |= one_core.ONE_THREAD\n"
        "def run(*_): raise DisagreementError('it: y differs')\n"
        "command.run = run\n"
        "sys.exit(rnncore.cli.main())"
    )
    done = run(tmp_path, "--out", "out", *arguments, code=code)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "rnncore bench: it: y differs\n")


# Where something fails


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_that_fails_loses_no_file(terminal, only, tmp_path):
    only(Other)
    selection = command.Selection("gru", "inference", "float32", SECONDS, TINY, SWEEPS)
    console = Console(file=Full(), width=80, force_terminal=terminal)
    with pytest.raises(OSError, match="No space left on device"):
        command.run(console, selection, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {command.NUMBERS, command.PICTURE}


def test_a_disk_that_fails_loses_no_table(only, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(28, "No space left on device")

    only(Other)
    monkeypatch.setattr(command, "_write", fail)
    selection = command.Selection("gru", "inference", "float32", SECONDS, TINY)
    text = io.StringIO()
    with pytest.raises(InputError, match="cannot write to: No space left on device"):
        command.run(Console(file=text, width=80), selection, tmp_path)
    assert "3,2,4,5" in text.getvalue()
    assert "best other library" in text.getvalue()


class Child:
    """Takes the place of the process that measures."""

    def __init__(self, *outcomes):
        self.outcomes, self.terminated = list(outcomes), False

    def __call__(self, command, env):
        return self

    def wait(self):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def terminate(self):
        self.terminated = True


def test_the_child_that_measures_ends_with_the_command(monkeypatch):
    child = Child(Ended(signal.SIGTERM), -signal.SIGTERM)
    monkeypatch.setattr(one_core.subprocess, "Popen", child)
    with pytest.raises(Ended):
        one_core.run_command(["bench"])
    assert child.terminated
    assert child.outcomes == []


@pytest.mark.parametrize(("status", "expected"), [(2, 2), (-9, 137), (0, 0)])
def test_the_status_of_the_child_is_that_of_the_command(status, expected, monkeypatch):
    monkeypatch.setattr(one_core.subprocess, "Popen", Child(KeyboardInterrupt(), status))
    assert one_core.run_command(["bench"]) == expected
