"""Packed sequences in a graph: left out, as a model of rnncore takes lengths instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

__all__ = ["Packing", "unpacked"]


class Packing:
    """Whether a module has packed anything."""

    def __init__(self) -> None:
        self.used = False


class _Packed:
    """What stands for a PackedSequence: the batch as it was."""

    def __init__(self, values: Any, lengths: Any, batch_first: bool) -> None:
        self.values, self.lengths, self.batch_first = values, lengths, batch_first


@contextmanager
def unpacked(module: Any) -> Iterator[Packing]:
    """A module whose sequences are not packed: its recurrent layers read whole batches.

    PyTorch exports no graph of a module that packs, since sizes depend on the lengths then.
    Recurrent layers of such a graph give what they give without lengths.
    """
    import torch
    from torch.nn.utils import rnn

    packing = Packing()

    def pack(
        input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
    ) -> Any:
        packing.used = True
        return _Packed(input, lengths, batch_first)

    def pad(
        sequence: Any,
        batch_first: bool = False,
        padding_value: float = 0.0,
        total_length: Any = None,
    ) -> Any:
        if not isinstance(sequence, _Packed) or padding_value:
            raise ValueError("what is padded was not packed here, or is padded with other than 0")
        return _laid(sequence.values, sequence.batch_first != batch_first), sequence.lengths

    replaced = {rnn.pack_padded_sequence: pack, rnn.pad_packed_sequence: pad}
    homes = {id(rnn): vars(rnn)}
    for member in module.modules():
        home = sys.modules.get(type(member).__module__)
        if home is not None:
            homes[id(home)] = vars(home)
    there = [
        (home, name, value)
        for home in homes.values()
        for name, value in list(home.items())
        if callable(value) and _in(value, replaced)
    ]
    layers = [m for m in module.modules() if isinstance(m, torch.nn.RNNBase)]
    layers = [layer for layer in layers if "forward" not in vars(layer)]
    try:
        for home, name, value in there:
            home[name] = replaced[value]
        for layer in layers:
            layer.forward = partial(_run, layer, layer.forward)
        yield packing
    finally:
        for home, name, value in there:
            home[name] = value
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _in(value: Any, replaced: Any) -> bool:
    return any(value is function for function in replaced)


def _run(layer: Any, forward: Any, input: Any, hx: Any = None) -> Any:
    """A recurrent layer, of what stands for a PackedSequence too."""
    if not isinstance(input, _Packed):
        return forward(input, hx)
    turn = input.batch_first != layer.batch_first
    y, state = forward(_laid(input.values, turn), hx)
    return _Packed(_laid(y, turn), input.lengths, input.batch_first), state


def _laid(values: Any, turn: bool) -> Any:
    return values.transpose(0, 1) if turn else values
