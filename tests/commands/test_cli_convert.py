"""`rnncore convert` and `rnncore info`: what they write, what they print, and what they refuse."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from commands import run
from numpy.testing import assert_array_equal

import rnncore as rc
from rnncore import cli
from rnncore.layers import storage
from rnncore.models.recorded import Case, Recorded

DATA = Path(__file__).parents[1] / "data"
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)
needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None, reason="onnx is not installed"
)
needs_safetensors = pytest.mark.skipif(
    importlib.util.find_spec("safetensors") is None, reason="safetensors is not installed"
)


@pytest.fixture
def rnncore(tmp_path, monkeypatch, capsys):
    """The command in this process and a folder of its own; gives what it printed."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments, status=0):
        found = cli.main(list(map(str, arguments)))
        output, errors = capsys.readouterr()
        assert found == status, errors
        assert len(errors.splitlines()) == (status != 0)
        return errors if status == 2 else output

    return run_command


def tagger(recorded=True):
    """A model, with what it gave itself as what was recorded."""
    model = rc.Sequential(
        embed=rc.Embedding(11, 6, rng=0), rnn=rc.LSTM(6, 17, rng=0), head=rc.Linear(17, 3, rng=0)
    )
    x = np.arange(14).reshape(7, 2) % 11
    if recorded:
        model.recorded = Recorded("made by hand", (Case(x, None, model(x)[0]),))
    return model


def save_torch(path, model):
    """The parameters of a model as a state_dict of PyTorch."""
    import torch

    torch.save({name: torch.from_numpy(a.copy()) for name, a in model.params.items()}, path)


# What comes out


@needs_torch
@pytest.mark.parametrize("suffix", [".npz", pytest.param(".safetensors", marks=needs_safetensors)])
def test_a_state_dict_becomes_a_model_that_carries_what_torch_gave(suffix, rnncore):
    model = tagger(recorded=False)
    save_torch("tagger.pt", model)
    printed = rnncore("convert", "tagger.pt", f"out{suffix}").splitlines()
    found = rc.load(f"out{suffix}")
    x = np.arange(66).reshape(33, 2) % 11
    assert_array_equal(found(x)[0], model(x)[0])
    assert found.recorded.source.startswith("tagger.pt, run by torch ")
    assert [case.x.shape for case in found.recorded.cases] == [(17, 3), (1, 1), (33, 2)]
    sizes = [f"{os.path.getsize(name):,} bytes" for name in ("tagger.pt", f"out{suffix}")]
    assert printed[0] == f"Read      tagger.pt, a state_dict of PyTorch, {sizes[0]}"
    assert printed[1:6] == repr(model).splitlines()
    assert printed[6] == f"Recorded  {found.recorded.source}"
    assert printed[7].strip() == "outputs for x (17, 3), x (1, 1), x with lengths (33, 2)"
    assert float(printed[8].split()[2]) < 1e-5
    assert printed[9] == f"Written   out{suffix}, {sizes[1]}"
    assert len(printed) == 10


@needs_torch
def test_a_layer_becomes_a_model_and_its_layout_can_be_told(rnncore):
    layer = rc.GRU(3, 5, rng=0)
    save_torch("gru.pth", layer)
    rnncore("convert", "gru.pth", "out.npz", "--batch-first")
    found = rc.load("out.npz")
    assert isinstance(found, rc.Sequential)
    assert found.batch_first is True
    x = np.ones((2, 7, 3), np.float32)
    assert_array_equal(found(x)[0], layer(x.swapaxes(0, 1))[0].swapaxes(0, 1))
    assert found.recorded.cases[0].x.shape == (3, 17, 3)


@needs_torch
@pytest.mark.parametrize("precision", ["w8a8", "w8a16", "bfloat16"])
def test_a_model_is_frozen_first(precision, rnncore):
    save_torch("tagger.pt", tagger())
    printed = rnncore("convert", "--precision", precision, "tagger.pt", "out.npz").splitlines()
    found = rc.load("out.npz")
    assert found.precision == precision
    assert len(found.model.recorded.cases) == 3
    (told,) = [line for line in printed if line.startswith("Frozen")]
    assert f"{precision}, weights of {found.nbytes:,} bytes; " in told
    words = told.split()
    assert 1e-5 < float(words[words.index("difference") + 1]) < 0.1


