"""What `rnncore convert` and `rnncore info` refuse: one line, status 2, and nothing is written."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import rnncore as rc
from rnncore import cli

DATA = Path(__file__).parents[1] / "data"
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)
needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None, reason="onnx is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convert")
    model = rc.Sequential(rc.LSTM(3, 4, rng=0), rc.Linear(4, 2, rng=0))
    model.save(folder / "m.npz")
    model.freeze("w8a8").save(folder / "small.npz")
    rc.Linear(3, 2, rng=0).save(folder / "linear.npz")
    np.savez(folder / "other.npz", a=np.ones(3))
    (folder / "text.npz").write_text("no zip")
    for name in ("text.keras", "text.h5", "text.onnx", "text.safetensors", "text.pt"):
        (folder / name).write_text("something else")
    (folder / "empty.onnx").touch()
    (folder / "nested.h5").write_bytes(b"[" * 100_000)
    deep = json.dumps({"__metadata__": {}}).encode()[:-1] + b"[" * 100_000
    (folder / "deep.safetensors").write_bytes(len(deep).to_bytes(8, "little") + deep)
    (folder / "folder.npz").mkdir()
    os.mkfifo(folder / "pipe.npz")
    os.mkfifo(folder / "pipe.pt")
    shutil.copy(DATA / "keras_2_15.h5", folder / "k.h5")
    return folder


BAD = [
    (["convert"], "the following arguments are required: IN, OUT"),
    (["convert", "m.npz"], "the following arguments are required: OUT"),
    (["convert", "", "o.npz"], "IN: '' names no file"),
    (["convert", "none.npz", "o.npz"], "none.npz: No such file or directory"),
    (["convert", "none.keras", "o.npz"], "none.keras: No such file or directory"),
    (["convert", "m.txt", "o.npz"], "m.txt has the suffix '.txt', expected one of .npz, .safet"),
    (["convert", "m.npz", "o.txt"], "OUT is o.txt, with the suffix '.txt', expected .npz or"),
    (["convert", "m.npz", "o.keras"], "OUT is o.keras, with the suffix '.keras', expected .npz"),
    (["convert", "m.npz", "folder.npz"], "OUT is folder.npz, which is no file"),
    (["convert", "m.npz", "pipe.npz"], "OUT is pipe.npz, which is no file"),
    (["convert", "m.npz", "none/o.npz"], "OUT is none/o.npz, and there is no folder"),
    (["convert", "m.npz", "m.npz/o.npz"], "OUT is m.npz/o.npz, and there is no folder"),
    (["convert", "folder.npz", "o.npz"], "folder.npz is no file"),
    (["convert", "pipe.npz", "o.npz"], "pipe.npz is no file"),
    (["convert", "pipe.pt", "o.npz"], "pipe.pt is no file"),
    (["convert", "other.npz", "o.npz"], "other.npz is an .npz that rnncore did not save"),
    (["convert", "text.npz", "o.npz"], "text.npz is damaged or was not saved by rnncore"),
    (["convert", "text.keras", "o.npz"], "text.keras: it is no file of Keras"),
    (["convert", "text.h5", "o.npz"], "text.h5: it is no file of Keras"),
    (["convert", "nested.h5", "o.npz"], "nested.h5: it is no file of Keras"),
    (["convert", "text.safetensors", "o.npz"], "text.safetensors is damaged"),
    (["convert", "deep.safetensors", "o.npz"], "deep.safetensors is damaged"),
    (["convert", "m.npz", "o.npz", "--precision", "int4"], "--precision: invalid choice: 'int4'"),
    (["convert", "m.npz", "o.npz", "--batch-first"], "--batch-first is given, and m.npz tells"),
    (["convert", "m.npz", "o.npz", "--config", "none.json"], "none.json: No such file"),
    (["convert", "m.npz", "o.npz", "--config", "text.pt"], "--config is given, and m.npz is no"),
    (["convert", "k.h5", "o.npz", "--config", "text.pt"], "k.h5: --config is given, and the file"),
    (["convert", "linear.npz", "o.npz", "--precision", "w8a8"], "linear.npz holds Linear, expec"),
    (["convert", "small.npz", "o.npz", "--precision", "w8a8"], "small.npz holds FrozenModel, ex"),
    (["info", "none.npz"], "none.npz: No such file or directory"),
    (["info", "m.txt"], "m.txt has the suffix '.txt', expected one of .npz"),
    (["info", "text.npz"], "text.npz is damaged or was not saved by rnncore"),
    (["info", "pipe.npz"], "pipe.npz is no file"),
    (["info", "folder.npz"], "folder.npz is no file"),
    (["info", "text.keras"], "text.keras: it is no file of Keras"),
    (["info", "a", "b"], "unrecognized arguments: b"),
]
BAD_ONNX = [
    (["convert", "text.onnx", "o.npz"], "text.onnx is damaged or no model of ONNX"),
    (["convert", "empty.onnx", "o.npz"], "empty.onnx is no model of ONNX"),
    (
        ["convert", "m.npz", "o.onnx", "--precision", "w8a8"],
        "--precision is w8a8 and OUT is o.on",
    ),
    (["convert", "small.npz", "o.onnx"], "small.npz is frozen at w8a8, and ONNX's recurrent"),
    (["info", "text.onnx"], "text.onnx is damaged or no model of ONNX"),
]
BAD_TORCH = [
    (["convert", "text.pt", "o.npz"], "text.pt is damaged, or was written by a version of PyTorch"),
    (["info", "text.pt"], "text.pt is damaged, or was written by a version of PyTorch"),
]
CASES = [
    *(pytest.param(*case, id=" ".join(case[0])) for case in BAD),
    *(pytest.param(*case, id=" ".join(case[0]), marks=needs_onnx) for case in BAD_ONNX),
    *(pytest.param(*case, id=" ".join(case[0]), marks=needs_torch) for case in BAD_TORCH),
]


@pytest.mark.skipif(os.name == "nt", reason="no pipes as here on Windows")
@pytest.mark.parametrize(("arguments", "message"), CASES)
def test_bad_input_gets_one_line_and_status_2(arguments, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert cli.main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    (line,) = errors.splitlines()
    assert line.startswith("rnncore")
    assert message in line
    assert sorted(folder.rglob("*")) == before
