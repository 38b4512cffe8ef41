"""What is shown on the way: loss, metrics, rate, rows a second and the time left, on one line."""

import io
import re

import pytest
from test_fit import sequences, tagger

import rnncore as rc
from rnncore.fitting import progress
from rnncore.fitting.scores import Means

rich_console = pytest.importorskip("rich.console", reason="rich is not installed")


class Clock:
    """Time that goes on when it is told to."""

    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def shown(console):
    """The lines that were written, each as it was at some time, without colours."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def bar_of(width):
    console = rich_console.Console(file=io.StringIO(), width=width, force_terminal=True)
    return progress.Bar(console), console


def means_of(**values):
    names = [name for name in values if name != "loss"]
    found = Means(dict.fromkeys(names))
    found.add([1.0, 1.0, values["loss"], *(values[name] for name in names)])
    return found


MEASURED = {"loss": 0.51234, "accuracy": 0.81234}
HELD = {"val_loss": 0.61234, "val_accuracy": 0.71234}


def epoch(bar, clock, number, batches, *, seconds, more):
    """Four batches of 10 rows, each after so many seconds."""
    bar.begin(number, batches)
    for _ in range(4):
        clock.now += seconds
        bar.advance(means_of(**MEASURED), 0.001, 10)
    clock.now += 4.0  # of the validation
    bar.end({**MEASURED, "lr": 0.001, "seconds": 1.0, **more})


@pytest.mark.parametrize("more", [{}, HELD], ids=["alone", "validated"])
def test_a_line_of_80_columns(more, clock):
    bar, console = bar_of(80)
    bar.start(0, 200, ended=False)
    epoch(bar, clock, 0, 4, seconds=1.0, more=more)
    bar.close()
    lines = shown(console)
    assert max(map(len, lines)) <= 80
    # Two of four batches of the first of 200 epochs took 2 seconds: 398 pieces as long are left.
    second = [line for line in lines if "━" in line and "13:16 left" in line]
    assert second
    for word in ("epoch 1/200", "loss 0.512", "accuracy 0.812", "lr 0.001", "10 rows/s"):
        assert word in second[0]
    # The epoch took 8 seconds with its validation, and 199 are left.
    last = [line for line in lines if line.startswith("epoch 1/200") and "━" not in line][-1]
    words = ["lr 0.001", "5 rows/s"]
    if more:
        words += ["loss 0.512/0.612", "accuracy 0.812/0.712", "26:32 left"]
    else:
        words += ["loss 0.5123", "accuracy 0.8123", "1,592 s left"]
    for word in words:
        assert word in last


def test_the_time_left_once_batches_were_counted(clock):
    bar, console = bar_of(120)
    bar.start(2, 4, ended=False)  # resumed: two epochs are left
    epoch(bar, clock, 2, None, seconds=1.0, more={})
    assert not any("left" in line for line in shown(console) if "━" in line)
    epoch(bar, clock, 3, None, seconds=1.0, more={})
    bar.close()
    assert any(
        "0:05 left" in line for line in shown(console) if "━" in line
    )  # 9 s for 5 batches of 8


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (110, "E  L  A  mse 1.23/4.56  lr 1.23e-05  123,456 rows/s  1:23:45 left"),
        (104, "E L A mse 1.23/4.56 lr 1.23e-05 123,456 rows/s 1:23:45 left"),
        (95, "E  L  A  lr 1.23e-05  123,456 rows/s  1:23:45 left"),
        (80, "E  L  lr 1.23e-05  123,456 rows/s  1:23:45 left"),
        (60, "E  L  lr 1.23e-05  1:23:45 left"),
        (45, "E  L  1:23:45 left"),
        (35, "E  L"),
        (8, "epoch 12"),
    ],
)
def test_what_has_room(width, expected):
    words = {"E": "epoch 12/200", "L": "loss 0.512/0.612", "A": "accuracy 0.812/0.712"}
    for letter, text in words.items():
        expected = re.sub(rf"\b{letter}\b", text, expected)
    told = ["lr 1.23e-05", "123,456 rows/s", "1:23:45 left"]
    more = ["accuracy 0.812/0.712", "mse 1.23/4.56"]
    assert progress.fitted(["epoch 12/200", "loss 0.512/0.612"], more, told, width) == expected
    assert len(expected) <= width


def test_a_training_on_a_terminal(monkeypatch, rng):
    console = rich_console.Console(file=io.StringIO(), width=80, force_terminal=True)
    monkeypatch.setattr(progress.sys, "stderr", console.file)
    monkeypatch.setattr(console.file, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(rich_console, "Console", lambda **_: console)
    X, Y = sequences(rng)
    options = {"epochs": 2, "batch_size": 5, "metrics": "accuracy", "validation": (X, Y)}
    rc.fit(tagger(), (X, Y), loss="cross_entropy", **options)
    lines = shown(console)
    assert max(map(len, lines)) <= 80
    for number in (1, 2):
        own = [line for line in lines if line.startswith(f"epoch {number}/2")]
        assert any(re.search(r"loss \S+/\S+ +accuracy \S+/\S+ +lr 0.001", line) for line in own)
