"""The functions that a layer of a model applies to rows: element by element, or to a whole row.

Those of the cells (`rnncore._cells.activations`) are among them, and others whose value does not
tell their derivative, or that look at a whole row. The derivatives are written with the value ``y``
where that tells them, else with ``a``, which the function was applied to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._cells import activations, normal
from rnncore._cells.activations import sigmoid
from rnncore._cells.arrays import FloatArray


class Function(NamedTuple):
    """A row of the table."""

    value: Callable[[FloatArray, float, float], FloatArray]  # (a, alpha, beta) -> y
    # (d, kept, alpha, beta) -> d * dy/da, with y or a as what was kept
    gradient: Callable[[FloatArray, FloatArray, float, float], FloatArray]
    keeps_value: bool = False
    takes: tuple[str, ...] = ()
    defaults: tuple[float, ...] = ()  # of what it takes; without them, all of it has to be given


_ROOT = float(np.sqrt(2 / np.pi))
# Klambauer et al. (2017), "Self-Normalizing Neural Networks", equation 14: the fixed point.
SELU = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def _softplus(a: FloatArray) -> FloatArray:
    value: FloatArray = np.logaddexp(0, a)
    return value


def _gelu(a: FloatArray, alpha: float, beta: float) -> FloatArray:
    return (a * normal.distribution(a)).astype(a.dtype)


def _gelu_gradient(d: FloatArray, a: FloatArray, alpha: float, beta: float) -> FloatArray:
    return (d * (normal.distribution(a) + a * normal.density(a))).astype(a.dtype)


def _gelu_tanh(a: FloatArray, alpha: float, beta: float) -> FloatArray:
    value: FloatArray = 0.5 * a * (1 + np.tanh(_ROOT * (a + 0.044715 * (a * a * a))))
    return value


def _gelu_tanh_gradient(d: FloatArray, a: FloatArray, alpha: float, beta: float) -> FloatArray:
    t = np.tanh(_ROOT * (a + 0.044715 * (a * a * a)))
    inner = _ROOT * (1 + 3 * 0.044715 * (a * a))
    value: FloatArray = d * (0.5 * (1 + t) + 0.5 * a * (1 - t * t) * inner)
    return value


def _silu_gradient(d: FloatArray, a: FloatArray, alpha: float, beta: float) -> FloatArray:
    s = sigmoid(a)
    value: FloatArray = d * (s + a * s * (1 - s))
    return value


def _mish_gradient(d: FloatArray, a: FloatArray, alpha: float, beta: float) -> FloatArray:
    t = np.tanh(_softplus(a))
    value: FloatArray = d * (t + a * sigmoid(a) * (1 - t * t))
    return value


def _elu(a: FloatArray, alpha: float, beta: float) -> FloatArray:
    return np.where(a > 0, a, alpha * np.expm1(np.minimum(a, 0)))


def _elu_gradient(d: FloatArray, a: FloatArray, alpha: float, beta: float) -> FloatArray:
    return np.where(a > 0, d, d * (alpha * np.exp(np.minimum(a, 0))))


def _celu(a: FloatArray, alpha: float, beta: float) -> FloatArray:
    return np.where(a > 0, a, alpha * np.expm1(np.minimum(a / alpha, 0)))


def _celu_gradient(d: FloatArray, a: FloatArray, alpha: float, beta: float) -> FloatArray:
    return np.where(a > 0, d, d * np.exp(np.minimum(a / alpha, 0)))


def _bounded_gradient(d: FloatArray, a: FloatArray, alpha: float, beta: float) -> FloatArray:
    return np.where((a <= alpha) | (a >= beta), 0, d)


def _hard_swish_gradient(d: FloatArray, a: FloatArray, alpha: float, beta: float) -> FloatArray:
    return np.where(a <= -3, 0, np.where(a >= 3, d, d * (a / 3 + 0.5)))


def _softmax(a: FloatArray, alpha: float, beta: float) -> FloatArray:
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    value: FloatArray = e / e.sum(axis=-1, keepdims=True)
    return value


def _softmax_gradient(d: FloatArray, y: FloatArray, alpha: float, beta: float) -> FloatArray:
    value: FloatArray = y * (d - (d * y).sum(axis=-1, keepdims=True))
    return value


def _log_softmax(a: FloatArray, alpha: float, beta: float) -> FloatArray:
    below = a - a.max(axis=-1, keepdims=True)
    value: FloatArray = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
    return value


def _log_softmax_gradient(d: FloatArray, y: FloatArray, alpha: float, beta: float) -> FloatArray:
    value: FloatArray = d - np.exp(y) * d.sum(axis=-1, keepdims=True)
    return value


def _of_cells(name: str) -> Function:
    function = activations.FUNCTIONS[name]
    return Function(function.value, function.gradient, True, function.takes, function.defaults)


FUNCTIONS = {
    "identity": Function(lambda a, alpha, beta: a.copy(), lambda d, y, alpha, beta: d.copy(), True),
    "sigmoid": _of_cells("Sigmoid"),
    "tanh": _of_cells("Tanh"),
    "relu": _of_cells("Relu"),
    "affine": _of_cells("Affine"),
    "hard_sigmoid": _of_cells("HardSigmoid"),
    "softsign": _of_cells("Softsign"),
    "softplus": _of_cells("Softplus"),
    # The value of these does not tell the derivative for every alpha; that of the cells' does.
    "leaky_relu": Function(
        activations.FUNCTIONS["LeakyRelu"].value,
        lambda d, a, alpha, beta: np.where(a <= 0, d * alpha, d),
        takes=("alpha",),
        defaults=(0.01,),
    ),
    "thresholded_relu": Function(
        activations.FUNCTIONS["ThresholdedRelu"].value,
        lambda d, a, alpha, beta: np.where(a <= alpha, 0, d),
        takes=("alpha",),
        defaults=(1.0,),
    ),
    "scaled_tanh": Function(
        activations.FUNCTIONS["ScaledTanh"].value,
        lambda d, a, alpha, beta: d * (alpha * beta) * (1 - np.square(np.tanh(beta * a))),
        takes=("alpha", "beta"),
    ),
    "elu": Function(_elu, _elu_gradient, takes=("alpha",), defaults=(1.0,)),
    "celu": Function(_celu, _celu_gradient, takes=("alpha",), defaults=(1.0,)),
    "selu": Function(
        lambda a, alpha, beta: SELU * _elu(a, SELU_ALPHA, 0),
        lambda d, a, alpha, beta: SELU * _elu_gradient(d, a, SELU_ALPHA, 0),
    ),
    "gelu": Function(_gelu, _gelu_gradient),
    "gelu_tanh": Function(_gelu_tanh, _gelu_tanh_gradient),
    "silu": Function(lambda a, alpha, beta: a * sigmoid(a), _silu_gradient),
    "mish": Function(lambda a, alpha, beta: a * np.tanh(_softplus(a)), _mish_gradient),
    "relu6": Function(
        lambda a, alpha, beta: np.clip(a, 0, 6),
        lambda d, a, alpha, beta: _bounded_gradient(d, a, 0, 6),
    ),
    "hard_tanh": Function(
        lambda a, alpha, beta: np.clip(a, alpha, beta),
        _bounded_gradient,
        takes=("alpha", "beta"),
        defaults=(-1.0, 1.0),
    ),
    "hard_swish": Function(
        lambda a, alpha, beta: a * np.clip(a + 3, 0, 6) / 6, _hard_swish_gradient
    ),
    "log_sigmoid": Function(
        lambda a, alpha, beta: -np.logaddexp(0, -a), lambda d, a, alpha, beta: d * sigmoid(-a)
    ),
    "exponential": Function(
        lambda a, alpha, beta: np.exp(a), lambda d, y, alpha, beta: d * y, True
    ),
    "softmax": Function(_softmax, _softmax_gradient, True),
    "log_softmax": Function(_log_softmax, _log_softmax_gradient, True),
}
OF_WHOLE_ROWS = ("softmax", "log_softmax")
_OTHER_NAMES = {
    "linear": "identity",
    "swish": "silu",
    "hardsilu": "hard_swish",
    "exp": "exponential",
}
_BY_NAME = {name.replace("_", ""): name for name in FUNCTIONS} | _OTHER_NAMES


class RowFunction(NamedTuple):
    """A function of the table with its parameters; 0 where it takes none.

    Examples
    --------
    >>> softmax = RowFunction("softmax")
    >>> y = softmax(np.log(np.array([[1.0, 3.0]])))
    >>> y, softmax.gradient(np.array([[16.0, 0.0]]), y)
    (array([[0.25, 0.75]]), array([[ 3., -3.]]))
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    @property
    def given(self) -> str | tuple[str | float, ...]:
        """As a constructor takes it: a name, or a tuple with what the function takes."""
        takes = FUNCTIONS[self.name].takes
        return (self.name, *(self.alpha, self.beta)[: len(takes)]) if takes else self.name

    @property
    def keeps_value(self) -> bool:
        """Whether the derivative is written with y, and not with a."""
        return FUNCTIONS[self.name].keeps_value

    def __call__(self, a: FloatArray) -> FloatArray:
        return FUNCTIONS[self.name].value(a, self.alpha, self.beta)

    def gradient(self, d: FloatArray, kept: FloatArray) -> FloatArray:
        """Undo ``y = self(a)``: the gradient of a, where that of y is d."""
        return FUNCTIONS[self.name].gradient(d, kept, self.alpha, self.beta)


