"""Memory: a trace holds what backward reads, inference a bounded scratch, and nothing grows."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from in_a_process import of_a_process, printed
from problems import KINDS, STATES

import rnncore
from rnncore._core import core

# Numbers of a unit at a step: the states, and for the gated cells four values of gates; with norms
# the normalised numbers and what they were scaled by. They are those of the table in
# docs/performance.md.
PER_UNIT = {"RNN": 1, "GRU": 5, "LSTM": 6, "IndRNN": 1, "LayerNormLSTM": 18}
GATE_VALUES = {name: held - len(STATES[name]) for name, held in PER_UNIT.items()}
CACHE_LINE = 64  # bytes; at which every array of the core starts


def padded(units: int, dtype: np.dtype) -> int:
    lanes = core.REGISTER_BYTES // dtype.itemsize
    return -(-units // lanes) * lanes


def owners(thing: object) -> dict[int, np.ndarray]:
    """The arrays that own the memory of all arrays that `thing` holds, each once."""
    if isinstance(thing, np.ndarray):
        while isinstance(thing.base, np.ndarray):
            thing = thing.base
        return {id(thing): thing}
    inside = thing if isinstance(thing, tuple) else ()
    if is_dataclass(thing) and not isinstance(thing, type):
        inside = [getattr(thing, field.name) for field in fields(thing)]
    return {key: array for each in inside for key, array in owners(each).items()}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("H", [15, 16, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", PER_UNIT)
def test_a_trace_holds_what_backward_reads_and_no_more(kind, dtype, H, layers, bidirectional):
    T, B, I = 7, 3, 5
    layer = getattr(rnncore, kind)(I, H, layers, bidirectional=bidirectional, dtype=dtype, rng=0)
    _, _, trace = layer.forward(np.ones((T, B, I), dtype))

    W, directions = padded(H, layer.dtype), layer.num_directions
    states = PER_UNIT[kind] - GATE_VALUES[kind]

    def lines(numbers):
        return -(-numbers * layer.dtype.itemsize // CACHE_LINE) * CACHE_LINE

    header, alignment = CACHE_LINE, CACHE_LINE
    of_a_cell = header + alignment + states * lines((T + 1) * B * W)
    of_a_cell += lines(T * B * GATE_VALUES[kind] * W)
    inputs = T * B * (I + (layers - 1) * directions * H) * layer.dtype.itemsize
    held = sum(array.nbytes for array in owners(trace).values())
    assert held == layers * directions * of_a_cell + inputs
    assert trace.nbytes <= held


# What a process takes: in a new one each, where nothing else has left its marks.

MANY_CALLS = (
    f"kinds = {list(KINDS.values())}"
    + """
import gc, itertools, tracemalloc

layers = [
    getattr(rc, cell)(I, H, count, dtype=dtype, bidirectional=two, rng=0, **own)
    for cell, own in kinds
    for I, H, count, dtype, two in [(3, 17, 1, "f4", 0), (5, 9, 2, "f4", 1), (4, 33, 2, "f8", 0)]
    for two in [bool(two)]
]
shapes = [(1, 1), (3, 1), (2, 5), (7, 2), (4, 9), (0, 2), (2, 0)]
cases = itertools.cycle(
    [(layer, np.ones((*s, layer.input_size), layer.dtype)) for layer in layers for s in shapes]
)

def call(count):
    for _ in range(0, count, 5):
        layer, x = next(cases)
        y, state = layer(x)
        y, state, trace = layer.forward(x, state)
        layer.backward(trace, y, state)
        frozen = layer.freeze()
        frozen(x, state)
        if x.size and not layer.bidirectional:
            frozen.stream(x.shape[1])(x[0])

call(15_000)
growth = []
for _ in range(3):  # a leak shows in each round, the allocator's ups and downs do not
    gc.collect()
    before = status("VmRSS")
    call(10_000)
    gc.collect()
    growth.append(status("VmRSS") - before)
print(min(growth))

tracemalloc.start()
call(1000)
gc.collect()
before, _ = tracemalloc.get_traced_memory()
call(1000)
gc.collect()
print(tracemalloc.get_traced_memory()[0] - before)
"""
)

PEAK = """
import sys
from rnncore.layers.parameters import LATER

kind, (T, B, I, H) = sys.argv[1], map(int, sys.argv[2:])
# Nothing is drawn: the products of that would leave scratch memory, of another size, to be used.
layer = getattr(rc, kind)(I, H, rng=LATER)
layer.params = {name: np.zeros(shape, np.float32) for name, shape in layer._shapes.items()}
frozen = layer.freeze()
frozen(np.ones((1, B, I), np.float32))
x = np.ones((T, B, I), np.float32)
# The imports have left a high-water mark. Filled up to it, all that is taken more raises it.
ballast = np.ones(max(0, status("VmHWM") - status("VmRSS")), np.uint8)
before = status("VmHWM")
y, _ = frozen(x)
print(status("VmHWM") - before - y.nbytes)
"""


@of_a_process
def test_ten_thousand_calls_of_varying_shapes_do_not_grow():
    resident, traced = printed(MANY_CALLS)
    # 100 bytes lost in each call would be 1 MB; of Python's objects, of 1000 calls, 100 kB.
    assert resident < 600_000
    assert traced < 60_000


@of_a_process
@pytest.mark.parametrize("kind", PER_UNIT)
def test_the_scratch_of_inference_does_not_grow_with_the_steps(kind):
    B, I, H = 4, 32, 512
    ((short,), (long,)) = (printed(PEAK, kind, T, B, I, H) for T in (200, 2000))
    assert abs(long - short) < 100_000  # an input's row of sums each step would be 1.8 MB and more
    slots = max(1, GATE_VALUES[kind])
    assert long < 1024 * slots * H * 4  # sums of some hundred rows at once
