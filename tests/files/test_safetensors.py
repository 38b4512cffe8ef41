"""What only a .safetensors file has."""

import json
import re
import sys

import numpy as np
import pytest
from saved_layers import LAYERS, assert_same_arrays, refused

from rnncore.layers import LSTM, storage


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
