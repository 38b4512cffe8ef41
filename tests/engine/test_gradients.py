"""Every gradient of every cell against finite differences."""

from itertools import chain, combinations

import pytest
from cells import CELLS, VARIANTS
from gradients import smooth_directional_error

# T, B, I, H; the last has more rows than the compiled core takes back in one chunk, 192.
SHAPES = [(1, 1, 1, 1), (5, 1, 3, 2), (4, 3, 2, 5), (3, 4, 17, 33), (70, 3, 2, 5)]

EVERY_INPUT = [(cell, name) for cell in CELLS for name in CELLS[cell].inputs]
EVERY_INPUT_OF_VARIANTS = [(cell, name) for cell in VARIANTS for name in VARIANTS[cell].inputs]


def bound(cell, shape):
    """Of a single input or unit a norm leaves a gradient of 1e-5 and less of its terms."""
    _, _, I, H = shape
    return 1e-6 if "eps" in cell.kind.defaults and 1 in (I, H) else 1e-7


def assert_right(cell, implementation, shape, names, rng, missing=(), **options):
    def draw():
        return cell.problem(implementation, shape, rng, missing, **options)

    for name in names:
        assert smooth_directional_error(draw, name, rng) < bound(cell, shape), name


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("cell", "name"), EVERY_INPUT)
def test_gradient(implementation, cell, name, shape, reverse, rng):
    assert_right(CELLS[cell], implementation, shape, [name], rng, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("cell", "name"), EVERY_INPUT_OF_VARIANTS)
def test_gradient_of_a_variant(implementation, cell, name, shape, reverse, rng):
    assert_right(VARIANTS[cell], implementation, shape, [name], rng, reverse=reverse)


def proper_subsets(names):
    return chain.from_iterable(combinations(names, n) for n in range(1, len(names)))


def each_without(cells):
    return pytest.mark.parametrize(
        ("cell", "missing"),
        [(cell, missing) for cell in cells for missing in proper_subsets(cells[cell].output_grads)],
        ids=lambda value: value if isinstance(value, str) else "without-" + "-".join(value),
    )


@each_without(CELLS)
def test_gradient_with_outputs_missing(implementation, cell, missing, rng):
    cell = CELLS[cell]
    assert_right(cell, implementation, (4, 3, 2, 5), cell.inputs, rng, missing)


@each_without(VARIANTS)
def test_gradient_of_a_variant_with_outputs_missing(implementation, cell, missing, rng):
    cell = VARIANTS[cell]
    assert_right(cell, implementation, (4, 3, 2, 5), cell.inputs, rng, missing)
