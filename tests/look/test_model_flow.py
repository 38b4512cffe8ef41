"""The gradient at every step on its way back through a model."""

import numpy as np
import pytest
from models import MODELS, an_input

import rnncore as rc


def test_it_is_that_of_the_layer_alone(rng):
    layer, head = rc.LSTM(3, 4, 2, dtype=np.float64, rng=0), rc.Linear(4, 2, dtype=np.float64)
    x = rng.standard_normal((6, 2, 3))
    flows = rc.gradient_flow(rc.Sequential(rnn=layer, head=head), x)
    y, trace = head.forward(layer(x)[0])
    dy = np.zeros_like(y)
    dy[-1] = 1 / np.sqrt(dy[-1].size)
    alone = rc.gradient_flow(layer, x, head.backward(trace, dy).x)
    assert list(flows) == ["rnn"]
    np.testing.assert_array_equal(flows["rnn"].dh, alone.dh)
    np.testing.assert_array_equal(flows["rnn"].dc, alone.dc)
    assert flows["rnn"].names == alone.names
    given = rc.gradient_flow(rc.Sequential(rnn=layer, head=head), x, dy)
    np.testing.assert_array_equal(given["rnn"].dh, alone.dh)


def test_a_layer_at_two_places_is_measured_at_each(rng):
    layer = rc.GRU(4, 4, dtype=np.float64, rng=0)
    other = rc.GRU(4, 4, dtype=np.float64, rng=1)
    other.load_params(layer.params)
    x = rng.standard_normal((6, 2, 4))
    flows = rc.gradient_flow(rc.Sequential(a=layer, b=layer), x)
    apart = rc.gradient_flow(rc.Sequential(a=layer, b=other), x)
    for name, flow in apart.items():
        np.testing.assert_array_equal(flows[name].dh, flow.dh)
    assert not np.array_equal(flows["a"].dh, flows["b"].dh)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_recurrent_layer_is_measured(name, batch_first, rng):
    case = MODELS[name]
    model = case.make(np.float64, batch_first)
    x = an_input(case, 5, 5, np.float64, rng)
    flows = rc.gradient_flow(model, x)
    assert len(flows) == model._count
    for key, flow in flows.items():
        assert f"{key}.weight_hh_l0" in model.params
        assert flow.dh.shape[1] == 5
        assert (flow.dh[0] > 0).any()


def test_what_has_no_recurrent_layer_is_refused():
    with pytest.raises(ValueError, match="without a recurrent layer"):
        rc.gradient_flow(rc.Sequential(rc.Linear(3, 2)), np.ones((4, 1, 3), np.float32))
