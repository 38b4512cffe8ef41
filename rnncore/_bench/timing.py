"""Times of several calls side by side, so that what disturbs the machine disturbs all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median

Call = Callable[[], object]

SAMPLE = 1e-3  # seconds that a sample takes at least: the clock and the loop are a small part of it
MIN_ROUNDS, MAX_ROUNDS = 5, 1000


def _sample(call: Call, repeats: int) -> float:
    """Seconds of one call, over as many as `repeats` in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _repeats(call: Call) -> int:
    """How many calls make a sample. Counts as the warm-up: compilers and caches settle here."""
    call()
    repeats = 1
    while _sample(call, repeats) * repeats < SAMPLE:
        repeats *= 2
    return repeats


def interleave(calls: Mapping[str, Call], seconds: float) -> dict[str, list[float]]:
    """Seconds per call, a sample of every call in every round, for about `seconds` in all.

    The order of the calls rotates from round to round, so that none always follows the same one.
    """
    repeats = {name: _repeats(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    end = time.perf_counter() + seconds
    while len(times[names[0]]) < MIN_ROUNDS or time.perf_counter() < end:
        for name in names:
            times[name].append(_sample(calls[name], repeats[name]))
        names.append(names.pop(0))
        if len(times[names[0]]) == MAX_ROUNDS:
            break
    return times


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times as long theirs take: the median over rounds of the ratio within a round."""
    return median(t / o for t, o in zip(theirs, ours, strict=True))
