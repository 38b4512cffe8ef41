"""Things pickled in one process and used in another: ``python pickled_things.py make|use``.

`make` writes a pickle of everything to its standard output, with what it gives where it was made.
`use` reads that, and writes what the unpickled things give there.
"""

import pickle
import sys

import numpy as np
from models import MODELS, an_input
from problems import LAYERS as KINDS
from problems import STEPS

import rnncore as rc
from rnncore import functional, reference
from rnncore.language_model import LanguageModel, Trainer
from rnncore.reference.precision import PRECISIONS

T, B, I, H = 5, 3, 4, 19  # H fills no whole register of any instruction set
LAYERS = {
    "rnn": (rc.RNN, {}),
    "rnn zoneout": (rc.RNN, {"nonlinearity": "relu", "zoneout": 0.3}),
    "gru": (rc.GRU, {"num_layers": 2, "dropout": 0.2}),
    "gru before": (rc.GRU, {"reset": "before", "recurrent_dropout": 0.3, "dtype": np.float64}),
    "gru affine": (rc.GRU, {"activations": ("HardSigmoid", ("Affine", 0.5, 0.25)), "clip": 2.0}),
    "lstm": (rc.LSTM, {}),
    "lstm one unit": (rc.LSTM, {"hidden_size": 1}),
    "lstm whole registers": (rc.LSTM, {"hidden_size": 32}),
    "lstm both": (rc.LSTM, {"bidirectional": True, "peephole": "current"}),
    "lstm projected": (rc.LSTM, {"proj_size": 7, "zoneout": 0.2, "recurrent_dropout": 0.2}),
    "indrnn": (rc.IndRNN, {"num_layers": 2}),
    "indrnn zoneout": (rc.IndRNN, {"nonlinearity": "tanh", "zoneout": 0.3, "dtype": np.float64}),
    "layer norm lstm": (rc.LayerNormLSTM, {}),
    "layer norm lstm both": (rc.LayerNormLSTM, {"bidirectional": True, "recurrent_dropout": 0.2}),
    "layer norm lstm double": (rc.LayerNormLSTM, {"bias": False, "eps": 0.1, "dtype": np.float64}),
    "lstm double": (rc.LSTM, {"coupled": True, "dtype": np.float64}),
}
assert {kind for kind, _ in LAYERS.values()} == set(KINDS)  # every cell is there
RAGGED = [5, 0, 3]
RNG = np.random.default_rng(2)


def inputs(layer):
    size = (T, B, layer.input_size)
    return np.random.default_rng(1).standard_normal(size).astype(layer.dtype)


def flat(*results):
    """The arrays in nested tuples, lists and dicts."""
    arrays = []
    for result in results:
        if isinstance(result, dict):
            result = tuple(result.values())
        arrays += flat(*result) if isinstance(result, tuple | list) else [np.asarray(result)]
    return arrays


def assert_same_bits(got, want):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


# What each thing gives


def of_layer(layer):
    return flat(layer(inputs(layer), lengths=RAGGED))


def of_frozen(frozen, layer):
    found = flat(frozen(inputs(layer), lengths=RAGGED))
    assert_same_bits(found, of_layer(layer))
    return found


def of_narrow(frozen, layer):
    """Compared with the layer's weights narrowed here; rows may be rounded otherwise elsewhere."""
    found = flat(frozen(inputs(layer), lengths=RAGGED))
    again = layer.freeze(frozen.precision)
    assert_same_bits(found, flat(again(inputs(layer), lengths=RAGGED)))
    return []


def of_stream(stream, layer):
    y, end = layer(inputs(layer), stream.state)
    steps = [stream(x_t).copy() for x_t in inputs(layer)]
    assert_same_bits(flat(steps, stream.state), flat(list(y), end))
    return steps


def of_trace(layer, trace):
    held = [array for cell in trace.cells for array in cell.arrays]
    held += [mask for mask in trace.dropped if mask is not None]
    assert not any(array.flags.writeable for array in held)
    y = np.ones((*trace.shape[:2], layer.num_directions * layer._widths[0]), layer.dtype)
    return flat(layer.backward(trace, y))


def of_cell(cell, trace):
    state = cell(inputs(cell)[0])
    return flat(state, cell.backward(trace, state))


def of_core(name, trace, weights):
    shown = (trace.x, trace.h, trace.c, trace.gates)
    assert not any(array.flags.writeable for array in shown)
    backward = {"functional": functional, "reference": reference}[name].lstm_backward
    return flat(trace.h, trace.c, trace.gates, backward(trace, *weights, np.ones_like(trace.y))[:5])


def of_head(head, trace, x):
    return flat(head.backward(trace, np.ones_like(head(x))).params)


