"""The command, run as a user runs it: in a process of its own, away from the checkout."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import SENTENCES, SMALL, command, run

from rnncore import LSTM
from rnncore._console.streams import printable
from rnncore.language_model import LanguageModel, Trainer
from rnncore.language_model.text import read_corpus
from rnncore.layers.storage import load_arrays

of_posix = pytest.mark.skipif(os.name == "nt", reason="no pipes and signals as here on Windows")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a text, a model trained on it for a second, and what the command printed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "cats.txt").write_text(SENTENCES * 60)
    result = run("train", "cats.txt", *SMALL, "--seconds", 1, "--out", "out", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_train_reports_and_writes_what_it_promises(trained):
    folder, result = trained
    assert result.stderr == ""
    assert {path.name for path in (folder / "out").iterdir()} == {
        "model.npz",
        "curve.png",
        "metrics.json",
    }
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    bits = metrics["bits_per_character"]
    assert set(bits) == {"model", "model_learning_on", "gzip", "bz2", "xz"}
    rows = [line for line in result.stdout.splitlines() if "%" in line]
    for name, value in bits.items():
        shown = {"model": "this model ", "model_learning_on": "this model, learning on"}
        (row,) = (row for row in rows if shown.get(name, name) in row)
        assert f"{value:.3f}" in row
    assert set(metrics["seconds_per_step"]) == {"rnncore", "rnncore.reference (NumPy)"}
    assert all(value > 0 for value in metrics["seconds_per_step"].values())
    precisions = metrics["precisions"]
    assert set(precisions) == {"float32", "bfloat16", "w8a16", "w8a8"}
    for name, cost in precisions.items():
        (row,) = (row for row in result.stdout.splitlines() if f" {name} " in row)
        assert f"{cost['bits_per_character']:.4f}" in row
        # So short a text is known by heart: of a few hundredths of a bit a tenth is nothing.
        assert cost["bits_per_character"] == pytest.approx(bits["model"], rel=0.1, abs=0.05)
        assert cost["characters_per_second"] > 0
    assert precisions["float32"]["bits_per_character"] == bits["model"]
    assert len({cost["bits_per_character"] for cost in precisions.values()}) == 4
    assert metrics["training"]["stopped_early"] is False
    ran = metrics["training"]["this_run"]
    assert 1 <= ran["seconds"] < 10
    assert ran["characters"] == metrics["training"]["all_runs"]["steps"] * 4 * 16
    assert metrics["characters"] == {"train": 4212, "validation": 234, "held_out": 234}
    assert metrics["sample"].strip()
    # A model that has seen little writes control characters too, which no console is sent.
    assert printable(metrics["sample"])[:40].split("\n")[0] in result.stdout
    assert "bits/char" in result.stdout
    assert "chars/s" in result.stdout
    assert "\x1b" not in result.stdout  # no colours, no moving bar where there is no terminal


def test_the_saved_model_is_the_one_that_was_measured(trained):
    folder, _ = trained
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    model = LanguageModel.load(folder / "out" / "model.npz")
    held_out = np.frombuffer((SENTENCES * 60).encode(), np.uint8)[-234:]
    bits = model.bits_per_character(held_out)
    assert bits == pytest.approx(metrics["bits_per_character"]["model"], rel=1e-12)
    assert model.options == metrics["model"]


def test_the_curve_is_a_picture_that_shows_something(trained):
    from matplotlib.image import imread

    picture = imread(trained[0] / "out" / "curve.png")
    assert picture.shape[0] > 400
    assert picture.shape[1] > 700
    assert picture.std() > 0.05


def test_sample_repeats_with_a_seed_and_goes_on_from_the_prompt(trained):
    folder, _ = trained
    # Hot enough that another seed writes another text, however well these few lines are known.
    options = ("--length", 80, "--prompt", "The cat", "--temperature", 5)
    texts = [
        run("sample", "out", *options, "--seed", seed, cwd=folder).stdout for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert all(text.startswith("The cat") and text.endswith("\n") for text in texts)
    likeliest = [
        run("sample", "out/model.npz", "--temperature", 0, "--length", 30, cwd=folder).stdout
        for _ in range(2)
    ]
    assert likeliest[0] == likeliest[1]
    assert len(likeliest[0]) == 31


def test_sample_with_another_precision_writes_another_text(trained):
    folder, _ = trained
    # So long that some choice lies between the probabilities of both.
    options = ("--length", 20_000, "--prompt", "The cat", "--temperature", 5, "--seed", 1)
    narrow, full = (
        run("sample", "out", *options, "--precision", precision, cwd=folder).stdout
        for precision in ("w8a8", "float32")
    )
    assert narrow.startswith("The cat")
    assert narrow != full


def test_sample_streams_and_survives_a_reader_that_goes(trained):
    folder, _ = trained
    process = subprocess.Popen(
        command("sample", "out", "--length", 10**9, "--prompt", "abc"),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout.read(100).startswith(b"abc")  # it has a billion to go
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def test_sample_replaces_what_would_move_the_cursor(trained, tmp_path):
    model = LanguageModel(hidden=4, embedding=4, rng=0)
    model.head.params["bias"][[0x1B, 0xFF]] = 100
    model.save(tmp_path / "wild.npz")
    text = run("sample", "wild.npz", "--length", 50, cwd=tmp_path, encoding="utf-8").stdout
    assert set(text) == {"\n", "\ufffd"}


def start(folder, *arguments):
    return subprocess.Popen(
        command("train", "cats.txt", *arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@of_posix
def test_ctrl_c_stops_with_the_model_saved_and_resume_goes_on(trained, tmp_path):
    folder, _ = trained
    process = start(folder, *SMALL, "--seconds", 600, "--out", tmp_path)
    try:
        while "bits/char" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert errors == ""
    assert "Stopped early" in output
    assert "held-back text" in output
    first = json.loads((tmp_path / "metrics.json").read_text())["training"]
    assert first["stopped_early"] is True
    assert first["all_runs"]["seconds"] < 60
    _, _, saved = load_arrays(tmp_path / "model.npz")
    text = read_corpus([folder / "cats.txt"]).train
    trainer, _ = Trainer.load(tmp_path / "model.npz", text, clip=1.0)

    again = run("train", "cats.txt", "--seconds", 1, "--out", tmp_path, "--resume", cwd=folder)
    assert again.returncode == 0, again.stderr
    second = json.loads((tmp_path / "metrics.json").read_text())["training"]
    assert second["all_runs"]["steps"] > first["all_runs"]["steps"]
    assert second["all_runs"]["characters"] == second["all_runs"]["steps"] * 4 * 16
    assert second["all_runs"]["seconds"] >= first["all_runs"]["seconds"] + 1
    assert (second["batch"], second["window"]) == (4, 16)
    _, _, resumed = load_arrays(tmp_path / "model.npz")
    kept = len(saved["history.bits"])
    np.testing.assert_array_equal(resumed["history.bits"][:kept], saved["history.bits"])
    assert (np.diff(resumed["history.seconds"]) > 0).all()
    # It goes on from what was learned, to the bit.
    assert resumed["history.bits"][kept] == trainer.step(lr=0.0).bits


def test_a_second_run_keeps_the_earlier_model(trained, tmp_path):
    folder, _ = trained
    options = (*SMALL, "--seconds", 0.2, "--out", tmp_path)
    assert run("train", "cats.txt", *options, cwd=folder).returncode == 0
    first = (tmp_path / "model.npz").read_bytes()
    again = run("train", "cats.txt", *options, "--cell", "gru", "--layers", 2, cwd=folder)
    assert again.returncode == 0
    assert (tmp_path / "model.earlier.npz").read_bytes() == first
    assert "model.earlier.npz" in again.stdout
    assert LanguageModel.load(tmp_path / "model.npz").options["cell"] == "gru"


def test_a_training_that_diverges_says_so_and_keeps_the_last_good_model(trained, tmp_path):
    folder, _ = trained
    options = ("--cell", "rnn", *SMALL, "--seconds", 20, "--lr", 1e38, "--out", tmp_path)
    result = run("train", "cats.txt", *options, cwd=folder)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    reason = r"(gradient is not finite in .+|the loss is (inf|nan)) at step \d+"
    assert re.match(rf"rnncore train: diverged, {reason}; the last good model is in ", line)
    model = LanguageModel.load(tmp_path / "model.npz")
    assert all(np.isfinite(value).all() for value in model.arrays().values())


def test_info_tells_how_it_runs(tmp_path):
    result = run("info", cwd=tmp_path)
    assert result.returncode == 0
    for name in ("rnncore", "numpy", "instruction set", "threads"):
        assert name in result.stdout


def test_the_installed_script_is_the_module(tmp_path):
    """As `python -m rnncore` and as what pip puts on the path, the command is one function."""
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="rnncore")
    assert script.value == "rnncore.cli:main"


BAD = [
    (["train", "missing.txt"], "no such file or folder: missing.txt"),
    (["train", "empty.txt"], "no text in empty.txt"),
    (["train", "nothing"], "no text in nothing"),
    (["train", "short.txt"], "the text to learn from has 90 characters, expected at least 385"),
    (["train", "tiny.txt"], "tiny.txt has 10 characters, expected at least 40"),
    (["train", "cats.txt", "--out", "cats.txt"], "cannot write to cats.txt, which is a file"),
    (["train", "cats.txt", "--out", "cats.txt/x"], "cannot write to"),
    (["train", "cats.txt", "--resume"], "rnncore-out/model.npz: No such file or directory"),
    (["train", "cats.txt", "--resume", "--out", "lstm"], "holds a LSTM, expected a LanguageModel"),
    (["train", "cats.txt", "--resume", "--out", "bare"], "without the state of its training"),
    (["train", "cats.txt", "--resume", "--out", "out", "--hidden", "5"], "with --hidden 16, not 5"),
    (["train", "cats.txt", "--layers", "99999999"], "--layers 99999999 is too large"),
    (["train", "cats.txt", "--layers", "99999999", "--hidden", "1"], "--layers 99999999 is too"),
    (["train", "cats.txt", "--hidden", "99999999999"], "--hidden 99999999999 is too large"),
    (["train", "cats.txt", "--embedding", "1" + "0" * 12], "--embedding 1000000000000 is too"),
    (["train", "cats.txt", "--batch", "1" + "0" * 12], "--batch is 1000000000000 and --window is"),
    (["train", "cats.txt", "--window", "1" + "0" * 15], "--window is 1000000000000000"),
    (["train", "cats.txt", "--resume", "--out", "out", "--window", "99999"], "--window is 99999"),
    (["train", "cats.txt", "--resume", "--out", "out", "--batch", "99999"], "--batch is 99999"),
    (["train", "cats.txt", "--out", ""], "--out: '' names no file or folder"),
    (["train", "cats.txt", "--out", "dangling"], "dangling, which is a link to nothing"),
    (["train", "cats.txt", "--out", "odd"], "cannot write to odd/metrics.json, which is no file"),
    (["train", "cats.txt", "--resume", "--out", "pipes"], "pipes/model.npz is no file"),
    (["train", ""], "a path is empty"),
    (["train", os.devnull], f"no text in {os.devnull}, which is a device"),
    (["train", "/dev/zero"], "no text in /dev/zero, which is a device"),
    (["train", "pipes"], "no text in pipes; left out: pipes/model.npz (a pipe)"),
    (["train", "a\n\x1b[31mb"], "no such file or folder: a \ufffd[31mb"),
    (["train", "cats.txt", "--hidden", "0"], "--hidden: '0' is not a whole number of at least 1"),
    (["train", "cats.txt", "--seconds", "nan"], "--seconds: 'nan' is not a number above 0"),
    (["train", "cats.txt", "--seconds", "-1"], "--seconds: '-1' is not a number above 0"),
    (["train", "cats.txt", "--cell", "gan"], "--cell: invalid choice: 'gan'"),
    (["train", "cats.txt", "--seed", "x"], "--seed: 'x' is not a whole number of at least 0"),
    (["sample", "missing.npz"], "no such file or folder: missing.npz"),
    (["sample", "nothing"], "nothing/model.npz: No such file or directory"),
    (["sample", "cats.txt"], "cats.txt has the suffix '.txt', expected '.npz'"),
    (["sample", "cats.npz"], "cats.npz is damaged or was not saved by rnncore"),
    (["sample", "lstm/model.npz"], "holds a LSTM, expected a LanguageModel"),
    (["sample", "out", "--temperature", "-1"], "--temperature: '-1' is not a number of at least 0"),
    (["sample", ""], "MODEL: '' names no file or folder"),
    (["sample", "pipes"], "pipes/model.npz is no file"),
    (["sample", "pipes/model.npz"], "pipes/model.npz is no file"),
    (["sample", "out", "--temperature", "nan"], "--temperature: 'nan' is not a number of at"),
    (["sample", "out", "--temperature", "1e-320"], "--temperature is 1e-320, expected 0 or a num"),
    (["sample", "out", "--temperature", "9e-7"], "expected 0 or a number of at least 1e-06"),
    (["sample", "out", "--length", "0"], "--length: '0' is not a whole number of at least 1"),
    (["sample"], "the following arguments are required: MODEL"),
    (["sample", "a", "b\nc"], "unrecognized arguments: b c"),
    (["fly"], "invalid choice: 'fly'"),
    ([], "the following arguments are required: COMMAND"),
]


@pytest.fixture(scope="module")
def bad_inputs(trained):
    folder, _ = trained
    (folder / "empty.txt").touch()
    (folder / "tiny.txt").write_text("a" * 10)
    (folder / "short.txt").write_text("a" * 100)
    (folder / "cats.npz").write_text(SENTENCES)
    for name in ("nothing", "lstm", "bare", "pipes", "odd"):
        (folder / name).mkdir()
    os.mkfifo(folder / "pipes" / "model.npz")
    (folder / "odd" / "metrics.json").mkdir()
    (folder / "dangling").symlink_to("nowhere")
    LSTM(3, 4, rng=0).save(folder / "lstm" / "model.npz")
    LanguageModel(hidden=4, embedding=4, rng=0).save(folder / "bare" / "model.npz")
    return folder


@of_posix
@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input_gets_one_line_and_status_2(arguments, message, bad_inputs):
    before = sorted(bad_inputs.rglob("*"))
    result = run(*arguments, cwd=bad_inputs)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("rnncore")
    assert message in line
    assert sorted(bad_inputs.rglob("*")) == before


def test_what_the_extra_brings_is_asked_for_before_the_training(trained):
    code = (
        "import sys; sys.modules['rich'] = None; from rnncore.cli import main; "
        "sys.exit(main(['train', 'cats.txt']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=trained[0], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert result.stderr == "rnncore train: rich not found: pip install rich\n"
