"""The adding problem and copy memory: what the batches hold, and that the baselines are reached."""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from rnncore import softmax_cross_entropy, tasks

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("steps", [2, 7, 30])
def test_adding_marks_one_step_in_each_half_and_asks_for_the_sum(steps, dtype, rng):
    x, target = tasks.adding(steps, 500, rng, dtype=dtype)
    assert x.shape == (steps, 500, 2)
    assert target.shape == (500, 1)
    assert x.dtype == target.dtype == dtype
    numbers, marks = x[..., 0], x[..., 1]
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert set(np.unique(marks)) <= {0, 1}
    half = steps // 2
    assert (marks[:half].sum(axis=0) == 1).all()
    assert (marks[half:].sum(axis=0) == 1).all()
    assert (marks.sum(axis=1) > 0).all()  # every step is marked in some row
    np.testing.assert_allclose((numbers * marks).sum(axis=0), target[:, 0], rtol=1e-6)


def test_always_answering_one_reaches_the_baseline_of_adding(rng):
    _, target = tasks.adding(4, 200_000, rng, dtype=np.float64)
    assert np.mean((target - 1) ** 2) == pytest.approx(tasks.ADDING_BASELINE, rel=0.02)
    assert pytest.approx(1 / 6) == tasks.ADDING_BASELINE


@pytest.mark.parametrize("delay", [1, 2, 40])
def test_copy_memory_asks_for_the_symbols_after_the_signal(delay, rng):
    x, target = tasks.copy_memory(delay, 300, rng)
    assert x.shape == target.shape == (delay + 20, 300)
    blank, go = tasks.COPY_CLASSES - 2, tasks.COPY_CLASSES - 1
    assert set(np.unique(x[:10])) == set(range(8))
    assert (x[10 : delay + 9] == blank).all()
    assert (x[delay + 9] == go).all()
    assert (x[delay + 10 :] == blank).all()
    assert (target[: delay + 10] == blank).all()
    np.testing.assert_array_equal(target[delay + 10 :], x[:10])


@pytest.mark.parametrize("delay", [1, 50])
def test_the_best_answer_without_memory_has_the_baseline_of_copy(delay, rng):
    """Sure of the blanks, and undecided between the eight symbols where they are asked for."""
    _, target = tasks.copy_memory(delay, 20, rng)
    logits = np.full((*target.shape, tasks.COPY_CLASSES), -1e3)
    logits[: delay + 10, :, 8] = 0
    logits[delay + 10 :, :, :8] = 0
    loss, _ = softmax_cross_entropy(logits, target)
    assert loss == pytest.approx(tasks.copy_baseline(delay), rel=1e-12)
    assert tasks.copy_baseline(delay) == pytest.approx(10 * math.log(8) / (delay + 20))


def test_a_seed_gives_the_same_batch_and_another_seed_another():
    for make in (tasks.adding, tasks.copy_memory):
        first, second, other = (make(10, 4, seed) for seed in (1, 1, 2))
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(first.x, other.x)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (tasks.adding, {"steps": 1}, "steps is 1, expected an integer of at least 2"),
        (tasks.adding, {"size": 0}, "size is 0, expected"),
        (tasks.adding, {"dtype": np.int32}, "dtype is int32, expected float32 or float64"),
        (tasks.adding, {"rng": 1.5}, "rng is of type float"),
        (tasks.copy_memory, {"delay": 0}, "delay is 0, expected"),
        (tasks.copy_memory, {"size": True}, "size is True, expected an integer"),
    ],
)
def test_bad_arguments_are_named(make, arguments, message):
    sizes = {"size": 3, "steps": 5} if make is tasks.adding else {"size": 3, "delay": 5}
    with pytest.raises((ValueError, TypeError), match=message):
        make(**(sizes | arguments))


def test_the_example_trains_every_cell_on_both_tasks(tmp_path, capsys):
    picture = tmp_path / "losses.png"
    example = runpy.run_path(str(EXAMPLES / "classic_tasks.py"))
    small = ["--updates", "50", "--steps", "10", "--delay", "3", "--rates", "0.001", "0.01"]
    example["main"]([*small, "--picture", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "adding problem, 10 steps: without memory 0.1667"
    assert lines[4] == f"copy memory, delay 3: without memory {tasks.copy_baseline(3):.4f}"
    assert [line.split()[0] for line in lines[1:4] + lines[5:]] == ["RNN", "GRU", "LSTM"] * 2
    assert picture.stat().st_size > 10_000
    losses = example["train_adding"]("LSTM", 10, 300, 1e-2)
    assert example["last"](losses) < tasks.ADDING_BASELINE / 2
