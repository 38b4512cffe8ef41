"""The examples in the docstrings, run as they stand."""

import doctest
import importlib
import importlib.util
import pkgutil

import pytest

import rnncore

COMPILED = ("rnncore._core.",)
COMMANDS = ("rnncore.__main__",)
BRIDGES = {  # to libraries that may not be there
    "rnncore.jax": "jax",
    "rnncore.torch": "torch",
    "rnncore.onnx": "onnx",
    "rnncore.sklearn": "sklearn",
    "rnncore.convert.from_onnx": "onnx",
}
ABSENT = tuple(name for name, of in BRIDGES.items() if importlib.util.find_spec(of) is None)
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(rnncore.__path__, "rnncore.")
    if not name.startswith(COMPILED + COMMANDS + ABSENT)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # some write a file
    attempted = {n: doctest.testmod(importlib.import_module(n)).attempted for n in MODULES}
    for name in (
        "reference.rnn",
        "functional",
        "layers.kinds",
        "models.linear",
        "models.embedding",
        "train.losses",
        "train.optim",
        "train.clipping",
        "look.gradcheck",
    ):
        assert attempted[f"rnncore.{name}"], name
