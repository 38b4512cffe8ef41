"""What commands print of a model: its layers, what was recorded of it, how far it is from that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from rnncore._console.command import bad_input
from rnncore._console.streams import one_line, printable
from rnncore.layers.frozen import Frozen
from rnncore.models.freezing import FrozenModel
from rnncore.models.recorded import Recorded
from rnncore.models.sequential import Sequential

_WIDE = 10  # of the words at the starts of lines
# What converters call in Python by other names than a command does
_CALLED = {
    "batch_first is True": "--batch-first is given",
    "config is given": "--config is given",
    "give config=, the text of": "give --config FILE with the text of",
}


def line(word: str, text: str) -> str:
    """A line that begins with what it tells of; names in it may hold anything."""
    return one_line(f"{word:{_WIDE}}{text}")


def table(model: Any) -> list[str]:
    """The layers of a model, a line each."""
    if not isinstance(model, FrozenModel):
        return [printable(text) for text in repr(model).splitlines()]
    wide = max(map(len, model.model.names))
    named = zip(model.model.names, model.model, strict=True)
    layers = [
        printable(text)
        for name, member in named
        for text in f"  {name:{wide}}  {member!r}".splitlines()
    ]
    return [f"{type(model).__name__}(", *layers, ")"]


def recorded_in(model: Any) -> Recorded | None:
    """What a model, or a frozen one, carries."""
    if isinstance(model, FrozenModel):
        model = model.model
    return model.recorded if isinstance(model, Sequential) else None


def precision_of(model: Any) -> str | None:
    """Of the weights, if they are narrower than what is computed with."""
    return model.precision if isinstance(model, Frozen | FrozenModel) else None


def recorded_lines(recorded: Recorded, off: str) -> list[str]:
    """The source of what was recorded, the inputs, and how far off a model is."""
    if not recorded.cases:
        return [line("Recorded", recorded.source)]
    shapes = [
        f"{'x' if case.lengths is None else 'x with lengths'} {case.x.shape}"
        for case in recorded.cases
    ]
    return [
        line("Recorded", recorded.source),
        line("", f"outputs for {', '.join(shapes)}"),
        line("", off),
    ]


def off_by(recorded: Recorded, model: Any) -> str:
    """The largest difference of a model from what was recorded, in words."""
    worst = 0.0
    for x, lengths, expected in recorded.cases:
        y, _ = model(x, lengths=lengths)
        with np.errstate(all="ignore"):
            off = np.abs(y.astype(np.float64) - expected)
        worst = max(worst, float(off.max(initial=0)) / max(float(np.abs(expected).max()), 1e-6))
    return f"largest difference {worst:.1e} of the largest output"


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """`bad_input` for what converters raise: also TypeError, and for what lies too deep."""
    with bad_input():
        try:
            yield
        except (TypeError, ValueError, RecursionError) as error:
            text = str(error)
            for name, called in _CALLED.items():
                text = text.replace(name, called)
            raise ValueError(text) from error
