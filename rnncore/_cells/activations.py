"""The activation functions of the cells: those that ONNX's operators RNN, GRU and LSTM name.

A derivative is written with the *value* ``y`` of the function, not with the sum ``a`` it was
applied to: a trace keeps values and no sums. Formulas: operator documentation of ONNX, RNN.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._cells.arrays import FloatArray


def sigmoid(a: FloatArray) -> FloatArray:
    """1 / (1 + exp(-a)), in the form that raises e to negative powers only: no overflow."""
    e: FloatArray = np.exp(-np.abs(a))
    numerator: FloatArray = np.where(a >= 0, 1, e)
    return numerator / (1 + e)


class Function(NamedTuple):
    """A row of the table: a formula, its derivative, and what it takes beside the sum.

    Functions that are bent at 0 take the derivative to the left there, as PyTorch does, and let
    the gradient of a NaN pass.
    """

    value: Callable[[FloatArray, float, float], FloatArray]  # (a, alpha, beta) -> y
    # (d, y, alpha, beta) -> d * dy/da
    gradient: Callable[[FloatArray, FloatArray, float, float], FloatArray]
    takes: tuple[str, ...] = ()
    defaults: tuple[float, ...] = ()  # of what it takes; without them, all of it has to be given


# By ONNX's names. The place in the table is the function's number in the compiled core.
FUNCTIONS = {
    "Sigmoid": Function(
        lambda a, alpha, beta: sigmoid(a),
        lambda d, y, alpha, beta: d * y * (1 - y),
    ),
    "Tanh": Function(
        lambda a, alpha, beta: np.tanh(a),
        lambda d, y, alpha, beta: d * (1 - y**2),
    ),
    "Relu": Function(
        lambda a, alpha, beta: np.maximum(a, 0),
        lambda d, y, alpha, beta: np.where(y <= 0, 0, d),
    ),
    "Affine": Function(
        lambda a, alpha, beta: alpha * a + beta,
        lambda d, y, alpha, beta: d * alpha,
        ("alpha", "beta"),
    ),
    "LeakyRelu": Function(
        lambda a, alpha, beta: np.where(a <= 0, alpha * a, a),
        lambda d, y, alpha, beta: np.where(y <= 0, d * alpha, d),
        ("alpha",),
        (0.01,),
    ),
    # 0 at alpha itself, as ONNX's operator of this name, not as the documentation of its RNN.
    "ThresholdedRelu": Function(
        lambda a, alpha, beta: np.where(a <= alpha, 0, a),
        lambda d, y, alpha, beta: np.where(y == 0, 0, d),
        ("alpha",),
        (1.0,),
    ),
    "ScaledTanh": Function(
        lambda a, alpha, beta: alpha * np.tanh(beta * a),
        lambda d, y, alpha, beta: d * beta * (alpha - y**2 / alpha),
        ("alpha", "beta"),
    ),
    "HardSigmoid": Function(
        lambda a, alpha, beta: np.clip(alpha * a + beta, 0, 1),
        lambda d, y, alpha, beta: np.where((y <= 0) | (y >= 1), 0, d * alpha),
        ("alpha", "beta"),
        (0.2, 0.5),
    ),
    "Elu": Function(
        lambda a, alpha, beta: np.where(a > 0, a, alpha * np.expm1(np.minimum(a, 0))),
        lambda d, y, alpha, beta: np.where(y <= 0, d * (y + alpha), d),
        ("alpha",),
        (1.0,),
    ),
    "Softsign": Function(
        lambda a, alpha, beta: a / (1 + np.abs(a)),
        lambda d, y, alpha, beta: d * (1 - np.abs(y)) ** 2,
    ),
    "Softplus": Function(
        lambda a, alpha, beta: np.logaddexp(0, a),
        lambda d, y, alpha, beta: d * -np.expm1(-y),
    ),
}
_BY_LOWER_CASE = {name.lower(): name for name in FUNCTIONS}


class Activation(NamedTuple):
    """A function of the table with its parameters; 0 where it takes none.

    Examples
    --------
    >>> relu = Activation("LeakyRelu", 0.5)
    >>> y = relu(np.array([-4.0, 4.0]))
    >>> y, relu.gradient(1, y)
    (array([-2.,  4.]), array([0.5, 1. ]))
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    @property
    def code(self) -> int:
        """Its number in the compiled core."""
        return list(FUNCTIONS).index(self.name)

    def __call__(self, a: FloatArray) -> FloatArray:
        return FUNCTIONS[self.name].value(a, self.alpha, self.beta)

    def gradient(self, d: FloatArray, y: FloatArray) -> FloatArray:
        """Undo ``y = self(a)``: the gradient of a, where that of y is d."""
        return FUNCTIONS[self.name].gradient(d, y, self.alpha, self.beta)


