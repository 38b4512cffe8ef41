"""Layers made of named parameters alone, out of mappings and files."""

import contextlib
import json
import os
import struct
import subprocess
import sys
import traceback

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from work import little_work

import rnncore as rc
from rnncore.convert.from_safetensors import from_safetensors
from rnncore.convert.from_torch import from_torch

I, H, V = 5, 4, 11


def arrays(rng, layer, prefix=""):
    return {prefix + name: rng.standard_normal(a.shape).astype(a.dtype) for name, a in
            layer.params.items()}  # fmt: skip


KINDS = [
    rc.RNN(I, H),
    rc.GRU(I, H, num_layers=2, bidirectional=True),
    rc.LSTM(I, H, bias=False),
    rc.LSTM(I, H, num_layers=2, bidirectional=True, dtype=np.float64),
    rc.LSTM(I, H, num_layers=2, proj_size=3, bidirectional=True),
    rc.LSTM(I, 1),
    rc.RNNCell(I, H),
    rc.GRUCell(I, H, bias=False),
    rc.LSTMCell(I, H),
    rc.Linear(I, H),
]


@pytest.mark.parametrize("prefix", ["", "model.rnn.", "module.encoder.0."])
@pytest.mark.parametrize("layer", KINDS, ids=repr)
def test_a_layer(layer, prefix, rng):
    given = arrays(rng, layer, prefix)
    found = from_torch(given)
    assert type(found) is type(layer)
    assert repr(found) == repr(layer)
    for name, a in found.params.items():
        assert_array_equal(a, given[prefix + name])
        assert not np.shares_memory(a, given[prefix + name])


def test_batch_first(rng):
    layer = from_torch(arrays(rng, rc.GRU(I, H)), batch_first=True)
    assert layer.batch_first


def test_a_chain(rng):
    parts = {
        "model.embedding.": rc.Embedding(V, I),
        "model.rnn.": rc.LSTM(I, H, bidirectional=True),
        "model.norm.": rc.LayerNorm(2 * H),
        "model.bn.": rc.BatchNorm(2 * H),
        "model.head.": rc.Linear(2 * H, 3, bias=False),
    }
    given = {}
    for prefix, part in parts.items():
        given |= arrays(rng, part, prefix)
    given["model.bn.running_mean"] = rng.standard_normal(2 * H).astype(np.float32)
    given["model.bn.running_var"] = rng.random(2 * H).astype(np.float32)
    given["model.bn.num_batches_tracked"] = np.array(3)
    model = from_torch(given)
    assert list(model.names) == ["embedding", "rnn", "norm", "bn", "head"]
    assert [type(member) for member in model] == [type(part) for part in parts.values()]
    for name, a in {**model.params, **model.buffers}.items():
        assert_array_equal(a, given["model." + name])


def test_matrices_by_what_follows(rng):
    given = {"a.weight": rng.random((V, I)), **arrays(rng, rc.GRU(I, H, dtype=np.float64), "b.")}
    assert type(from_torch(given)["a"]) is rc.Embedding
    given = {"a.weight": rng.random((I, V)), **arrays(rng, rc.GRU(I, H, dtype=np.float64), "b.")}
    assert type(from_torch(given)["a"]) is rc.Linear


def test_half_precision(rng):
    bits = rng.integers(0, 1 << 15, (3 * H, I)).astype(np.uint16) & 0xBF7F
    wide = (bits.astype(np.uint32) << 16).view(np.float32)
    half = rng.standard_normal((3 * H, H)).astype(np.float16)
    layer = from_torch({"weight_ih_l0": wide, "weight_hh_l0": half})
    assert layer.dtype == np.float32
    assert_array_equal(layer.params["weight_hh_l0"], half.astype(np.float32))
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    other = from_torch({"weight_ih_l0": bits.view(ml_dtypes.bfloat16), "weight_hh_l0": half})
    assert_array_equal(other.params["weight_ih_l0"], wide)


