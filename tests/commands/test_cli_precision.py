"""`rnncore bench --precision`: every figure, with and without libraries to compare with."""

import io
import json
import logging
from statistics import geometric_mean

import numpy as np
import pytest
from bench_command import ALONE, Absent, Full, run
from rich.console import Console

from rnncore import _core
from rnncore._bench import (
    library,
    narrow,
    peers,
    picture,
    precision,
    precision_command,
    precision_report,
)
from rnncore._bench.agreement import DisagreementError
from rnncore._bench.precision import Figures, Row, name_of, standings
from rnncore._bench.problem import NormalProblem, Problem
from rnncore._bench.steps import CHECKED, outputs
from rnncore._bench.workloads import KINDS, Workload
from rnncore._console.command import InputError
from rnncore.layers.kinds import BY_PREFIX
from rnncore.reference.precision import PRECISIONS

SECONDS = 1e-3
TINY = {
    "tiny": Workload(3, 2, 4, 5),
    "a step": Workload(1, 1, 8, 9),
    "a step of rows": Workload(1, 3, 8, 9),
}


class Other(library.RNNCore):
    """A library that computes the same, by another name."""

    name, weights, counted, leaving = "torch bf16", "bfloat16", "all of it", False
    nbytes = 77

    def steps(self):
        return precision.RNNCoreStep(self.problem)


class Wrong(Other):
    """One that is wrong in a tenth."""

    def arrays(self, result, passed):
        return {name: value * 1.1 for name, value in super().arrays(result, passed).items()}


class WrongAtFirst(Other):
    """One whose first step starts from another state."""

    def steps(self):
        stepper = precision.RNNCoreStep(self.problem)
        stepper.step(np.ones((self.problem.sizes.B, self.problem.sizes.I), np.float32))
        return stepper


class Missing(Absent):
    weights, counted, leaving = "int8", "nothing", False


class Leaving(Missing):
    name, leaving = "leaving", True


@pytest.fixture
def only(monkeypatch):
    """Call with the libraries that are there to compare with."""

    def set_others(*kinds):
        for module in (narrow, precision, precision_command):
            monkeypatch.setattr(module, "OTHERS", kinds)

    return set_others


def bench(out, cell="lstm", precisions=PRECISIONS):
    """What a run on tiny workloads prints, and the numbers that it writes."""
    text = io.StringIO()
    selection = precision_command.Selection(cell, SECONDS, tuple(precisions), TINY)
    precision_command.run(Console(file=text, width=80), selection, out)
    return text.getvalue(), json.loads((out / precision_command.NUMBERS).read_text())


# What is measured


def y_of(layer, x, stepwise):
    if not stepwise:
        return layer(x)[0]
    stream = layer.stream(x.shape[1])
    return np.stack([stream(x_t).copy() for x_t in x])


@pytest.mark.parametrize("cell", KINDS)
def test_errors_and_bytes_are_those_of_the_frozen_layers(cell, only, tmp_path):
    only(Other)
    printed, numbers = bench(tmp_path, cell)
    for name, sizes in TINY.items():
        found = numbers["workloads"][name]["programs"]
        x = NormalProblem(cell, "float32", sizes._replace(T=CHECKED if sizes.T == 1 else sizes.T)).x
        params = Problem(cell, "float32", sizes).params
        layers = {dtype: BY_PREFIX[cell](sizes.I, sizes.H, dtype=dtype) for dtype in "fd"}
        for dtype, layer in layers.items():
            layer.load_params({key: value.astype(dtype) for key, value in params.items()})
        exact = layers["d"](x.astype("d"))[0]
        for weights in ("float32", *PRECISIONS):
            frozen = layers["f"].freeze(None if weights == "float32" else weights)
            one = found[name_of(weights)]
            error = np.abs(y_of(frozen, x, sizes.T == 1) - exact).max()
            assert one["error"] == pytest.approx(error, rel=1e-12)
            assert one["nbytes"] == frozen.nbytes
            assert set(one["ratios"]) == set(PRECISIONS)
            assert weights == "float32" or one["ratios"][weights] == 1
            assert f"{one['error']:.1e}" in printed
        assert found[Other.name]["nbytes"] == Other.nbytes
        assert found[Other.name]["error"] == found[name_of("float32")]["error"]
        assert set(found) == {Other.name, *map(name_of, ("float32", *PRECISIONS))}
    assert numbers["bytes"] == {"rnncore": "the packed weights", Other.name: Other.counted}
    assert f"{Other.name} {Other.counted}" in printed


