"""`rnncore bench`: a short selection measured, shown, drawn and written down."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from rnncore import _core
from rnncore._bench import report, steps
from rnncore._bench.library import RNNCore
from rnncore._bench.limits import Machine, best_of
from rnncore._bench.measure import Row, compare, peers_for, summary
from rnncore._bench.one_core import pinned
from rnncore._bench.peers import PEERS, missing
from rnncore._bench.picture import draw_sweep
from rnncore._bench.workloads import SHORT, SWEEP_ROWS, Workload, sweep, workloads_named
from rnncore._console.command import bad_input, replacing
from rnncore._console.report import print_line
from rnncore._console.streams import one_line
from rnncore._engine.config import show_config
from rnncore._version import __version__

PICTURE, NUMBERS = "bench.png", "bench.json"


@dataclass(frozen=True)
class Selection:
    """What is measured: a layer, a pass, workloads by name, and the sweep that is drawn."""

    cell: str
    passed: str
    dtype: str
    seconds: float  # per workload, for all libraries together
    workloads: dict[str, Workload]
    sweeps: tuple[list[Workload], ...] = ()

    @property
    def title(self) -> str:
        passed = "training step" if self.passed == "training" else self.passed
        return f"{self.cell.upper()} {passed}, {self.dtype}, {_core.isa}, one thread"


def select(cell: str, passed: str, dtype: str, seconds: float, names: list[str]) -> Selection:
    """The workloads of these names or sizes; without a name the short ones and the sweep.

    Raises
    ------
    ValueError for a name that this cell has no workload of.
    """
    sweeps = () if names else tuple(sweep(rows) for rows in SWEEP_ROWS)
    workloads = workloads_named(names or SHORT, cell)
    return Selection(cell, passed, dtype, seconds, workloads, sweeps)


@dataclass(frozen=True)
class Results:
    """What was measured, on which core."""

    core: int | None
    rows: list[Row]
    step: steps.StepTimes
    sweeps: list[list[Row]]

    @property
    def machine(self) -> Machine:
        return best_of(row.machine for rows in (self.rows, *self.sweeps) for row in rows)


def run(console: Any, selection: Selection, out: Path) -> None:
    """Measure, write to the folder `out`, and then tell: a console that fails loses nothing.

    On a terminal the tables grow as rows are known.
    """
    for message in filter(None, map(missing, PEERS)):
        print_line(console, message)
    with pinned() as core:
        results = Results(
            core,
            _measured(console, selection.title, selection, list(selection.workloads.values())),
            steps.compare_steps(selection.cell, selection.dtype, selection.seconds),
            [
                _measured(console, report.steps_of_rows(swept[0]), selection, swept)
                for swept in selection.sweeps
            ],
        )
    try:
        with bad_input("cannot write to"):
            written = _write(selection, results, out)
    finally:  # nor does a disk that is full
        _tell(console, selection, results)
    print_line(console, f"In {one_line(str(out))}: {', '.join(written)}")


def _measured(
    console: Any, title: str, selection: Selection, workloads: list[Workload]
) -> list[Row]:
    table, rows = report.table(title, _peers(selection)), []
    with report.growing(console, table, title, len(workloads)) as show:
        for sizes in workloads:
            rows.append(
                compare(selection.passed, selection.cell, selection.dtype, sizes, selection.seconds)
            )
            report.add_row(table, _peers(selection), rows[-1])
            show()
    return rows


def _peers(selection: Selection) -> list[str]:
    return [peer.name for peer in peers_for(selection.cell, selection.passed, selection.dtype)]


def _write(selection: Selection, results: Results, out: Path) -> list[str]:
    """Gives the names of the files."""
    numbers = {
        "cell": selection.cell,
        "pass": selection.passed,
        "dtype": selection.dtype,
        "core": results.core,
        "machine": asdict(results.machine),
        "config": show_config("dicts"),
        "libraries": versions(),
        "workloads": {
            name: row.as_dict() for name, row in zip(selection.workloads, results.rows, strict=True)
        },
        "sweep": [row.as_dict() for swept in results.sweeps for row in swept],
        "step": {
            "units": steps.UNITS,
            "seconds": median(results.step.seconds),
            "ratios": results.step.ratios,
        },
    }
    with replacing(out / NUMBERS) as path:
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    if not results.sweeps:
        return [NUMBERS]
    with replacing(out / PICTURE) as path:
        draw_sweep(path, selection.title, results.sweeps)
    return [PICTURE, NUMBERS]


def _tell(console: Any, selection: Selection, results: Results) -> None:
    if not console.is_terminal:  # where they stand already
        report.print_table(console, selection.title, _peers(selection), results.rows)
        for swept in results.sweeps:
            report.print_table(
                console, report.steps_of_rows(swept[0].sizes), _peers(selection), swept
            )
    for line in report.machine_lines(results.core, results.machine):
        print_line(console, line)
    print_line(console, summary(results.rows))
    _print_step(console, selection, results.step)


def _print_step(console: Any, selection: Selection, step: steps.StepTimes) -> None:
    ours = median(step.seconds)
    others = "".join(
        f", {name} {ours * ratio * 1e6:.2f} us ({ratio:.2f} times as long)"
        for name, ratio in step.ratios.items()
    )
    line = f"one step of {steps.UNITS} units, one row: a stream {ours * 1e6:.2f} us{others}"
    print_line(console, line)


def versions() -> dict[str, str]:
    found = {RNNCore.name: __version__}
    for peer in PEERS:
        try:
            found[peer.name] = version(peer.name)
        except PackageNotFoundError:
            continue
    return found
