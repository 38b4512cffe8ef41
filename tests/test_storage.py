"""Saved layers come back as they were, and what is no saved layer is told so."""

import json
import os
import pickle
import re
import stat
import zipfile

import numpy as np
import pytest

from rnncore import storage
from rnncore.layers import GRU, LSTM, RNN

LAYERS = [
    RNN(3, 4, nonlinearity="relu", rng=0),
    GRU(3, 4, 2, reset="before", bias=False, dtype=np.float64, rng=0),
    GRU(3, 4, batch_first=True, rng=0),
    LSTM(1, 1, rng=0),
    LSTM(3, 4, 2, bidirectional=True, peephole="current", coupled=True, rng=0),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "layer.npz"


def assert_same_arrays(got, want):
    assert list(got) == list(want)
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, strict=True)


def refused(path, reason):
    """A ValueError that begins with the path and goes on with the reason."""
    return pytest.raises(ValueError, match=f"^{re.escape(str(path))} {reason}")


# What comes back


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_layer_comes_back(layer, path):
    layer.save(path)
    loaded = storage.load(path)
    assert type(loaded) is type(layer)
    assert repr(loaded) == repr(layer)
    assert loaded.options == layer.options
    assert_same_arrays(loaded.params, layer.params)
    x = np.random.default_rng(0).standard_normal((5, 2, layer.input_size)).astype(layer.dtype)
    np.testing.assert_array_equal(loaded(x)[0], layer(x)[0])
    loaded.params["weight_ih_l0"][...] = 0  # writable, and nobody else's


def test_every_bit_comes_back(path):
    layer = RNN(2, 3, dtype=np.float64)
    odd = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324, np.nextafter(1, 2), 1 / 3, np.pi]
    layer.params["weight_hh_l0"].ravel()[...] = odd
    layer.save(path)
    loaded = storage.load(path).params["weight_hh_l0"]
    assert loaded.tobytes() == layer.params["weight_hh_l0"].tobytes()


def test_the_path_may_be_text_or_a_path(path):
    LAYERS[0].save(str(path))
    assert_same_arrays(storage.load(str(path)).params, LAYERS[0].params)
    assert_same_arrays(storage.load(path).params, LAYERS[0].params)


def test_numpy_reads_the_file_and_needs_no_pickle(path):
    layer = LAYERS[-1]
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


def test_arrays_of_the_other_byte_order_come_back_in_this_one(path):
    swapped = np.arange(3.0).astype(np.dtype(np.float64).newbyteorder())
    storage.save_arrays(path, "Model", {}, {"a": swapped})
    _, _, arrays = storage.load_arrays(path)
    assert arrays["a"].dtype == np.float64
    assert arrays["a"].tolist() == [0.0, 1.0, 2.0]


# What is refused


@pytest.mark.parametrize("load", [storage.load, storage.load_arrays])
def test_a_missing_file(path, load):
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        load(path)


@pytest.mark.parametrize("name", ["layer", "layer.npy", "layer.NPZ", "layer.npz.bak"])
def test_another_suffix(tmp_path, name):
    path = tmp_path / name
    with refused(path, "has the suffix .*, expected '.npz'$"):
        LAYERS[0].save(path)
    with refused(path, "has the suffix .*, expected '.npz'$"):
        storage.load(path)
    assert not list(tmp_path.iterdir())


def test_safetensors_are_for_later(tmp_path):
    for use in (LAYERS[0].save, storage.load):
        with pytest.raises(NotImplementedError, match=r"\.safetensors is not supported yet"):
            use(tmp_path / "layer.safetensors")


