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
    "course",
    "_config",
    "text",
    "language_model",
    "_report",
    "_bench",  # a folder; its files may use each other
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


FILES = {path.stem: path for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
FILES |= {f"_bench/{path.stem}": path for path in PACKAGE.glob("_bench/*.py")}


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_import_upward(name):
    module, _, of_folder = name.partition("/")
    assert module in BOTTOM_UP, "a new module needs a place in the list"
    below = {*BOTTOM_UP[: BOTTOM_UP.index(module)], "__version__"}
    below |= {module} if of_folder else set()
    path = FILES[name]
    assert imported(ast.parse(path.read_text(encoding="utf-8"))) <= below
