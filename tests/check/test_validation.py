"""What is refused, and in which words: the argument, what came, what was expected."""

import re

import numpy as np
import pytest

from rnncore import _check
from rnncore.layers import GRU, LSTM, RNN

T, B, I, H = 5, 3, 4, 2


def f32(*shape):
    return np.zeros(shape, np.float32)


def refused(error, message, call):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


# Options


@pytest.mark.parametrize(
    ("cell", "options", "error", "message"),
    [
        (RNN, {"input_size": 0}, ValueError, "input_size is 0, expected an integer of at least 1"),
        (
            RNN,
            {"hidden_size": -2},
            ValueError,
            "hidden_size is -2, expected an integer of at least 1",
        ),
        (RNN, {"num_layers": 0}, ValueError, "num_layers is 0, expected an integer of at least 1"),
        (RNN, {"input_size": 2.0}, TypeError, "input_size is 2.0, expected an integer"),
        (RNN, {"hidden_size": True}, TypeError, "hidden_size is True, expected an integer"),
        (RNN, {"hidden_size": "2"}, TypeError, "hidden_size is '2', expected an integer"),
        (RNN, {"num_layers": None}, TypeError, "num_layers is None, expected an integer"),
        (RNN, {"bias": 1}, TypeError, "bias is 1, expected True or False"),
        (GRU, {"batch_first": "no"}, TypeError, "batch_first is 'no', expected True or False"),
        (LSTM, {"bidirectional": None}, TypeError, "bidirectional is None, expected True or False"),
        (LSTM, {"coupled": 0}, TypeError, "coupled is 0, expected True or False"),
        (
            RNN,
            {"nonlinearity": "sin"},
            ValueError,
            "nonlinearity is 'sin', expected 'tanh' or 'relu'",
        ),
        (
            RNN,
            {"nonlinearity": None},
            ValueError,
            "nonlinearity is None, expected 'tanh' or 'relu'",
        ),
        (GRU, {"reset": "After"}, ValueError, "reset is 'After', expected 'after' or 'before'"),
        (
            LSTM,
            {"peephole": True},
            ValueError,
            "peephole is True, expected None or 'previous' or 'current'",
        ),
        (
            RNN,
            {"dropout": 1},
            ValueError,
            "dropout is 1, expected a number of at least 0 and below 1",
        ),
        (
            RNN,
            {"dropout": float("nan")},
            ValueError,
            "dropout is nan, expected a number of at least 0 and below 1",
        ),
        (RNN, {"dropout": "0"}, TypeError, "dropout is '0', expected a number"),
        (RNN, {"dropout": False}, TypeError, "dropout is False, expected a number"),
        (RNN, {"dtype": np.float16}, TypeError, "dtype is float16, expected float32 or float64"),
        (RNN, {"dtype": int}, TypeError, "dtype is int64, expected float32 or float64"),
        (RNN, {"dtype": None}, TypeError, "dtype is None, expected float32 or float64"),
        (
            RNN,
            {"dtype": "real"},
            TypeError,
            "dtype is 'real', expected float32 or float64",
        ),
        (
            RNN,
            {"dtype": np.dtype(np.float32).newbyteorder()},
            TypeError,
            "dtype is float32 (byte-swapped), expected float32 or float64",
        ),
        (
            RNN,
            {"rng": "seed"},
            TypeError,
            "rng is of type str, expected None, an integer or a numpy Generator",
        ),
        (
            RNN,
            {"rng": True},
            TypeError,
            "rng is of type bool, expected None, an integer or a numpy Generator",
        ),
        (RNN, {"rng": -1}, ValueError, "rng is -1, expected an integer of at least 0"),
        (LSTM, {"proj_size": -1}, ValueError, "proj_size is -1, expected an integer of at least 0"),
        (
            LSTM,
            {"proj_size": H},
            ValueError,
            f"proj_size is {H}, expected less than hidden_size, {H}",
        ),
        (
            GRU,
            {"zoneout": 1},
            ValueError,
            "zoneout is 1, expected a number of at least 0 and below 1",
        ),
        (
            RNN,
            {"nonlinearity": "relu", "activations": ["Elu"]},
            ValueError,
            "activations is given beside nonlinearity 'relu', expected one of them",
        ),
    ],
    ids=str,
)
def test_options(cell, options, error, message):
    arguments = {"input_size": I, "hidden_size": H, **options}
    refused(error, message, lambda: cell(**arguments))


@pytest.mark.parametrize("option", ["nonlinearity", "bidirectinal"])
def test_an_option_of_another_cell_or_of_none(option):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        GRU(I, H, **{option: "tanh"})


@pytest.mark.parametrize("dtype", ["float64", "double", float, np.float64, np.dtype(np.float64)])
def test_dtype_as_numpy_takes_it(dtype):
    layer = RNN(I, H, dtype=dtype)
    assert layer.dtype == np.float64
    assert repr(layer) == "RNN(4, 2, dtype=float64)"


