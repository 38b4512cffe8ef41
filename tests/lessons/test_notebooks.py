"""The notebooks are run, in a kernel where there is one; what they show is what they give."""

import importlib.util
import json
import re
import runpy
import sys

import pytest
from pages import ROOT, python_blocks

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
KERNEL = all(importlib.util.find_spec(name) for name in ("nbclient", "nbformat", "ipykernel"))


def cells(path):
    return json.loads(path.read_text("utf-8"))["cells"]


def texts(cells):
    """What the cells print and give, without the numbers, which are other ones elsewhere."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    found = [output.get("text") or output["data"].get("text/plain", "") for output in outputs]
    return [re.sub(r"[-+\d.,%]+(e[-+]\d+)?|\s+", " ", "".join(text)).split() for text in found]


def run_here(path, monkeypatch):
    """Cell after cell, where nothing of Jupyter is installed: only an error is seen."""
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    names = {"__name__": "__main__"}
    for cell in cells(path):
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    matplotlib.pyplot.close("all")


@pytest.mark.filterwarnings("default")  # what Jupyter warns of is its own
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    if not KERNEL:
        run_here(path, monkeypatch)
        return
    run = runpy.run_path(str(FOLDER / "run.py"))
    notebook = run["tidied"](run["run"](path, timeout=100))
    assert texts(notebook.cells) == texts(cells(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_whole(path):
    assert path.stat().st_size < 300_000
    for cell in cells(path):
        source = "".join(cell["source"])
        for target in re.findall(r"\]\(([^)#:]+\.\w+)\)", source):
            assert (FOLDER / target).is_file(), target
        if "draw({" in source or "\nshow()" in source:
            assert any("image/svg+xml" in one.get("data", {}) for one in cell["outputs"])
        for output in cell.get("outputs", ()):
            assert output["output_type"] != "error"
            svg = "".join(output.get("data", {}).get("image/svg+xml", ""))
            assert not svg or "<text" in svg


def test_there_are_three():
    names = {path.stem for path in NOTEBOOKS}
    assert names == {"agreement", "own_backward", "vanishing_gradient"}


def test_the_answers_are_right(capsys):
    names = {}
    for code in python_blocks("docs/notebooks/answers.md"):
        exec(code, names)
    assert "% right" in capsys.readouterr().out


def test_every_exercise_has_its_answer():
    exercises = (FOLDER / "exercises.md").read_text("utf-8")
    answers = (FOLDER / "answers.md").read_text("utf-8")
    asked = re.findall(r"^(\d+)\. +\*\*(.+?)\*\*", exercises, re.M)
    assert asked == re.findall(r"^\*\*(\d+)\. (.+?)\*\*", answers, re.M)
    assert [int(number) for number, _ in asked] == list(range(1, 11))
