"""The recurrent layers of Keras as those here."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore.convert import keras_activations, keras_cudnn, layouts, made
from rnncore.convert.keras_chain import Chain
from rnncore.convert.keras_config import Node, refusal
from rnncore.convert.keras_masks import HELD, ZERO
from rnncore.convert.keras_weights import CELLS
from rnncore.layers import GRU, LSTM, RNN
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.ends import Ends
from rnncore.models.pool import Pool
from rnncore.models.reverse import Reverse

_KINDS = {"LSTM": LSTM, "GRU": GRU, "SimpleRNN": RNN}
_ROWS = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}  # of the table of layouts
_COMMON = ("return_sequences", "return_state", "stateful", "zero_output_for_mask", "time_major")


def layer(chain: Chain, node: Node) -> None:
    """LSTM, GRU, SimpleRNN, and RNN of their cells, one or a stack."""
    cells = node.inner if node.kind == "RNN" else (node,)
    every = _checked(chain, node)
    if node.flag("go_backwards"):
        if every and chain.mask.padding is not None:
            raise refusal(node, "goes backwards with a mask, and gives it on as if it did not")
        chain.add(node, Reverse(batch_first=True), "reverse")
    for k, cell in enumerate(cells):
        kind, options, params = _cell(chain, cell, "_l0")
        made_ = made.recurrent(_KINDS[kind], {**options, "batch_first": True}, params)
        chain.add(node, made_, f"cell_{k}" if len(cells) > 1 else "")
        chain.width = made_.hidden_size
    chain.mask.used(node, (ZERO if node.flag("zero_output_for_mask") else HELD) if every else None)
    if not every:
        chain.add(node, Pool("last", batch_first=True), "last")
        chain.steps = False


def both(chain: Chain, node: Node) -> None:
    """Bidirectional of one of these."""
    forward, backward = node.inner
    merge = node.config.get("merge_mode")
    if merge not in ("concat", "sum", "mul", "ave"):
        raise refusal(node, f"has merge_mode {merge!r}, expected concat, sum, mul or ave")
    every, options = _checked(chain, forward), []
    params: dict[str, np.ndarray] = {}
    if forward.flag("go_backwards") or not backward.flag("go_backwards"):
        raise refusal(node, "has a first direction that goes backwards, expected the second")
    if any(forward.flag(key) != backward.flag(key) for key in _COMMON):
        raise refusal(node, "has directions with other options, expected the same of both")
    for direction, suffix in ((forward, "_l0"), (backward, "_l0_reverse")):
        cells = direction.inner if direction.kind == "RNN" else (direction,)
        if len(cells) > 1:
            raise refusal(node, f"has a stack of {len(cells)} cells in a direction, expected one")
        kind, own, arrays = _cell(chain, cells[0], suffix)
        options.append((kind, own))
        params |= arrays
    if options[0] != options[1]:
        raise refusal(node, "has directions with other options, expected the same of both")
    kind, own = options[0]
    H = own["hidden_size"]
    chain.width = 2 * H if merge == "concat" else H
    own |= {"batch_first": True, "bidirectional": True}
    made_ = made.recurrent(_KINDS[kind], own, params)
    if not every:
        chain.add(node, made_)
        chain.add(node, Ends(2 * H, merge, batch_first=True), "ends")
        chain.steps = False
    else:
        chain.add(node, made_ if merge == "concat" else Bidirectional(made_, merge))
    chain.mask.used(node, ZERO if every else None)


def _checked(chain: Chain, node: Node) -> bool:
    """Whether a layer returns all steps, once its options are known to fit."""
    chain.need_steps(node)
    if node.flag("time_major"):
        raise refusal(node, "has time_major, expected x with the batch first")
    return node.flag("return_sequences")


def _cell(
    chain: Chain, node: Node, suffix: str
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """The class of a cell, its options, and its parameters in our layout."""
    kind = keras_cudnn.PLAIN.get(node.kind, CELLS.get(node.kind, node.kind))
    if kind not in _KINDS:
        raise refusal(node, f"is no cell of {', '.join(_KINDS)}")
    H, version = node.size("units"), chain.version
    gates = len(layouts.LAYOUTS["keras"].gates[_ROWS[kind]])
    options: dict[str, Any] = {"bias": node.flag("use_bias", True)}
    functions = [keras_activations.of_cell(node, "activation", version, "tanh")]
    if kind == "SimpleRNN":
        own = functions[0] in (("tanh",), ("relu",))
        options |= {"nonlinearity": functions[0][0]} if own else {"activations": functions}
    else:
        gate = keras_activations.of_cell(node, "recurrent_activation", version, "sigmoid")
        functions = [gate, *functions * (2 if kind == "LSTM" else 1)]
        if functions[0] != ("sigmoid",) or functions[1] != ("tanh",):
            options["activations"] = functions
    arrays = chain.arrays(node)
    two = kind == "GRU" and node.flag("reset_after", version > 2)
    if node.kind in keras_cudnn.PLAIN:
        arrays, two = _plain(node, arrays), kind == "GRU"
    if kind == "GRU":
        options["reset"] = "after" if two else "before"
    I = chain.width_of(node, arrays[0], 0)
    options |= {"input_size": I, "hidden_size": H}
    bias = (2, gates * H) if two else (gates * H,)
    expected = [(I, gates * H), (H, gates * H), bias][: len(arrays)]
    if [array.shape for array in arrays] != expected:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise refusal(node, f"has arrays of the shapes {shapes}, expected {expected}")
    row = _ROWS[kind]
    params = layouts.from_keras(row, arrays, suffix)
    return kind, options, params


def _plain(node: Node, arrays: list[np.ndarray]) -> list[np.ndarray]:
    try:
        return keras_cudnn.plain(node.kind, arrays)
    except ValueError as error:
        raise refusal(node, str(error)) from error
