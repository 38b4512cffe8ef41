"""A layer that computes in NumPy: its twin on `rnncore.reference`, to compare with and to time."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from rnncore import reference
from rnncore._engine import passes
from rnncore.layers.recurrent import RecurrentLayer


class _Kept(NamedTuple):
    """A trace of the reference, with what a layer asks of a trace."""

    trace: Any
    x: Any
    arrays: tuple[Any, ...] = ()


class _OnReference:
    """Takes the place of the compiled core in a layer."""

    def _cell_forward(self, weights, x, start, reverse, batch, masks, y, ends, windows):
        w_ih, w_hh, b_ih, b_hh, w_ch, w_hr = weights
        options = {
            name: getattr(self, name) for name in (*self._own_options, "activations", "clip")
        }
        options |= {name: m for name, m in masks._asdict().items() if m is not None}
        options |= {"reverse": reverse, "lengths": None if batch is None else batch.lengths}
        if options.pop("proj_size", 0):
            options["w_hr"] = w_hr
        if w_ch is not None:
            options["w_ch"] = w_ch
        with np.errstate(all="ignore"):
            both = None if b_ih is None else b_ih + b_hh
        biases = (b_ih, b_hh) if self._kind == "gru" else (both,)
        run = getattr(reference, f"{self._kind}_forward")
        trace = run(x, w_ih, w_hh, *biases, *start, **options)
        y[...] = trace.y
        for part, end in zip(self._parts, ends, strict=True):
            end[...] = getattr(trace, f"{part}_n")
        return _Kept(trace, trace.x)

    def _cell_backward(self, kept, weights, dy, dend, flow):
        w_ih, w_hh, _, _, w_ch, w_hr = weights
        peculiar = {"w_ch": w_ch, "w_hr": w_hr} if self._kind == "lstm" else {}
        run = getattr(reference, f"{self._kind}_backward")
        d = run(kept.trace, w_ih, w_hh, dy, *dend, **peculiar, flow=flow)
        db_ih, db_hh = (d.b_ih, d.b_hh) if self._kind == "gru" else (d.b, d.b.copy())
        gradients = passes.Gradients(
            d.x, d.w_ih, d.w_hh, db_ih, db_hh, getattr(d, "w_ch", None), getattr(d, "w_hr", None)
        )
        return gradients, tuple(getattr(d, f"{part}0") for part in self._parts)


def on_reference(layer: RecurrentLayer) -> RecurrentLayer:
    """A layer with the same options and the same parameter arrays that trains on the reference."""
    kind = type(layer)
    twin = copy.copy(layer)
    twin.__class__ = type(kind.__name__, (_OnReference, kind), {"_kind": kind.__name__.lower()})
    return twin