@pytest.mark.parametrize("name", ["keras_2_12.keras", "keras_2_13.keras", "keras_2_15.h5"])
def test_files_of_keras_without_keras(name, rnncore, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    printed = rnncore("convert", DATA / name, "out.npz")
    expected, found = rc.from_keras(DATA / name), rc.load("out.npz")
    assert repr(found) == repr(expected)
    assert found.params.keys() == expected.params.keys()
    for key, value in expected.params.items():
        assert_array_equal(found.params[key], value)
    assert f"Recorded  {name}; nothing was recorded: Keras is not installed\n" in printed
    assert f"{name}; nothing was recorded: Keras is not installed" in rnncore("info", "out.npz")


@needs_onnx
def test_to_onnx_and_back(rnncore):
    model = tagger()
    model.save("m.npz")
    printed = rnncore("convert", "m.npz", "m.onnx")
    assert "Recorded  made by hand\n" in printed
    assert "Replayed  m.onnx, run by " in printed
    rnncore("convert", "m.onnx", "again.npz")
    again = rc.load("again.npz")
    x = np.arange(14).reshape(7, 2) % 11
    assert_array_equal(again(x)[0], model(x)[0])
    assert again.recorded.source.startswith("m.onnx, run by ")


@needs_safetensors
def test_what_is_of_rnncore_stays_as_it_is(rnncore):
    model = tagger()
    model.save("m.npz")
    assert "made by hand" in rnncore("convert", "m.npz", "m.safetensors")
    found = rc.load("m.safetensors")
    assert found.recorded.source == "made by hand"
    assert_array_equal(found.recorded.cases[0].y, model.recorded.cases[0].y)
    rc.GRU(3, 4, rng=0).save("gru.npz")
    assert "nothing recorded" in rnncore("convert", "gru.npz", "gru.safetensors")
    assert isinstance(rc.load("gru.safetensors"), rc.GRU)
    rnncore("convert", "gru.npz", "small.npz", "--precision", "w8a16")
    assert rc.load("small.npz").precision == "w8a16"
    rnncore("convert", "small.npz", "small.safetensors")
    assert rc.load("small.safetensors").precision == "w8a16"


def test_a_file_that_is_there_is_replaced(rnncore):
    tagger().save("m.npz")
    Path("out.npz").write_text("something else")
    rnncore("convert", "m.npz", "out.npz")
    assert rc.load("out.npz").names == ("embed", "rnn", "head")
    assert sorted(os.listdir()) == ["m.npz", "out.npz"]


@needs_torch
def test_a_source_that_gives_something_else_is_refused_unless_it_is_not_asked(rnncore, monkeypatch):
    import torch

    save_torch("tagger.pt", tagger())
    right = torch.nn.Linear.forward
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda self, x: right(self, x) + 0.1)
    told = rnncore("convert", "tagger.pt", "out.npz", status=2)
    assert "rnncore convert: tagger.pt: outputs are off by" in told
    assert "--no-record converts it all the same" in told
    assert not Path("out.npz").exists()
    assert "nothing was recorded: --no-record" in rnncore(
        "convert", "tagger.pt", "out.npz", "--no-record"
    )
    assert rc.load("out.npz").recorded.cases == ()


@needs_onnx
def test_an_export_that_gives_something_else_is_told(rnncore, monkeypatch):
    from rnncore._commands import convert

    tagger().save("m.npz")
    other = tagger()
    other.params["head.bias"][...] += 1
    x = np.zeros((3, 1), np.int64)
    wrong = Recorded("a wrong one", (Case(x, None, other(x)[0]),))
    monkeypatch.setattr(convert, "recorded_of", lambda *arguments: wrong)
    rnncore("convert", "m.npz", "m.onnx", status=1)


# info


def test_info_without_a_model_tells_how_rnncore_runs(rnncore):
    assert "instruction set" in rnncore("info")


def test_info_of_a_model(rnncore):
    model = tagger()
    model.save("m.npz")
    assert rnncore("info", "m.npz").splitlines() == [
        f"File      m.npz, a file of rnncore, {os.path.getsize('m.npz'):,} bytes",
        *repr(model).splitlines(),
        "Precision float32",
        "Recorded  made by hand",
        "          outputs for x (7, 2)",
        "          here largest difference 0.0e+00 of the largest output",
    ]
    model.freeze("w8a8").save("small.npz")
    printed = rnncore("info", "small.npz")
    assert "LSTM(6, 17).freeze('w8a8')" in printed
    assert (
        f"w8a8 in recurrent layers, float32 elsewhere; weights of {model.freeze('w8a8').nbytes:,}"
        in printed
    )
    assert "Recorded  made by hand" in printed