def test_integers_and_flags_of_numpy_are_taken_as_pythons():
    layer = RNN(np.int64(I), np.uint8(H), np.int32(2), bias=np.False_)
    assert repr(layer) == "RNN(4, 2, num_layers=2, bias=False)"
    assert {type(value) for name, value in layer.options.items() if name.endswith("size")} == {int}


# Inputs


X = [
    (f32(T, B, I + 1), ValueError, "x has shape (5, 3, 5), expected (T, B, 4) or (T, 4)"),
    (f32(T, I + 1), ValueError, "x has shape (5, 5), expected (T, B, 4) or (T, 4)"),
    (f32(I), ValueError, "x has shape (4,), expected (T, B, 4) or (T, 4)"),
    (np.float32(1), TypeError, "x is of type float32, expected a numpy array"),
    (f32(1, T, B, I), ValueError, "x has shape (1, 5, 3, 4), expected (T, B, 4) or (T, 4)"),
    (
        np.zeros((T, B, I)),
        TypeError,
        "x has dtype float64, expected float32 as the layer's",
    ),
    (
        np.zeros((T, B, I), np.int32),
        TypeError,
        "x has dtype int32, expected float32 as the layer's",
    ),
    (
        np.zeros((T, B, I), object),
        TypeError,
        "x has dtype object, expected float32 as the layer's",
    ),
    (
        f32(T, B, I).astype(np.dtype(np.float32).newbyteorder()),
        TypeError,
        "x has dtype float32 (byte-swapped), expected float32 as the layer's",
    ),
    ([[0.0] * I], TypeError, "x is of type list, expected a numpy array"),
    (None, TypeError, "x is None, expected a numpy array"),
    (
        np.ma.masked_array(f32(T, B, I)),
        TypeError,
        "x is of type MaskedArray, expected a numpy array",
    ),
]


@pytest.mark.parametrize(("x", "error", "message"), X, ids=[message for *_, message in X])
@pytest.mark.parametrize("method", ["__call__", "forward"])
@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_x(cell, method, x, error, message):
    refused(error, message, lambda: getattr(cell(I, H), method)(x))


def test_x_with_the_batch_first():
    message = "x has shape (5, 3, 5), expected (B, T, 4) or (T, 4)"
    refused(ValueError, message, lambda: GRU(I, H, batch_first=True)(f32(T, B, I + 1)))


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([T] * (B + 1), ValueError, f"lengths has shape ({B + 1},), expected ({B},)"),
        (
            [T] * (B - 1) + [T + 1],
            ValueError,
            f"lengths[{B - 1}] is {T + 1}, expected 0 to {T}, the steps of x",
        ),
        ([-1] * B, ValueError, f"lengths[0] is -1, expected 0 to {T}, the steps of x"),
        ([1.0] * B, TypeError, "lengths has dtype float64, expected integers"),
    ],
    ids=str,
)
def test_lengths(lengths, error, message):
    refused(error, message, lambda: GRU(I, H)(f32(T, B, I), lengths=lengths))
    refused(error, message, lambda: GRU(I, H).forward(f32(T, B, I), lengths=lengths))
    refused(error, message, lambda: GRU(I, H).freeze()(f32(T, B, I), lengths=lengths))


def test_training_is_a_flag():
    message = "training is 1, expected True or False"
    refused(TypeError, message, lambda: GRU(I, H).forward(f32(T, B, I), training=1))


STATE = [
    (GRU, f32(2, B, H), ValueError, "state has shape (2, 3, 2), expected (1, 3, 2)"),
    (GRU, f32(B, H), ValueError, "state has shape (3, 2), expected (1, 3, 2)"),
    (
        RNN,
        np.zeros((1, B, H)),
        TypeError,
        "state has dtype float64, expected float32 as the layer's",
    ),
    (RNN, (f32(1, B, H),), TypeError, "state is of type tuple, expected a numpy array"),
    (LSTM, f32(2, 1, B, H), TypeError, "state is of type ndarray, expected the tuple (h, c)"),
    (LSTM, (f32(1, B, H),), ValueError, "state has 1 entries, expected (h, c)"),
    (LSTM, [f32(1, B, H)] * 3, ValueError, "state has 3 entries, expected (h, c)"),
    (
        LSTM,
        (f32(1, B, H), f32(1, H)),
        ValueError,
        "state[1] has shape (1, 2), expected (1, 3, 2)",
    ),
    (
        LSTM,
        (f32(1, B, H), np.zeros((1, B, H))),
        TypeError,
        "state[1] has dtype float64, expected float32 as the layer's",
    ),
]


@pytest.mark.parametrize(("cell", "state", "error", "message"), STATE, ids=[s[-1] for s in STATE])
def test_state_and_its_gradient(cell, state, error, message):
    layer = cell(I, H)
    *_, trace = layer.forward(f32(T, B, I))
    refused(error, message, lambda: layer(f32(T, B, I), state))
    refused(error, message, lambda: layer.forward(f32(T, B, I), state))
    refused(error, f"d{message}", lambda: layer.backward(trace, None, state))


