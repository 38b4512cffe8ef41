"""What does not fit is named, with its place; and files that are damaged or made to do harm."""

import contextlib
import io
import json
import os
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from work import little_work

from rnncore.convert import keras_cudnn
from rnncore.convert.from_keras import from_keras

DATA = Path(__file__).parents[1] / "data"
INPUT = {"class_name": "InputLayer", "config": {"name": "i", "batch_shape": [None, None, 3]}}


def layer(kind, **config):
    return {"class_name": kind, "config": {"name": "x", **config}}


def zipped(path, config, weights=None, version="3.1.0", **more):
    """A .keras of any config, with the arrays of another."""
    if weights is None:
        with zipfile.ZipFile(DATA / "keras_2_13.keras") as archive:
            weights = archive.read("model.weights.h5")
    parts = {
        "config.json": config if isinstance(config, str | bytes) else json.dumps(config),
        "metadata.json": json.dumps({"keras_version": version}),
        "model.weights.h5": weights,
    } | more
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def model(*layers):
    return {"class_name": "Sequential", "config": {"name": "m", "layers": [INPUT, *layers]}}


def refused(path, message, **options):
    """Refused soon, with the file's name and the reason."""
    with (
        little_work(),
        pytest.raises(ValueError, match=f"^{re.escape(str(path))}(: | cannot be read: ).") as told,
    ):
        from_keras(path, **options)
    assert re.search(message, str(told.value)), told.value


LSTM = {"units": 2, "return_sequences": True}
LAYERS = {
    "Lambda": (layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4w=="}}),
               r"layer 'x' \(Lambda\) does not fit: it is code, which is never run"),
    "unknown": (layer("ConvLSTM1D"), r"layer 'x' \(ConvLSTM1D\) does not fit"),
    "own class": ({**layer("LSTM", **LSTM), "module": "my.things", "registered_name": None},
                  r"layer 'x' \(LSTM\) is of the class my.things.LSTM, which is no class of Keras"),
    "registered": ({**layer("LSTM", **LSTM), "module": None, "registered_name": "Own>LSTM"},
                   r"layer 'x' \(LSTM\) is of the class Own>LSTM"),
    "merge": (layer("Add"), r"layer 'x' \(Add\) does not fit: branches that come together"),
    "merge_mode": (layer("Bidirectional", layer=layer("LSTM", **LSTM), merge_mode=None),
                   r"layer 'x' \(Bidirectional\) has merge_mode None, expected concat, sum"),
    "directions": (layer("Bidirectional", layer=layer("LSTM", **LSTM), merge_mode="sum",
                         backward_layer=layer("LSTM", units=2, go_backwards=True)),
                   r"has directions with other options"),
    "both forward": (layer("Bidirectional", layer=layer("LSTM", go_backwards=True, **LSTM),
                           merge_mode="sum"), r"has a first direction that goes backwards"),
    "activation": (layer("Activation", activation="mine"),
                   r"layer 'x' \(Activation\) has activation 'mine', which there is not here"),
    "function": (layer("Dense", activation={"class_name": "function", "config": "f"}),
                 r"has activation 'f', a function whose code is not in the file"),
    "in a cell": (layer("LSTM", activation="gelu", **LSTM),
                  r"layer 'x' \(LSTM\) has activation 'gelu', expected one of identity, sigmoid"),
    "axis": (layer("BatchNormalization", axis=1, epsilon=1e-3, momentum=0.9),
             r"\(BatchNormalization\) has axis 1, expected -1, the last"),
    "layout": (layer("Conv1D", data_format="channels_first"), "expected channels_last"),
    "padding": (layer("MaxPooling1D", padding="full", pool_size=2),
                "has padding 'full', expected valid or same"),
    "flatten": (layer("Flatten"), "makes one row of all steps"),
    "reshape": (layer("Reshape", target_shape=[3]), "axes keep their places here"),
    "softmax": (layer("Softmax", axis=1), "has axis 1, expected -1"),
    "relu": (layer("ReLU", max_value=6.0, threshold=1.0), "expected one of them"),
    "quantised": (layer("Dense", dtype={"class_name": "QuantizedDTypePolicy",
                                        "config": {"name": "int8_from_float32"}}), "is quantised"),
    "time": (layer("TimeDistributed", layer=layer("Conv1D")), "has a Conv1D for each step"),
    "no config": ({"class_name": "Dense"}, "a Dense has the config None"),
    "no class": ({"config": {}}, "a layer has the class None"),
    "a text": ("Dense", "a layer is 'Dense', expected its class and config"),
    "units": (layer("LSTM", units=-1), r"layer 'x' \(LSTM\) has units -1, expected a size"),
    "huge units": (layer("LSTM", units=10**30), "expected a size"),
    "no units": (layer("LSTM"), "has no units, expected a size"),
    "a flag": (layer("LSTM", return_sequences="yes", units=2), "expected true or false"),
    "a number": (layer("LeakyReLU", negative_slope="0.1"), "expected a number"),
    "huge pool": (layer("MaxPooling1D", pool_size=1 << 39), "expected an integer of at most"),
    "no arrays": (layer("Embedding"), "has 0 arrays|no ids"),
    "sizes": (layer("Dense"), r"layer 'x' \(Dense\) has a weight for 4 inputs, expected 3"),
    "rate": (layer("Dropout", rate=2.0), "p is 2.0"),
    "steps": (layer("GlobalMaxPooling1D", keepdims=True), "has keepdims"),
    "scale": (layer("Rescaling", scale=[1, 2]), "has scale a list, expected a number"),
    "cells": (layer("RNN", cell=layer("Mine")), r"layer 'x' \(Mine\) is no cell of LSTM"),
    "sparse": (layer("InputLayer", ragged=True), "is sparse or ragged"),
}  # fmt: skip