def test_info_of_a_model_that_gives_something_else_here(rnncore):
    tagger().save("m.npz")
    kind, options, arrays = storage.load_arrays("m.npz")
    arrays["head.bias"] += 0.1  # as where it is computed otherwise
    storage.save_arrays("m.npz", kind, options, arrays)
    assert "made by hand" in rnncore("info", "m.npz", status=1)
    assert "off by" in rnncore("convert", "m.npz", "out.npz", status=2)


def test_info_of_other_files_of_rnncore(rnncore):
    from rnncore.language_model import LanguageModel

    layer = rc.LSTM(3, 4, dtype=np.float64, rng=0)
    layer.save("lstm.npz")
    assert f"{layer!r}\nPrecision float64\nRecorded  nothing" in rnncore("info", "lstm.npz")
    rc.Sequential(rc.Pool("last")).save("pool.npz")
    assert "Precision of x: there are no parameters" in rnncore("info", "pool.npz")
    LanguageModel(hidden=4, embedding=4, rng=0).save("lm.npz")
    assert "'cell': 'lstm', 'layers': 1, 'hidden': 4" in rnncore("info", "lm.npz")


def test_info_of_a_file_of_keras(rnncore):
    printed = rnncore("info", DATA / "keras_2_15.h5")
    assert repr(rc.from_keras(DATA / "keras_2_15.h5")) in printed


@needs_onnx
def test_info_of_a_graph_that_is_no_chain(rnncore):
    import onnx

    from rnncore.onnx import export

    file = export(rc.GRU(3, 4, rng=0))
    file.graph.node.append(onnx.helper.make_node("Add", ["y", "y"], ["twice"]))
    file.graph.node.append(onnx.helper.make_node("Mul", ["y", "twice"], ["z"]))
    file.graph.output[0].name = "z"
    onnx.save(file, "m.onnx")
    printed = rnncore("info", "m.onnx")
    assert "Input     x tensor(float) (T, B, 3)" in printed
    assert "Output    z tensor(float) (" in printed
    assert "1 GRU" in printed
    assert "Layers    none: node" in printed
    assert "rnncore.onnx.Session runs any graph" in printed
    assert "rnncore.onnx.Session" in rnncore("convert", "m.onnx", "m.npz", status=2)


# Alone


@needs_torch
def test_code_in_a_file_is_not_run(rnncore):
    import torch

    torch.save(torch.nn.LSTM(3, 4), "whole.pt")
    assert "holds code or objects" in rnncore("convert", "whole.pt", "o.npz", status=2)
    torch.save(torch.nn.LSTMCell(3, 4).state_dict(), "cell.pt")
    told = rnncore("convert", "cell.pt", "o.npz", status=2)
    assert "cell.pt holds LSTMCell, which no file of rnncore can hold by itself" in told


def test_nothing_but_numpy_is_needed(tmp_path):
    """As a user runs it, without what prints tables, and without any framework."""
    absent = ["rich", "matplotlib", "torch", "keras", "onnx", "onnxruntime", "safetensors", "h5py"]
    code = (
        f"import sys; sys.modules |= dict.fromkeys({absent}); from rnncore.cli import main; "
        "sys.exit(main(sys.argv[1:]))"
    )

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    done = command("convert", DATA / "keras_2_13.keras", "out.npz")
    assert (done.returncode, done.stderr) == (0, "")
    assert command("info", "out.npz").returncode == 0
    for out, needed in (("m.onnx", "onnx"), ("m.safetensors", "safetensors")):
        done = command("convert", "out.npz", out)
        assert done.returncode == 2
        assert done.stderr == f"rnncore convert: {needed} not found: pip install {needed}\n"
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("data.pkl", b"")
    done = command("info", "m.pt")
    assert done.returncode == 2
    assert "reading it needs PyTorch" in done.stderr


def test_help_tells_of_both(tmp_path):
    for arguments, words in (
        (["--help"], ["convert", "info"]),
        (["convert", "--help"], [".keras", "--precision", "--no-record"]),
        (["info", "--help"], ["MODEL"]),
    ):
        printed = run(*arguments, cwd=tmp_path).stdout
        assert all(word in printed for word in words)