class Clamped(NamedTuple):
    """An activation that reads its sum clamped to [-clip, clip]; NaN passes.

    A clamped sum has exactly the value of the function at the bound, and so is known by its value.
    A sum that lies at the bound counts as clamped.
    """

    activation: Activation
    clip: float

    def _bounds(self, dtype: np.dtype) -> FloatArray:
        return self.activation(np.array([-self.clip, self.clip], dtype))

    def __call__(self, a: FloatArray) -> FloatArray:
        low, high = self._bounds(a.dtype)
        y = self.activation(a)
        return np.where(a <= -self.clip, low, np.where(a >= self.clip, high, y))

    def gradient(self, d: FloatArray, y: FloatArray) -> FloatArray:
        low, high = self._bounds(y.dtype)
        return np.where((y == low) | (y == high), 0, self.activation.gradient(d, y))


def resolve(
    given: Sequence[str | tuple[Any, ...]] | None, defaults: tuple[str, ...]
) -> tuple[Activation, ...]:
    """The activations of a cell: `given`, or where that is None the cell's own, `defaults`.

    Parameters
    ----------
    given : one entry for each of `defaults`: a name in any case, or a tuple (name, alpha) or
        (name, alpha, beta); what is left out has ONNX's default

    Raises
    ------
    TypeError or ValueError that names the entry.

    Examples
    --------
    >>> resolve(["relu", ("hardsigmoid", 0.25)], ("Sigmoid", "Tanh"))[1]
    Activation(name='HardSigmoid', alpha=0.25, beta=0.5)
    """
    if given is None:
        return tuple(map(Activation, defaults))
    expected = f"one entry in the place of each of {', '.join(defaults)}"
    if not isinstance(given, tuple | list):
        raise TypeError(f"activations is of type {type(given).__name__}, expected {expected}")
    if len(given) != len(defaults):
        raise ValueError(f"activations has {len(given)} entries, expected {expected}")
    return tuple(_entry(f"activations[{k}]", entry) for k, entry in enumerate(given))


def _entry(place: str, entry: Any) -> Activation:
    if isinstance(entry, Activation):
        return entry
    name, *parameters = entry if isinstance(entry, tuple) and entry else (entry,)
    if not isinstance(name, str):
        raise TypeError(
            f"{place} is {entry!r}, expected a name, (name, alpha) or (name, alpha, beta)"
        )
    if name.lower() not in _BY_LOWER_CASE:
        raise ValueError(f"{place} is {name!r}, expected one of {', '.join(FUNCTIONS)}")
    name = _BY_LOWER_CASE[name.lower()]
    function = FUNCTIONS[name]
    if not len(function.takes) - len(function.defaults) <= len(parameters) <= len(function.takes):
        takes = ", ".join(("the name", *function.takes)) if function.takes else "the name alone"
        raise ValueError(f"{place} is {entry!r}, expected {takes} for {name}")
    parameters += function.defaults[len(parameters) :]
    activation = Activation(
        name,
        *(
            _check.real(f"{what} of {place}", value)
            for what, value in zip(function.takes, parameters, strict=True)
        ),
    )
    # The value then would not tell on which side of 0 the sum was, or which sum it came from.
    if name in ("LeakyRelu", "Elu") and activation.alpha < 0:
        raise ValueError(f"alpha of {place} is {activation.alpha}, expected at least 0 for {name}")
    if name == "ScaledTanh" and activation.alpha == 0:
        raise ValueError(f"alpha of {place} is 0.0, expected another number for {name}")
    return activation
