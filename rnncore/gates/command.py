"""What `rnncore gates` does: measure, tell, draw, and write the numbers down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnncore._console import report
from rnncore._console.command import bad_input
from rnncore._console.streams import one_line
from rnncore._version import __version__
from rnncore.gates import exploding, figures, learning, memory, vanishing
from rnncore.gates.exploding import CLIP, GAIN, LR, Exploding
from rnncore.gates.learning import Runs
from rnncore.gates.memory import Memory
from rnncore.gates.settings import Settings
from rnncore.gates.vanishing import Norms, geometric_mean
from rnncore.tasks import ADDING_BASELINE

NUMBERS = "gates.json"
PICTURES = ("vanishing.png", "exploding.png", "agreement.png", "memory.png")
_LAST_UPDATES = 50  # whose mean loss stands for the end of a training
_GATED = ("GRU", "LSTM")  # whose memory is looked into

_Line = Callable[..., None]  # prints a line of text


class Results(NamedTuple):
    """All that was measured."""

    by_distance: dict[str, dict[int, Runs]]
    on_passages: dict[str, Runs]
    vanishing: dict[str, dict[str, Norms]]
    exploding: Exploding
    memory: dict[str, Memory]
    seconds: float  # that it took


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
        f"{results.seconds:.0f} s. In {one_line(str(out))}: the pictures; the numbers: {NUMBERS}",
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
    vanished, exploded, agreed, remembered = (out / name for name in PICTURES)
    figures.draw_vanishing(vanished, results.vanishing)
    figures.draw_exploding(exploded, results.exploding)
    figures.draw_agreement(agreed, settings, results.by_distance, results.on_passages)
    figures.draw_memory(remembered, results.memory)
    numbers = {
        "rnncore": __version__,
        "seconds": results.seconds,
        "settings": asdict(settings),
        **_numbers(results),
    }
    (out / NUMBERS).write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


# The story, printed


def tell(settings: Settings, results: Results, console: Any) -> None:
    """The four parts with their numbers, in words and tables."""

    def line(text: str, **style: Any) -> None:
        report.print_line(console, text, **style)

    _tell_vanishing(settings, results, console, line)
    _tell_exploding(settings, results, line)
    _tell_agreement(settings, results, console, line)
    _tell_memory(results, console, line)


def _tell_vanishing(settings: Settings, results: Results, console: Any, line: _Line) -> None:
    line("\n1. Gradients vanish (vanishing.png)", style="bold")
    line(
        "A sentence is read, and the gradient of was against were goes back through it. So much\n"
        "reaches the memory (c of an LSTM, h of the others) so many words back, 1 being its norm\n"
        f"at the last output; geometric mean of {settings.passage_runs} networks."
    )
    back = [k for k in (5, 10, 20, 30, 40) if k < settings.longest]
    for when, title in (("initial", "before training"), ("trained", "after training")):
        rows = {
            cell: [f"{geometric_mean(norms.memory[:, k]):.0e}" for k in back]
            for cell, norms in results.vanishing[when].items()
        }
        _print_table(console, [f"{title}, words back", *map(str, back)], rows)


def _tell_exploding(settings: Settings, results: Results, line: _Line) -> None:
    line("\n2. Gradients explode (exploding.png)", style="bold")
    unclipped, clipped = results.exploding.unclipped, results.exploding.clipped
    grown = "; ".join(
        f"{norms[-1]:.1e} with weights x {gain:g}"
        for gain, norms in results.exploding.norms.items()
    )
    line(
        f"An RNN with ReLU and orthogonal weights: {settings.adding_steps - 1} steps back the"
        f" gradient is\n  {grown}.\n"
        f"Training it by plain descent, weights x {GAIN:g}, on the adding problem, where always\n"
        f"answering 1 has a mean squared error of {ADDING_BASELINE:.3f}:"
    )
    line(f"  not clipped: {_ending(unclipped)}")
    line(f"  clipped to norm {CLIP:g}: {_ending(clipped)}; longest before clipping:"
         f" {clipped.norms.max():.3g}")  # fmt: skip


def _tell_agreement(settings: Settings, results: Results, console: Any, line: _Line) -> None:
    line("\n3. Was or were? (agreement.png)", style="bold")
    line(
        "Trained on sentences of one distance alone from subject to verb, tested on unseen ones"
        f" whose\nlast noun has the other number. Right, %, of {settings.runs} networks: mean and"
        " standard deviation; guessing gives 50."
    )
    rows = {
        cell: [_percent(runs.accuracy) for runs in found.values()]
        for cell, found in results.by_distance.items()
    }
    _print_table(console, ["words from subject to verb", *map(str, settings.distances)], rows)
    line(
        f"With short sentences among those of up to {settings.longest} words, tested on"
        f" {settings.longest}:"
    )
    rows = {
        cell: [_percent(runs.accuracy), _all_steps(runs)]
        for cell, runs in results.on_passages.items()
    }
    _print_table(console, ["", "right, %", f"steps to a loss of {_LEARNED:g}, each run"], rows)


def _tell_memory(results: Results, console: Any, line: _Line) -> None:
    line("\n4. Inside the memory (memory.png)", style="bold")
    for cell, found in results.memory.items():
        line(
            f"{cell}: the units that carry the number, means over unseen passages, at the subject\n"
            "and then up to the verb; update: 1 writes, 0 keeps; forget: 1 keeps, 0 forgets"
        )
        places = ("at subject", "then")
        columns = ["unit", *(f"{gate}, {place}" for gate in found.gates for place in places)]
        rows = {
            str(unit): [
                f"{values[gate][k]:.2f}"
                for gate in found.gates
                for values in (found.at_subject, found.between)
            ]
            for k, unit in enumerate(found.units)
        }
        _print_table(console, columns, rows)


def _print_table(console: Any, columns: list[str], rows: Mapping[str, list[str]]) -> None:
    from rich.table import Table

    table = Table()
    for k, column in enumerate(columns):
        table.add_column(column, justify="right" if k else "left")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)


def _ending(training: exploding.Training) -> str:
    if training.diverged is not None:
        return f"the gradient is no finite number any more at update {training.diverged}"
    updates = len(training.losses)
    return f"mean squared error {_last_loss(training):.3f} after {updates:,} updates"


def _percent(accuracy: np.ndarray) -> str:
    return f"{100 * accuracy.mean():.0f} ± {100 * accuracy.std(ddof=1):.0f}"


# When a training has learned: the mean loss of so many steps is below so many nats
_LEARNED, _WINDOW = 0.1, 20


def _steps_to_learn(losses: np.ndarray) -> int | None:
    """The first step whose mean loss, with those before it, is low."""
    means = np.convolve(losses, np.full(_WINDOW, 1 / _WINDOW), mode="valid")
    learned = means < _LEARNED
    return int(learned.argmax()) + _WINDOW if learned.any() else None


def _all_steps(runs: Runs) -> str:
    steps = [_steps_to_learn(losses) for losses in runs.losses]
    return ", ".join("never" if step is None else str(step) for step in steps)


# The numbers, written down


def _numbers(results: Results) -> dict[str, Any]:
    """All that was measured, as JSON can hold it."""
    exploded = results.exploding
    return {
        "vanishing": {
            when: {
                cell: {
                    "dh": _plain(geometric_mean(norms.dh)),
                    "dc": None if norms.dc is None else _plain(geometric_mean(norms.dc)),
                }
                for cell, norms in by_cell.items()
            }
            for when, by_cell in results.vanishing.items()
        },
        "exploding": {
            "dh_by_gain": {str(gain): _plain(norms) for gain, norms in exploded.norms.items()},
            "trained": {"gain": GAIN, "rate": LR, "clip": CLIP, "baseline": ADDING_BASELINE},
            "unclipped": _training_numbers(exploded.unclipped),
            "clipped": _training_numbers(exploded.clipped),
        },
        "agreement": {
            "one_distance": {
                cell: {str(distance): _run_numbers(runs) for distance, runs in found.items()}
                for cell, found in results.by_distance.items()
            },
            "passages": {
                cell: {
                    **_run_numbers(runs),
                    "steps_to_learn": [_steps_to_learn(losses) for losses in runs.losses],
                }
                for cell, runs in results.on_passages.items()
            },
        },
        "memory": {
            cell: {
                "passage": " ".join(found.words),
                "before_verb": found.before_verb.tolist(),
                "told": list(found.told),
                "right": list(found.right),
                "units": found.units.tolist(),
                "least_correlation": _plain(found.carried),
                "gates_at_subject": {k: _plain(v) for k, v in found.at_subject.items()},
                "gates_between": {k: _plain(v) for k, v in found.between.items()},
                "update_below_0.1_between": _plain(found.shut_between),
                "gates": {name: _plain(values) for name, values in found.gates.items()},
                "memory": _plain(found.memory),
            }
            for cell, found in results.memory.items()
        },
    }


def _training_numbers(training: exploding.Training) -> dict[str, Any]:
    return {
        "diverged_at": training.diverged,
        "updates": len(training.losses),
        "first_losses": _plain(training.losses[:5]),
        "last_loss": _last_loss(training),
        "first_norms": _plain(training.norms[:5]),
        "largest_norm": float(training.norms.max(initial=0.0)),
    }


def _run_numbers(runs: Runs) -> dict[str, Any]:
    return {
        "validation_loss_by_rate": _plain(runs.validation),
        "rate": runs.rate,
        "accuracy": runs.accuracy.tolist(),
        "mean": float(runs.accuracy.mean()),
        "standard_deviation": float(runs.accuracy.std(ddof=1)),
    }


def _last_loss(training: exploding.Training) -> float | None:
    return float(training.losses[-_LAST_UPDATES:].mean()) if training.losses.size else None


def _plain(values: np.ndarray) -> list:
    """Lists of floats, with the digits that mean something."""
    return [_plain(value) if np.ndim(value) else float(f"{value:.6g}") for value in values]