def of_model(model, x):
    return flat(model(x)[0])


def of_model_trace(model, trace):
    size = int(np.prod(trace.y.shape))
    dy = np.sin(np.arange(size)).reshape(trace.y.shape).astype(trace.y.dtype)  # norms see no ones
    grads = model.backward(trace, dy).params
    return [np.concatenate([g.ravel() for g in grads.values()])]  # that of a bias may be 0


def of_model_stream(stream, x):
    return [stream(x_t).copy() for x_t in x]


def of_optimizer(optimizer):
    optimizer.step({"w": np.ones(6)})
    return flat(optimizer.state)


def of_trainer(trainer):
    return [np.array(value, np.float32) for value in trainer.step(0.01)]  # as it computes


def of_result(result):
    return flat(result if isinstance(result, tuple) else (result.dh, dict(result.gate_mean)))


def things():
    """By name, everything that can be pickled: a function from above, and what it takes."""
    made = {}
    for name, (kind, options) in LAYERS.items():
        layer = kind(**{"input_size": I, "hidden_size": H, "rng": 0, **options})
        made[f"layer {name}"] = of_layer, layer
        frozen = layer.freeze()
        made[f"frozen {name}"] = of_frozen, frozen, layer
        if layer.dtype == np.float32:
            for precision in PRECISIONS:
                narrow = layer.freeze(precision)
                made[f"frozen {name} {precision}"] = of_narrow, narrow, layer
        if not layer.bidirectional:
            stream = frozen.stream(B)
            stream(inputs(layer)[0])
            made[f"stream {name}"] = of_stream, stream, layer
        for how in ({}, {"lengths": RAGGED}):
            made[f"trace {name} {how}"] = of_trace, layer, layer.forward(inputs(layer), **how)[2]
    layer = rc.GRU(I, 2, zoneout=0.1, rng=0)
    long = np.tile(inputs(layer), (500, 1, 1))
    limit = layer.forward(long)[2].nbytes // 2
    made["trace in bounded memory"] = of_trace, layer, layer.forward(long, memory_limit=limit)[2]
    assert len(made["trace in bounded memory"][2].cells[0].windows) > 1
    for kind in STEPS:
        cell = kind(I, H, rng=0)
        made[kind.__name__] = of_cell, cell, cell.forward(inputs(cell)[0])[1]

    layer = rc.LSTM(I, H, rng=0)
    weights = [layer.params[name] for name in ("weight_ih_l0", "weight_hh_l0")]
    for core in (functional, reference):
        name = core.__name__.removeprefix("rnncore.")
        made[f"trace of {name}"] = (
            of_core,
            name,
            core.lstm_forward(inputs(layer), *weights),
            weights,
        )
    made["gradient flow"] = of_result, rc.gradient_flow(layer, inputs(layer))
    y, _, trace = layer.forward(inputs(layer))
    made["gradients"] = of_result, layer.backward(trace, np.ones_like(y))

    linear, embedding = rc.Linear(I, 3, rng=0), rc.Embedding(10, 3, rng=0)
    made["linear"] = of_head, linear, linear.forward(inputs(layer))[1], inputs(layer)
    made["embedding"] = of_head, embedding, embedding.forward(np.arange(6))[1], np.arange(6)
    for name, case in MODELS.items():
        model, x = case.make(np.float32, False), an_input(case, T, B, np.float32, RNG)
        made[f"model {name}"] = of_model, model, x
        made[f"frozen model {name}"] = of_model, model.freeze(), x
        made[f"trace of model {name}"] = of_model_trace, model, model.forward(x)[2]
        if case.streams:
            stream = model.freeze().stream(B)
            stream(x[0])
            made[f"stream of model {name}"] = of_model_stream, stream, x
    params = {"w": np.arange(6.0)}
    for kind in (rc.Adam, rc.AdamW, rc.SGD, rc.RMSprop):
        optimizer = kind(params, 0.1)
        optimizer.step({"w": np.ones(6)})
        made[type(optimizer).__name__] = of_optimizer, optimizer
    text = np.frombuffer(b"the cat was full. " * 20, np.uint8)
    trainer = Trainer(
        LanguageModel(hidden=8, embedding=4, rng=0), text, batch=2, window=9, clip=1.0
    )
    trainer.step(0.01)
    made["trainer"] = of_trainer, trainer
    return made


def main(task):
    pickled = pickle.dumps(things()) if task == "make" else pickle.load(sys.stdin.buffer)[0]
    results = {name: use(*given) for name, (use, *given) in pickle.loads(pickled).items()}
    pickle.dump((pickled if task == "make" else None, results), sys.stdout.buffer)


if __name__ == "__main__":
    main(sys.argv[1])
