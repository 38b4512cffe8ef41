"""What a type checker makes of public calls, as `typed_calls` and `typed_models` assert it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rnncore
from rnncore import functional, reference

SUPPORT = Path(__file__).parents[1] / "support"
CALLS = SUPPORT / "typed_calls.py", SUPPORT / "typed_models.py"
WRONG = """
import json
from typing_extensions import assert_type
import rnncore as rc

assert_type(rc.get_num_threads(), str)
print(json.loads("0"))
rc.GRU(3, 4, rest="before")
rc.LSTMCell(3, 4, peephol="current")
"""
PARTLY_ANY = 'Expression type contains "Any"'  # as the shapes of NumPy's arrays do


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """What mypy says of the calls and of wrong ones, by the name of the file."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("mypy")
    (folder / "wrong.py").write_text(WRONG)
    above = Path(rnncore.__file__).parents[1]
    own = {} if above.name == "site-packages" else {"MYPYPATH": str(above)}
    options = ["--strict", "--disallow-any-expr", "--follow-imports=silent", "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, "--config-file=", *CALLS, "wrong.py"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    lines = [line for line in done.stdout.splitlines() if PARTLY_ANY not in line]
    wrong = [line for line in lines if line.startswith("wrong.py")]
    return {"wrong": wrong, "calls": [line for line in lines if line not in wrong]}


def test_public_calls_give_what_is_asserted_and_never_any(errors):
    assert errors["calls"] == []


def test_what_is_wrong_would_be_reported(errors):
    said = "\n".join(errors["wrong"])
    assert 'Expression is of type "int", not "str"' in said
    assert 'Expression has type "Any"' in said
    assert 'Unexpected keyword argument "rest" for "GRU"' in said
    assert 'Unexpected keyword argument "peephol" for "LSTMCell"' in said


@pytest.mark.parametrize("module", [rnncore, functional, reference], ids=lambda m: m.__name__)
def test_every_public_name_is_there(module):
    short = {"rnncore": "rc"}.get(module.__name__, module.__name__.removeprefix("rnncore."))
    used = {
        node.attr
        for file in CALLS
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == short
    }
    assert set(module.__all__) <= used
