"""How a model reads a text, window by window, and draws one, character by character."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnncore import _check
from rnncore.language_model.text import as_bytes, as_streams
from rnncore.layers.results import State

COLDEST = 1e-6  # the lowest temperature above 0; there, 1e-5 nats are odds of 22,000 to 1

Bytes: TypeAlias = NDArray[np.uint8]
Model: TypeAlias = "Callable[[Bytes, State | None], tuple[np.ndarray, State]]"
Advance: TypeAlias = Callable[[int], object]  # called with the number of characters read


def streams_for(text: Bytes, batch: int, window: int) -> tuple[Bytes, Bytes]:
    """`as_streams` of a text that is long enough for one window of each stream.

    Raises
    ------
    ValueError, TypeError if it is too short, or no array of bytes.
    """
    check_length(as_bytes("text", text), batch, window)
    return as_streams(text, batch)


def check_length(text: Bytes, batch: int, window: int) -> None:
    """Check that a text is long enough for one window of each stream."""
    needed = batch * window + 1
    if len(text) < needed:
        raise ValueError(
            f"the text to learn from has {len(text)} characters, expected at least {needed}:"
            f" batch is {batch} and window is {window}"
        )


def windows(text: Bytes, most: int, length: int) -> Iterator[tuple[Bytes, Bytes]]:
    """A text and the characters that follow, (T, B) each, in windows over up to `most` streams.

    Raises
    ------
    ValueError, TypeError if the text is no array of at least two bytes.
    """
    ids, targets = as_streams(text, max(1, min(most, len(as_bytes("text", text)) // length)))
    for start in range(0, len(ids), length):
        yield ids[start : start + length], targets[start : start + length]


def temperature(value: float) -> float:
    """Check that `value` is 0, or a number that logits can be divided by.

    >>> temperature(1e-320)
    Traceback (most recent call last):
    ValueError: temperature is 1e-320, expected 0 or a number of at least 1e-06
    """
    value = _check.real("temperature", value)
    if value != 0 and value < COLDEST:
        raise ValueError(f"temperature is {value}, expected 0 or a number of at least {COLDEST}")
    return value


def written(
    model: Model,
    length: int,
    text: Bytes,
    temperature: float,
    rng: np.random.Generator,
) -> Iterator[int]:
    """What a model writes after `text`, character by character as they are asked for."""
    state: State | None = None
    for _ in range(length):
        with np.errstate(all="ignore"):  # left again before the caller goes on
            logits, state = model(text[:, np.newaxis], state)
            character = draw(logits[-1, 0].astype(np.float64), temperature, rng)
        yield character
        text = np.array([character], np.uint8)


def draw(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """Draw from ``softmax(logits / temperature)``; at 0 the likeliest.

    Raises
    ------
    ValueError if a logit is NaN or infinity, or all are minus infinity, which is no chance at all.
    """
    top = logits.max()
    if not math.isfinite(top):  # NaN too
        raise ValueError(f"the model tells nothing: the largest logit is {top}")
    if temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - top) / temperature)  # chances too small for a float64 are 0
    # The rounded sum may be a little below the last limit: `side` and the last index keep it inside
    limits = np.cumsum(weights)
    chosen = int(np.searchsorted(limits, rng.random() * limits[-1], side="right"))
    return min(chosen, int(np.flatnonzero(weights)[-1]))
