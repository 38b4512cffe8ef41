"""Every cell with its options, as the compiled core knows it."""

from functools import lru_cache

import numpy as np

from rnncore import _check
from rnncore._cells.activations import Activation, resolve
from rnncore._cells.results import GRUOutputs, LSTMOutputs, RNNOutputs
from rnncore._core import core
from rnncore._engine.traces import Cell, GRUTrace, LSTMTrace, RNNTrace

_LSTM_SLOTS = ("f", "i", "g", "o")


def _core_cell(kind: str, flags: int, functions, own, clip) -> tuple:
    """The cell for the core; functions that are its `own` are its plain, fast ones."""
    kind = core.KINDS[kind]
    if functions == own and clip is None:
        return kind, flags, None, 0.0
    bounds = [clip or 0.0, clip or 0.0, 0.0]  # sums of gates are clipped, the memory is not
    table = [(f.code, f.alpha, f.beta, bound) for f, bound in zip(functions, bounds, strict=False)]
    return kind, flags, np.array(table, np.float64), 0.0


@lru_cache(maxsize=256)
def _rnn(nonlinearity: str, functions: tuple[Activation, ...], clip: float | None) -> Cell:
    own = resolve((nonlinearity,), ("Tanh",))
    flags = core.FLAGS["relu"] if nonlinearity == "relu" else 0
    spec = _core_cell("RNN", flags, functions, own, clip)
    return Cell(RNNTrace, RNNOutputs, spec, 1, ("pre",), ())


@lru_cache(maxsize=256)
def _gru(reset: str, functions: tuple[Activation, ...], clip: float | None) -> Cell:
    flags, last = (0, "hn") if reset == "after" else (core.FLAGS["reset_before"], "rh")
    spec = _core_cell("GRU", flags, functions, resolve(None, ("Sigmoid", "Tanh")), clip)
    kept = ("r", "z", "n", "hn") if reset == "after" else ("r", "z", "n")
    return Cell(GRUTrace, GRUOutputs, spec, 3, ("n", "r", "z", last), kept)


@lru_cache(maxsize=256)
def _lstm(
    peephole: str | None,
    coupled: bool,
    projected: bool,
    functions: tuple[Activation, ...],
    clip: float | None,
) -> Cell:
    flags = core.FLAGS.get(peephole, 0)
    flags |= core.FLAGS["coupled"] * coupled | core.FLAGS["projection"] * projected
    own = resolve(None, ("Sigmoid", "Tanh", "Tanh"))
    spec = _core_cell("LSTM", flags, functions, own, clip)
    return Cell(
        LSTMTrace, LSTMOutputs, spec, 4, _LSTM_SLOTS, ("i", "f", "g", "o"), peephole, projected
    )


def rnn_cell(nonlinearity: str = "tanh", activations=None, clip: float | None = None) -> Cell:
    nonlinearity = _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    if activations is not None and nonlinearity != "tanh":
        raise ValueError(
            f"activations is given beside nonlinearity {nonlinearity!r}, expected one of them"
        )
    functions = resolve((nonlinearity,) if activations is None else activations, ("Tanh",))
    return _rnn(nonlinearity, functions, _check.clip(clip))


def gru_cell(reset: str = "after", activations=None, clip: float | None = None) -> Cell:
    reset = _check.choice("reset", reset, ("after", "before"))
    return _gru(reset, resolve(activations, ("Sigmoid", "Tanh")), _check.clip(clip))


def lstm_cell(
    peephole: str | None = None,
    coupled: bool = False,
    projected: bool = False,
    activations=None,
    clip: float | None = None,
) -> Cell:
    peephole = _check.choice("peephole", peephole, (None, "previous", "current"))
    functions = resolve(activations, ("Sigmoid", "Tanh", "Tanh"))
    coupled = _check.flag("coupled", coupled)
    return _lstm(peephole, coupled, projected, functions, _check.clip(clip))
