"""Saved layers come back as they were, and what is no saved layer is told so.

What holds of either form of file is tested with both; then what is peculiar to one of them.
"""

import json
import os
import pickle
import re
import stat
import sys
import zipfile

import numpy as np
import pytest

from rnncore.layers import GRU, LSTM, RNN, storage

LAYERS = [
    RNN(3, 4, nonlinearity="relu", rng=0),
    GRU(3, 4, 2, reset="before", bias=False, dtype=np.float64, rng=0),
    GRU(3, 4, batch_first=True, rng=0),
    LSTM(1, 1, rng=0),
    LSTM(3, 4, 2, bidirectional=True, peephole="current", coupled=True, rng=0),
    LSTM(3, 4, 2, proj_size=2, dropout=0.1, recurrent_dropout=0.2, zoneout=0.3, rng=0),
    RNN(3, 4, activations=[("ScaledTanh", 1.7, 0.7)], clip=2.5, rng=0),
    GRU(3, 4, activations=("HardSigmoid", ["LeakyRelu", 0.1]), rng=0),
    LSTM(3, 4, activations=("sigmoid", "tanh", ("Affine", 1, 0.5)), clip=3, rng=0),
]


@pytest.fixture
def path(tmp_path):
    """For what is peculiar to the form that needs no other library."""
    return tmp_path / "layer.npz"


@pytest.fixture(params=["npz", "safetensors"])
def either(request, tmp_path):
    """A path of either form."""
    if request.param == "safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"layer.{request.param}"


def assert_same_arrays(got, want):
    assert sorted(got) == sorted(want)  # .safetensors has an order of its own
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, strict=True)


def refused(path, reason):
    """A ValueError that begins with the path and goes on with the reason."""
    return pytest.raises(ValueError, match=f"^{re.escape(str(path))} {reason}")


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


# What is refused


@pytest.mark.parametrize("load", [storage.load, storage.load_arrays])
def test_a_missing_file(either, load):
    with pytest.raises(FileNotFoundError, match=re.escape(str(either))):
        load(either)


@pytest.mark.parametrize("name", ["layer", "layer.npy", "layer.NPZ", "layer.npz.bak"])
def test_another_suffix(tmp_path, name):
    path = tmp_path / name
    with refused(path, "has the suffix .*, expected '.npz' or '.safetensors'$"):
        LAYERS[0].save(path)
    with refused(path, "has the suffix .*, expected '.npz' or '.safetensors'$"):
        storage.load(path)
    assert not list(tmp_path.iterdir())


FOREIGN = {
    "empty": b"",
    "text": b"weights: none\n",
    "pickle": pickle.dumps({"weight_ih_l0": [0.0]}),
    "zip of nothing": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file(either, content):
    either.write_bytes(content)
    with refused(either, "is (damaged or was not saved by rnncore: .|an .npz that rnncore did no)"):
        storage.load(either)


def test_an_array_under_the_suffix_of_another_format(either):
    with open(either, "wb") as file:
        np.save(file, np.zeros(3))
    with refused(either, "is damaged or was not saved by rnncore: ."):
        storage.load(either)


def test_arrays_of_numpy_without_a_header(path):
    np.savez(path, weight_ih_l0=np.zeros((4, 3)))
    with refused(path, r"is an .npz that rnncore did not save, .*load_params.*numpy\.load\(file"):
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
    with refused(path, "is damaged or was not saved by rnncore: Object arrays cannot be loaded"):
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


def test_another_kind(either):
    storage.save_arrays(either, "Model", {}, {})
    with refused(either, "holds a Model, expected GRU or LSTM or RNN$"):
        storage.load(either)
    with refused(either, "holds a Model, expected a Dictionary$"):
        storage.load_arrays(either, "Dictionary")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"hidden_size": 0}, "hidden_size is 0, expected an integer of at least 1"),
        ({"hidden_size": 5}, r"weight_ih_l0 has shape \(4, 3\), expected \(5, 3\)"),
        ({"dtype": "float64"}, "weight_ih_l0 has dtype float32, expected float64 as the layer's"),
        ({"bias": False}, "params has unknown: bias_.h_l0, bias_.h_l0"),
        ({"num_layers": 2}, "params has missing: weight_ih_l1"),
        ({"proj_size": 2}, ".*unexpected keyword argument 'proj_size'"),
        ({"dropout": 1.5}, "dropout is 1.5, expected a number of at least 0 and below 1"),
    ],
    ids=str,
)
def test_options_that_do_not_fit(either, options, reason):
    layer = LAYERS[0]
    storage.save_arrays(either, "RNN", {**layer.options, **options}, layer.params)
    with refused(either, f"holds no RNN that can be made here: {reason}"):
        storage.load(either)