def test_the_figures_follow_from_the_times_of_each_round(only, monkeypatch):
    only(Other)
    times = {
        "rnncore float32": [8.0, 10.0, 9.0],
        "rnncore w8a8": [2.0, 1.0, 3.0],
        "rnncore bfloat16": [4.0, 4.0, 5.0],
        Other.name: [6.0, 6.0, 6.0],
    }

    def interleave(calls, seconds):
        assert seconds == 7
        assert set(calls) == set(times)
        return times

    monkeypatch.setattr(precision, "interleave", interleave)
    row = precision.compare("gru", TINY["tiny"], ("bfloat16", "w8a8"), 7)
    assert {name: one.seconds for name, one in row.programs.items()} == {
        "rnncore float32": 9, "rnncore w8a8": 2, "rnncore bfloat16": 4, Other.name: 6
    }  # fmt: skip
    assert row.programs[Other.name].ratios == {"bfloat16": 1.5, "w8a8": 3}
    assert row.programs["rnncore float32"].ratios == {"bfloat16": 2, "w8a8": 4}


def test_a_library_is_measured_for_weights_of_as_many_bits_alone(only):
    only(Other)
    assert Other.name not in precision.compare("rnn", TINY["tiny"], ("w8a8",), SECONDS).programs


@pytest.mark.parametrize("stepwise", [False, True])
def test_a_call_is_timed_that_computes_what_was_compared(stepwise):
    x = NormalProblem("gru", "float32", Workload(CHECKED, 1, 8, 9)).x
    problem = NormalProblem("gru", "float32", Workload(1 if stepwise else CHECKED, 1, 8, 9))
    programs = precision._programs(problem, x if stepwise else None, ("w8a16",))
    layer = BY_PREFIX["gru"](8, 9)
    layer.load_params(problem.params)
    frozen = layer.freeze("w8a16")
    called = programs["rnncore w8a16"].call()
    if stepwise:
        np.testing.assert_array_equal(called, frozen.stream()(x[0]))
    else:
        np.testing.assert_array_equal(called[0], frozen(problem.x)[0])


@pytest.mark.parametrize(("kind", "sizes"), [(Wrong, "tiny"), (WrongAtFirst, "a step")])
def test_nothing_is_timed_that_computes_something_else(kind, sizes, only):
    only(kind)
    with pytest.raises(DisagreementError, match=r"torch bf16: y differs by .* at step \d"):
        precision.compare("lstm", TINY[sizes], ("bfloat16",), SECONDS)


def test_the_same_numbers_in_float64():
    problem = NormalProblem("gru", "float32", TINY["tiny"])
    wide = problem.in_float64()
    assert wide.dtype == "float64"
    for narrow_one, wide_one in ((problem.x, wide.x), *zip(
        problem.params.values(), wide.params.values(), strict=True
    )):  # fmt: skip
        assert wide_one.dtype == np.float64
        np.testing.assert_array_equal(wide_one, narrow_one)
    assert problem.x.std() > 0.7  # normal, which a uniform one within 1 is not


# The other libraries, where they are installed


THERE = [kind for kind in narrow.OTHERS if not peers.missing(kind)]


