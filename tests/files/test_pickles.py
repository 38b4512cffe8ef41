"""Pickles travel: to another instruction set, through read-only memory, with their state."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pickled_things
import pytest

import rnncore
from rnncore import _core

HERE = Path(__file__).parents[1]
B, I, H = 3, 4, 19


def run_on(isa, task, given=None):
    done = subprocess.run(
        [sys.executable, "support/pickled_things.py", task],
        cwd=HERE,
        env={**os.environ, "RNNCORE_ISA": isa},
        input=given,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module", params=_core.available())
def made(request):
    """All things, made on one of the instruction sets."""
    return request.param, run_on(request.param, "make")


@pytest.mark.parametrize("isa", _core.available())
def test_what_is_pickled_on_one_instruction_set_is_the_same_on_another(made, isa):
    before = pickle.loads(made[1])[1]
    after = pickle.loads(run_on(isa, "use", made[1]))[1]
    assert len(before) > 60
    assert after.keys() == before.keys()
    for name, arrays in before.items():
        for got, want in zip(after[name], arrays, strict=True):
            scale = np.abs(want).max(initial=0)
            # The same bits at home; elsewhere products may be rounded before they are added.
            eps = np.finfo(want.dtype).eps if want.dtype.kind == "f" else 0
            tolerance = 0 if isa == made[0] else 64 * eps * scale
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance, err_msg=name)


LAYERS = pickled_things.LAYERS


def make(name, **others):
    kind, options = LAYERS[name]
    return kind(**{"input_size": I, "hidden_size": H, "rng": 0, **options, **others})


@pytest.mark.parametrize("name", LAYERS)
def test_what_lies_in_read_only_memory_works(name):
    """As joblib maps the arrays of a large pickle, and as protocol 5 hands over buffers."""
    buffers = []
    layer = make(name)
    _, _, trace = layer.forward(pickled_things.inputs(layer))
    things = {"layer": layer, "frozen": layer.freeze(), "trace": trace}
    if not layer.bidirectional:
        things["stream"] = things["frozen"].stream(B)
    pickled = pickle.dumps(things, protocol=5, buffer_callback=buffers.append)
    back = pickle.loads(pickled, buffers=[buffer.raw().toreadonly() for buffer in buffers])
    assert not any(value.flags.writeable for value in back["layer"].params.values())
    pickled_things.of_frozen(back["frozen"], back["layer"])
    if "stream" in back:
        pickled_things.of_stream(back["stream"], back["layer"])
    got = pickled_things.of_trace(back["layer"], back["trace"])
    pickled_things.assert_same_bits(got, pickled_things.of_trace(layer, trace))
    with pytest.raises(ValueError, match=r"^params\['weight_ih_l0'\] is read-only"):
        back["layer"].load_params(layer.params)
    with pytest.raises(ValueError, match=r"^params\['weight_ih_l0'\] is read-only"):
        rnncore.Adam(back["layer"].params)


def test_a_mapped_file_of_weights(tmp_path):
    layer = make("lstm")
    x = pickled_things.inputs(layer)
    y, _ = layer(x)
    for name, value in layer.params.items():
        np.save(tmp_path / f"{name}.npy", value)
        layer.params[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    np.testing.assert_array_equal(layer(x)[0], y)
    np.testing.assert_array_equal(layer.freeze()(x)[0], y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(layer.freeze()))(x)[0], y)


class Holder:
    """An object of a user's that has a stream in it."""

    def __init__(self, stream):
        self.stream = stream


WAYS = {
    "its own copy": lambda holder: Holder(holder.stream.copy()),
    "copy": lambda holder: Holder(copy.copy(holder.stream)),
    "deepcopy": copy.deepcopy,
    "pickle": lambda holder: pickle.loads(pickle.dumps(holder)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name", [n for n, (_, options) in LAYERS.items() if "bidirectional" not in options]
)
def test_a_copied_stream_goes_its_own_way(name, way):
    layer = make(name)
    x = pickled_things.inputs(layer)
    holder = Holder(layer.freeze().stream(B))
    holder.stream(x[0])
    other = WAYS[way](holder).stream
    want = layer(x)[0]
    np.testing.assert_array_equal(other(x[1]), want[1])
    np.testing.assert_array_equal(other(x[2]), want[2])
    np.testing.assert_array_equal(holder.stream(x[1]), want[1])  # not moved by the other
    assert holder.stream(x[2]) is not other(x[3])


def test_a_copied_frozen_layer_is_itself():
    frozen = make("gru").freeze()
    assert copy.copy(frozen) is copy.deepcopy(frozen) is frozen


# The core looks at what it is given


def refused(message, run):
    with pytest.raises(ValueError, match=message):
        run()


def as_header(memory):
    return memory.view(np.int32)


@pytest.mark.parametrize("use", ["layer", "stream"])
def test_packed_weights_are_checked_before_they_are_read(use):
    layer = make("lstm")
    x = pickled_things.inputs(layer)

    def run():
        return frozen(x) if use == "layer" else frozen.stream(B)

    frozen = layer.freeze()
    (packed,) = frozen._weights
    for place, value, message in (
        (0, 7, "something else is given, expected packed weights"),
        (1, 2, "of another cell or of other sizes"),
        (2, 8, "for registers of 8 bytes came, expected .* made with another instruction set"),
        (4, 9, "of another cell or of other sizes"),
        (6, 5, "of another cell or of other sizes"),
    ):
        right = as_header(packed)[place]
        as_header(packed)[place] = value
        refused(message, run)
        as_header(packed)[place] = right
        run()
    for length in (0, 3, 16, len(packed) - 1):
        object.__setattr__(frozen, "_weights", (packed[:length],))
        refused("something else is given|of other sizes", run)


def test_the_memory_of_a_trace_is_checked_before_it_is_read():
    layer = make("lstm")
    y, _, trace = layer.forward(pickled_things.inputs(layer))
    memory = trace.cells[0].memory
    for place, value, message in (
        (0, 7, "something else is given, expected the memory of a trace"),
        (2, 8, "for registers of 8 bytes came, expected .* made with another instruction set"),
        (6, 5, "of another cell or of other sizes"),
    ):
        wrong = memory.copy()
        as_header(wrong)[place] = value
        object.__setattr__(trace.cells[0], "memory", wrong)
        refused(message, lambda: layer.backward(trace, y))
    for length in (0, 3, 16, len(memory) - 1):
        object.__setattr__(trace.cells[0], "memory", memory[:length])
        refused("something else is given|of other sizes", lambda: layer.backward(trace, y))
    object.__setattr__(trace.cells[0], "memory", memory)
    layer.backward(trace, y)
