"""Gradients of the layers of models by finite differences, for every input and parameter."""

import numpy as np
import pytest
from parts import LENGTHS, OVER_TIME, PARTS, B, T

from rnncore import gradcheck

SHAPES = [(T,), (1, 1), (T, B), (1, B), (2, 3, 2)]


def fits(name, shape):
    """BatchNorm has no gradient to speak of where two positions are all there are."""
    case = PARTS[name]
    if case.over_time:
        return len(shape) < 3
    return not name.startswith("BatchNorm") or np.prod(shape) > 2


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name in PARTS for shape in SHAPES if fits(name, shape)],
    ids=str,
)
def test_gradients(name, shape, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, *shape)
    errors = gradcheck(part, x)
    assert list(errors) == ([] if case.of_ids else ["x"]) + list(part.params)
    assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("name", PARTS)
def test_gradients_with_lengths(name, lengths, rng):
    case = PARTS[name]
    x = case.x(rng, T, B)
    assert max(gradcheck(case.part(), x, lengths=lengths).values()) < 1e-6


@pytest.mark.parametrize("name", OVER_TIME)
def test_gradients_with_the_batch_first(name, rng):
    part, x = PARTS[name].part(batch_first=True), PARTS[name].x(rng, B, T)
    assert max(gradcheck(part, x).values()) < 1e-6
    assert max(gradcheck(part, x, lengths=LENGTHS[0]).values()) < 1e-6


def test_a_check_leaves_the_buffers_as_they_are(rng):
    part = PARTS["BatchNorm"].part()
    before = {key: value.copy() for key, value in part.buffers.items()}
    gradcheck(part, rng.standard_normal((T, B, part.size)))
    for key, value in before.items():
        np.testing.assert_array_equal(part.buffers[key], value)


def test_lengths_are_passed_on_to_what_takes_them():
    class Bare:
        params: dict = {}  # noqa: RUF012

        def forward(self, x):
            return 2 * x, None

        def backward(self, trace, dy):
            raise AssertionError

    with pytest.raises(TypeError, match=r"^Bare takes no lengths$"):
        gradcheck(Bare(), np.ones((2, 3)), lengths=[1, 2, 1])


@pytest.mark.parametrize("name", ["Linear", "LayerNorm", "BatchNorm", "Conv1d same", "Pool mean"])
def test_a_wrong_gradient_is_found_with_lengths_too(name, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, T, B)

    class Wrong(case.kind):
        def backward(self, trace, dy):
            grads = super().backward(trace, dy)
            grads.x[0, 0, 0] += 0.1
            return grads

    wrong = Wrong(*case.sizes, **case.options, **({"dtype": float} if part.dtype else {}))
    with pytest.raises(AssertionError, match="for x by"):
        gradcheck(wrong, x, lengths=LENGTHS[0])