def bounds_of(kind):
    """Of the error, by what this processor multiplies with.

    Without VNNI onnxruntime adds pairs of products in 16 bits, where they saturate; without dot
    products in bfloat16 OpenVINO computes in float32.
    """
    has = _core.dot_units
    most = 0.04 if kind.weights != "int8" or "vnni" in has else 0.5
    return (1e-5 if "openvino" not in kind.name.lower() or "bf16" in has else 0, most)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [pytest.param(k, cell, id=f"{k.name} {cell}") for k in THERE for cell in k.cells],
)
def test_others_compute_the_layer_at_once_and_step_by_step(kind, cell):
    sizes = Workload(12, 2, 24, 32)
    problem = NormalProblem(cell, "float32", sizes)
    exact = problem.in_float64()
    expected = library.RNNCore(exact).layer(exact.x)[0]
    at_once = kind(problem)
    y = at_once.arrays(at_once.inference(), "inference")["y"]
    least, most = bounds_of(kind)
    assert least < np.abs(y - expected).max() < most  # narrow, and right
    steps = outputs(kind(NormalProblem(cell, "float32", sizes._replace(T=1))).steps(), problem.x)
    assert np.abs(steps - expected).max(axis=(1, 2)).max() < most  # from the first on
    parameters = sum(value.size for value in problem.params.values())
    size = {"int8": 1, "bfloat16": 2}[kind.weights] * parameters
    assert size <= at_once.nbytes < size + 8000  # and what a file has beside


def test_the_quantised_model_leaves_logging_as_it_was():
    pytest.importorskip("onnxruntime")
    narrow.int8_model(peers.onnx_model(Problem("lstm", "float32", TINY["tiny"])))
    assert logging.root.manager.disable == logging.NOTSET


# Over all workloads


def row(sizes, **others):
    """Our times are 1, our errors 0.5; of others (ratio, error)."""
    ours = {name_of(p): Figures(1.0, 0.5, 10, dict.fromkeys(PRECISIONS, 1.0)) for p in PRECISIONS}
    named = {
        name: Figures(ratio, error, 10, dict.fromkeys(PRECISIONS, ratio))
        for name, (ratio, error) in others.items()
    }
    return Row(Workload(*sizes), {**ours, **named})


def test_where_a_precision_stands():
    rows = [
        row((1, 1, 8, 8), **{"torch bf16": (8.0, 0.25), "openvino bf16": (32.0, 2.0)}),
        row((9, 1, 8, 8), **{"torch bf16": (2.0, 1.0), "openvino bf16": (0.5, 0.5)}),
        row((9, 4, 8, 8), **{"torch bf16": (4.0, 2.0), "openvino bf16": (4.5, 5.0)}),
    ]
    found = {one.beside: one for one in standings(rows, ("w8a8", "bfloat16"))}
    assert {one.precision for one in found.values()} == {"bfloat16"}  # nobody has int8
    torch, best = found["torch bf16"], found["the best of these"]
    assert torch.one_row.mean == pytest.approx(geometric_mean([8, 2]))
    assert torch.one_row[1:] == (2.0, rows[1].sizes, 2.0)
    assert torch.sequences.mean == pytest.approx(geometric_mean([2, 4]))
    assert torch.sequences[1:] == (2.0, rows[1].sizes, 0.5)
    assert best.one_row.mean == pytest.approx(geometric_mean([8, 0.5]))
    assert best.one_row[1:] == (0.5, rows[1].sizes, 2.0)
    assert best.sequences.mean == pytest.approx(geometric_mean([0.5, 4]))
    assert best.sequences.error == 1.0
    assert standings(rows[2:], ("bfloat16",))[0].one_row is None


def test_the_summary_has_every_figure_and_a_dash_where_there_is_none():
    text = io.StringIO()
    rows = [row((9, 4, 8, 8), **{"onnxruntime int8": (1.25, 2.0)})]
    made = precision_report.summary(standings(rows, ("w8a16",)))
    Console(file=text, width=120).print(made)
    (line,) = [line for line in text.getvalue().splitlines() if "onnxruntime" in line]
    assert line.split() == [
        "w8a16",
        "onnxruntime",
        "int8",
        "-",
        "-",
        "-",
        "1.25",
        "1.25",
        "<=",
        "0.25",
    ]


