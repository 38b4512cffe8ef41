"""All that the compiled core computes, on small problems around the widths of its registers.

Run as a program, it writes what `results` returns to standard output, pickled: a process has one
instruction set only.
"""

import pickle
import sys

import numpy as np
from cells import CELLS

import rnncore
from rnncore import functional

T = 5
SIZES = (1, 15, 16, 17, 33)
INPUTS_AND_UNITS = [(I, H) for k, H in enumerate(SIZES) for I in (SIZES[k], SIZES[k - 2])]
BATCHES = (1, 2, 3, 4, 5, 6, 7, 13)


def results():
    """(dtype, cell, shape) -> the outputs by name, and the gradients by name."""
    found = {}
    for dtype in ("float32", "float64"):
        for key, cell in CELLS.items():
            for shape in [(T, B, I, H) for I, H in INPUTS_AND_UNITS for B in BATCHES]:
                rng = np.random.default_rng(shape)
                inputs = cell.draw(shape, dtype, rng)
                output_grads = cell.draw_output_grads(shape, dtype, rng)
                trace = cell.forward(functional, inputs)
                grads = cell.backward(functional, trace, inputs, output_grads)
                outputs = {name: getattr(trace, name) for name in cell.output_grads.values()}
                found[dtype, key, shape] = outputs, grads
    return found


if __name__ == "__main__":
    pickle.dump((rnncore.show_config("dicts"), results()), sys.stdout.buffer)
