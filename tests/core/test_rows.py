"""The result of a batch row depends on that row alone, to the last bit, in the compiled core.

Not on the size of the batch, the other rows, or whether the steps came one by one or all at once.
"""

import numpy as np
import pytest
from cells import CELLS
from numpy.testing import assert_array_equal

from rnncore import functional

# T, B, I, H on either side of the widths of a register.
SHAPES = [(3, 13, 1, 1), (3, 13, 33, 1), (3, 13, 17, 15), (3, 13, 1, 16), (3, 13, 16, 16)]
SHAPES += [(3, 13, 15, 17), (3, 13, 17, 17), (3, 13, 16, 33), (3, 13, 33, 33)]
# And of the chunks of steps, of rows, and of columns that are computed together.
SHAPES += [(130, 13, 17, 16), (3, 100, 5, 17), (4, 13, 150, 130)]
BATCHES = [2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13]


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


def rows_of(cell, arrays, rows):
    """`arrays` with the batch `rows` of x, of the states and of their gradients."""
    own = {"x": 1, "dy": 1} | dict.fromkeys((*cell.states, "dh", "dc"), 0)
    return {
        name: np.take(a, rows, axis=own[name]) if name in own else a for name, a in arrays.items()
    }


def results(cell, inputs, output_grads):
    """What a row has of its own: y, the final states, the gradients of x and the initial states."""
    trace = cell.forward(functional, inputs)
    found = {name: getattr(trace, name) for name in cell.output_grads.values()}
    grads = cell.backward(functional, trace, inputs, output_grads)
    found |= {f"d{name}": grads[name] for name in ("x", *cell.states)}
    return {name: a if a.ndim == 3 else a[None] for name, a in found.items()}  # rows are axis 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_a_row_has_the_same_bits_in_every_batch(cell, shape, dtype, rng):
    B = shape[1]
    inputs = cell.draw(shape, dtype, rng)
    output_grads = cell.draw_output_grads(shape, dtype, rng)

    def of(rows):
        return results(cell, rows_of(cell, inputs, rows), rows_of(cell, output_grads, rows))

    alone = [of([row]) for row in range(13)]
    for batch in dict.fromkeys((*BATCHES, B)):
        rows = rng.permutation(B)[:batch]  # other neighbours, in another place
        for name, found in of(rows).items():
            for place, row in enumerate(rows):
                if row < len(alone):
                    assert_array_equal(found[:, place], alone[row][name][:, 0], f"{name}, {batch}")


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
@pytest.mark.parametrize("shape", [(5, 1, 17, 33), (130, 3, 17, 16), (6, 13, 33, 17)], ids=str)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_steps_one_by_one_give_the_same_bits(cell, shape, reverse, dtype, rng):
    inputs = cell.draw(shape, dtype, rng)
    whole = cell.forward(functional, inputs, reverse=reverse, training=False)
    steps = range(shape[0])[::-1] if reverse else range(shape[0])
    now = dict(inputs)
    for t in steps:
        now["x"] = inputs["x"][t : t + 1]
        step = cell.forward(functional, now, reverse=reverse, training=False)
        assert_array_equal(step.y[0], whole.y[t])
        now |= {name: getattr(step, f"{name[0]}_n") for name in cell.states}
    for name in cell.states:
        assert_array_equal(now[name], getattr(whole, f"{name[0]}_n"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_inference_gives_the_bits_of_training(cell, shape, dtype, rng):
    inputs = cell.draw(shape, dtype, rng)
    trace = cell.forward(functional, inputs)
    outputs = cell.forward(functional, inputs, training=False)
    for name in cell.output_grads.values():
        assert_array_equal(getattr(outputs, name), getattr(trace, name))
