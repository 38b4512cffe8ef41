"""No module imports one above it: each may use those that stand before it in this list."""

import ast
from pathlib import Path

import pytest

import rnncore

BOTTOM_UP = (
    "_version",
    "_sealed",
    "_stored",
    "_npz",
    "_safetensors",
    "_quiet",
    "_validate",
    "_activations",
    "_places",
    "_groups",
    "_results",
    "reference",  # below the core: it is the oracle, and works where nothing was compiled
    "_core",
    "_threads",
    "_linear",
    "_parameters",
    "_norms",
    "_traces",
    "_core_cells",
    "_passes",
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
    "gradient_flow",
    "_config",
    "text",
    "tasks",
    "agreement",
    "_reading",
    "_saved_model",
    "language_model",
    "_sizes",
    "_streams",
    "_signals",
    "_command",
    "_report",
    "_bench",  # a folder; its files may use each other
    "gates",  # a folder; its own files follow below
    "_learning",
    "_evaluation",
    "_train",
    "_arguments",
    "cli",
    "__main__",
)
GATES_BOTTOM_UP = (
    "settings",
    "model",
    "learning",
    "vanishing",
    "exploding",
    "memory",
    "figures",
    "command",
)
PACKAGE = Path(rnncore.__file__).parent


def imported(tree: ast.AST, parent: str = "rnncore.") -> set[str]:
    """Modules directly below `parent` that a file imports when it runs, anywhere in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = (name.removeprefix(parent) for name in names if name.startswith(parent))
    return {name.partition(".")[0] for name in found}


FILES = {path.stem: path for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
FILES |= {f"_bench/{path.stem}": path for path in PACKAGE.glob("_bench/*.py")}


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_import_upward(name):
    module, _, of_folder = name.partition("/")
    assert module in BOTTOM_UP, "a new module needs a place in the list"
    below = {*BOTTOM_UP[: BOTTOM_UP.index(module)]}
    below |= {module} if of_folder else set()
    path = FILES[name]
    assert imported(ast.parse(path.read_text(encoding="utf-8"))) <= below


GATES_FILES = sorted(path for path in (PACKAGE / "gates").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", GATES_FILES, ids=lambda path: path.stem)
def test_no_import_upward_in_gates(path):
    assert path.stem in GATES_BOTTOM_UP, "a new module needs a place in the list"
    below = {*GATES_BOTTOM_UP[: GATES_BOTTOM_UP.index(path.stem)]}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert imported(tree) <= {*BOTTOM_UP[: BOTTOM_UP.index("gates") + 1]}
    assert imported(tree, "rnncore.gates.") <= below