FOREIGN = {
    "empty": b"",
    "text": b"weights: none\n",
    "pickle": pickle.dumps({"weight_ih_l0": [0.0]}),
    "zip of nothing": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file(path, content):
    path.write_bytes(content)
    with refused(path, "is damaged or was not saved by rnncore: ."):
        storage.load(path)


def test_an_array_under_the_suffix_of_another_format(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with refused(path, "is damaged or was not saved by rnncore: ."):
        storage.load(path)


def test_arrays_of_numpy_without_a_header(path):
    np.savez(path, weight_ih_l0=np.zeros((4, 3)))
    with refused(path, "is damaged or was not saved by rnncore: .*rnncore"):
        storage.load(path)


HEADERS = {
    "no JSON": "{",
    "no object": "[1]",
    "no kind": '{"format": 1, "options": {}}',
    "options are no object": '{"format": 1, "kind": "GRU", "options": 3}',
    "kind is no text": '{"format": 1, "kind": ["GRU"], "options": {}}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_of_another_form(path, header):
    np.savez(path, rnncore=np.array(header))
    with refused(path, "is damaged or was not saved by rnncore: ."):
        storage.load(path)


class Exploit:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploited",)


@pytest.mark.parametrize("name", ["rnncore", "weight_ih_l0"])
def test_pickled_arrays_are_not_run(path, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    header = json.dumps({"format": 1, "kind": "RNN", "options": LAYERS[0].options})
    arrays = {"rnncore": np.array(header), **LAYERS[0].params, name: np.array(Exploit())}
    np.savez(path, **arrays)
    with refused(path, "is damaged or was not saved by rnncore: .*allow_pickle=False"):
        storage.load(path)
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_another_version(path, version):
    header = json.dumps({"format": version, "kind": "RNN", "options": {}})
    np.savez(path, rnncore=np.array(header), new=np.array(Exploit()))
    reason = f"has format {version}, expected 1: it is from another version of rnncore$"
    with refused(path, reason):
        storage.load(path)
    with refused(path, reason):
        storage.load_arrays(path)


def test_another_kind(path):
    storage.save_arrays(path, "Model", {}, {})
    with refused(path, "holds a Model, expected GRU or LSTM or RNN$"):
        storage.load(path)
    with refused(path, "holds a Model, expected a Dictionary$"):
        storage.load_arrays(path, "Dictionary")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"hidden_size": 0}, "hidden_size is 0, expected an integer of at least 1"),
        ({"hidden_size": 5}, r"weight_ih_l0 has shape \(4, 3\), expected \(5, 3\)"),
        ({"dtype": "float64"}, "weight_ih_l0 has dtype float32, expected float64 as the layer's"),
        ({"bias": False}, "params has unknown: bias_ih_l0, bias_hh_l0"),
        ({"num_layers": 2}, "params has missing: weight_ih_l1"),
        ({"proj_size": 2}, ".*unexpected keyword argument 'proj_size'"),
        ({"dropout": 1.5}, "dropout is 1.5, expected a number of at least 0 and below 1"),
    ],
    ids=str,
)
def test_options_that_do_not_fit(path, options, reason):
    layer = LAYERS[0]
    storage.save_arrays(path, "RNN", {**layer.options, **options}, layer.params)
    with refused(path, f"holds no RNN that can be made here: {reason}"):
        storage.load(path)


def test_every_truncation_is_told(path):
    LAYERS[3].save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with refused(path, "is damaged or was not saved by rnncore: ."):
            storage.load(path)


def test_every_damaged_byte_is_told_or_harmless(path):
    """A zip has bytes that say nothing of its contents, such as times. All others are guarded."""
    LAYERS[3].save(path)
    whole, messages = path.read_bytes(), []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            loaded = storage.load(path)
        except ValueError as error:
            messages.append(str(error))
        else:
            assert repr(loaded) == repr(LAYERS[3])
            assert_same_arrays(loaded.params, LAYERS[3].params)
    assert all(message.startswith(f"{path} ") for message in messages)
    assert len(messages) > len(whole) / 2


# What saving leaves behind


class Unwritable:
    """As an array that cannot be written after all."""

    def __array__(self, dtype=None, copy=None):
        raise MemoryError("no memory left")


def test_a_failed_save_leaves_what_was_there(path):
    LAYERS[0].save(path)
    before = path.read_bytes()
    arrays = {"first": np.zeros(1000), "second": Unwritable()}
    with pytest.raises(MemoryError):
        storage.save_arrays(path, "Model", {}, arrays)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_save_leaves_what_was_there(path, monkeypatch):
    LAYERS[0].save(path)
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        LAYERS[1].save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_saving_again_replaces(path):
    LAYERS[0].save(path)
    LAYERS[1].save(path)
    assert repr(storage.load(path)) == repr(LAYERS[1])
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such permissions")
def test_the_file_has_the_permissions_of_any_new_file(path):
    LAYERS[0].save(path)
    other = path.with_name("other")
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_saving_to_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        LAYERS[0].save(tmp_path / "nowhere" / "layer.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "arrays", "error", "message"),
    [
        ({}, {"rnncore": np.zeros(1)}, ValueError, "arrays has the key 'rnncore'"),
        ({}, {"a": np.array([None])}, ValueError, "Object arrays cannot be saved"),
        ({"a": np.float32(1)}, {}, TypeError, "float32 is not JSON serializable"),
    ],
    ids=["header", "objects", "options"],
)
def test_what_cannot_be_saved(path, options, arrays, error, message):
    with pytest.raises(error, match=message):
        storage.save_arrays(path, "Model", options, arrays)
    assert not list(path.parent.iterdir())


def test_a_class_that_load_does_not_know(path):
    class Other(GRU):
        pass

    with pytest.raises(TypeError, match="layer is of type Other, expected GRU or LSTM or RNN"):
        Other(3, 4).save(path)
    assert not list(path.parent.iterdir())


def test_the_file_is_a_zip_of_npy_files(path):
    LAYERS[3].save(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["rnncore.npy", *(f"{n}.npy" for n in LAYERS[3].params)]
