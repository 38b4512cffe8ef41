"""What is measured after a training, and the progress that is shown meanwhile."""

import io
import json
import time

import numpy as np
import pytest
from rich.console import Console

from rnncore._commands import evaluation
from rnncore._console import report
from rnncore.language_model import LanguageModel, Trainer


def test_the_time_of_a_step_is_that_of_the_run(train, monkeypatch):
    """Not of a copy that steps when nothing else goes on."""
    step, first = Trainer.step, []

    def slow(self, lr):
        first.append(self)
        if self is first[0]:
            time.sleep(0.03)
        return step(self, lr)

    monkeypatch.setattr(Trainer, "step", slow)
    status, output, _ = train()
    assert status == 0
    metrics = json.loads((train.out / "metrics.json").read_text())
    seconds = metrics["seconds_per_step"]["rnncore"]
    assert 0.03 <= seconds <= metrics["training"]["this_run"]["seconds"]
    (row,) = (line for line in output.splitlines() if "rnncore, in this run" in line)
    assert f" {1e3 * seconds:.1f} " in row
    assert "rnncore.reference (NumPy), timed afterwards" in output


def test_what_diverges_only_in_the_evaluation_is_left_out(train, monkeypatch):
    def diverge(*_, **__):
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr(Trainer, "reading_bits", diverge)
    monkeypatch.setattr(evaluation, "step_time", diverge)
    status, output, _ = train()
    assert status == 0
    assert "this model, learning on" not in output
    metrics = json.loads((train.out / "metrics.json").read_text())
    assert metrics["bits_per_character"]["model_learning_on"] is None
    assert set(metrics["seconds_per_step"]) == {"rnncore"}


def test_a_model_that_tells_nothing_has_diverged(train, monkeypatch):
    monkeypatch.setattr(LanguageModel, "bits_per_character", lambda *_, **__: float("nan"))
    status, _, errors = train()
    assert status == 1
    assert "diverged, it needs nan bits for a held-back character; the model is in" in errors


# Progress


class Broken(io.StringIO):
    """A console that is gone."""

    def write(self, text):
        raise OSError(5, "Input/output error")


TEXT = np.frombuffer(b"the cat, which already ate, was full. " * 40, np.uint8)


@pytest.mark.parametrize("length", [2, 40, 300, len(TEXT)])
def test_every_window_that_was_read_is_told(length):
    trainer = Trainer(LanguageModel(hidden=6, embedding=5, rng=0), TEXT, batch=5, window=11, clip=1)
    for measured in (trainer.model.bits_per_character, trainer.reading_bits):
        told = []
        bits = measured(TEXT[:length], advance=told.append)
        assert bits == measured(TEXT[:length])
        assert length - 16 <= sum(told) < length
        assert len(told) >= length // (16 * 256)


def test_the_evaluation_tells_how_far_it_is(train, monkeypatch):
    monkeypatch.setattr(report, "_EVERY", 0.0)
    status, output, _ = train()
    assert status == 0
    after = output.partition("the model is saved.")[2].partition("held-back text\n")[2]
    told = [line for line in output.splitlines() if line.startswith("Measuring on the held-back")]
    assert told[0].endswith(" ...")
    shares = [int(line.rpartition(": ")[2].removesuffix("%")) for line in told[1:]]
    assert shares == sorted(shares)
    assert shares[-1] >= 95
    for title in ("Timing a step of rnncore.reference", "Measuring what each precision costs"):
        told = [line for line in output.splitlines() if line.startswith(title)]
        assert told[0].endswith(" ...")
        assert told[-1].endswith(": 100%") or "precision" in title
        assert len(told) > 5
    assert "Measuring" not in after


def test_work_moves_a_bar_on_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    with report.work(console, "counting", 4) as advance:
        for _ in range(3):
            advance()
    shown = console.file.getvalue()
    assert "counting" in shown
    assert "\x1b" in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_work_goes_on_without_a_console(terminal, monkeypatch):
    monkeypatch.setattr(report, "_EVERY", 0.0)
    monkeypatch.setattr(report, "_REFRESH", 0.0)
    console = Console(file=Broken(), force_terminal=terminal, width=60)
    done = 0
    with report.work(console, "counting", 4) as advance:
        for _ in range(4):
            advance()
            done += 1
    assert done == 4


def test_a_training_of_days_is_told_of_every_minute():
    console = Console(file=io.StringIO(), width=80)
    with report.progress(console, 1e6) as show:
        for second in range(600):
            show(float(second), 2.0, 100.0)
    assert len(console.file.getvalue().splitlines()) == 10


def test_the_time_of_a_step_is_a_median_within_limits(monkeypatch):
    now, taken = [0.0], iter([9.0, 1.0, 2.0, 30.0, 3.0, 4.0, 50.0, 50.0])
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: now[0])

    def step():
        now[0] += next(taken)

    assert evaluation.step_time(step, repeats=5, seconds=100.0) == 3.0  # of 1, 2, 30, 3, 4
    assert evaluation.step_time(step, repeats=5, seconds=10.0) == 50.0  # one alone fits in