@pytest.mark.parametrize("style", ["old", "new"])
def test_weight_norms_are_folded(style, rng):
    v, g = rng.standard_normal((3 * H, H)), rng.random((3 * H, 1)) + 0.5
    names = {
        "old": ("weight_hh_l0_g", "weight_hh_l0_v"),
        "new": (
            "parametrizations.weight_hh_l0.original0",
            "parametrizations.weight_hh_l0.original1",
        ),
    }[style]
    given = {"rnn.weight_ih_l0": rng.random((3 * H, I)), "rnn." + names[0]: g, "rnn." + names[1]: v}
    layer = from_torch(given)
    expected = v * g / np.linalg.norm(v, axis=1, keepdims=True)
    assert_allclose(layer.params["weight_hh_l0"], expected, rtol=1e-14)


def test_as_torch_norms(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for dim in (0, 1, None):
        normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(I, H), dim=dim)
        found = from_torch(normed.state_dict()).params["weight"]
        assert_allclose(found, normed.weight.detach().numpy(), rtol=1e-6)
    model = torch.nn.Sequential(torch.nn.LSTM(I, H), torch.nn.Linear(H, 2))
    found = from_torch(model.state_dict())
    assert list(found.names) == ["0", "1"]


A, C = np.zeros((3 * H, I)), np.zeros((3 * H, H))
REFUSED = [
    ({}, ValueError, "module holds no parameters"),
    ({1: A}, TypeError, "module has a key of type int"),
    ({"a": A}, ValueError, "key 'a', which is no parameter"),
    ({"weight": 3}, TypeError, "weight is of type int, expected an array or a tensor"),
    ({"weight": np.zeros((2, 2), int)}, TypeError, "weight has dtype int64, expected float32"),
    ({"weight": np.zeros((2, 3))}, ValueError, "ambiguous, an Embedding of 2 ids or a Linear of 3"),
    ({"weight": np.zeros((2, 3, 3))}, ValueError, "a convolution, whose stride and padding"),
    ({"weight": np.zeros(3)}, ValueError, "'weight' \\(3,\\), which is no layer that is known"),
    ({"weight_ih_l0": A}, ValueError, "'weight_hh_l0' is missing"),
    ({"weight_hh_l0": A}, ValueError, "'weight_ih_l0' is missing"),
    ({"weight_ih_l0": A, "weight_hh_l0": C[:-1]}, ValueError, "11 rows of 4 hidden units"),
    ({"weight_ih_l0": A[:-1], "weight_hh_l0": C}, ValueError, "weight_ih_l0"),
    ({"weight_ih_l0": A, "weight_hh_l0": C, "bias_ih_l0": C[:, 0]}, ValueError, "bias_hh_l0"),
    ({"weight_ih_l0": A, "weight_hh_l0": C, "weight_ih_l9": A}, ValueError, "3 parameters for 10"),
    ({"weight_ih_l0": A, "weight_hh": C}, ValueError, "some names have the number of a layer"),
    ({"weight_ih_l0": A, "weight_hh_l0": C.astype(np.float32)}, TypeError, "expected one"),
    ({"weight_g": A[:, :1], "bias": A[:, 0]}, ValueError, "one half of the weight norm"),
    ({"parametrizations.weight.original": A}, ValueError, "other than a weight norm"),
    (
        {"a.weight": np.zeros((7, 7)), "b.weight_ih": np.zeros((1, 7)), "b.weight_hh": A[:1, :1]},
        ValueError,
        "ambiguous, an Embedding of 7",
    ),
    (
        {"a.weight": A, "a.bias": A[:, 0], "b.weight": C.T, "b.bias": C[0]},
        ValueError,
        "ambiguous, since what is between two Linear",
    ),
    (
        {"a.weight_ih_l0": A, "a.weight_hh_l0": C, "b.weight": A, "b.bias": A[:, 0]},
        ValueError,
        "reads 5 features where that gives 4",
    ),
    (
        {"a.weight_ih": A, "a.weight_hh": C, "b.weight": C, "b.bias": C[:, 0]},
        ValueError,
        "has the cell 'a.' among other layers",
    ),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_refused(given, error, message):
    with pytest.raises(error, match=message):
        from_torch(given)


# Files


def write_safetensors(path, tensors):
    """By hand: names to (dtype, shape, bytes)."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    pieces = [data for _, _, data in tensors.values()]
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(pieces))


def stored(rng, *shape, dtype="F32"):
    a = rng.standard_normal(shape).astype(np.float32)
    if dtype == "BF16":
        return dtype, list(shape), (a.view(np.uint32) >> 16).astype("<u2").tobytes()
    return dtype, list(shape), a.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes()


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
def test_safetensors(dtype, rng, tmp_path):
    path = tmp_path / "m.safetensors"
    tensors = {
        "enc.rnn.weight_ih_l0": stored(rng, 4 * H, I, dtype=dtype),
        "enc.rnn.weight_hh_l0": stored(rng, 4 * H, H, dtype=dtype),
    }
    write_safetensors(path, tensors)
    layer = from_torch(path)
    assert isinstance(layer, rc.LSTM)
    assert layer.dtype == (np.float64 if dtype == "F64" else np.float32)
    _, shape, data = tensors["enc.rnn.weight_hh_l0"]
    if dtype == "BF16":
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        expected = bits.view(np.float32).reshape(shape)
    else:
        kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]
        expected = np.frombuffer(data, kind).reshape(shape).astype(layer.dtype)
    assert_array_equal(layer.params["weight_hh_l0"], expected)

    own = rc.LSTM(I, H, bias=False, dtype=layer.dtype)
    assert from_safetensors(path, own, prefix="enc.rnn.") is own
    assert_array_equal(own.params["weight_hh_l0"], expected)


def test_from_safetensors_takes_a_part(rng, tmp_path):
    path = tmp_path / "m.safetensors"
    tensors = {"rnn.weight_ih_l0": stored(rng, 3 * H, I), "rnn.weight_hh_l0": stored(rng, 3 * H, H)}
    write_safetensors(path, {**tensors, "other": ("I64", [2], bytes(16))})
    assert from_safetensors(path, rc.GRU(I, H, bias=False), "rnn.").hidden_size == H
    for layer, prefix, error, message in [
        (rc.GRU(I, H), "rnn.", ValueError, "bias_ih_l0"),
        (rc.GRU(I, H, bias=False), "run.", ValueError, "no names that begin with 'run.', but rnn"),
        (rc.GRU(I, H, bias=False, dtype="float64"), "rnn.", TypeError, "of dtype float32"),
        (3, "rnn.", TypeError, "layer is of type int"),
        (rc.GRU(I, H), 3, TypeError, "prefix is of type int"),
    ]:
        with pytest.raises(error, match=message):
            from_safetensors(path, layer, prefix)
    with pytest.raises(ValueError, match="does not end in"):
        from_safetensors(tmp_path / "m.pt", rc.GRU(I, H))
    with pytest.raises(ValueError, match="has the key 'other'"):
        from_torch(path)


def test_safetensors_needs_no_library(rng, tmp_path):
    path = tmp_path / "m.safetensors"
    write_safetensors(path, {"weight": stored(rng, 2, 3), "bias": stored(rng, 2)})
    code = (
        "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None\n"
        "from rnncore.convert.from_torch import from_torch\n"
        f"print(from_torch({os.fspath(path)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Linear(3, 2)\n"


def test_torch_files(rng, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module = torch.nn.GRU(I, H, 2, bidirectional=True)
    path = tmp_path / "m.pt"
    torch.save({"epoch": 3, "state_dict": module.state_dict()}, path)
    layer = from_torch(path)
    assert repr(layer) == "GRU(5, 4, num_layers=2, bidirectional=True)"
    for name, a in layer.params.items():
        assert_array_equal(a, module.state_dict()[name].numpy())
    torch.save({name: a.bfloat16() for name, a in module.state_dict().items()}, path)
    assert from_torch(os.fspath(path)).dtype == np.float32

    torch.save(module, path)
    with pytest.raises(ValueError, match=r"what can be read \(UnpicklingError\)$") as found:
        from_torch(path)
    told = "".join(traceback.format_exception(found.value))
    assert "holds code or objects" in told
    assert "\x1b" not in told
    assert "weights_only" not in told  # PyTorch's own text says how to run the code all the same
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds a list, expected a state_dict"):
        from_torch(path)
    torch.save({"weight": torch.zeros(1).expand(1 << 40), "bias": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="'weight' has more numbers than are in the file"):
        from_torch(path)
    shared = torch.zeros(1000)
    torch.save({f"{k}.weight": shared for k in range(100)}, path)
    with pytest.raises(ValueError, match="and its tensors would take 400000"):
        from_torch(path)
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="is a pickle, which is not loaded"):
        from_torch(path)


def test_other_files(tmp_path):
    with pytest.raises(ValueError, match=r"suffix '\.bin2', expected one of"):
        from_torch(tmp_path / "m.bin2")
    for name in ("m.pt", "m.safetensors"):
        with pytest.raises(FileNotFoundError):
            from_torch(tmp_path / name)
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match="is no file"):
            from_torch(tmp_path / name)


# Hostile files


def header_of(text, data=b"", length=None):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), ends=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(ends)}


HOSTILE = {
    "empty": b"",
    "short": b"\1\0\0",
    "huge header": header_of(b"{}", length=1 << 60),
    "long header": header_of(b" " * 11_000_000),
    "no JSON": header_of(b"\xff\xfe{"),
    "deep JSON": header_of(b"[" * 100_000),
    "a list": header_of(b"[]"),
    "no entry": header_of({"weight": 3}),
    "huge shape": header_of({"weight": entry(shape=(1 << 40, 1 << 40))}, bytes(8)),
    "huge number": header_of({"weight": entry(shape=(1 << 70,))}, bytes(8)),
    "no ends": header_of({"weight": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "negative": header_of({"weight": entry(shape=(-2,))}, bytes(8)),
    "fractions": header_of({"weight": entry(shape=(2.0,))}, bytes(8)),
    "strange dtype": header_of({"weight": entry(dtype="Q7")}, bytes(8)),
    "float8": header_of({"weight": entry(dtype="F8_E4M3", shape=(8,))}, bytes(8)),
    "beyond": header_of({"weight": entry(ends=(8, 16))}, bytes(8)),
    "overlap": header_of({"weight": entry(), "bias": entry()}, bytes(8)),
    "more": header_of({"weight": entry()}, bytes(9)),
    "many": header_of({f"{k}": entry(shape=(0,), ends=(0, 0)) for k in range(10_001)}),
    "no numbers": header_of({"weight": entry(shape=(0, 1 << 50), ends=(0, 0))}),
    "no rows": header_of(
        {
            "weight_ih_l0": entry(shape=(0, 1 << 50), ends=(0, 0)),
            "weight_hh_l0": entry(shape=(0, 0), ends=(0, 0)),
        }
    ),
}


def refused_soon(path):
    with little_work(), pytest.raises((ValueError, TypeError)) as found:
        from_torch(path)
    assert len(str(found.value)) < 1500


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_safetensors(name, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(HOSTILE[name])
    refused_soon(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_files(suffix, rng, tmp_path):
    """Cut off anywhere, and with random bytes in it: an error, or what was there."""
    path = tmp_path / ("m" + suffix)
    if suffix == ".pt":
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        torch.save(torch.nn.GRU(3, 2).state_dict(), path)
    else:
        write_safetensors(path, {"weight": stored(rng, 2, 3), "bias": stored(rng, 2)})
    whole = path.read_bytes()
    for cut in rng.integers(0, len(whole), 40):
        path.write_bytes(whole[:cut])
        refused_soon(path)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with little_work(), contextlib.suppress(ValueError, TypeError):
            from_torch(path)
    path.write_bytes(rng.bytes(5000))
    refused_soon(path)
