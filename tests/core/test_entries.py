"""The entries of the core: sizes are compared before anything is read."""

import numpy as np
import pytest

from rnncore._cells import table
from rnncore._cells.activations import FUNCTIONS
from rnncore._core import core
from rnncore._engine.batch import ragged
from rnncore._engine.memory import empty

T, B, I, H = 4, 3, 5, 17
DTYPE = np.dtype(np.float32)
RUN = {
    "infer": core.Stack.infer,
    "infer-unpacked": core.Stack.infer,
    "forward": core.forward,
    "backward": core.backward,
}
# kind, flags, P
CELLS = {
    "rnn": ("RNN", (), H),
    "gru": ("GRU", (), H),
    "gru-before": ("GRU", ("reset_before",), H),
    "lstm": ("LSTM", (), H),
    "lstm-all": ("LSTM", ("coupled", "current", "projection"), 6),
    "indrnn": ("IndRNN", (), H),
    "layer-norm-lstm": ("LayerNormLSTM", (), H),
}


def shape_of(name, functions=None):
    kind, flags, P = CELLS[name]
    cell = core.KINDS[kind], sum(core.FLAGS[flag] for flag in flags), functions, 1e-5
    return core.Shape(cell, I, H, P, DTYPE.itemsize)


def ones(*size):
    return np.ones(size, DTYPE)


class Problem:
    """All that the entries take for one cell, with masks and lengths."""

    def __init__(self, name):
        kind, flags, P = CELLS[name]
        self.shape = shape_of(name)
        widths, rows = self.shape.widths, len(table.CELLS[kind].gates) * H
        biased = kind != "LayerNormLSTM"
        self.weights = (
            ones(rows, I),
            None if kind == "IndRNN" else ones(rows, P),
            ones(rows) if biased else None,
            ones(rows) if biased else None,
            tuple(ones(count * H) for count in self.shape.vectors),
            ones(P, H) if "projection" in flags else None,
        )
        self.x, self.y = ones(T, B, I), ones(T, B, P)
        self.batch = (False, ragged([2, 4, 0], T, B).table, 0, T)
        self.states = tuple(ones(B, width) for width in widths)
        self.masks = (ones(B, P), *(ones(T, B, width) for width in widths))
        self.memory = empty(self.shape.room(T, B, True, (True,) * len(widths))[0], DTYPE)
        self.packed = empty(self.shape.packed_size, np.dtype(np.uint8))
        self.flow = np.zeros((len(widths), T, B))

    def arguments(self, entry):
        batch, masks, states = self.batch, self.masks, self.states
        if entry == "forward":
            return (
                self.shape,
                self.weights,
                self.x,
                batch,
                states,
                masks,
                self.memory,
                self.y,
                states,
            )
        if entry == "backward":
            gradients = (self.x.copy(), states, self.weights)
            arriving = (self.y, self.y.copy(), self.y.copy(), *states)
            return (
                self.shape, self.weights, self.x, batch, masks, self.memory, arriving, self.flow,
                gradients,
            )  # fmt: skip
        of_layers = tuple(state[np.newaxis] for state in states)
        stack = core.Stack((((self.shape, False),),))
        weights = self.packed if entry == "infer" else self.weights
        return stack, (weights,), self.x, batch[1], of_layers, self.y, of_layers


def shortened(arguments):
    """Copies of nested tuples of arrays, each with one array that is shorter along one axis."""
    for k, value in enumerate(arguments):
        if isinstance(value, tuple):
            others = shortened(value)
        elif isinstance(value, np.ndarray):
            others = (np.ascontiguousarray(np.delete(value, 0, axis)) for axis in range(value.ndim))
        else:
            continue
        for other in others:
            yield (*arguments[:k], other, *arguments[k + 1 :])


@pytest.mark.parametrize("entry", RUN)
@pytest.mark.parametrize("name", CELLS)
def test_a_shorter_array_is_refused_before_it_is_read(name, entry):
    problem = Problem(name)
    core.pack(problem.shape, problem.weights, problem.packed)
    RUN["forward"](*problem.arguments("forward"))
    RUN[entry](*problem.arguments(entry))
    count = 0
    for wrong in shortened(problem.arguments(entry)):
        with pytest.raises((ValueError, IndexError), match=r"sizes|something else|out of bounds"):
            RUN[entry](*wrong)
        count += 1
    assert count > 8


@pytest.mark.parametrize("name", CELLS)
def test_shorter_weights_are_not_packed(name):
    problem = Problem(name)
    for weights, packed in shortened((problem.weights, problem.packed)):
        with pytest.raises(ValueError, match="sizes"):
            core.pack(problem.shape, weights, packed)


@pytest.mark.parametrize("name", CELLS)
def test_where_there_are_no_units_packed_weights_are_zeros(name):
    """Each number is there once: H is no multiple of a register, and other gates lie beyond it."""
    problem = Problem(name)
    w_ih, w_hh, b_ih, b_hh, vectors, w_hr = problem.weights
    zeros = [None if bias is None else np.zeros_like(bias) for bias in (b_ih, b_hh)]
    nothing = tuple(np.zeros_like(vector) for vector in vectors)
    core.pack(problem.shape, (w_ih, w_hh, *zeros, nothing, w_hr), problem.packed)
    numbers = problem.packed[64:].view(DTYPE)  # what is before is the header
    there = sum(value.size for value in (w_ih, w_hh, w_hr) if value is not None)
    if problem.shape.cell[1] & core.FLAGS["coupled"]:  # one gate of four is not computed
        there -= (w_ih.size + w_hh.size) // 4
    assert np.count_nonzero(numbers) == there
    assert numbers.sum() == there


@pytest.mark.parametrize(
    ("kind", "flags", "sizes"),
    [
        (-1, (), (I, H, H, 4)),
        (len(core.KINDS), (), (I, H, H, 4)),
        ("RNN", (), (I, H, H, 2)),
        ("RNN", (), (0, H, H, 4)),
        ("LSTM", (), (I, H, H - 1, 4)),
        ("GRU", ("projection",), (I, H, H - 1, 4)),
    ],
)
def test_what_is_no_shape(kind, flags, sizes):
    cell = core.KINDS.get(kind, kind), sum(core.FLAGS[flag] for flag in flags), None, 0.0
    with pytest.raises(ValueError, match="sizes"):
        core.Shape(cell, *sizes)


@pytest.mark.parametrize("code", [-1, len(FUNCTIONS), np.nan])
def test_what_is_no_activation(code):
    """The core knows just the functions of the table."""
    for known in range(len(FUNCTIONS)):
        shape_of("rnn", np.array([[known, 1.0, 1.0, 0.0]]))
    with pytest.raises(ValueError, match="sizes"):
        shape_of("rnn", np.array([[code, 1.0, 1.0, 0.0]]))
