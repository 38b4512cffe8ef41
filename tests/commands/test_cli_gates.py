"""The command `rnncore gates`, run as a user runs it, with the sizes of --quick."""

import json
import math
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from rnncore._console.command import InputError
from rnncore.gates import command

STEMS = ("vanishing", "exploding", "agreement", "memory")
PICTURES = {f"{stem}.{form}" for stem in STEMS for form in ("png", "svg", "pdf")}


def run(*arguments, cwd):
    command = [sys.executable, "-m", "rnncore", "gates", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The folder that a quick run has written, its numbers, and what it printed."""
    folder = tmp_path_factory.mktemp("gates")
    result = run("--quick", cwd=folder)
    assert result.returncode == 0, result.stderr
    out = folder / "rnncore-gates"
    return out, json.loads((out / "gates.json").read_text()), result


def test_it_writes_the_pictures_and_the_numbers(told):
    from matplotlib.image import imread

    out, _, result = told
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    assert {path.name for path in out.iterdir()} == PICTURES | {"gates.json"}
    for stem in STEMS:
        picture = imread(out / f"{stem}.png")
        assert min(picture.shape[:2]) > 400
        assert picture[..., :3].std() > 0.05
        assert f"{stem}.png" in result.stdout
        root = ElementTree.parse(out / f"{stem}.svg").getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len([*root.iter("{http://www.w3.org/2000/svg}path")]) > 50
        assert (out / f"{stem}.pdf").read_bytes().startswith(b"%PDF")


def test_what_is_printed_is_what_is_written(told):
    _, numbers, result = told
    for cell, by_distance in numbers["agreement"]["one_distance"].items():
        rows = [line for line in result.stdout.splitlines() if line.startswith(f"│ {cell} ")]
        for found in by_distance.values():
            percent = [100 * value for value in found["accuracy"]]
            shown = f"{np.mean(percent):.0f} ± {np.std(percent, ddof=1):.0f}"
            assert any(shown in row for row in rows)


def test_gradients_vanish_before_training(told):
    initial = told[1]["vanishing"]["initial"]
    trained = {"RNN", "GRU", "LSTM", "LSTM with peepholes"}
    timed = {"GRU, chrono", "LSTM, chrono"}
    assert set(initial) == trained | timed
    assert set(told[1]["vanishing"]["trained"]) == trained
    for cell, norms in initial.items():
        dh = norms["dh"]
        assert dh[0] == pytest.approx(1, rel=1e-5)
        assert all(0 < value < math.inf for value in dh)
        memory = norms["dc"] or dh
        if cell in timed:  # all of them keep more than the same cell without
            assert memory[8] / memory[0] > 0.3
        else:
            assert dh[8] < 0.1
        assert (norms["dc"] is None) == (not cell.startswith("LSTM"))
    # Peepholes start at 0, so that an untrained LSTM is the same with and without
    assert initial["LSTM"] == initial["LSTM with peepholes"]


def test_gradients_explode_with_the_gain_and_clipping_cures_it(told):
    exploding = told[1]["exploding"]
    for gain, norms in exploding["dh_by_gain"].items():
        # Orthogonal weights times a gain, and what is shut: no step back grows by more than it
        assert np.all(np.divide(norms[1:], norms[:-1]) < float(gain) * (1 + 1e-4))
    last = [norms[-1] for norms in exploding["dh_by_gain"].values()]
    assert last == sorted(last)
    assert last[0] < 1 / 10 < 10 < last[-1]  # of single networks, which differ by factors of 100
    assert exploding["unclipped"]["diverged_at"] is not None
    assert exploding["clipped"]["diverged_at"] is None
    assert exploding["clipped"]["last_loss"] < exploding["clipped"]["first_losses"][0]
    assert exploding["clipped"]["largest_norm"] > exploding["trained"]["clip"]


def test_every_cell_is_tuned_and_what_is_near_is_learned(told):
    _, numbers, _ = told
    agreement = numbers["agreement"]
    every = [*agreement["passages"].values()]
    every += [runs for found in agreement["one_distance"].values() for runs in found.values()]
    for runs in every:
        losses = runs["validation_loss_by_rate"]
        assert len(losses) == len(numbers["settings"]["rates"])
        assert numbers["settings"]["rates"][int(np.argmin(losses))] == runs["rate"]
        assert runs["mean"] == pytest.approx(np.mean(runs["accuracy"]))
    compared = {"RNN", "GRU", "LSTM", "GRU, chrono", "LSTM, chrono"}
    assert set(agreement["one_distance"]) == compared
    assert agreement["one_distance"]["LSTM"]["5"]["mean"] > 0.9
    for found in agreement["one_distance"].values():
        for runs in found.values():
            assert all(20 <= steps <= numbers["settings"]["steps"] for steps in runs["steps"])
    assert agreement["passages"]["LSTM"]["mean"] > 0.9


def test_the_memory_is_of_a_passage_that_changes_its_number(told):
    for cell, found in told[1]["memory"].items():
        words = found["passage"].split()
        first, second = found["before_verb"]
        assert words[1].endswith("s")
        assert words[first + 1 : first + 4] == ["were", "full", "."]
        assert not words[first + 5].endswith("s")
        assert second == len(words) - 1
        units = len(found["units"])
        assert set(found["gates"]) == {"update", "forget"} - (
            {"forget"} if cell == "GRU" else set()
        )
        for values in (*found["gates"].values(), found["memory"]):
            assert np.shape(values) == (units, len(words))
        for values in found["gates"].values():
            assert 0 <= np.min(values) <= np.max(values) <= 1
        assert found["least_correlation"] == sorted(found["least_correlation"], reverse=True)


def test_a_seed_gives_the_same_numbers(told, tmp_path):
    out, first, _ = told
    assert run("--quick", "--seed", 0, "--out", "again", cwd=tmp_path).returncode == 0
    again = json.loads((tmp_path / "again" / "gates.json").read_text())
    assert again.pop("seconds") > 0
    assert again == {name: value for name, value in first.items() if name != "seconds"}
    for name in PICTURES:
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "x"], "--seed: 'x' is not a whole number of at least 0"),
        (["--out", "file"], "cannot write to file, which is a file"),
        (["--slow"], "unrecognized arguments: --slow"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, message, tmp_path):
    (tmp_path / "file").touch()
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert message in line


def test_what_the_extra_brings_is_asked_for(tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None; from rnncore.cli import main; "
        "sys.exit(main(['gates']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert result.stderr == "rnncore gates: matplotlib not found: pip install matplotlib\n"
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_of_a_file_is_told_before_the_measuring(tmp_path):
    (tmp_path / "out" / "memory.png").mkdir(parents=True)
    result = run("--quick", "--out", "out", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    told = "rnncore gates: cannot write to out/memory.png, which is no file\n"
    assert result.stderr == told
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["memory.png"]


@pytest.mark.parametrize("failing", ["write", "tell"])
def test_the_files_come_before_the_console_and_neither_takes_the_other_with_it(
    failing, monkeypatch, tmp_path
):
    calls = []

    def step(name):
        def called(*_):
            calls.append(name)
            if name == failing:
                raise OSError(28, "No space left on device")

        return called

    for name in ("measure", "write", "tell"):
        monkeypatch.setattr(command, name, step(name))
    with pytest.raises((OSError, InputError), match="No space left on device"):
        command.run(None, tmp_path, None)
    assert calls == ["measure", "write", "tell"]
