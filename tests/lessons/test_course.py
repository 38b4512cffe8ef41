"""The functions of the course exercise: by transcription, by finite differences, by its values."""

import numpy as np
import pytest
from course_exercise import PARAMETERS, draw, lstm_parameters, rnn_parameters, softmax, transcribed
from gradients import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import rnncore as rc
from rnncore import course

# n_x, m, T_x, n_a, n_y
SHAPES = [(1, 1, 1, 1, 1), (3, 4, 1, 2, 5), (3, 2, 5, 4, 6), (17, 3, 4, 33, 5)]


def forward(cell, x, a0, parameters):
    """a, y, c (None for the RNN) and caches of the module's function."""
    if cell == "rnn":
        a, y, caches = course.rnn_forward(x, a0, parameters)
        return a, y, None, caches
    return course.lstm_forward(x, a0, parameters)


backward = {"rnn": course.rnn_backward, "lstm": course.lstm_backward}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", PARAMETERS)
def test_forward_is_the_transcription(cell, shape, rng):
    x, a0, parameters = draw(cell, shape, rng)
    a, y, c, (caches, x_of_caches) = forward(cell, x, a0, parameters)
    *expected, expected_caches = transcribed(cell, x, a0, parameters)
    for found, value in zip((a, y, c), expected, strict=True):
        if value is not None:
            assert_allclose(found, value, rtol=1e-12, atol=1e-14)
    assert x_of_caches is x
    for cache, expected_cache in zip(caches, expected_caches, strict=True):
        assert cache[-1] is parameters
        for found, value in zip(cache[:-1], expected_cache[:-1], strict=True):
            assert_allclose(found, value, rtol=1e-12, atol=1e-14)


def layer_of(cell, parameters):
    """The layer of the package with the same weights, and its output head."""
    if cell == "rnn":
        w_ih, w_hh, b = (parameters[name] for name in ("Wax", "Waa", "ba"))
        head = parameters["Wya"]
    else:
        n_a = len(parameters["bf"])
        stacked = np.concatenate([parameters[f"W{gate}"] for gate in "ifco"])
        w_hh, w_ih = stacked[:, :n_a], stacked[:, n_a:]
        b = np.concatenate([parameters[f"b{gate}"] for gate in "ifco"])
        head = parameters["Wy"]
    kind = {"rnn": rc.RNN, "lstm": rc.LSTM}[cell]
    layer = kind(w_ih.shape[1], w_hh.shape[1], dtype=np.float64)
    layer.load_params(
        {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh, "bias_ih_l0": b[:, 0],
         "bias_hh_l0": np.zeros(len(b))}
    )  # fmt: skip
    return layer, head


