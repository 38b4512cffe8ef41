"""A whole model, a step at a time and all at once, beside the sum of its layers and onnxruntime:
``taskset -c 0 python benchmarks/bench_models.py``.

The model is a language model: an embedding, two LSTM layers of 64, a layer norm and a linear head.
onnxruntime runs what `rnncore.onnx.export` writes of it, with one thread; a step of it is a call
that is handed the state back. The outputs are compared.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

import rnncore as rc
import rnncore.onnx
from rnncore._core import core

WORDS, UNITS = 100, 64


def least(calls, rounds, many):
    """The least microseconds of blocks of calls, which take turns."""
    times = [[] for _ in calls]
    for _ in range(rounds):
        for call, own in zip(calls, times, strict=True):
            begin = time.perf_counter()
            for _ in range(many):
                call()
            own.append(1e6 * (time.perf_counter() - begin) / many)
    return [min(own) for own in times]


def parts_of_a_step(model, ids):
    """The steps of the layers by themselves: what has to be multiplied, and the gates."""
    x = np.ones((len(ids), UNITS), np.float32)
    y = np.empty((len(ids), WORDS), np.float32)
    head = core.LinearStep(*model[3].params.values())
    return [partial(model[1].freeze().stream(len(ids)), x), partial(head, x, y)]


def session_of(model, state):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        rnncore.onnx.export(model, path, state=state)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def step_of(session, ids):
    """A call of a session that goes on from its own state."""
    names = [each.name for each in session.get_inputs()]
    held = {
        each.name: np.zeros([len(ids) if size == "B" else size for size in each.shape], np.float32)
        for each in session.get_inputs()[1:]
    }

    def call():
        y, *state = session.run(None, {names[0]: ids[None], **held})
        held.update(zip(names[1:], state, strict=True))
        return y[0]

    return call


def main(rounds):
    rc.set_num_threads(1)
    rng = np.random.default_rng(0)
    model = rc.Sequential(
        rc.Embedding(WORDS, UNITS, rng=0), rc.LSTM(UNITS, UNITS, 2, rng=0), rc.LayerNorm(UNITS),
        rc.Linear(UNITS, WORDS, rng=0),
    )  # fmt: skip
    print(model)
    print("us: rnncore, the sum of its layers, onnxruntime, and both over rnncore")
    for B in (1, 16):
        ids = rng.integers(0, WORDS, B)
        stream, theirs = model.freeze().stream(B), step_of(session_of(model, True), ids)
        for _ in range(3):
            np.testing.assert_allclose(stream(ids), theirs(), rtol=1e-4, atol=1e-5)
        ours, other, *parts = least(
            [partial(stream, ids), theirs, *parts_of_a_step(model, ids)], rounds, 50
        )
        show(f"a step of {B} row(s)", ours, sum(parts), other)
    for T, B in ((100, 1), (100, 16)):
        ids, fast, session = (
            rng.integers(0, WORDS, (T, B)),
            model.freeze(),
            session_of(model, False),
        )
        name = session.get_inputs()[0].name
        theirs = partial(session.run, None, {name: ids})
        np.testing.assert_allclose(fast(ids)[0], theirs()[0], rtol=1e-4, atol=1e-5)
        x, rnn = np.ones((T, B, UNITS), np.float32), model[1].freeze()
        head = core.LinearStep(*model[3].params.values())
        y = np.empty((T * B, WORDS), np.float32)
        parts = [partial(rnn, x), partial(head, x.reshape(-1, UNITS), y)]
        ours, other, *parts = least([partial(fast, ids), theirs, *parts], rounds, 3)
        show(f"{T} steps of {B} row(s)", ours, sum(parts), other)


def show(what, ours, parts, other):
    print(
        f"{what:24s} {ours:9.1f} {parts:9.1f} {other:9.1f} {parts / ours:7.2f} {other / ours:7.2f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    main(parser.parse_args().rounds)
