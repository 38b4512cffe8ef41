"""Saved layers come back as they were, and saving leaves nothing else behind.

What holds of either form of file is tested with both.
"""

import json
import os
import stat
import zipfile

import numpy as np
import pytest
from saved_layers import LAYERS, assert_same_arrays

from rnncore.layers import GRU, RNN, storage

# What comes back


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_layer_comes_back(layer, either):
    layer.save(either)
    loaded = storage.load(either)
    assert type(loaded) is type(layer)
    assert repr(loaded) == repr(layer)
    assert loaded.options == layer.options
    assert_same_arrays(loaded.params, layer.params)
    x = np.random.default_rng(0).standard_normal((5, 2, layer.input_size)).astype(layer.dtype)
    np.testing.assert_array_equal(loaded(x)[0], layer(x)[0])
    loaded.params["weight_ih_l0"][...] = 0  # writable, and nobody else's


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_trace_of_a_layer_is_one_of_the_loaded_too(layer, either):
    """Their options are equal, whatever JSON has made of a tuple or a number."""
    x = np.ones((5, 2, layer.input_size), layer.dtype)
    y, _, trace = layer.forward(x)
    layer.save(either)
    loaded = storage.load(either)
    assert_same_arrays(loaded.backward(trace, y).params, layer.backward(trace, y).params)
    assert loaded.forward(x)[2].options == trace.options


def test_every_bit_comes_back(either):
    layer = RNN(2, 3, dtype=np.float64)
    odd = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324, np.nextafter(1, 2), 1 / 3, np.pi]
    layer.params["weight_hh_l0"].ravel()[...] = odd
    layer.save(either)
    loaded = storage.load(either).params["weight_hh_l0"]
    assert loaded.tobytes() == layer.params["weight_hh_l0"].tobytes()


def test_the_path_may_be_text_or_a_path(either):
    LAYERS[0].save(str(either))
    assert_same_arrays(storage.load(str(either)).params, LAYERS[0].params)
    assert_same_arrays(storage.load(either).params, LAYERS[0].params)


def test_numpy_reads_the_file_and_needs_no_pickle(path):
    layer = LAYERS[4]
    layer.save(path)
    with np.load(path, allow_pickle=False) as npz:
        header = json.loads(npz["rnncore"].item())
        arrays = {name: npz[name] for name in npz.files if name != "rnncore"}
    assert header == {"format": 1, "kind": "LSTM", "options": layer.options}
    assert_same_arrays(arrays, layer.params)


def test_arrays_of_any_name_and_kind(path):
    arrays = {
        "file": np.arange(3),
        "layer/weight.npy": np.zeros((0, 2), np.float32),
        "0": np.array(7, np.uint8),
        "text é": np.array(["one", "two"]),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(6.0)[::2],
        "flags": np.array([True, False]),
    }
    options = {"steps": 3, "rate": 0.1, "name": "é", "list": [1, None], "nested": {"a": True}}
    storage.save_arrays(path, "Model", options, arrays)
    kind, got_options, got = storage.load_arrays(path, "Model")
    assert kind == "Model"
    assert got_options == options
    assert_same_arrays(got, arrays)


def test_arrays_of_the_other_byte_order_come_back_in_this_one(either):
    swapped = np.arange(3.0).astype(np.dtype(np.float64).newbyteorder())
    storage.save_arrays(either, "Model", {}, {"a": swapped})
    _, _, arrays = storage.load_arrays(either)
    assert arrays["a"].dtype == np.float64
    assert arrays["a"].tolist() == [0.0, 1.0, 2.0]


# What saving leaves behind


class Unwritable:
    """As an array that cannot be written after all."""

    def __array__(self, dtype=None, copy=None):
        raise MemoryError("no memory left")


def test_a_failed_save_leaves_what_was_there(either):
    LAYERS[0].save(either)
    before = either.read_bytes()
    arrays = {"first": np.zeros(1000), "second": Unwritable()}
    with pytest.raises(MemoryError):
        storage.save_arrays(either, "Model", {}, arrays)
    assert either.read_bytes() == before
    assert list(either.parent.iterdir()) == [either]


def test_an_interrupted_save_leaves_what_was_there(either, monkeypatch):
    LAYERS[0].save(either)
    before = either.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        LAYERS[1].save(either)
    assert either.read_bytes() == before
    assert list(either.parent.iterdir()) == [either]


def test_an_interrupt_comes_out_as_it_is(path, monkeypatch):
    """Also where a member has been begun, and the archive cannot be closed."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile, "_get_compressor", interrupt)
    with pytest.raises(KeyboardInterrupt):
        LAYERS[0].save(path)
    assert not [*path.parent.iterdir()]


def test_saving_again_replaces(either):
    LAYERS[0].save(either)
    LAYERS[1].save(either)
    assert repr(storage.load(either)) == repr(LAYERS[1])
    assert list(either.parent.iterdir()) == [either]


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such permissions")
def test_the_file_has_the_permissions_of_any_new_file(either):
    LAYERS[0].save(either)
    other = either.with_name("other")
    other.touch()
    assert stat.S_IMODE(either.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_saving_to_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        LAYERS[0].save(tmp_path / "nowhere" / "layer.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "arrays", "error", "message"),
    [
        ({}, {"rnncore": np.zeros(1)}, ValueError, "arrays has the key 'rnncore'"),
        (
            {},
            {"a": np.array([None])},
            ValueError,
            "Object arrays|a has dtype object",
        ),
        ({"a": np.float32(1)}, {}, TypeError, "float32 is not JSON serializable"),
    ],
    ids=["header", "objects", "options"],
)
def test_what_cannot_be_saved(either, options, arrays, error, message):
    with pytest.raises(error, match=message):
        storage.save_arrays(either, "Model", options, arrays)
    assert not list(either.parent.iterdir())


def test_a_class_that_load_does_not_know(either):
    class Other(GRU):
        pass

    kinds = " or ".join(sorted(storage._KINDS))
    with pytest.raises(TypeError, match=f"layer is of type Other, expected {kinds}$"):
        Other(3, 4).save(either)
    assert not list(either.parent.iterdir())


def test_the_file_is_a_zip_of_npy_files(path):
    LAYERS[3].save(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["rnncore.npy", *(f"{n}.npy" for n in LAYERS[3].params)]