def test_arrays_that_are_none_of_cudnn():
    for arrays in [np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8)], [np.zeros((3, 7))] * 3:
        with pytest.raises(ValueError, match=r"^has arrays of the shapes \("):
            keras_cudnn.plain("CuDNNLSTM", arrays)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, tmp_path):
    told, message = LAYERS[name]
    refused(zipped(tmp_path / "m.keras", model(told)), message)


def functional(*layers, inputs=1, outputs=1):
    config = {"name": "m", "layers": list(layers)}
    config["input_layers"] = [[f"i{k}" if k else "i", 0, 0] for k in range(inputs)]
    config["output_layers"] = [["o", 0, k] for k in range(outputs)]
    return {"class_name": "Functional", "config": config}


def called(name, kind, *sources, **kwargs):
    args = [{"class_name": "__keras_tensor__", "config": {"keras_history": [source, 0, 0]}}
            for source in sources]  # fmt: skip
    nodes = [{"args": args, "kwargs": kwargs}] if sources else []
    config = {"name": name, "activation": "tanh", "batch_shape": [None, None, 3]}
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes}


START = called("i", "InputLayer")
GRAPHS = {
    "two inputs": (functional(START, called("o", "Activation", "i"), inputs=2), "2 inputs"),
    "two outputs": (functional(START, called("o", "LSTM", "i"), outputs=2),
                    "has 2 outputs, expected one: it also gives output 1 of layer 'o'; final"),
    "branches": (functional(START, called("a", "Activation", "i"), called("o", "Add", "i", "a")),
                 r"layer 'o' \(Add\) has 2 inputs, expected one: branches do not fit"),
    "beside": (functional(START, called("a", "Activation", "i"), called("o", "Activation", "i")),
               r"layer 'a' \(Activation\) stands beside the chain"),
    "a circle": (functional(START, called("a", "Activation", "o"), called("o", "Activation", "a")),
                 "goes in a circle, at layer 'o'"),
    "nowhere": (functional(START, called("o", "Activation", "z")), "reads layer 'z', which there"),
    "training": (functional(START, called("o", "Dropout", "i", training=True)),
                 "is called with training=, which does not fit"),
    "own mask": (functional(START, called("o", "LSTM", "i", mask={
        "class_name": "__keras_tensor__", "config": {"keras_history": ["i", 0, 0]}})),
        "is called with mask=, which does not fit"),
    "a state": ({**functional(START, called("o", "LSTM", "i")), "config": {
        **functional(START, called("o", "LSTM", "i"))["config"], "output_layers": [["o", 0, 1]]}},
        "reads output 1 of layer 'o'"),
    "no names": (functional({"class_name": "Dense", "config": {}}), "has a layer without a name"),
    "one name": (functional(START, START), "has two layers of one name"),
    "twice": (functional(START, {**called("o", "Activation", "i"), "inbound_nodes": [1, 2]}),
              "is called 2 times"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name, tmp_path):
    told, message = GRAPHS[name]
    refused(zipped(tmp_path / "m.keras", told), message)


def nested(depth):
    told = layer("Dense")
    for _ in range(depth):
        told = layer("TimeDistributed", layer=told)
    return model(told)


def doubled(depth):
    """Each has two directions, of which one is told."""
    told = layer("LSTM", **LSTM)
    for _ in range(depth):
        told = layer("Bidirectional", layer=told, merge_mode="sum")
    return model(told)


CONFIGS = {
    "no JSON": "{",
    "no object": "[1]",
    "a number": "3",
    "text": '"Sequential"',
    "empty": "",
    "not UTF-8": b"\xff\xfe",
    "a subclass": json.dumps({"class_name": "MyModel", "config": {"name": "m", "layers": []}}),
    "no layers": json.dumps({"class_name": "Sequential", "config": {"name": "m"}}),
    "layers of text": json.dumps({"class_name": "Sequential", "config": {"layers": "abc"}}),
    "deep JSON": "[" * 100_000,
    "deep lists": '{"class_name": "Functional", "config": {"layers": '
    + "[" * 900
    + "]" * 900
    + "}}",
    "deep layers": json.dumps(nested(100)),
    "doubled layers": json.dumps(doubled(18)),
    "many layers": json.dumps(model(*[layer("Dense")] * 6000)),
    "many in many": json.dumps(model(*[model(*[layer("Identity")] * 100)] * 100)),
    "long numbers": '{"class_name": "Sequential", "config": {"layers": [' + "1" * 10_000 + "]}}",
    "long text": '"' + "a" * (9 << 20) + '"',
    "a name": json.dumps(model({"class_name": "Dense", "config": {"name": ["x"]}})),
    "infinity": '{"class_name": "Sequential", "config": {"layers": [{"class_name": "LeakyReLU", '
    '"config": {"name": "x", "negative_slope": Infinity}}]}}',
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(name, tmp_path):
    refused(zipped(tmp_path / "m.keras", CONFIGS[name]), ".")


def test_many_layers_of_one_name(tmp_path):
    path = zipped(tmp_path / "m.keras", model(*[layer("Dropout", rate=0.5)] * 1900))
    with little_work():
        assert len(from_keras(path)) == 1900


def test_versions(tmp_path):
    path = tmp_path / "m.keras"
    for version in "1.2.2", "4.0", None, ["3"]:
        refused(zipped(path, model(), version=version), "it was written by Keras .*, expected 2 or")
    refused(zipped(path, model(), **{"metadata.json": "[]"}), "it was written by Keras None")
    refused(zipped(path, model(), **{"metadata.json": None}), r"it has no metadata\.json")
    refused(zipped(path, model(), **{"config.json": None}), r"it has no config\.json")
    refused(zipped(path, model(), **{"model.weights.h5": None}), r"it has no model\.weights\.h5")
    more = {"model.weights.h5": None, "model.weights.json": "{}"}
    refused(zipped(path, model(), **more), "its weights are in several pieces")


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "none.keras")
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path))} is no file$"):
        from_keras(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe is no file$"):
        from_keras(tmp_path / "pipe")
    for wrong in 3, None, {"class_name": "Sequential"}, np.zeros(3):
        with pytest.raises(TypeError, match=r"^path_or_model is of type .*, expected a path or a"):
            from_keras(wrong)
    for content in (
        b"",
        b"PK\3\4",
        b"PK\5\6" + bytes(18),
        b"\x89HDF\r\n\x1a\n",
        b"text",
        bytes(9999),
    ):
        (tmp_path / "m.keras").write_bytes(content)
        refused(tmp_path / "m.keras", ".")


def test_zip_bombs(tmp_path):
    path = tmp_path / "m.keras"
    for name in "config.json", "model.weights.h5":
        zipped(path, model(), **{name: None})
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, bytes(50 << 20))
        assert path.stat().st_size < 1 << 20
        refused(path, "expected at most")
        lying = bytearray(path.read_bytes())  # a size that is smaller than what comes out
        at = lying.rfind(struct.pack("<I", 50 << 20))
        lying[at : at + 4] = struct.pack("<I", 1000)
        path.write_bytes(lying)
        refused(path, ".")
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(2000):
            archive.writestr(str(k), b"")
    refused(path, "it has more than 1000 parts")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(kind, tmp_path):
    path = zipped(tmp_path / "m.keras", model(), **{"config.json": None})
    with zipfile.ZipFile(path, "a", kind) as archive:
        archive.writestr("config.json", json.dumps(model()))
    refused(path, r"config\.json is compressed in a way that is not Keras's")