@pytest.mark.parametrize("cell", PARAMETERS)
def test_forward_and_backward_are_the_layers(cell, rng):
    x, a0, parameters = draw(cell, (3, 2, 5, 4, 6), rng)
    layer, head = layer_of(cell, parameters)
    start = a0.T[np.newaxis].copy()
    state = start if cell == "rnn" else (start, np.zeros_like(start))
    y, _, trace = layer.forward(x.transpose(2, 1, 0).copy(), state)
    a, y_pred, _, caches = forward(cell, x, a0, parameters)
    assert_allclose(a, y.transpose(2, 1, 0), rtol=1e-12)
    logits = (y @ head.T + parameters["by"][:, 0]).transpose(2, 1, 0)
    assert_allclose(y_pred, softmax(logits), rtol=1e-12)

    da = rng.standard_normal(a.shape)
    grads = layer.backward(trace, da.transpose(2, 1, 0).copy())
    found = backward[cell](da, caches)
    assert_allclose(found["dx"], grads.x.transpose(2, 1, 0), rtol=1e-10, atol=1e-13)
    da0 = grads.state if cell == "rnn" else grads.state[0]
    assert_allclose(found["da0"], da0[0].T, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", PARAMETERS)
def test_gradients_through_time(cell, shape, rng):
    x, a0, parameters = draw(cell, shape, rng)
    inputs = {"x": x, "a0": a0, **parameters}

    def run(at):
        return forward(cell, at["x"], at["a0"], {name: at[name] for name in parameters})

    a, _, _, caches = run(inputs)
    da = rng.standard_normal(a.shape)
    found = backward[cell](da, caches)
    grads = {name.removeprefix("d"): gradient for name, gradient in found.items()}
    assert grads.keys() == inputs.keys() - {"Wya", "Wy", "by"}
    for name, gradient in grads.items():
        assert gradient.shape == inputs[name].shape
        error = directional_error(lambda at: np.vdot(run(at)[0], da), grads, inputs, name, rng)
        assert error < 1e-7, name


@pytest.mark.parametrize("cell", PARAMETERS)
def test_gradients_of_one_step(cell, rng):
    x, a_prev, parameters = draw(cell, (3, 2, 1, 4, 6), rng)
    inputs = {"xt": x[..., 0], "a_prev": a_prev, **parameters}
    if cell == "lstm":
        inputs["c_prev"] = rng.standard_normal(a_prev.shape)
    weighed = [rng.standard_normal(a_prev.shape) for _ in range(1 if cell == "rnn" else 2)]

    def run(at):
        states = [at[name] for name in ("a_prev", "c_prev") if name in at]
        step = getattr(course, f"{cell}_cell_forward")
        return step(at["xt"], *states, {name: at[name] for name in parameters})

    def loss(at):
        return sum(np.vdot(out, w) for out, w in zip(run(at), weighed, strict=False))

    found = getattr(course, f"{cell}_cell_backward")(*weighed, run(inputs)[-1])
    grads = {name.removeprefix("d"): gradient for name, gradient in found.items()}
    assert grads.keys() == inputs.keys() - {"Wya", "Wy", "by"}
    for name in grads:
        assert directional_error(loss, grads, inputs, name, rng) < 1e-7, name


def test_the_memory_gradient_is_carried(rng):
    """A loss on the last step alone, with a mute output gate before: only dc tells of it."""
    x, a0, parameters = draw("lstm", (2, 1, 6, 3, 2), rng)
    parameters["Wf"][:, :3] = parameters["Wi"][:, :3] = 0  # gates and candidate do not see a_prev
    parameters["Wc"][:, :3] = parameters["Wo"][:, :3] = 0
    a, _, _, caches = course.lstm_forward(x, a0, parameters)
    da = np.zeros_like(a)
    da[..., -1] = 1
    gradients = course.lstm_backward(da, caches)
    assert np.all(gradients["dx"][..., 0] != 0)
    assert_array_equal(gradients["da0"], 0)


@pytest.mark.parametrize("cell", PARAMETERS)
def test_steps_one_by_one_are_the_whole(cell, rng):
    x, a0, parameters = draw(cell, (3, 2, 5, 4, 6), rng)
    a, _, _, caches = forward(cell, x, a0, parameters)
    da = rng.standard_normal(a.shape)
    whole = backward[cell](da, caches)
    step, carried = getattr(course, f"{cell}_cell_backward"), [np.zeros_like(a0)]
    if cell == "lstm":
        carried.append(np.zeros_like(a0))
    sums = {name: 0 for name in whole if name[1] in "Wb"}
    for t in reversed(range(5)):
        gradients = step(da[..., t] + carried[0], *carried[1:], caches[0][t])
        carried = [gradients[name] for name in ("da_prev", "dc_prev") if name in gradients]
        assert_allclose(gradients["dxt"], whole["dx"][..., t], rtol=1e-12, atol=1e-14)
        sums = {name: value + gradients[name] for name, value in sums.items()}
    assert_allclose(carried[0], whole["da0"], rtol=1e-12)
    for name, value in sums.items():
        assert_allclose(value, whole[name], rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("cell", PARAMETERS)
def test_caches_of_a_students_own_forward_pass(cell, rng):
    x, a0, parameters = draw(cell, (3, 2, 5, 4, 6), rng)
    a, _, _, caches = forward(cell, x, a0, parameters)
    da = rng.standard_normal(a.shape)
    own = list(transcribed(cell, x, a0, parameters)[-1])
    ours = backward[cell](da, caches)
    for name, gradient in backward[cell](da, (own, x)).items():
        assert_allclose(gradient, ours[name], rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("cell", PARAMETERS)
def test_fewer_steps_of_da_than_of_caches(cell, rng):
    x, a0, parameters = draw(cell, (3, 2, 5, 4, 6), rng)
    a, _, _, caches = forward(cell, x, a0, parameters)
    da = rng.standard_normal(a.shape)
    da[..., 3:] = 0
    whole, part = backward[cell](da, caches), backward[cell](da[..., :3].copy(), caches)
    assert_array_equal(whole["dx"][..., 3:], 0)
    whole["dx"] = whole["dx"][..., :3]
    for name, gradient in part.items():
        assert_allclose(gradient, whole[name], rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("cell", PARAMETERS)
def test_float32(cell, rng):
    x, a0, parameters = draw(cell, (3, 2, 5, 4, 6), rng)
    results = []
    for dtype in (np.float64, np.float32):
        given = {name: value.astype(dtype) for name, value in parameters.items()}
        *outputs, caches = forward(cell, x.astype(dtype), a0.astype(dtype), given)
        found = dict(zip("ayc", outputs, strict=True))
        found |= backward[cell](found["a"], caches)
        found = {name: value for name, value in found.items() if value is not None}
        assert {value.dtype for value in found.values()} == {np.dtype(dtype)}
        results.append(found)
    for name, value in results[0].items():
        assert_allclose(results[1][name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("cell", PARAMETERS)
def test_what_comes_back_is_the_callers_own(cell, rng):
    x, a0, parameters = draw(cell, (3, 2, 5, 4, 6), rng)
    given = [value.copy() for value in (x, a0, *parameters.values())]
    *outputs, caches = forward(cell, x, a0, parameters)
    da = rng.standard_normal(outputs[0].shape)
    before = backward[cell](da, caches)
    for value in outputs:
        if value is not None:
            value[...] = 7
    after = backward[cell](da, caches)
    for name, gradient in before.items():
        assert_array_equal(gradient, after[name])
        gradient[...] = 7
    for value, copy in zip((x, a0, *parameters.values()), given, strict=True):
        assert_array_equal(value, copy)


# What the exercise itself says should come out


def legacy(*shapes):
    """The draws of the exercise: NumPy's legacy generator, seed 1."""
    rng = np.random.RandomState(1)
    return [rng.randn(*shape) for shape in shapes]


def test_published_values_of_the_rnn():
    names = ("Wax", "Waa", "Wya", "ba", "by")
    shapes = [rnn_parameters(3, 5, 2)[name] for name in names]
    x, a0, *values, da = legacy((3, 10, 4), (5, 10), *shapes, (5, 10, 4))
    _, _, caches = course.rnn_forward(x, a0, dict(zip(names, values, strict=True)))
    found = course.rnn_backward(da, caches)
    published = [-2.07101689, -0.59255627, 0.02466855, 0.01483317]
    assert_allclose(found["dx"][1][2], published, atol=1e-8)
    assert_allclose(found["da0"][2][3], -0.314942375127, atol=1e-12)
    assert_allclose(found["dWax"][3][1], 11.2641044965, atol=1e-10)
    assert_allclose(found["dWaa"][1][2], 2.30333312658, atol=1e-11)
    assert_allclose(found["dba"][4], [-0.74747722], atol=1e-8)


def test_published_values_of_the_lstm():
    """With both gradients carried, and those of an early version, which carries neither."""
    names = ("Wf", "bf", "Wi", "bi", "Wo", "bo", "Wc", "bc")
    shapes = [lstm_parameters(3, 5, 2)[name] for name in names]
    x, a0, *values, da = legacy((3, 10, 7), (5, 10), *shapes, (5, 10, 4))
    parameters = dict(zip(names, values, strict=True))
    parameters |= {"Wy": np.zeros((2, 5)), "by": np.zeros((2, 1))}
    *_, caches = course.lstm_forward(x, a0, parameters)
    found = course.lstm_backward(da, caches)
    published = [0.00218254, 0.28205375, -0.48292508, -0.43281115]
    assert_allclose(found["dx"][1][2], published, atol=1e-8)
    assert_allclose(found["da0"][2][3], 0.312770310257, atol=1e-12)
    assert_allclose(found["dWf"][3][1], -0.0809802310938, atol=1e-12)
    assert_allclose(found["dbi"][4], [-0.50848333], atol=1e-8)

    zero = np.zeros((5, 10))
    steps = [course.lstm_cell_backward(da[..., t], zero, caches[0][t]) for t in range(4)]
    early = [step["dxt"][1][2] for step in steps]
    assert_allclose(early, [-0.00173313, 0.08287442, -0.30545663, -0.43281115], atol=1e-8)
