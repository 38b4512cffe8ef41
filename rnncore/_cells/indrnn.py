"""The independently recurrent network, described: each unit sees its own state alone."""

from functools import partial
from typing import NamedTuple

from rnncore import _check
from rnncore._cells.arguments import Options
from rnncore._cells.kind import CellKind, Option, State, Weight
from rnncore._cells.results import FloatArray


class IndRNNOptions(Options, total=False):
    """What `indrnn_forward` takes by name alone, but for `training`; for type checkers."""

    nonlinearity: str


class IndRNNGrads(NamedTuple):
    """Gradient of each input of `indrnn_forward`, shaped as that input."""

    x: FloatArray
    w_ih: FloatArray
    w_hh: FloatArray
    b: FloatArray
    h0: FloatArray


IND_RNN = CellKind(
    name="IndRNN",
    prefix="indrnn",
    gates="h",
    states=(State("h", "H"),),
    weights=(
        Weight("weight_ih", "w_ih", ("H", "I"), "w_ih", "glorot"),
        # From 0 to 1: units that forget at once beside units that remember (Li et al. 2018).
        Weight("weight_hh", "w_hh", ("H",), "vector", "uniform"),
        Weight("bias_ih", "b", ("H",), "b_ih", 0.0, needs="bias", read_back=False),
        Weight("bias_hh", "b", ("H",), "b_hh", 0.0, needs="bias", read_back=False),
    ),
    options=(
        Option(
            "nonlinearity",
            "relu",
            partial(_check.choice, allowed=("tanh", "relu")),
            lambda value: "relu" if value == "relu" else "",
        ),
    ),
    functions=("nonlinearity",),
    grads=IndRNNGrads,
)
