"""The compiled core against the reference, array by array."""

import numpy as np
import pytest
from cells import CELLS, VARIANTS

from rnncore import functional, reference

# T, B, I, H: sizes around a register and a tile of rows, and more rows than one chunk has: forward
# 128, backward 192, or 384 for H of 256 and more and 768 for 512
SHAPES = [
    (1, 1, 1, 1),
    (5, 2, 15, 16),
    (4, 7, 16, 15),
    (3, 13, 33, 17),
    (2, 5, 17, 33),
    (70, 3, 2, 5),
    (130, 1, 3, 70),
    (9, 47, 5, 18),
    (90, 5, 4, 260),
]
LARGE = (26, 31, 3, 512)
COMPUTED = CELLS | VARIANTS
# Variants in float64 only: dropout and clipping can carry a rounding of float32 far. And what has
# no bounded gates only where it has few steps to grow without bound.
UNBOUNDED = {"gru-after-activations"}
CASES = [(name, np.float32, shape) for name in CELLS for shape in SHAPES]
CASES += [
    (name, np.float64, shape)
    for name in COMPUTED
    for shape in SHAPES
    if shape[0] < 10 or name not in UNBOUNDED
]
CASES += [(name, np.float64, LARGE) for name in CELLS]
# Of the largest number of an array. Both round as often as a sum has terms, in different orders.
BOUND = {np.float32: 1e-5, np.float64: 1e-13}


def scale_of(key, expected, cell, I, H):
    """The largest number of an array, or of the terms of which it is what is left.

    A norm loses what lies along its sums, and those of a single input all lie along it: of terms as
    large as those of dw_ih it leaves eps / (var + eps), that is 1e-5 and less by default. So it is
    with a single unit and dw_hh.
    """
    terms = {"dx": ("dw_ih", I), "dh0": ("dw_hh", H)}
    names = [key]
    if key in terms and "eps" in cell.kind.defaults and terms[key][1] == 1:
        names.append(terms[key][0])
    return max(np.abs(expected[name]).max() for name in names)


def compute(module, cell, shape, dtype, reverse):
    rng = np.random.default_rng(sum(shape))
    inputs = cell.draw(shape, dtype, rng)
    output_grads = cell.draw_output_grads(shape, dtype, rng)
    trace = cell.forward(module, inputs, reverse=reverse)
    names = ("h", "c", "gates", "y", *(f"{state[0]}_n" for state in cell.states))
    arrays = {n: getattr(trace, n) for n in names if getattr(trace, n, None) is not None}
    outputs = cell.forward(module, inputs, reverse=reverse, training=False)._asdict()
    grads = cell.backward(module, trace, inputs, output_grads)
    return (
        arrays
        | {f"inferred {k}": v for k, v in outputs.items()}
        | {f"d{k}": v for k, v in grads.items()}
    )


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
@pytest.mark.parametrize(("name", "dtype", "shape"), CASES, ids=str)
def test_core_equals_reference(name, shape, dtype, reverse):
    expected = compute(reference, COMPUTED[name], shape, dtype, reverse)
    got = compute(functional, COMPUTED[name], shape, dtype, reverse)
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        assert got[key].shape == value.shape
        assert got[key].dtype == value.dtype == dtype
        gap = np.abs(got[key] - value).max()
        scale = scale_of(key, expected, COMPUTED[name], *shape[2:])
        assert gap <= BOUND[dtype] * scale, f"{key}: {gap}"