def test_a_part_of_a_state_may_be_missing_only_in_its_gradient():
    layer = LSTM(I, H)
    y, (h, c), trace = layer.forward(f32(T, B, I))
    layer.backward(trace, y, (h, None))
    layer.backward(trace, y, (None, c))
    message = "state[1] is None, expected a numpy array"
    refused(TypeError, message, lambda: layer(f32(T, B, I), (h, None)))


def test_state_without_a_batch():
    message = "state has shape (1, 1, 2), expected (1, 2)"
    refused(ValueError, message, lambda: RNN(I, H)(f32(T, I), f32(1, 1, H)))


@pytest.mark.parametrize(
    ("dy", "error", "message"),
    [
        (f32(T, B, H), ValueError, "dy has shape (5, 3, 2), expected (5, 3, 4)"),
        (f32(1, B, 2 * H), ValueError, "dy has shape (1, 3, 4), expected (5, 3, 4)"),
        (1.0, TypeError, "dy is of type float, expected a numpy array"),
        (
            np.zeros((T, B, 2 * H)),
            TypeError,
            "dy has dtype float64, expected float32 as the layer's",
        ),
    ],
)
def test_dy(dy, error, message):
    layer = GRU(I, H, bidirectional=True)
    *_, trace = layer.forward(f32(T, B, I))
    refused(error, message, lambda: layer.backward(trace, dy))


@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_backward_without_any_gradient(cell):
    """It would be zeros, and who calls it so has forgotten something."""
    layer = cell(I, H)
    *_, trace = layer.forward(f32(T, B, I))
    flow = np.ones((2 if cell is LSTM else 1, 1, T, B))
    for dstate in [None, (None, None), [None, None]] if cell is LSTM else [None]:
        message = f"dy is None and dstate is {dstate}, expected at least one gradient"
        refused(ValueError, message, lambda: layer.backward(trace, None, dstate, flow=flow))  # noqa: B023
    assert (flow == 1).all()


# Traces


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (RNN(I, H), "RNN(4, 2)"),
        (GRU(I, H + 1), "GRU(4, 3)"),
        (GRU(I, H, 2), "GRU(4, 2, num_layers=2)"),
        (GRU(I, H, reset="before"), "GRU(4, 2, reset='before')"),
        (GRU(I, H, bidirectional=True), "GRU(4, 2, bidirectional=True)"),
        (GRU(I, H, batch_first=True), "GRU(4, 2, batch_first=True)"),
    ],
    ids=str,
)
def test_trace_of_another_layer(other, text):
    *_, trace = other.forward(f32(T, B, I))
    message = f"trace is of {text}, expected one of GRU(4, 2)"
    refused(ValueError, message, lambda: GRU(I, H).backward(trace))


def test_trace_of_another_dtype():
    *_, trace = GRU(I, H, dtype=np.float64).forward(np.zeros((T, B, I)))
    message = "trace is of GRU(4, 2, dtype=float64), expected one of GRU(4, 2)"
    refused(ValueError, message, lambda: GRU(I, H).backward(trace))


def test_trace_without_training():
    layer = GRU(I, H)
    *_, trace = layer.forward(f32(T, B, I), training=False)
    message = "trace was made with training=False, expected training=True"
    refused(ValueError, message, lambda: layer.backward(trace))


def test_what_is_no_trace():
    message = "trace is of type ndarray, expected Trace"
    refused(TypeError, message, lambda: GRU(I, H).backward(f32(T, B, H)))


# Parameters


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


# The functions themselves, where layers do not reach


def test_array_of_either_float_dtype():
    for dtype in (np.float32, np.float64):
        value = np.zeros((2, 3), dtype)
        assert _check.array("x", value, ("T", "I")) is value
    message = "x has dtype int64, expected float32 or float64"
    refused(TypeError, message, lambda: _check.array("x", np.zeros(3, np.int64), ("T",)))


def test_array_names_whose_dtype_it_is():
    message = "b has dtype float32, expected float64 as x's"
    want = np.dtype(np.float64)
    refused(TypeError, message, lambda: _check.array("b", f32(3), (3,), dtype=want, owner="x"))


def test_a_letter_stands_for_any_size_and_a_number_for_itself():
    assert _check.array("x", f32(0, 7), ("T", 7)).shape == (0, 7)
    message = "x has shape (7, 0), expected (T, 7)"
    refused(ValueError, message, lambda: _check.array("x", f32(7, 0), ("T", 7)))


def test_mapped_files_are_plain_arrays(tmp_path):
    np.save(tmp_path / "x.npy", f32(2, 3))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    plain = _check.array("x", mapped, (2, 3))
    assert type(plain) is np.ndarray
    assert np.shares_memory(plain, mapped)


def test_optional_array():
    assert _check.optional_array("b", None, (3,)) is None
    message = "b has shape (2,), expected (3,)"
    refused(ValueError, message, lambda: _check.optional_array("b", f32(2), (3,)))
