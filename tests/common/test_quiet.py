"""Floating-point signals: what a caller sets with numpy.seterr changes nothing, and stays set."""

import numpy as np
import pytest
from cells import CELLS, VARIANTS
from parts import PARTS
from problems import KINDS, STEPS

import rnncore as rc
from rnncore import agreement, course, functional, reference, tasks
from rnncore.language_model import LanguageModel
from rnncore.layers.on_reference import on_reference

T, B, I, H = 3, 2, 4, 5
DTYPES = [np.float32, np.float64]


class Extreme:
    """Arrays of numbers whose products underflow and overflow, beside plain ones."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        reach = {4: (1e-30, 1e30), 8: (1e-300, 1e300)}[self.dtype.itemsize]
        self.values = np.array([1.0, *reach, -1.0, *(-x for x in reach), 0.0, 2e-3], dtype)
        self.rng = np.random.default_rng(0)

    def __call__(self, *shape):
        return self.rng.choice(self.values, shape)

    def into(self, layer):
        for array in layer.params.values():
            array[...] = self(*array.shape)
        return layer


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def layer_results(layer, draw):
    x = draw(T, B, I)
    y, state, trace = layer.forward(x)
    grads = layer.backward(trace, draw(*y.shape), state)
    called = layer(x, state, lengths=[T, 1])
    return y, *parts(state), grads.x, *grads.params.values(), called[0], *parts(called[1])


def frozen_results(layer, draw):
    x, fast = draw(T, B, I), layer.freeze()
    stream = fast.stream(B)
    return fast(x)[0], *(stream(x_t).copy() for x_t in x), *parts(stream.state)


def cell_results(cell, draw):
    state, trace = cell.forward(draw(B, I))
    grads = cell.backward(trace, state)
    return *parts(state), grads.x, *parts(grads.state), *grads.params.values()


LAYERS = {
    name: lambda dtype, cell=cell, own=own: getattr(rc, cell)(I, H, **own, dtype=dtype)
    for name, (cell, own) in KINDS.items()
} | {
    "GRU of two layers": lambda dtype: rc.GRU(I, H, 2, dtype=dtype),
    "LSTM clipped": lambda dtype: rc.LSTM(
        I, H, peephole="current", proj_size=2, clip=2.0, dtype=dtype
    ),
}


def of_layers():
    for name, make in LAYERS.items():
        for on, results in (("", layer_results), (".freeze()", frozen_results)):
            yield (
                name + on,
                lambda draw, make=make, results=results: results(draw.into(make(draw.dtype)), draw),
            )
        yield (
            f"{name} on reference",
            lambda draw, make=make: layer_results(on_reference(draw.into(make(draw.dtype))), draw),
        )
    for step in STEPS:
        yield (
            step.__name__,
            lambda draw, step=step: cell_results(draw.into(step(I, H, dtype=draw.dtype)), draw),
        )


def functional_results(module, cell, draw):
    shape = (T, B, I, H)
    inputs = {name: draw(*size) for name, size in cell.shapes(*shape).items()}
    inputs |= cell.draw_constants(T, B, H, draw.dtype.type, np.random.default_rng(0))
    arriving = {
        name: draw(*array.shape)
        for name, array in cell.draw_output_grads(shape, draw.dtype, draw.rng).items()
    }
    trace = cell.forward(module, inputs)
    outputs = cell.forward(module, inputs, training=False)
    flow = np.zeros((len(cell.states), T, B))
    grads = cell.backward(module, trace, inputs, arriving, flow=flow)
    return trace.y, *outputs, *grads.values(), flow


def of_the_functional_core():
    for module in (functional, reference):
        for name, cell in (CELLS | VARIANTS).items():
            yield (
                f"{module.__name__}.{name}",
                lambda draw, module=module, cell=cell: functional_results(module, cell, draw),
            )


def part_results(name, draw):
    case = PARTS[name]
    part = draw.into(case.part(draw.dtype))
    for key, value in part.buffers.items():
        value[...] = abs(draw(*value.shape)) if key == "running_var" else draw(*value.shape)
    x = case.x(draw.rng, T, B) if case.of_ids else draw(T, B, case.width)
    results = [part(x), part(x, lengths=[T, 1])]
    for lengths in (None, [T, 1]):
        y, trace = part.forward(x, lengths=lengths)
        grads = part.backward(trace, draw(*y.shape))
        results += [y, *part.buffers.values(), *grads.params.values()]
        results += [] if grads.x is None else [grads.x]
    return [result.copy() for result in results]


def optimizer_results(make, draw):
    params = {"w": draw(40), "v": draw(5, 8).T}
    params["tied"] = params["w"]
    optimizer = make(params)
    for _ in range(3):
        optimizer.step({"w": draw(40), "v": draw(8, 5), "tied": draw(40)})
    again = make(params)
    again.load_state(optimizer.state)
    again.step(params)
    return *params.values(), *optimizer.state.values()


def clipped(clip, limit, draw):
    grads = [{"a": draw(40)}, {"b": draw(5, 8).T, "c": draw(3).astype(np.float64)}]
    return clip(grads, limit), *grads[0].values(), *grads[1].values()


def gradcheck_results(of_weights, of_x):
    layer = rc.Linear(I, H, dtype=float, rng=0)
    with np.errstate(all="ignore"):
        for array in layer.params.values():
            array *= of_weights
    errors = rc.gradcheck(layer, np.full((T, I), of_x), raise_exception=False, directions=5)
    return list(errors.values())


def of_training():
    for name in PARTS:
        yield f"part {name}", lambda draw, name=name: part_results(name, draw)
    ids = np.arange(20) % 5
    yield "softmax_cross_entropy", lambda draw: rc.softmax_cross_entropy(draw(20, 5), ids)
    yield "mse", lambda draw: rc.mse(draw(20, 5), draw(20, 5))
    for name, make in {
        "SGD": lambda params: rc.SGD(params, 1e-9),
        "SGD huge": lambda params: rc.SGD(params, 1e300),
        "momentum": lambda params: rc.SGD(params, 1e-300, 0.9),
        "Adam": lambda params: rc.Adam(params),
        "decay": lambda params: rc.Adam(params, 1e30, (0.0, 0.99), 0.0, 1e30),
    }.items():
        yield name, lambda draw, make=make: optimizer_results(make, draw)
    for limit in (1e-300, 1e-30, 1.0, 1e30, 1e300):
        for clip in (rc.clip_grad_norm, rc.clip_grad_value):
            yield (
                f"{clip.__name__} {limit}",
                lambda draw, clip=clip, limit=limit: clipped(clip, limit, draw),
            )


def model_results(draw):
    model = LanguageModel(hidden=4, embedding=3, dtype=draw.dtype, rng=0)
    for part in (model.head, model.recurrent):
        draw.into(part)
    text = np.arange(20, dtype=np.uint8).reshape(10, 2)
    loss, grads, _ = model.gradients(text[:-1], text[1:])
    return [loss, *(array for each in grads for array in each.values())]


def of_the_rest():
    yield (
        "gradient_flow",
        lambda draw: [
            rc.gradient_flow(draw.into(rc.GRU(I, H, dtype=draw.dtype)), draw(T, B, I)).dh
        ],
    )
    yield "tasks.adding", lambda draw: tasks.adding(20, 100, 0, dtype=draw.dtype)
    yield "tasks.copy_memory", lambda draw: tasks.copy_memory(20, 100, 0)
    yield "agreement.batch", lambda draw: agreement.batch((5, 30), 20, 0, attractor=True)
    yield "LanguageModel", model_results
    yield "dropout", dropped_results
    yield (
        "course.rnn",
        lambda draw: course_results(course.rnn_forward, course.rnn_backward, "", draw),
    )
    yield (
        "course.lstm",
        lambda draw: course_results(course.lstm_forward, course.lstm_backward, "fico", draw),
    )
    yield "course.sample", course_sample
    yield "LanguageModel.sample", sampled
    yield "course.clip", lambda draw: course.clip({"a": draw(20)}, 1e-40).values()


def dropped_results(draw):
    """A seed is no draw: the same are dropped whatever is set."""
    layer = rc.GRU(
        I, H, 3, dropout=0.5, recurrent_dropout=0.3, zoneout=0.2, bidirectional=True,
        dtype=draw.dtype, rng=0,
    )  # fmt: skip
    return layer_results(draw.into(layer), draw)


def course_results(forward, backward, letters, draw):
    n_x, n_a, n_y, m = 3, 5, 2, 4
    parameters = {f"W{letter}": draw(n_a, n_a + n_x) for letter in letters}
    parameters |= {f"b{letter}": draw(n_a, 1) for letter in letters}
    if letters == "":
        parameters = {"Wax": draw(n_a, n_x), "Waa": draw(n_a, n_a), "ba": draw(n_a, 1)}
        parameters["Wya"] = draw(n_y, n_a)
    else:
        parameters["Wy"] = draw(n_y, n_a)
    parameters["by"] = draw(n_y, 1)
    *outputs, caches = forward(draw(n_x, m, T), draw(n_a, m), parameters)
    return *outputs, *backward(draw(n_a, m, T), caches).values()


def course_sample(draw):
    letters = {"\n": 0, "a": 1, "b": 2}
    parameters = {
        "Wax": draw(H, 3), "Waa": draw(H, H), "Wya": draw(3, H) * draw.dtype.type(1e-5),
        "b": draw(H, 1), "by": draw(3, 1),
    }  # fmt: skip
    with np.errstate(all="ignore"):
        parameters["by"] = np.clip(parameters["by"], -200, 200)
        parameters["Wya"] = np.clip(parameters["Wya"], -200, 200)
    return [np.array(course.sample(parameters, letters, 0))]


def sampled(draw):
    model = LanguageModel(hidden=4, embedding=3, dtype=draw.dtype, rng=0)
    model.head.params["bias"][...] = np.clip(draw(256), -1e20, 1e20)
    drawn = [list(model.sample(20, temperature=heat, rng=0)) for heat in (0, 1e-6, 1.0, 1e30)]
    return [np.array(drawn)]


CALLS = dict([*of_layers(), *of_the_functional_core(), *of_training()])
CALLS |= dict(of_the_rest())
DOUBLES = {  # gradcheck takes no others
    "gradcheck, tiny": lambda draw: gradcheck_results(1e-307, 1e-307),
    "gradcheck, huge": lambda draw: gradcheck_results(1e-10, 6e307),
}
CASES = [(name, dtype) for name in CALLS for dtype in DTYPES]
CASES += [(name, np.float64) for name in DOUBLES]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_signals_are_no_matter_of_the_caller(name, dtype):
    call = (CALLS | DOUBLES)[name]
    with np.errstate(all="ignore"):
        expected = list(call(Extreme(dtype)))
    for setting in ("raise", "warn"):  # where pytest makes errors of warnings
        with np.errstate(all=setting):
            before = np.geterr()
            found = list(call(Extreme(dtype)))
            assert np.geterr() == before
        for got, value in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got, value)