def rewritten(content, old, new):
    assert old in content
    return content.replace(old, new)


def test_hdf5_that_claims_too_much(tmp_path):
    """Shapes of terabytes, texts that are not there, and trees that go in circles."""
    with zipfile.ZipFile(DATA / "keras_2_13.keras") as archive:
        weights, config = archive.read("model.weights.h5"), archive.read("config.json")
    path = tmp_path / "m.keras"
    shape = struct.pack("<QQ", 3, 6)  # of the first kernel
    for claimed in (1 << 40, 1 << 40), (1 << 63, 1 << 63), (0, 1 << 62), (7, 7):
        changed = rewritten(weights, shape, struct.pack("<QQ", *claimed))
        refused(zipped(path, config, changed, version="2.13"), ".")
    tree = weights.find(b"TREE")
    looped = bytearray(weights)
    looped[tree + 5] = 1  # its child is a tree now: itself
    looped[tree + 32 : tree + 40] = struct.pack("<Q", tree)
    refused(zipped(path, config, bytes(looped), version="2.13"), ".")


def test_a_tree_whose_branches_meet(tmp_path):
    """Forty floors of two children each, both of them the same: a billion of tables."""
    weights = (DATA / "keras_2_12.keras").read_bytes()
    tree = weights.find(b"TREE")
    trees, below = bytearray(), len(weights)  # they follow upon the file
    for floor in range(1, 41):
        child = tree if floor == 1 else below + (floor - 2) * 56
        trees += struct.pack("<4sBBH6Q", b"TREE", 0, floor, 2, 0, 0, 0, child, 0, child)
    top = bytearray(weights)
    leaf = weights[tree : tree + 56]
    trees += leaf  # the first tree has moved
    trees[24 + 8 : 24 + 16] = trees[24 + 24 : 24 + 32] = struct.pack("<Q", below + 40 * 56)
    top[tree : tree + 56] = struct.pack(
        "<4sBBH6Q", b"TREE", 0, 41, 2, 0, 0, 0, below + 39 * 56, 0, below + 39 * 56
    )
    path = tmp_path / "m.h5"
    path.write_bytes(bytes(top + trees))
    refused(path, "its groups or attributes go in circles")


