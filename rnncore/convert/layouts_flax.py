"""Flax's layout: a dict with one kernel for each gate and each of x and h, (inputs, H).

Sources: flax.linen.SimpleCell, GRUCell and LSTMCell, and those of flax.nnx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.convert.layouts import CELLS, LAYOUTS, Arrays

Tree = dict[str, dict[str, np.ndarray]]

# What stands before a gate's letter; both have one name alone where there is one block.
_SIDES = {"ih": "i", "hh": "h"}
_IN_ONE = {"ih": "dense_i", "hh": "dense_h"}  # flax.nnx has all blocks in one for some cells


def from_flax(cell: str, tree: Mapping[str, Mapping[str, Any]], suffix: str = "_l0") -> Arrays:
    """Parameters of one layer and direction, from those of a SimpleCell, GRUCell or LSTMCell.

    Parameters
    ----------
    cell : "RNN", "GRU" or "LSTM"
    tree : ``{"ii": {"kernel": (I, H)}, "hi": {"kernel": (H, H), "bias": (H,)}, ..}``: of linen
        ``variables["params"]``, of nnx ``nnx.to_pure_dict(nnx.state(cell))``, whose kernels may be
        side by side, as ``"dense_i"`` and ``"dense_h"``
    suffix : the end of the names

    Returns
    -------
    dict of new arrays. Where Flax has a bias on one side alone, that of the other is 0.

    Raises
    ------
    ValueError for a kernel that is missing.
    """
    gates = LAYOUTS["flax"].gates[_check.choice("cell", cell, CELLS)]
    params: Arrays = {}
    biases: dict[str, list[np.ndarray | None]] = {}
    for side in _SIDES:
        entries = _entries(tree, side, gates)
        kernels = [np.asarray(entry["kernel"]) for entry in entries]
        params[f"weight_{side}{suffix}"] = np.concatenate([kernel.T for kernel in kernels])
        biases[side] = [None if (b := e.get("bias")) is None else np.asarray(b) for e in entries]
    if any(bias is not None for both in biases.values() for bias in both):
        recurrent = params[f"weight_hh{suffix}"]
        for side, own in biases.items():
            zeros = np.zeros(len(recurrent) // len(own), recurrent.dtype)
            params[f"bias_{side}{suffix}"] = np.concatenate(
                [zeros if bias is None else bias for bias in own]
            )
    return params


def to_flax(cell: str, params: Mapping[str, np.ndarray], suffix: str = "_l0") -> Tree:
    """What flax.linen's cell of this kind takes as ``variables["params"]``.

    Biases that are only ever added are one there: of an LSTM on the side of h, of others on that of
    x; ``hn`` of a GRU has its own.
    """
    gates = LAYOUTS["flax"].gates[_check.choice("cell", cell, CELLS)]
    tree: Tree = {}
    for side, letter in _SIDES.items():
        blocks = np.split(params[f"weight_{side}{suffix}"], len(gates))
        for gate, block in zip(gates, blocks, strict=True):
            tree[_name(letter, gate, cell)] = {"kernel": np.ascontiguousarray(block.T)}
    b_ih, b_hh = (params.get(f"bias_{side}{suffix}") for side in _SIDES)
    if b_ih is None or b_hh is None:
        return tree
    for gate, ours, theirs in zip(
        gates, np.split(b_ih, len(gates)), np.split(b_hh, len(gates)), strict=True
    ):
        if cell == "GRU" and gate == "n":
            tree["in"]["bias"], tree["hn"]["bias"] = ours.copy(), theirs.copy()
        else:
            letter = "h" if cell == "LSTM" else "i"
            tree[_name(letter, gate, cell)]["bias"] = ours + theirs
    return tree


def _name(letter: str, gate: str, cell: str) -> str:
    return letter if cell == "RNN" else letter + gate


def _entries(
    tree: Mapping[str, Mapping[str, Any]], side: str, gates: str
) -> list[Mapping[str, Any]]:
    """Kernels and biases of x or h, in the order of the gates, or all in one."""
    if _IN_ONE[side] in tree:
        return [tree[_IN_ONE[side]]]
    letter = _SIDES[side]
    names = [letter] if gates == "h" else [letter + gate for gate in gates]
    # "if" is no name in Python, so nnx writes "if_".
    found = [tree.get(name, tree.get(name + "_")) for name in names]
    for name, entry in zip(names, found, strict=True):
        if entry is None or "kernel" not in entry:
            raise ValueError(f"tree has no kernel of {name!r}, only {', '.join(tree)}")
    return [entry for entry in found if entry is not None]
