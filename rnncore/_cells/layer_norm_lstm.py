"""The LSTM with normalised sums, described."""

from typing import NamedTuple

from rnncore import _check
from rnncore._cells.arguments import Options
from rnncore._cells.kind import CellKind, Option, State, Weight
from rnncore._cells.results import FloatArray


class LayerNormLSTMOptions(Options, total=False):
    """What `layer_norm_lstm_forward` takes by name alone, but for `training`; for type checkers."""

    eps: float
    keep_c: FloatArray | None


class LayerNormLSTMGrads(NamedTuple):
    """Gradient of each input of `layer_norm_lstm_forward`, shaped as that input."""

    x: FloatArray
    w_ih: FloatArray
    w_hh: FloatArray
    g_ih: FloatArray
    g_hh: FloatArray
    g_c: FloatArray
    b_ih: FloatArray
    b_hh: FloatArray
    b_c: FloatArray
    h0: FloatArray
    c0: FloatArray


LAYER_NORM_LSTM = CellKind(
    name="LayerNormLSTM",
    prefix="layer_norm_lstm",
    gates="ifgo",
    states=(State("h", "H"), State("c", "H")),
    weights=(
        Weight("weight_ih", "w_ih", ("4H", "I"), "w_ih", "glorot"),
        Weight("weight_hh", "w_hh", ("4H", "H"), "w_hh", "orthonormal"),
        Weight("norm_ih_weight", "g_ih", ("4H",), "vector", 1.0),
        Weight("norm_hh_weight", "g_hh", ("4H",), "vector", 1.0),
        Weight("norm_c_weight", "g_c", ("H",), "vector", 1.0),
        # The forget gate starts open, as that of the LSTM.
        Weight(
            "norm_ih_bias",
            "b_ih",
            ("4H",),
            "vector",
            lambda options: {"f": 1.0},
            needs="bias",
            read_back=False,
        ),
        Weight("norm_hh_bias", "b_hh", ("4H",), "vector", 0.0, needs="bias", read_back=False),
        Weight("norm_c_bias", "b_c", ("H",), "vector", 0.0, needs="bias"),
    ),
    options=(Option("eps", 1e-5, _check.normal),),
    functions=("Sigmoid", "Tanh", "Tanh"),
    grads=LayerNormLSTMGrads,
    keeping={"i": -1, "f": 1},
)