def test_arrays_that_share_a_place(tmp_path):
    """Layers that claim the same bytes take no more memory than the file has."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((1000, 1000), np.float32)
        file["layers/dense/vars/1"] = np.zeros(1000, np.float32)
        for k in range(1, 100):
            file[f"layers/dense_{k}"] = file["layers/dense"]
    layers = [layer("Dense", activation=None) for _ in range(100)]
    told = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    path = zipped(tmp_path / "m.keras", told, content.getvalue())
    refused(path, "is larger than what there is of it")


@pytest.mark.parametrize("name", ["keras_2_12.keras", "keras_2_13.keras", "keras_2_15.h5"])
def test_damage_is_told_or_harmless(name, tmp_path, rng):
    """Every cut and every changed byte: a model or a ValueError, within a second."""
    whole = (DATA / name).read_bytes()
    path = tmp_path / name
    for k in range(400):
        damaged = bytearray(whole)
        if k % 4 == 0:
            del damaged[rng.integers(len(whole)) :]
        elif k % 4 == 1:
            at = rng.integers(len(whole), size=8)
            for place, value in zip(at, rng.integers(256, size=8), strict=True):
                damaged[place] = value
        else:
            damaged[rng.integers(len(whole))] ^= 0xFF
        path.write_bytes(damaged)
        with little_work(), contextlib.suppress(ValueError):
            from_keras(path)
