"""The story of the gates, printed: words and tables with the numbers that were measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnncore._console import report
from rnncore.gates.exploding import CLIP, GAIN, Training
from rnncore.gates.learning import Runs
from rnncore.gates.model import CHRONO
from rnncore.gates.results import LEARNED, Results, last_loss, steps_to_learn
from rnncore.gates.settings import Settings
from rnncore.gates.vanishing import geometric_mean
from rnncore.tasks import ADDING_BASELINE

_Line = Callable[..., None]  # prints a line of text


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
        f" whose\nlast noun has the other number; at most {settings.steps} steps. Right, %, of"
        f" {settings.runs} networks: mean and standard\ndeviation; guessing gives 50. Chrono: time"
        f" scales up to {CHRONO[1]} words at the start."
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
    _print_table(console, ["", "right, %", f"steps to a loss of {LEARNED:g}, each run"], rows)


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


def _ending(training: Training) -> str:
    if training.diverged is not None:
        return f"the gradient is no finite number any more at update {training.diverged}"
    updates = len(training.losses)
    return f"mean squared error {last_loss(training):.3f} after {updates:,} updates"


def _percent(accuracy: np.ndarray) -> str:
    return f"{100 * accuracy.mean():.0f} ± {100 * accuracy.std(ddof=1):.0f}"


def _all_steps(runs: Runs) -> str:
    steps = [steps_to_learn(losses) for losses in runs.losses]
    return ", ".join("never" if step is None else str(step) for step in steps)
