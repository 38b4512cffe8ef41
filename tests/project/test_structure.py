"""Rooms with walls: a file uses the floors below it and its own folder, and nobody goes in circles.

That holds for the imports of the package, and for cimports and includes of the compiled core.
"""

import ast
import re
from pathlib import Path

import pytest

import rnncore

# From the ground up. What stands on one floor does not know its neighbours.
FLOORS = (
    ("_version",),
    ("_check",),
    ("_common", "_files"),
    ("_cells",),
    ("reference",),  # below the core: it is the oracle, and works where nothing was compiled
    ("_core",),
    ("_engine",),
    ("functional",),
    ("layers",),
    ("models",),
    ("train",),
    ("parallel",),
    ("fitting",),
    ("look", "course", "tasks", "agreement", "torch", "convert", "sklearn"),
    ("language_model", "onnx"),
    ("_console",),
    ("_bench", "gates"),
    ("_commands",),
    ("cli",),
    ("__main__", "jax"),  # bridges to other libraries: nobody imports them
)
PARTS_OF_CORE = (
    "pointers",
    "shape",
    "passes",
    "layers",
    "stack",
    "params",
    "stream",
    "products",
    "rows",
    "model",
    "serving",
    "calls",
    "arrays",
    "training",
    "limits",
)
CORE_FLOORS = (
    ("vec",),
    ("activation", "arena", "batch", "gradients", "header", "matmul", "outer", "xla"),
    ("given", "scratch", "states", "track"),
    ("embedding", "losses", "places", "row_steps"),
    ("clipping", "optim", "unit"),
    ("cell", "functions", "norm"),
    ("rnn", "gru", "lstm", "indrnn", "layer_norm_lstm", "recurrence", "foreign"),
    ("cells", "plan", "room", "step", "team", "weights"),
    ("forward_step", "linear"),
    ("chunk",),
    ("backward_step",),
    ("backward", "forward"),
    (*PARTS_OF_CORE, "core"),
)
NATIVE_FLOORS = (
    ("vec", "denormals", "interrupts", "machine"),
    (
        "activation",
        "arena",
        "batch",
        "pack",
        "places",
        "pool",
        "rows",
        "squares",
        "sweep",
        "tiles",
        "xla",
    ),
    ("clipping", "embedding", "matmul", "mse", "optim", "softmax", "track", "unit"),
    ("cell", "narrow_rows", "outer", "peak", "row_steps", "states"),
    ("narrow_dots",),
    ("narrow",),
    ("unpacked",),
    ("given", "gradients", "linear", "scratch"),
    ("foreign", "recurrence"),
    ("room", "team"),
)
PACKAGE = Path(rnncore.__file__).parent
SOURCES = Path(__file__).parents[2] / "src_cython"  # there is none where a wheel is tested


def floor_of(name: str, floors: tuple[tuple[str, ...], ...]) -> int:
    found = [k for k, rooms in enumerate(floors) if name in rooms]
    assert found, f"{name} needs a place on a floor"
    return found[0]


def below(name: str, floors: tuple[tuple[str, ...], ...]) -> set[str]:
    return {room for rooms in floors[: floor_of(name, floors)] for room in rooms}


# The package


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports when it runs, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in FILES}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            within = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name for name in within if name in FILES}
            if node.module in FILES and not all(name in FILES for name in within):
                found.add(node.module)
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("name", [name for name in FILES if room(name)])
def test_a_file_imports_lower_floors_or_its_own_folder(name):
    rooms = {room(module) for module in imported(FILES[name])} - {room(name), ""}
    assert rooms <= below(room(name), FLOORS)


def assert_no_circle(uses: dict[str, set[str]]) -> None:
    """Take away whatever uses nothing that is left, until nothing is left."""
    left = dict(uses)
    while left:
        ready = [name for name, used in left.items() if not used & left.keys()]
        assert ready, f"a circle in {sorted(left)}"
        for name in ready:
            del left[name]


def test_no_circle_in_the_package():
    assert_no_circle({name: imported(path) - {name} for name, path in FILES.items() if room(name)})


def test_a_circle_would_be_found():
    with pytest.raises(AssertionError, match="a circle in \\['a', 'b'\\]"):
        assert_no_circle({"a": {"b"}, "b": {"a", "c"}, "c": set()})


# The compiled core

CYTHON = {path.stem: path for path in sorted(SOURCES.glob("*.p*"))}
NATIVE = {path.stem: path for path in sorted(SOURCES.glob("native/*.h"))}
CIMPORT = re.compile(r"^(?:from (\w+) cimport|cimport (\w+)|include \"(\w+)\.pxi\")", re.MULTILINE)
INCLUDE = re.compile(r"^#include \"(\w+)\.h\"", re.MULTILINE)


def used(path: Path, pattern: re.Pattern) -> set[str]:
    found = pattern.findall(path.read_text(encoding="utf-8"))
    return {name for match in found for name in ((match,) if isinstance(match, str) else match)}


@pytest.mark.parametrize("name", CYTHON)
def test_a_file_cimports_lower_floors(name):
    own = used(CYTHON[name], CIMPORT) & CYTHON.keys()
    own -= set(PARTS_OF_CORE) if name == "core" else set()
    assert own <= below(name, CORE_FLOORS)


@pytest.mark.parametrize("name", NATIVE)
def test_a_header_includes_lower_floors(name):
    assert used(NATIVE[name], INCLUDE) <= below(name, NATIVE_FLOORS)


@pytest.mark.skipif(not SOURCES.exists(), reason="the sources are in the checkout alone")
def test_every_room_is_there():
    rooms = {room for rooms in FLOORS for room in rooms}
    assert rooms == {room(name) for name in FILES if room(name)}
    assert {room for rooms in CORE_FLOORS for room in rooms} == CYTHON.keys()
    assert {room for rooms in NATIVE_FLOORS for room in rooms} == NATIVE.keys()
