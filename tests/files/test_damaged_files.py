"""Files that are damaged, or made to do harm: a ValueError that names the file, and little work."""

import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import rnncore as rc
from rnncore import _check
from rnncore.language_model import LanguageModel
from rnncore.layers import parameters, storage

HERE = Path(__file__).parents[1]
SMALL = {"input_size": 3, "hidden_size": 4}


def npz(path, options, arrays=None, kind="LSTM", form=zipfile.ZIP_STORED):
    """A file as rnncore writes it, that says what it likes."""
    text = json.dumps({"format": 1, "kind": kind, "options": options})
    arrays = rc.LSTM(3, 4, rng=0).params if arrays is None else arrays
    with zipfile.ZipFile(path, "w", form) as archive:
        for name, value in {"rnncore": np.array(text), **arrays}.items():
            content = value
            if isinstance(value, np.ndarray):
                file = io.BytesIO()
                np.lib.format.write_array(file, value, allow_pickle=False)
                content = file.getvalue()
            archive.writestr(f"{name}.npy", content)


def header(dtype, shape):
    """A .npy file without its data."""
    said = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    said = said.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said


def many(path):
    npz(path, SMALL, {f"weight_{k}": np.zeros(0) for k in range(20_000)})


def overlapping(path):
    """Many names for the same bytes, so that little is much."""
    npz(path, SMALL, {"weight": np.zeros(1000)})
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        (_, info) = archive.infolist()
    at = whole.index(b"PK\1\2", info.header_offset)  # the directory
    second = whole.index(b"PK\1\2", at + 4)
    entry, end = whole[second : whole.index(b"PK\5\6")], whole[whole.index(b"PK\5\6") :]
    entries = [entry.replace(b"weight.npy", f"w{k:05d}.npy".encode()) for k in range(9000)]
    directory = whole[at:second] + b"".join(entries)
    counts = (len(entries) + 1).to_bytes(2, "little")
    end = end[:8] + 2 * counts + len(directory).to_bytes(4, "little") + end[16:]
    path.write_bytes(whole[:at] + directory + end)


HOSTILE = {
    "a large layer in a small file": lambda path: npz(path, {**SMALL, "hidden_size": 3000}),
    "layers without end": lambda path: npz(path, {**SMALL, "num_layers": 10**12}),
    "many layers": lambda path: npz(path, {**SMALL, "num_layers": 10_000, "bidirectional": True}),
    "many inputs": lambda path: npz(path, {**SMALL, "input_size": 10**7}),
    "units that no memory holds": lambda path: npz(path, {**SMALL, "hidden_size": 2**62}),
    "a number of many digits": lambda path: npz(path, {**SMALL, "hidden_size": 10**4000}),
    "a generator": lambda path: npz(path, {**SMALL, "rng": 0}),
    "compressed": lambda path: npz(path, SMALL, form=zipfile.ZIP_DEFLATED),
    "well compressed": lambda path: npz(
        path, SMALL, {"weight_ih_l0": np.zeros(10**7)}, form=zipfile.ZIP_BZIP2
    ),
    "too many arrays": many,
    "more names than bytes": overlapping,
    "an array that is not there": lambda path: npz(path, SMALL, {"more": header("<f4", (10**12,))}),
    "a text without end": lambda path: npz(path, SMALL, {"more": header("<U999999999", ())}),
    "elements of no size": lambda path: npz(path, SMALL, {"more": header("<U0", (10**15,))}),
    "less than nothing": lambda path: npz(path, SMALL, {"more": header("<f4", (-1,))}),
    "records": lambda path: npz(path, SMALL, {"more": np.zeros(2, [("a", "f4")])}),
    "no header of an array": lambda path: npz(path, SMALL, {"weight_ih_l0": b"x" * 99}),
    "options without end": lambda path: npz(path, {**SMALL, "bias": "x" * 10**6}),
    "nested options": lambda path: npz(
        path, {}, {"rnncore": np.array('{"a":' + "[" * 30_000 + "]" * 30_000 + "}")}
    ),
    "options that are none": lambda path: npz(path, {"": 3, "\0": [], "self": 1}),
    "a kind without end": lambda path: npz(path, SMALL, kind="L" * 10**4),
}


