"""Parameters that are refused, and in which words."""

import numpy as np
import pytest
from refusals import f32, refused

from rnncore.layers import GRU

T, B, I, H = 5, 3, 4, 2


def tampered(layer, **changes):
    params = {name: value.copy() for name, value in layer.params.items()} | changes
    return {name: value for name, value in params.items() if value is not ...}


PARAMS = [
    ({"bias_hh_l0": ...}, ValueError, "params has missing: bias_hh_l0"),
    (
        {"bias_hh_l0": ..., "weight_hh_l0": ..., "bias": f32(1), "w": f32(1)},
        ValueError,
        "params has missing: weight_hh_l0, bias_hh_l0; unknown: bias, w",
    ),
    ({"weight_hr_l0": f32(1)}, ValueError, "params has unknown: weight_hr_l0"),
    (
        {"weight_ih_l0": f32(I, 3 * H)},
        ValueError,
        "weight_ih_l0 has shape (4, 6), expected (6, 4)",
    ),
    ({"bias_ih_l0": f32(1)}, ValueError, "bias_ih_l0 has shape (1,), expected (6,)"),
    (
        {"bias_hh_l0": np.zeros(3 * H)},
        TypeError,
        "bias_hh_l0 has dtype float64, expected float32 as the layer's",
    ),
    (
        {"bias_hh_l0": [0.0] * 3 * H},
        TypeError,
        "bias_hh_l0 is of type list, expected a numpy array",
    ),
    ({"bias_hh_l0": None}, TypeError, "bias_hh_l0 is None, expected a numpy array"),
]


@pytest.mark.parametrize(("changes", "error", "message"), PARAMS, ids=[p[-1] for p in PARAMS])
def test_load_params_refuses_and_changes_nothing(changes, error, message):
    layer, source = GRU(I, H, rng=0), GRU(I, H, rng=1)
    before = {name: value.copy() for name, value in layer.params.items()}
    refused(error, message, lambda: layer.load_params(tampered(source, **changes)))
    for name, value in layer.params.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(("changes", "error", "message"), PARAMS, ids=[p[-1] for p in PARAMS])
def test_params_that_were_tampered_with_are_refused_by_every_use(changes, error, message, tmp_path):
    layer = GRU(I, H)
    *_, trace = layer.forward(f32(T, B, I))
    layer.params = tampered(layer, **changes)
    for use in (
        lambda: layer(f32(T, B, I)),
        lambda: layer.forward(f32(T, B, I)),
        lambda: layer.backward(trace, f32(T, B, H)),
        lambda: layer.save(tmp_path / "layer.npz"),
    ):
        refused(error, message, use)
    assert not list(tmp_path.iterdir())


def test_load_params_into_read_only_arrays_changes_nothing():
    layer = GRU(I, H, rng=0)
    layer.params["bias_hh_l0"].flags.writeable = False
    before = {name: value.copy() for name, value in layer.params.items()}
    message = "params['bias_hh_l0'] is read-only, expected an array to change in place"
    refused(ValueError, message, lambda: layer.load_params(GRU(I, H, rng=1).params))
    for name, value in layer.params.items():
        np.testing.assert_array_equal(value, before[name])


def test_load_params_wants_a_mapping():
    message = "params is of type list, expected a mapping of names to arrays"
    refused(TypeError, message, lambda: GRU(I, H).load_params([f32(1)]))


def test_load_params_of_what_cannot_become_an_array():
    class Elsewhere:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("it lies in the memory of another device")

    layer = GRU(I, H)
    message = "bias_hh_l0 cannot be read as a numpy array: it lies in the memory of another device"
    params = tampered(layer, bias_hh_l0=Elsewhere())
    refused(TypeError, message, lambda: layer.load_params(params))


@pytest.mark.parametrize("option", ["hidden_size", "batch_first", "dtype", "reset"])
def test_options_are_fixed(option):
    layer = GRU(I, H)
    message = f"{option} is fixed once the GRU is made"
    refused(AttributeError, message, lambda: setattr(layer, option, getattr(layer, option)))
