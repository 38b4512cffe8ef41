"""The GRU, described."""

from functools import partial
from typing import NamedTuple

from rnncore import _check
from rnncore._cells.arguments import Options
from rnncore._cells.kind import CellKind, Option, State, Weight
from rnncore._cells.results import FloatArray


class GRUOptions(Options, total=False):
    """What `gru_forward` takes by name alone, but for `training`; for type checkers."""

    reset: str


class GRUGrads(NamedTuple):
    """Gradient of each input of `gru_forward`, shaped as that input."""

    x: FloatArray
    w_ih: FloatArray
    w_hh: FloatArray
    b_ih: FloatArray
    b_hh: FloatArray
    h0: FloatArray


GRU = CellKind(
    name="GRU",
    prefix="gru",
    gates="rzn",
    states=(State("h", "H"),),
    weights=(
        Weight("weight_ih", "w_ih", ("3H", "I"), "w_ih", "glorot"),
        Weight("weight_hh", "w_hh", ("3H", "H"), "w_hh", "orthonormal"),
        Weight("bias_ih", "b_ih", ("3H",), "b_ih", 0.0, needs="bias", read_back=False),
        Weight("bias_hh", "b_hh", ("3H",), "b_hh", 0.0, needs="bias", read_back=False),
    ),
    options=(
        Option(
            "reset",
            "after",
            partial(_check.choice, allowed=("after", "before")),
            lambda value: "reset_before" if value == "before" else "",
        ),
    ),
    functions=("Sigmoid", "Tanh"),
    grads=GRUGrads,
    keeping={"z": 1},
)
