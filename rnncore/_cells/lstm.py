"""The LSTM, described."""

from functools import partial
from typing import NamedTuple

from rnncore import _check
from rnncore._cells.arguments import Options
from rnncore._cells.kind import CellKind, Option, State, Weight
from rnncore._cells.results import FloatArray


class LSTMOptions(Options, total=False):
    """What `lstm_forward` takes by name alone, but for `training`; for type checkers."""

    w_ch: FloatArray | None
    w_hr: FloatArray | None
    peephole: str | None
    coupled: bool
    keep_c: FloatArray | None


class LSTMGrads(NamedTuple):
    """Gradient of each input of `lstm_forward`, shaped as that input."""

    x: FloatArray
    w_ih: FloatArray
    w_hh: FloatArray
    b: FloatArray
    h0: FloatArray
    c0: FloatArray
    w_ch: FloatArray | None  # None without peepholes
    w_hr: FloatArray | None  # None without a projection


LSTM = CellKind(
    name="LSTM",
    prefix="lstm",
    gates="ifgo",
    states=(State("h", "P"), State("c", "H")),
    weights=(
        Weight("weight_ih", "w_ih", ("4H", "I"), "w_ih", "glorot"),
        Weight("weight_hh", "w_hh", ("4H", "P"), "w_hh", "orthonormal"),
        Weight(
            "bias_ih",
            "b",
            ("4H",),
            "b_ih",
            # It starts out remembering; a coupled one by its input gate, as f is 1 - i.
            lambda options: {"i": -1.0, "f": 1.0} if options["coupled"] else {"f": 1.0},
            needs="bias",
            read_back=False,
        ),
        Weight("bias_hh", "b", ("4H",), "b_hh", 0.0, needs="bias", read_back=False),
        Weight("weight_ch", "w_ch", ("3H",), "vector", 0.0, needs="peephole"),
        Weight("weight_hr", "w_hr", ("P", "H"), "w_hr", "glorot", needs="proj_size"),
    ),
    options=(
        Option(
            "peephole",
            None,
            partial(_check.choice, allowed=(None, "previous", "current")),
            lambda value: value or "",
        ),
        Option("coupled", False, _check.flag, lambda value: "coupled" if value else ""),
        Option(
            "proj_size",
            0,
            partial(_check.size, minimum=0),
            lambda value: "projection" if value else "",
        ),
    ),
    functions=("Sigmoid", "Tanh", "Tanh"),
    grads=LSTMGrads,
    keeping={"i": -1, "f": 1},
)