def row_function(argument: str, given: Any) -> RowFunction:
    """The function that an argument names: a name in any case, or (name, alpha[, beta]).

    Underscores do not count. What is left out has the function's default.

    Raises
    ------
    TypeError or ValueError that names the argument.

    Examples
    --------
    >>> row_function("function", ("LeakyReLU", 0.5)), row_function("function", "logsoftmax").name
    (RowFunction(name='leaky_relu', alpha=0.5, beta=0.0), 'log_softmax')
    """
    name, *parameters = given if isinstance(given, tuple | list) and given else (given,)
    if not isinstance(name, str):
        raise TypeError(
            f"{argument} is {given!r}, expected a name, (name, alpha) or (name, alpha, beta)"
        )
    key = name.lower().replace("_", "")
    if key not in _BY_NAME:
        raise ValueError(f"{argument} is {name!r}, expected one of {', '.join(FUNCTIONS)}")
    name = _BY_NAME[key]
    function = FUNCTIONS[name]
    least = len(function.takes) - len(function.defaults)
    if not least <= len(parameters) <= len(function.takes):
        takes = ", ".join(("the name", *function.takes)) if function.takes else "the name alone"
        raise ValueError(f"{argument} is {given!r}, expected {takes} for {name}")
    parameters += function.defaults[len(parameters) :]
    found = RowFunction(
        name,
        *(
            _check.real(f"{what} of {argument}", value)
            for what, value in zip(function.takes, parameters, strict=True)
        ),
    )
    if name == "celu" and found.alpha == 0:
        raise ValueError(f"alpha of {argument} is 0.0, expected another number for celu")
    if name == "hard_tanh" and not found.alpha <= found.beta:
        raise ValueError(
            f"alpha of {argument} is {found.alpha}, expected at most beta, {found.beta}"
        )
    return found
