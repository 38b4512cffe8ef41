"""The documentation: its code runs, every public name has its entry, no link is dead.

The code of docs/layouts.md is run by test_layouts.py, against the libraries that it is for; that of
the lessons by test_notebooks.py.
"""

import copy
import importlib.util
import re
from types import SimpleNamespace

import numpy as np
import pytest
from pages import ROOT, python_blocks

import rnncore
from rnncore import cli, parallel

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def test_get_started_runs_and_learns(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # a layer is saved
    blocks = python_blocks("docs/index.md")
    assert "torch" in blocks[-1].co_names
    names = {}
    for code in blocks:
        if "torch" not in code.co_names or importlib.util.find_spec("torch"):
            exec(code, names)
    out = capsys.readouterr().out
    assert "(20, 4, 8) (1, 4, 8) (1, 4, 8)" in out
    assert names["dh0"].any()
    assert names["dh0"].shape == names["dc0"].shape == (1, 4, 8)
    (error,) = re.findall(r"mean squared error (\S+)", out)
    assert float(error) < 0.05


def test_the_course_finds_what_is_wrong_with_a_solution(capsys):
    names = {}
    for code in python_blocks("docs/api/course.md"):
        exec(code, names)
    assert names["error"][-1] < 1e-12
    assert names["error"][:-1].min() > 0.01
    page, printed = (DOCS / "api" / "course.md").read_text("utf-8"), capsys.readouterr().out
    assert f"# {printed.splitlines()[0]}" in page
    assert f"```text\n{printed[printed.index('Right: dWo.') :]}```" in page


def test_the_pieces_of_code_on_gates():
    names = {}
    for code in python_blocks("docs/gates.md"):
        exec(code, names)
    assert names["flow"].dh.shape == names["flow"].dc.shape == (2, 50)
    assert names["norm"] > 0


def test_the_pieces_of_code_on_tasks():
    names = {}
    for code in python_blocks("docs/tasks.md"):
        exec(code, names)
    assert names["x"].shape == names["target"].shape == (40, 32)


def test_the_pieces_of_code_on_models():
    names = {}
    for code in python_blocks("docs/api/models.md"):
        exec(code, names)
    assert names["grads"].params.keys() == names["model"].params.keys()
    assert names["y_t"].shape == (8, 10)
    assert names["adam"].steps == 1


def test_the_pieces_of_code_on_training(capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in python_blocks("docs/api/training.md"):
        exec(code, names)
    assert float(capsys.readouterr().out.splitlines()[0]) > 0.85
    assert names["history"].best_epoch is not None
    assert (tmp_path / "history.png").is_file()


def test_the_pieces_of_code_on_data_and_machines(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in python_blocks("docs/scale.md"):
        exec(code, names)
    assert len(names["history"]) == 2
    model, history = names["train"](None)
    assert len(history) == 1
    calls = dict.fromkeys(parallel._CALLS, lambda *_: 0) | {"Get_size": lambda: 1}
    one, other, (x, y) = (
        copy.deepcopy(model),
        copy.deepcopy(model),
        (names["X"][:20], names["Y"][:20]),
    )
    names["step"](SimpleNamespace(**calls), one, rnncore.Adam(one), x, y)
    rnncore.fit(other, [(x, y)], loss="cross_entropy", clip_norm=None, progress=False)
    for name, value in one.params.items():
        np.testing.assert_allclose(value, other.params[name], rtol=1e-3, atol=1e-5)


def test_the_pieces_of_code_on_scikit_learn(monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.chdir(ROOT)  # a file of the examples is read
    names = {}
    for code in python_blocks("docs/api/sklearn.md"):
        exec(code, names)
    assert names["classifier"].score(names["X_test"], names["y_test"]) > 0.8
    assert names["search"].best_score_ > 0.8
    assert names["scores"].shape == (1, 2)
    assert names["forecaster"].score(names["spots"][229:]) > 0.49


def test_the_pieces_of_code_on_precision():
    names = {}
    for code in python_blocks("docs/precision.md"):
        exec(code, names)
    assert 0 < names["mean"] < names["largest"]
    exact, *others = names["told"].values()
    for loss, accuracy in others:
        assert loss != exact[0]
        assert abs(loss - exact[0]) < 0.02
        assert abs(accuracy - exact[1]) < 0.02


def test_the_pieces_of_code_on_jax():
    pytest.importorskip("jax", reason="JAX is not installed")
    names = {}
    for code in python_blocks("docs/jax.md"):
        exec(code, names)
    assert names["grads"].keys() == names["params"].keys()


def test_the_pieces_of_code_on_torch(capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    names = {}
    for code in python_blocks("docs/torch.md"):
        exec(code, names)
    assert capsys.readouterr().out == "replaced: 'rnn'\n"
    assert names["model"].rnn.weight_hh_l1_reverse.grad.any()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_the_pieces_of_code_on_deploying(capsys, monkeypatch, tmp_path):
    from deployed import names_of, write_files  # which tells Keras of its backend

    for library in ("torch", "onnx", "keras"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    names = names_of(write_files())
    assert cli.main(["convert", "tagger.pt", "tagger.npz"]) == 0
    printed = capsys.readouterr().out
    page = (DOCS / "deploy.md").read_text("utf-8")
    (shown,) = re.findall(r"```text\n(Read .*?)```", page, re.DOTALL)
    assert without_numbers(printed) == without_numbers(shown)
    for code in python_blocks("docs/deploy.md"):
        exec(code, names)
    assert names["answers"].shape == (32, 1)
    assert not any(state[:, [3, 17]].any() for state in names["stream"].state)


def without_numbers(text):
    """What is the same on all machines, with whatever spaces."""
    return re.sub(r"[\d.,]+(e-\d+)?(\+cpu)?|\s+", " ", text).split()


def test_no_page_has_code_that_is_not_run():
    found = {path.name for path in PAGES if "```python" in path.read_text("utf-8")}
    assert found == {
        *("course.md", "deploy.md", "gates.md", "index.md", "jax.md", "layouts.md", "precision.md"),
        *("models.md", "scale.md", "sklearn.md", "tasks.md", "torch.md", "training.md"),
        "answers.md",
    }


def test_every_public_name_is_in_the_reference():
    reference = "".join(path.read_text("utf-8") for path in (DOCS / "api").glob("*.md"))
    entries = re.findall(r"\.\. auto(?:class|function):: (?:rnncore\.)?(\w+)$", reference, re.M)
    assert set(rnncore.__all__) <= set(entries)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_links_within_the_documentation(page):
    for target in re.findall(r"\]\(([^)#:]+\.\w+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).is_file(), target
