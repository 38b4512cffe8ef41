"""The basic RNN, described."""

from functools import partial
from typing import NamedTuple

from rnncore import _check
from rnncore._cells.arguments import Options
from rnncore._cells.kind import CellKind, Option, State, Weight
from rnncore._cells.results import FloatArray


class RNNOptions(Options, total=False):
    """What `rnn_forward` takes by name alone, but for `training`; for type checkers."""

    nonlinearity: str


class RNNGrads(NamedTuple):
    """Gradient of each input of `rnn_forward`, shaped as that input."""

    x: FloatArray
    w_ih: FloatArray
    w_hh: FloatArray
    b: FloatArray
    h0: FloatArray


RNN = CellKind(
    name="RNN",
    prefix="rnn",
    gates="h",
    states=(State("h", "H"),),
    weights=(
        Weight("weight_ih", "w_ih", ("H", "I"), "w_ih", "glorot"),
        Weight("weight_hh", "w_hh", ("H", "H"), "w_hh", "orthonormal"),
        Weight("bias_ih", "b", ("H",), "b_ih", 0.0, needs="bias", read_back=False),
        Weight("bias_hh", "b", ("H",), "b_hh", 0.0, needs="bias", read_back=False),
    ),
    options=(
        Option(
            "nonlinearity",
            "tanh",
            partial(_check.choice, allowed=("tanh", "relu")),
            lambda value: "relu" if value == "relu" else "",
        ),
    ),
    functions=("nonlinearity",),
    grads=RNNGrads,
)
