"""What is refused, and in which words: the argument, what came, what was expected."""

import numpy as np
import pytest
from refusals import f32, refused

from rnncore import _check
from rnncore.layers import GRU, LSTM, RNN

T, B, I, H = 5, 3, 4, 2


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
