"""The gradient check passes right layers and catches each classic mistake of a backward pass."""

import numpy as np
import problems
import pytest
from problems import STATES

from rnncore import GRU, LSTM, RNN, Embedding, Linear, gradcheck

LAYERS = {
    **{
        name: lambda layer=layer: layer(3, 4, dtype=np.float64, rng=0)
        for name, layer in zip(STATES, problems.LAYERS, strict=True)
    },
    "rnn": lambda: RNN(3, 4, dtype=np.float64, rng=0),
    "gru": lambda: GRU(3, 4, 2, dtype=np.float64, rng=0),
    "lstm": lambda: LSTM(3, 4, bidirectional=True, dtype=np.float64, rng=0),
}


@pytest.mark.parametrize("cell", LAYERS)
def test_right_layers_pass_for_every_input_and_parameter(cell, rng):
    layer = LAYERS[cell]()
    x = rng.standard_normal((5, 2, 3))
    before = {name: value.copy() for name, value in layer.params.items()}
    errors = gradcheck(layer, x)
    parts = layer._kind.parts
    states = [f"state.{part}" for part in parts] if len(parts) > 1 else ["state"]
    assert list(errors) == ["x", *states, *layer.params]
    assert max(errors.values()) < 1e-6
    for name, value in layer.params.items():
        np.testing.assert_array_equal(value, before[name])
    assert gradcheck(layer, x) == errors  # the same directions each time
    assert gradcheck(layer, x, rng=1) != errors


def test_a_given_state_is_the_point_of_the_check(rng):
    x, h, c = rng.standard_normal((5, 2, 3)), *rng.standard_normal((2, 2, 2, 4))
    layer = LAYERS["lstm"]()
    assert gradcheck(layer, x, (h, c)) != gradcheck(layer, x, (c, h))
    assert max(gradcheck(layer, x, [h, c]).values()) < 1e-6


class Wrong:
    """A layer with one mistake in its backward."""

    def __init__(self, layer, mistake):
        self.layer, self.mistake, self.params = layer, mistake, layer.params

    def forward(self, *args, **options):
        return self.layer.forward(*args, **options)

    def backward(self, *args):
        grads = self.layer.backward(*args)
        state = grads.state
        arrays = {"x": grads.x, **grads.params}
        arrays |= (
            {"state": state}
            if isinstance(state, np.ndarray)
            else {
                "state.h": state[0],
                "state.c": state[1],
            }
        )
        for name, change in self.mistake.items():
            arrays[name][...] = change(arrays[name])
        return grads


def one_element(gradient):
    """Wrong in one element of all, by the size of a typical one."""
    gradient.flat[0] += np.sqrt(np.mean(gradient**2))
    return gradient


@pytest.mark.parametrize(
    "change",
    [
        lambda g: -g,
        lambda g: 0 * g,
        lambda g: g * 1.001,
        lambda g: np.roll(g, 1),
        lambda g: g + np.nan,
        one_element,
    ],
    ids=["sign", "dropped", "scale", "shifted", "nan", "one element"],
)
@pytest.mark.parametrize("name", ["x", "state.h", "state.c", "weight_ih_l0", "bias_hh_l0_reverse"])
def test_a_wrong_gradient_is_named(name, change, rng):
    wrong = Wrong(LAYERS["lstm"](), {name: change})
    x = rng.standard_normal((5, 2, 3))
    with pytest.raises(AssertionError, match=rf"for {name} by \S+ \(rtol 1e-06\)"):
        gradcheck(wrong, x)
    errors = gradcheck(wrong, x, raise_exception=False)
    assert [key for key, error in errors.items() if not error < 1e-6] == [name]


def test_a_misshapen_gradient_is_named():
    class Transposed(Linear):
        def backward(self, trace, dy):
            grads = super().backward(trace, dy)
            return grads._replace(params={"weight": grads.params["weight"].T})

    with pytest.raises(AssertionError, match=r"gradient of weight has shape \(3, 2\), expected"):
        gradcheck(Transposed(3, 2, bias=False, dtype=np.float64), np.ones((4, 3)))


def test_a_gradient_of_exactly_zero_passes():
    layer = RNN(3, 4, nonlinearity="relu", dtype=np.float64, rng=0)
    layer.params["bias_ih_l0"][...] = -100  # every unit is off
    errors = gradcheck(layer, np.ones((2, 1, 3)))
    assert set(errors.values()) == {0.0}


def test_a_gradient_that_vanishes_in_the_rounding_passes(rng):
    """Through 200 steps nothing is left of the initial state that a difference could see."""
    layer = LAYERS["rnn"]()
    layer.params["weight_hh_l0"] *= 0.5
    assert gradcheck(layer, rng.standard_normal((200, 2, 3)))["state"] <= 1e-6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: gradcheck(Linear(3, 2), np.ones((4, 3), np.float32)),
            TypeError,
            "x has dtype flo",
        ),
        (lambda: gradcheck(Embedding(3, 2), np.arange(3)), TypeError, "weight has dtype float32"),
        (
            lambda: gradcheck(Linear(3, 2, dtype=np.float64), np.ones((4, 3)), np.ones(3)),
            TypeError,
            "Linear takes no state",
        ),
        (lambda: gradcheck(LAYERS["rnn"](), np.ones((2, 1, 4))), ValueError, "x has shape"),
        (
            lambda: gradcheck(LAYERS["rnn"](), np.ones((2, 3)), directions=0),
            ValueError,
            "directions",
        ),
        (lambda: gradcheck(LAYERS["rnn"](), np.ones((2, 3)), eps=0), ValueError, "eps is 0"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
