"""The sum of squares against exact sums, in one order whatever the layout; and no BLAS anywhere."""

import ast
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnncore
from rnncore import _core, clip_grad_norm
from rnncore._engine.norms import sum_of_squares

PIECE = _core.core.SQUARES_PIECE
SIZES = [0, 1, 7, 31, 32, 33, 1000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 45]
DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_the_exact_sum_but_for_a_few_roundings(dtype, size, rng):
    for scale in (1.0, 1e-20, 1e15):
        a = (scale * rng.standard_normal(size)).astype(dtype)
        exact = math.fsum(float(x) * float(x) for x in a)
        assert sum_of_squares(a) == pytest.approx(exact, rel=4 * np.finfo(float).eps, abs=0)


def test_every_element_counts_once():
    """Squares of integers are exact: one that is left out, or is there twice, shows."""
    for size in SIZES:
        a = np.arange(1.0, size + 1) % 1000
        assert sum_of_squares(a) == int((a.astype(np.int64) ** 2).sum())


def off_its_alignment(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    raw[1:].view(a.dtype)[...] = a.reshape(-1)
    return raw[1:].view(a.dtype).reshape(a.shape)


def field_of_a_record(a):
    records = np.zeros(a.shape, [("flag", np.int8), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


LAYOUTS = [
    np.asfortranarray,
    off_its_alignment,
    field_of_a_record,
    lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    lambda a: np.ascontiguousarray(a.T).T,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=range(len(LAYOUTS)))
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (97, 541), (5, 2 * PIECE)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_layout_changes_a_bit(dtype, shape, layout, rng):
    a = rng.standard_normal(shape).astype(dtype)
    laid_out = layout(a)
    np.testing.assert_array_equal(laid_out, a)
    assert sum_of_squares(laid_out) == sum_of_squares(a)
    norms = [clip_grad_norm({"a": each}, 0.5) for each in (a.copy(), laid_out)]
    assert norms[0] == norms[1]


def test_nan_and_infinity_are_seen():
    for at in (0, 40, PIECE + 3):
        for value in (np.nan, np.inf):
            a = np.ones(PIECE + 10, np.float32)
            a[at] = value
            np.testing.assert_equal(sum_of_squares(a), value)


PRINT = """
import numpy as np
from rnncore._engine.norms import sum_of_squares
rng = np.random.default_rng(0)
for size in (5, 100, 16385, 100_000):
    print(sum_of_squares(rng.standard_normal(size, np.float32)).hex())
"""


def test_every_instruction_set_has_the_same_bits_for_float32():
    printed = set()
    for isa in _core.available():
        done = subprocess.run(
            [sys.executable, "-c", PRINT],
            cwd=Path(rnncore.__file__).parents[1],
            env={**os.environ, "RNNCORE_ISA": isa},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1
    assert len(printed.pop().split()) == 4


# NumPy's BLAS has a thread pool of its own: beside busy processes a product of 16384 numbers has
# taken 680 ms, and the order of its sums depends on the number of its threads.

PACKAGE = Path(rnncore.__file__).parent
ROOMS = ("_cells", "_common", "_engine", "layers", "train", "language_model")
TRAINING = [
    PACKAGE / "functional.py",
    *(p for room in ROOMS for p in (PACKAGE / room).glob("*.py")),
]
BLAS = {"dot", "vdot", "inner", "matmul", "einsum", "tensordot", "linalg", "correlate"}
BLAS |= {"convolve", "multi_dot", "cov", "corrcoef", "polyfit"}


def products(code: str) -> list[str]:
    """What would call BLAS."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.MatMult):
            found.append("@")
        elif isinstance(node, ast.Attribute) and node.attr in BLAS:
            found.append(node.attr)
        elif isinstance(node, ast.ImportFrom):
            words = [*node.module.split("."), *(name.name for name in node.names)]
            found += [word for word in words if word in BLAS]
    return found


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nothing_that_runs_at_every_step_calls_blas(path):
    assert products(path.read_text("utf-8")) == []


def test_a_product_would_be_found():
    for code in ("a @ b", "a @= b", "np.dot(a, b)", "a.dot(b)", "from numpy.linalg import norm"):
        assert products(code)
    assert products("np.linalg.norm(a)") == ["linalg"]
    assert products("from numpy import vdot as product") == ["vdot"]
