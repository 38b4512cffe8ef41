"""ONNX's operators RNN, GRU and LSTM on the functional core: inputs and attributes renamed.

A conversion of layouts and nothing more; docs/layouts.md has the orders of the blocks.
"""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}  # activations of one direction
# What an activation takes of activation_alpha and activation_beta, by ONNX's list.
ALPHA = {"affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"}
BETA = {"affine", "scaledtanh", "hardsigmoid"}
KNOWN = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size",
    "input_forget", "layout", "linear_before_reset",
}  # fmt: skip
GATES = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}  # z r h -> r z n; i o f c -> i f g o
PEEPHOLES = (0, 2, 1)  # i o f -> i f o


def run_node(
    module: ModuleType, op: str, attributes: dict, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The outputs Y, Y_h and, of an LSTM, Y_c by name.

    Parameters
    ----------
    inputs : X, W, R and those there are of B, sequence_lens, initial_h, initial_c, P
    """
    assert attributes.keys() <= KNOWN, attributes.keys() - KNOWN
    batch_first = attributes.get("layout", 0) == 1
    turned = {
        name: np.swapaxes(a, 0, 1) if batch_first and name in ("X", "initial_h", "initial_c") else a
        for name, a in inputs.items()
    }
    direction = attributes.get("direction", "forward")
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    results = [
        one_direction(module, op, attributes, turned, d, reverse)
        for d, reverse in enumerate(reverses)
    ]
    outputs = {"Y": np.stack([r.y for r in results], axis=1)}  # (T, D, B, H)
    outputs |= {"Y_h": np.stack([r.h_n for r in results])}  # (D, B, H)
    if op == "LSTM":
        outputs |= {"Y_c": np.stack([r.c_n for r in results])}
    if batch_first:  # (B, T, D, H) and (B, D, H)
        return {k: np.moveaxis(a, -2, 0) for k, a in outputs.items()}
    return outputs


def one_direction(module, op, attributes, inputs, d, reverse):
    def permuted(name, order=GATES[op]):
        return permute(inputs[name][d], order)

    arguments = {"w_ih": permuted("W"), "w_hh": permuted("R")}
    if "B" in inputs:
        b_ih, b_hh = (permute(half, GATES[op]) for half in np.split(inputs["B"][d], 2))
        arguments |= {"b_ih": b_ih, "b_hh": b_hh} if op == "GRU" else {"b": b_ih + b_hh}
    if "P" in inputs:
        arguments |= {"w_ch": permuted("P", PEEPHOLES), "peephole": "current"}
    for name, ours in (("initial_h", "h0"), ("initial_c", "c0")):
        if name in inputs:
            arguments[ours] = inputs[name][d]
    if op == "GRU":
        arguments["reset"] = "after" if attributes.get("linear_before_reset", 0) else "before"
    if op == "LSTM":
        arguments["coupled"] = bool(attributes.get("input_forget", 0))
    if "activations" in attributes:
        n = FUNCTIONS[op]
        arguments["activations"] = list(activations(attributes))[d * n : (d + 1) * n]
    return getattr(module, f"{op.lower()}_forward")(
        inputs["X"],
        **arguments,
        clip=attributes.get("clip"),
        lengths=inputs.get("sequence_lens"),
        reverse=reverse,
        training=False,
    )


def activations(attributes: dict) -> Iterator[str | tuple]:
    """One entry for each function; those that take an alpha, or a beta, take the next of theirs."""
    alphas = iter(attributes.get("activation_alpha", ()))
    betas = iter(attributes.get("activation_beta", ()))
    for name in attributes["activations"]:
        entry = (name,)
        for names, values in ((ALPHA, alphas), (BETA, betas)):
            if name.lower() in names:
                entry += tuple([value] if (value := next(values, None)) is not None else [])
        yield entry


def permute(a, order):
    blocks = np.split(a, len(order))
    return np.concatenate([blocks[k] for k in order])
