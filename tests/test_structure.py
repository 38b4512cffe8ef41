"""No module imports one above it: each may use those that stand before it in this list."""

import ast
from pathlib import Path

import pytest

import rnncore

BOTTOM_UP = (
    "_validate",
    "_activations",
    "_groups",
    "_results",
    "_parameters",
    "reference",  # below the core: it is the oracle, and works where nothing was compiled
    "_core",
    "_threads",
    "_linear",
    "functional",
    "storage",
    "_stack",
    "frozen",
    "_checkpoints",
    "_recurrent",
    "_reference_layer",
    "layers",
    "cells",
    "heads",
    "clipping",
    "optim",
    "gradcheck",
    "_config",
    "text",
    "language_model",
    "_report",
    "cli",
    "__main__",
)
PACKAGE = Path(rnncore.__file__).parent


def imported(tree: ast.AST) -> set[str]:
    """Modules of the package that a file imports when it runs, anywhere in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    split = [name.split(".") for name in names]
    return {parts[1] for parts in split if parts[0] == "rnncore" and len(parts) > 1}


FILES = sorted(path for path in PACKAGE.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_import_upward(path):
    assert path.stem in BOTTOM_UP, "a new module needs a place in the list"
    below = {*BOTTOM_UP[: BOTTOM_UP.index(path.stem)], "__version__"}
    assert imported(ast.parse(path.read_text(encoding="utf-8"))) <= below
