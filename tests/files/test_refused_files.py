"""What is no saved layer is told so, and what cannot be saved leaves nothing behind."""

import json
import os
import pickle
import re

import numpy as np
import pytest
from problems import STATES
from saved_layers import LAYERS, assert_same_arrays, refused

from rnncore.layers import storage


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
    kinds = sorted({*storage._KINDS, *storage._LOADERS})
    assert {*kinds} > {*STATES, "Frozen", "Sequential", "FrozenModel", "Linear", "Optimizer"}
    with refused(either, f"holds a Model, expected {' or '.join(kinds)}$"):
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
