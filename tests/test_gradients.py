"""Every gradient of every cell against finite differences."""

from itertools import chain, combinations

import pytest
from cells import CELLS
from gradients import directional_error

# T, B, I, H; the last has more rows than the compiled core takes back in one chunk, 192.
SHAPES = [(1, 1, 1, 1), (5, 1, 3, 2), (4, 3, 2, 5), (3, 4, 17, 33), (70, 3, 2, 5)]

EVERY_INPUT = [(cell, name) for cell in CELLS for name in CELLS[cell].inputs]


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("cell", "name"), EVERY_INPUT)
def test_gradient(implementation, cell, name, shape, reverse, rng):
    inputs, loss, grads = CELLS[cell].problem(implementation, shape, rng, reverse=reverse)
    assert directional_error(loss, grads, inputs, name, rng) < 1e-7


def proper_subsets(names):
    return chain.from_iterable(combinations(names, n) for n in range(1, len(names)))


@pytest.mark.parametrize(
    ("cell", "missing"),
    [(c, m) for c in CELLS for m in proper_subsets(CELLS[c].output_grads)],
    ids=lambda value: value if isinstance(value, str) else "without-" + "-".join(value),
)
def test_gradient_with_outputs_missing(implementation, cell, missing, rng):
    inputs, loss, grads = CELLS[cell].problem(implementation, (4, 3, 2, 5), rng, missing)
    for name in inputs:
        assert directional_error(loss, grads, inputs, name, rng) < 1e-7, name
