"""What the functions of the course exercise refuse."""

import numpy as np
import pytest
from course_exercise import draw

from rnncore import course


def arguments(rng, cell="lstm"):
    return draw(cell, (3, 2, 5, 4, 6), rng)


def test_a_missing_parameter_is_named(rng):
    x, a0, parameters = arguments(rng)
    del parameters["bo"]
    with pytest.raises(ValueError, match="parameters has missing: bo"):
        course.lstm_forward(x, a0, parameters)


@pytest.mark.parametrize("name", ["Wf", "bc", "Wy", "by"])
def test_a_misshapen_parameter_is_named(name, rng):
    x, a0, parameters = arguments(rng)
    parameters[name] = np.zeros((7, 7))
    with pytest.raises(ValueError, match=rf"parameters\['{name}'\] has shape \(7, 7\), expected "):
        course.lstm_forward(x, a0, parameters)


def test_another_dtype_is_refused(rng):
    x, a0, parameters = arguments(rng, "rnn")
    with pytest.raises(TypeError, match=r"a0 has dtype float32, expected float64 as x's"):
        course.rnn_forward(x, a0.astype(np.float32), parameters)
    parameters["Waa"] = parameters["Waa"].astype(np.float32)
    with pytest.raises(TypeError, match=r"parameters\['Waa'\] has dtype float32, expected float64"):
        course.rnn_forward(x, a0, parameters)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, a0, p: course.rnn_forward(x[0], a0, p), "x has shape"),
        (lambda x, a0, p: course.rnn_forward(x, a0[:, :1], p), "a0 has shape"),
        (lambda x, a0, p: course.rnn_cell_forward(x, a0, p), "xt has shape"),
        (lambda x, a0, p: course.rnn_cell_forward(x[..., 0], a0[:, :1], p), "a_prev has shape"),
        (lambda x, a0, p: course.sample(p, {"a": 0}, 0), "char_to_ix has no"),
        (lambda x, a0, p: course.sample({}, {"\n": 0}, 0), "parameters has missing: by"),
        (lambda x, a0, p: course.clip({"db": a0}, 0), "expected a number above 0"),
    ],
)
def test_value_errors(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(*arguments(rng, "rnn"))


def test_wrong_caches(rng):
    x, a0, parameters = arguments(rng, "rnn")
    a, _, caches = course.rnn_forward(x, a0, parameters)
    with pytest.raises(TypeError, match="caches is no pair"):
        course.rnn_backward(a, caches[0])
    with pytest.raises(TypeError, match=r"cache is not what is expected, \(a_next, c_next, "):
        course.lstm_backward(a, caches)
    with pytest.raises(ValueError, match=r"da has 6 steps, expected 1 to 5 as the caches have"):
        course.rnn_backward(np.zeros((4, 2, 6)), caches)
    with pytest.raises(ValueError, match=r"a_next of the cache has shape \(4, 2\), expected "):
        course.rnn_backward(np.zeros((4, 3, 5)), caches)