@pytest.mark.parametrize("content", HOSTILE)
def test_a_hostile_npz(content, tmp_path):
    path = tmp_path / "layer.npz"
    HOSTILE[content](path)
    tracemalloc.start()
    try:
        for file in (path, io.BytesIO(path.read_bytes())):
            with pytest.raises(ValueError, match=r"^(.*layer\.npz|the file) ") as error:
                storage.load(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(str(error.value)) < 3000
    assert peak < path.stat().st_size * 3 + 60e6


@pytest.mark.parametrize("size", [2**25, 2**40, 2**63, 2**64 - 1])
def test_a_safetensors_header_without_end(size, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "layer.safetensors"
    path.write_bytes(size.to_bytes(8, "little") + b'{"a": 1}' * 10)
    with pytest.raises(ValueError, match="its header has more than"):
        storage.load(path)


@pytest.mark.parametrize(
    "options",
    [{"hidden_size": 3000}, {"num_layers": 10**12}, {"input_size": 10**7}, {"hidden_size": 2**62}],
    ids=str,
)
def test_safetensors_that_say_they_are_large(options, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "layer.safetensors"
    storage.save_arrays(path, "LSTM", {**SMALL, **options}, rc.LSTM(3, 4, rng=0).params)
    with pytest.raises(ValueError, match=r"^.*layer\.safetensors holds no LSTM that can be made"):
        storage.load(path)


@pytest.mark.parametrize("options", [{"hidden": 3000}, {"layers": 10**12}, {"embedding": 10**9}])
def test_a_language_model_that_says_it_is_large(options, tmp_path):
    path = tmp_path / "model.npz"
    model = LanguageModel(hidden=4, embedding=3, rng=0)
    text = {"model": {**model.options, **options}}
    storage.save_arrays(path, "LanguageModel", text, model.arrays())
    with pytest.raises(ValueError, match=r"model\.npz is no complete language model: "):
        LanguageModel.load(path)


@pytest.mark.parametrize(
    ("kind", "count"),
    [("npz", 2000), ("safetensors", 2000), ("model", 1000), ("training", 1000), ("fit", 600)]
    + [("pt", 600), ("keras", 600), ("h5", 600)],
)
def test_mutants(kind, count):
    """Each within a second of processor time and 200 MB; see mutants.py."""
    if kind in (needed := {"safetensors": "safetensors", "pt": "torch"}):
        pytest.importorskip(needed[kind], reason=f"{needed[kind]} is not installed")
    done = subprocess.run(
        [sys.executable, "support/mutants.py", kind, str(count), "0"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    refused, equal = map(int, done.stdout.split())
    assert refused + equal == count
    assert refused > count // 2


# Files that are right


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_loading_draws_nothing(suffix, tmp_path, monkeypatch):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"layer.{suffix}"
    layer = rc.LSTM(3, 4, 2, rng=0)
    layer.save(path)
    LanguageModel(hidden=4, embedding=3, rng=0).save(tmp_path / "model.npz")

    def drawn(*_):
        raise AssertionError("something was drawn")

    for name in ("initialise", "_orthonormal", "_glorot_uniform"):
        monkeypatch.setattr(parameters, name, drawn)
    make = _check.generator  # which a layer asks for one that drops out, of no seed
    monkeypatch.setattr(_check, "generator", lambda n, rng: drawn() if rng else make(n, rng))
    loaded = rc.load(path)
    for name, value in layer.params.items():
        np.testing.assert_array_equal(loaded.params[name], value)
        assert loaded.params[name].flags.writeable
    LanguageModel.load(tmp_path / "model.npz")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_open_files(suffix, tmp_path):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    layer, path = rc.GRU(3, 4, rng=0), tmp_path / f"layer.{suffix}"
    with open(path, "wb") as file:
        layer.save(file)
    with open(path, "rb") as file:
        loaded = [rc.load(file)]
    loaded += [rc.load(path), rc.load(io.BytesIO(path.read_bytes()))]
    for each in loaded:
        assert repr(each) == repr(layer)
        np.testing.assert_array_equal(each.params["weight_hh_l0"], layer.params["weight_hh_l0"])


def test_a_file_in_memory_and_one_that_cannot_seek(tmp_path):
    layer, memory = rc.RNN(3, 4, rng=0), io.BytesIO()
    layer.save(memory)

    class Pipe:
        def read(self):
            return memory.getvalue()

    assert repr(rc.load(Pipe())) == repr(layer)


def test_what_is_no_file():
    layer = rc.RNN(3, 4, rng=0)
    for wrong in (3, None, io.StringIO(), [1]):
        with pytest.raises(TypeError, match=r"^path is of type .* expected a path or a file open"):
            layer.save(wrong)
        with pytest.raises(TypeError, match=r"^path is of type .* expected a path or a file open"):
            rc.load(wrong)

    class Text:
        def read(self):
            return "text"

    with pytest.raises(TypeError, match=r"^path gives str, expected a file open for bytes"):
        rc.load(Text())


def test_a_file_that_cannot_be_written_gets_nothing():
    file = io.BytesIO()
    with pytest.raises(ValueError, match="Object arrays"):
        storage.save_arrays(file, "Model", {}, {"a": np.zeros(5), "b": np.array([None])})
    assert file.getvalue() == b""


def test_no_memory_is_told_as_that(tmp_path, monkeypatch):
    layer, path = rc.RNN(3, 4, rng=0), tmp_path / "layer.npz"
    layer.save(path)

    def no_memory(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(np, "empty", no_memory)
    with pytest.raises(MemoryError, match="no room"):
        rc.load(path)


def test_a_disk_that_fails_is_told_as_that(tmp_path):
    layer, memory = rc.RNN(3, 4, rng=0), io.BytesIO()
    layer.save(memory)

    class Broken:
        def read(self):
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        rc.load(Broken())


@pytest.mark.parametrize("prefix", ["rnn.", "module.encoder."])
def test_a_prefix_is_suggested(prefix):
    layer = rc.GRU(3, 4, rng=0)
    state = {prefix + name: value for name, value in layer.params.items()} | {"head": np.zeros(3)}
    with pytest.raises(ValueError, match=r"^params has missing: weight_ih_l0") as error:
        layer.load_params(state)
    suggestion = str(error.value).partition("all are there: ")[2]
    layer.load_params(eval(suggestion, {"params": state}))
    with pytest.raises(ValueError, match=r"^params has missing") as error:
        layer.load_params({prefix + "weight_ih_l0": np.zeros((12, 3), np.float32)})
    assert "all are there" not in str(error.value)
