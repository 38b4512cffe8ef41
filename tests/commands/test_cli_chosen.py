"""`rnncore train`: the model that the validation text chooses, and what it is exported to."""

import json

import numpy as np
import pytest
from commands import SMALL

import rnncore as rc
from rnncore import cli
from rnncore._commands import learning
from rnncore._commands.learning import Run
from rnncore.language_model import LanguageModel, Trainer

TEXT = np.frombuffer(b"the cat, which already ate, was full. " * 40, np.uint8)


def trainer():
    return Trainer(LanguageModel(hidden=6, embedding=5, rng=0), TEXT, batch=5, window=11, clip=1.0)


def test_the_fewest_bits_on_the_validation_text_are_kept(tmp_path):
    run = Run(trainer(), tmp_path, TEXT[:200])
    model = run.trainer.model
    for _ in range(30):
        run.trainer.step(0.01)
    run.choose(model)
    bits, best = run.best_bits, {name: a.copy() for name, a in model.arrays().items()}
    assert bits == model.bits_per_character(TEXT[:200])
    run.trainer.step(10.0)  # which spoils it
    run.step_seconds.append(1.0)
    run.save()
    assert run.best_bits == bits < model.bits_per_character(TEXT[:200])

    going_on, _ = Trainer.load(run.path, TEXT, clip=1.0)
    for made, wanted in ((LanguageModel.load(run.path), best), (going_on.model, model.arrays())):
        for name, value in made.arrays().items():
            np.testing.assert_array_equal(value, wanted[name])
    assert run.end() is model
    for name, value in model.arrays().items():
        np.testing.assert_array_equal(value, best[name])


def test_best_parameters_are_checked(tmp_path):
    one = trainer()
    best = one.model.arrays()
    for wrong, message in (
        ({**best, "x": np.ones(1)}, r"best\.x is unknown"),
        ({"head.bias": best["head.bias"]}, r"best\.embedding\.weight is missing"),
        ({**best, "head.bias": np.ones(3, np.float32)}, r"best\.head\.bias has shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            one.save(tmp_path / "model.npz", best=wrong)
    assert not list(tmp_path.iterdir())


def test_going_on_keeps_the_better_model(train, monkeypatch):
    assert train()[0] == 0
    path = train.out / "model.npz"
    before = LanguageModel.load(path).arrays()
    bits = json.loads((train.out / "metrics.json").read_text())["bits_per_character"]["model"]
    monkeypatch.setattr(learning, "learning_rate", lambda done, peak: 1000.0)
    status, output, _ = train("--resume")
    assert status == 0
    metrics = json.loads((train.out / "metrics.json").read_text())
    assert f"Chosen with {metrics['validation_bits_per_character']:.3f} bits" in output
    assert metrics["bits_per_character"]["model"] == bits
    for name, value in LanguageModel.load(path).arrays().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_the_exported_model_is_the_one_that_was_measured(suffix, train):
    if suffix == ".onnx":
        pytest.importorskip("onnx", reason="onnx is not installed")
    path = train.out.parent / f"whole{suffix}"
    status, output, _ = train("--export", path, "--layers", 2)
    assert status == 0
    assert f"For other programs: {path}" in output
    wanted, _ = LanguageModel.load(train.out / "model.npz")(TEXT[:60].reshape(20, 3))
    found, _ = rc.load(path)(TEXT[:60].reshape(20, 3).astype(int))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_precision_is_that_of_the_sample_and_of_the_export(train):
    path = train.out.parent / "whole.npz"
    status, output, _ = train("--export", path, "--precision", "w8a8")
    assert status == 0
    frozen = LanguageModel.load(train.out / "model.npz").freeze("w8a8")
    wanted = bytes(frozen.sample(500, temperature=0.7, rng=0)).decode("utf-8", "replace")
    assert json.loads((train.out / "metrics.json").read_text())["sample"] == wanted
    assert "A sample at temperature 0.7, w8a8:" in output
    exported = rc.load(path)
    assert exported.precision == "w8a8"
    ids = TEXT[:60].reshape(20, 3)
    np.testing.assert_array_equal(exported(ids.astype(int))[0], frozen(ids)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--export", "whole.pt"), "--export is whole.pt, with the suffix '.pt', expected .npz or"),
        (("--export", "no/whole.npz"), "--export is no/whole.npz, and there is no folder"),
        (
            ("--export", "whole.onnx", "--precision", "w8a8"),
            "--precision is w8a8 and --export is whole.onnx, and ONNX's recurrent operators",
        ),
        (
            ("--precision", "w8a8", "--dtype", "float64"),
            "--precision is w8a8, expected a model of float32",
        ),
        (("--export", "out/model.npz"), "--export is out/model.npz, where the training has its ow"),
        (
            ("--export", "whole.onnx", "--cell", "indrnn"),
            "--export is whole.onnx: layer recurrent is of type IndRNN, which ONNX's operators do",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused_before_the_training(
    options, message, text, tmp_path, monkeypatch, capsys
):
    if "whole.onnx" in options:
        pytest.importorskip("onnx", reason="onnx is not installed")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", str(text), *SMALL, "--out", str(tmp_path / "out"), *options]) == 2
    assert capsys.readouterr().err.startswith(f"rnncore train: {message}")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_the_training_may_be_that_of_the_export(train):
    path = train.out / "whole.npz"
    assert train("--export", path)[0] == 0
    wanted = LanguageModel.load(train.out / "model.npz").arrays()["head.bias"]
    np.testing.assert_array_equal(rc.load(path).params["head.bias"], wanted)


def test_what_was_measured_is_told_where_the_export_fails(train, monkeypatch):
    def full(model, out):
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr("rnncore._commands.train.write", full)
    status, output, errors = train("--export", train.out / "whole.npz")
    assert status == 2
    assert "model.npz, curve.png, metrics.json" in output
    assert "No space left on device" in errors