# What is told, written and drawn


def test_what_is_not_installed_is_named_but_for_what_goes_away(only, tmp_path):
    only(Missing, Leaving)
    printed, numbers = bench(tmp_path, precisions=("w8a8",))
    assert "absent is left out" in printed
    assert "leaving" not in printed
    assert "no other library that has this cell below float32 is installed" in printed
    assert numbers["standings"] == []


def test_the_picture_shows_something(only, tmp_path):
    from matplotlib.image import imread

    only(Other)
    bench(tmp_path)
    drawn = imread(tmp_path / precision_command.PICTURE)
    assert drawn.shape[0] > 400
    assert drawn.shape[1] > 700
    assert drawn.std() > 0.05


def test_every_program_has_a_look_of_its_own():
    names = [name_of(p) for p in PRECISIONS] + [kind.name for kind in narrow.OTHERS]
    looks = {(picture.STYLES[a]["color"], picture._MARKERS[b]) for a, b in map(str.split, names)}
    assert len(looks) == len(names)
    assert set(precision.WEIGHTS) == set(PRECISIONS)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_any_number_of_workloads_is_drawn(count, tmp_path):
    rows = [row((9, 4, 8, k + 1), **{"torch bf16": (2.0, 1.0)}) for k in range(count)]
    for one in rows:
        one.programs[name_of("float32")] = Figures(3.0, 1e-7, 40, {})
    picture.draw_errors(tmp_path / "drawn.png", "title", rows)
    assert (tmp_path / "drawn.png").stat().st_size > 5000


# The command itself


def test_the_command_runs_where_no_other_library_is_installed(tmp_path):
    done = run(
        tmp_path, "--precision", "w8a16", "w8a8", "w8a16", "--workloads", "1x1x8x8", "3x2x4x5",
        "--seconds", SECONDS, "--out", "out", code=ALONE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for kind in narrow.OTHERS:
        assert (f"{kind.name} is left out" in done.stdout) is not kind.leaving
    assert "a stream" in done.stdout
    names = {precision_command.PICTURE, precision_command.NUMBERS}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    numbers = json.loads((tmp_path / "out" / precision_command.NUMBERS).read_text())
    assert numbers["precisions"] == ["w8a16", "w8a8"]
    assert list(numbers["workloads"]) == ["1x1x8x8", "3x2x4x5"]


def test_no_name_is_all_of_them():
    selection = precision_command.select("lstm", "inference", "float32", 1.0, [], [])
    assert selection.precisions == PRECISIONS
    assert len(selection.workloads) == len(precision.SHAPES) == 8
    assert Workload(1, 1, 64, 64) in selection.workloads.values()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int4"], "--precision: invalid choice: 'int4'"),
        (["--precision", "--pass", "training"], "is of inference in float32, not of training in"),
        (["--precision", "--dtype", "float64"], "in float32, not of inference in float64"),
        (["--precision", "--workloads", "huge"], "no workload huge for lstm"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, message, tmp_path):
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("rnncore bench: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_that_fails_loses_no_file(terminal, only, tmp_path):
    only(Other)
    selection = precision_command.Selection("gru", SECONDS, ("w8a8",), TINY)
    console = Console(file=Full(), width=80, force_terminal=terminal)
    with pytest.raises(OSError, match="No space left on device"):
        precision_command.run(console, selection, tmp_path)
    names = {precision_command.PICTURE, precision_command.NUMBERS}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_disk_that_fails_loses_no_table(only, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(28, "No space left on device")

    only(Other)
    monkeypatch.setattr(precision_command, "_write", fail)
    selection = precision_command.Selection("gru", SECONDS, ("bfloat16",), TINY)
    text = io.StringIO()
    with pytest.raises(InputError, match="cannot write to: No space left on device"):
        precision_command.run(Console(file=text, width=80), selection, tmp_path)
    assert "3,2,4,5" in text.getvalue()
    assert Other.name in text.getvalue()
