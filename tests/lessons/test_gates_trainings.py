"""The trainings of the lesson on gates: what ends one, and how those with time scales start."""

from dataclasses import replace

import numpy as np
import pytest

from rnncore.agreement import batch
from rnncore.gates.learning import by_distance, trainings
from rnncore.gates.model import CHRONO, LAST, Reader, train
from rnncore.gates.settings import quick


def batches(count):
    rng = np.random.default_rng(1)
    return [batch(4, 16, rng) for _ in range(count)]


def trained(enough):
    reader = Reader("GRU", 12, 8, np.random.default_rng(0))
    return reader, train(reader, batches(200), 3e-2, enough)


def test_a_training_ends_where_it_has_learned_enough():
    _, whole = trained(0.0)
    assert len(whole) == 200
    means = np.convolve(whole, np.full(LAST, 1 / LAST), mode="valid")
    enough = 0.05
    expected = int((means < enough).argmax()) + LAST
    assert LAST < expected < 200
    reader, losses = trained(enough)
    assert losses == whole[:expected]
    assert reader.accuracy(batch(4, 200, 2, part="test", attractor=True)) > 0.9


def test_the_first_step_whose_loss_is_low_by_chance_ends_nothing():
    reader = Reader("GRU", 12, 8, np.random.default_rng(0))
    assert len(train(reader, batches(LAST + 5), 0.0, 10.0)) == LAST


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_with_time_scales_all_that_comes_before_the_head_is_the_same(cell):
    def start(name):
        return Reader(name, 32, 16, np.random.default_rng(0))

    plain, scaled = start(cell), start(f"{cell}, chrono")
    assert scaled.recurrent.bias_init == CHRONO
    for mine, other in zip(plain.params[:2], scaled.params[:2], strict=True):
        for name, value in mine.items():
            assert np.array_equal(value, other[name]) == (name != "bias_ih_l0")


def test_every_cell_has_the_same_budget():
    settings, done = quick(0), []
    found = by_distance(settings, lambda: done.append(1))
    passages = 4 * (2 + 1)  # two rates with one run each, and one more at the better
    assert trainings(settings) == len(done) + passages
    for cell, runs in found.items():
        assert [*runs] == [*settings.distances], cell
        for each in runs.values():
            assert len(each.validation) == len(settings.rates)
            assert len(each.accuracy) == len(each.losses) == settings.runs


def test_enough_is_enough_for_every_cell():
    settings = replace(quick(0), distances=(4,), enough=10.0)
    for runs in by_distance(settings, lambda: None).values():
        assert [len(losses) for losses in runs[4].losses] == [LAST] * settings.runs
