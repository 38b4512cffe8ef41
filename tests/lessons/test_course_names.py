"""Dinosaurus Island: gradients that are clipped, and names that are drawn."""

import numpy as np
import pytest
from course_exercise import draw, softmax
from numpy.testing import assert_array_equal

from rnncore import course


def test_clip(rng):
    gradients = {name: 20 * rng.standard_normal((3, 4)) for name in ("dWaa", "dWax", "dby")}
    before = {name: value.copy() for name, value in gradients.items()}
    clipped = course.clip(gradients, 10)
    for name, value in before.items():
        assert_array_equal(gradients[name], value)
        assert_array_equal(clipped[name], np.clip(value, -10, 10))
        assert np.abs(value).max() > 10


def transcribed_sample(p, char_to_ix, seed):
    x, a = np.zeros((len(p["by"]), 1)), np.zeros((len(p["b"]), 1))
    indices, counter, newline, idx = [], 0, char_to_ix["\n"], -1
    while idx != newline and counter != 50:
        a = np.tanh(p["Wax"] @ x + p["Waa"] @ a + p["b"])
        y = softmax(p["Wya"] @ a + p["by"])
        rng = np.random.RandomState(counter + seed)
        idx = int(rng.choice(len(y), p=y.ravel()))
        indices.append(idx)
        x = np.zeros_like(x)
        x[idx] = 1
        seed += 1
        counter += 1
    return [*indices, newline] if counter == 50 and idx != newline else indices


@pytest.mark.parametrize("bias", ["b", "ba"])
@pytest.mark.parametrize("seed", [0, 1, 2, 34])
def test_sample_is_the_transcription(seed, bias, rng):
    _, _, parameters = draw("rnn", (27, 1, 1, 20, 27), rng)
    parameters["b"] = parameters.pop("ba")
    parameters["by"][0] -= 2  # so that names do not end at once
    char_to_ix = {character: k for k, character in enumerate("\nabcdefghijklmnopqrstuvwxyz")}
    expected = transcribed_sample(parameters, char_to_ix, seed)
    parameters[bias] = parameters.pop("b")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert course.sample(parameters, char_to_ix, seed) == expected
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert len(expected) > 1
    assert expected[-1] == 0


def test_sample_ends_after_fifty_characters(rng):
    _, _, parameters = draw("rnn", (3, 1, 1, 4, 3), rng)
    parameters["by"][0] = -1000  # the end is never drawn
    indices = course.sample(parameters, {"\n": 0, "a": 1, "b": 2}, seed=0)
    assert len(indices) == 51
    assert indices[-1] == 0
    assert 0 not in indices[:-1]


def test_sample_in_float32(rng):
    _, _, parameters = draw("rnn", (27, 1, 1, 20, 27), rng, np.float32)
    char_to_ix = {"\n": 0}
    assert course.sample(parameters, char_to_ix, 3)[-1] == 0
