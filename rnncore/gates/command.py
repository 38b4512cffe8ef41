"""What `rnncore gates` does: measure, draw, write the numbers down, and tell."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rnncore._console import report
from rnncore._console.command import bad_input
from rnncore._console.streams import one_line
from rnncore._version import __version__
from rnncore.gates import exploding, figures, learning, memory, vanishing
from rnncore.gates.as_json import numbers
from rnncore.gates.results import Results
from rnncore.gates.settings import Settings
from rnncore.gates.story import tell

NUMBERS = "gates.json"
STEMS = ("vanishing", "exploding", "agreement", "memory")
PICTURES = tuple(f"{stem}.{form}" for stem in STEMS for form in figures.FORMS)
_GATED = ("GRU", "LSTM")  # whose memory is looked into


def run(settings: Settings, out: Path, console: Any) -> None:
    """Measure, write to the folder `out`, and then tell: a console that fails loses nothing."""
    results = measure(settings, console)
    try:
        with bad_input("cannot write to"):
            write(settings, results, out)
    finally:  # nor does a disk that is full
        tell(settings, results, console)
    report.print_line(
        console,
        f"{results.seconds:.0f} s. In {one_line(str(out))}: the pictures, as"
        f" {', '.join(figures.FORMS)}; the numbers: {NUMBERS}",
    )


def measure(settings: Settings, console: Any) -> Results:
    """Run all experiments, with progress bars on `console`."""
    start = time.perf_counter()
    with report.work(console, "Gradients that explode", 2 * settings.adding_updates) as advance:
        exploded = exploding.measure(settings, advance)
    with report.work(console, "Was or were?", learning.trainings(settings)) as advance:
        by_distance = learning.by_distance(settings, advance)
        on_passages = learning.on_passages(settings, advance)
    return Results(
        by_distance,
        on_passages,
        vanishing.measure(settings, on_passages),
        exploded,
        {cell: memory.measure(settings, on_passages[cell].readers[0]) for cell in _GATED},
        time.perf_counter() - start,
    )


def write(settings: Settings, results: Results, out: Path) -> None:
    """The pictures and the numbers, to the folder `out`."""
    vanished, exploded, agreed, remembered = (out / stem for stem in STEMS)
    figures.draw_vanishing(vanished, results.vanishing)
    figures.draw_exploding(exploded, results.exploding)
    figures.draw_agreement(agreed, settings, results.by_distance, results.on_passages)
    figures.draw_memory(remembered, results.memory)
    found = {
        "rnncore": __version__,
        "seconds": results.seconds,
        "settings": asdict(settings),
        **numbers(results),
    }
    (out / NUMBERS).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
