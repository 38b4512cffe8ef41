"""What is read in one sitting: files of at most 400 lines, functions of at most 60.

A signature and a docstring do not count: they are read alone.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnncore

FILE, FUNCTION = 400, 60

PACKAGE = Path(rnncore.__file__).parent
ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".pyx", ".pxd", ".pxi", ".h"}
FOLDERS = {"rnncore": PACKAGE, "src_cython": ROOT / "src_cython", "tests": ROOT / "tests"}
FILES = {
    f"{name}/{path.relative_to(folder).as_posix()}": path
    for name, folder in FOLDERS.items()
    for path in sorted(folder.rglob("*"))
    if path.suffix in SUFFIXES
}
MODULES = {
    name: path
    for name, path in FILES.items()
    if name.startswith("rnncore/") and path.suffix == ".py"
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_in_one_sitting(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= FILE


def functions_of(source: str) -> Iterator[tuple[str, int]]:
    """The functions of a file and the lines of their bodies, without a docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.name, node.end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("name", MODULES)
def test_a_function_fits_on_a_page(name):
    longer = {
        function: lines
        for function, lines in functions_of(MODULES[name].read_text(encoding="utf-8"))
        if lines > FUNCTION
    }
    assert not longer


def test_what_counts_of_a_function():
    source = '''
def one(
    a,
    b,
):
    """Signature and
    docstring.
    """
    a = b

    return a


class Two:
    def method(self):
        """Nothing else."""
'''
    assert dict(functions_of(source)) == {"one": 3, "method": 0}