def test_every_truncation_is_told(either):
    LAYERS[3].save(either)
    whole = either.read_bytes()
    for length in range(len(whole)):
        either.write_bytes(whole[:length])
        with refused(either, "is damaged or was not saved by rnncore: ."):
            storage.load(either)


def test_every_damaged_byte_is_told_or_harmless(either):
    """A zip has bytes that say nothing of its contents, such as times. All others are guarded."""
    LAYERS[3].save(either)
    whole, messages = either.read_bytes(), []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        either.write_bytes(damaged)
        try:
            loaded = storage.load(either)
        except ValueError as error:
            messages.append(str(error))
        else:
            assert repr(loaded) == repr(LAYERS[3])
            assert_same_arrays(loaded.params, LAYERS[3].params)
    assert all(message.startswith(f"{either} ") for message in messages)
    assert len(messages) > len(whole) / 2


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

    with pytest.raises(TypeError, match="layer is of type Other, expected GRU or LSTM or RNN"):
        Other(3, 4).save(either)
    assert not list(either.parent.iterdir())


def test_the_file_is_a_zip_of_npy_files(path):
    LAYERS[3].save(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["rnncore.npy", *(f"{n}.npy" for n in LAYERS[3].params)]


# What only a .safetensors file has


@pytest.fixture
def tensors(tmp_path):
    pytest.importorskip("safetensors")
    return tmp_path / "layer.safetensors"


def test_torch_reads_safetensors(tensors):
    """It finds the names and layouts of its own layer, which computes the same then."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    layer = LSTM(3, 4, 2, bidirectional=True, proj_size=2, dtype=np.float64, rng=0)
    layer.save(tensors)
    module = torch.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2, dtype=torch.float64)
    module.load_state_dict(load_file(tensors))
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    want = module(torch.tensor(x))[0].detach().numpy()
    np.testing.assert_allclose(layer(x)[0], want, rtol=1e-12, atol=1e-14)


def test_what_safetensors_shows_of_the_file(tensors):
    from safetensors import safe_open

    layer = LAYERS[4]
    layer.save(tensors)
    with safe_open(tensors, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["rnncore"])
    assert header == {"format": 1, "kind": "LSTM", "options": layer.options}
    assert_same_arrays(arrays, layer.params)


def test_safetensors_that_nobody_described(tensors):
    from safetensors.numpy import save_file

    for metadata in (None, {"format": "pt"}):
        save_file(LAYERS[0].params, tensors, metadata)
        reason = r"is a .safetensors file that rnncore did not save, .*load_params.*load_file\(file"
        with refused(tensors, reason):
            storage.load(tensors)
    save_file(LAYERS[0].params, tensors, {"rnncore": "{}"})
    with refused(tensors, "is damaged or was not saved by rnncore: ."):
        storage.load(tensors)


def test_safetensors_of_another_version(tensors):
    from safetensors.numpy import save_file

    header = json.dumps({"format": 2, "kind": "RNN", "options": {}})
    save_file({}, tensors, {"rnncore": header, "rnncore crc32": "of another kind"})
    with refused(tensors, "has format 2, expected 1: it is from another version of rnncore$"):
        storage.load(tensors)


def test_arrays_of_any_layout_and_number_in_safetensors(tensors):
    arrays = {
        "none": np.zeros((0, 2), np.float32),
        "scalar": np.array(7, np.uint8),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(6.0)[::-2],
        "flags": np.array([True, False]),
    }
    storage.save_arrays(tensors, "Model", {}, arrays)
    _, _, got = storage.load_arrays(tensors, "Model")
    assert_same_arrays(got, arrays)
    message = "text has dtype <U3, expected numbers for .safetensors"
    with pytest.raises(ValueError, match=message):
        storage.save_arrays(tensors, "Model", {}, {"text": np.array(["one"])})
    with pytest.raises(ValueError, match="arrays has the key '__metadata__'"):
        storage.save_arrays(tensors, "Model", {}, {"__metadata__": np.zeros(1)})


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    path = tmp_path / "layer.safetensors"
    message = "the form .safetensors needs the library safetensors: pip install safetensors"
    for use in (LAYERS[0].save, storage.load):
        with pytest.raises(ImportError, match=f"^{re.escape(f'{path}: {message}')}"):
            use(path)
    assert not list(tmp_path.iterdir())
