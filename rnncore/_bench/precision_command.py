"""`rnncore bench --precision`: inference below float32, measured, shown, drawn, written down."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnncore import _core
from rnncore._bench import precision_report, report
from rnncore._bench.command import NUMBERS, PICTURE, versions
from rnncore._bench.library import RNNCore
from rnncore._bench.narrow import OTHERS
from rnncore._bench.one_core import pinned
from rnncore._bench.peers import missing
from rnncore._bench.picture import draw_errors
from rnncore._bench.precision import PLAIN, SHAPES, Beside, Row, compare, others_for, standings
from rnncore._bench.workloads import Workload, workloads_named
from rnncore._console.command import bad_input, replacing
from rnncore._console.report import print_line
from rnncore._console.streams import one_line
from rnncore._engine.config import show_config
from rnncore.reference.precision import PRECISIONS

_COUNTED = "the packed weights"  # of rnncore


@dataclass(frozen=True)
class Selection:
    """What is measured: a layer, its precisions, workloads by name."""

    cell: str
    seconds: float  # per workload, for all programs together
    precisions: tuple[str, ...]
    workloads: dict[str, Workload]

    @property
    def title(self) -> str:
        with_units = " ".join((_core.isa, *_core.dot_units))
        return f"{self.cell.upper()} inference below float32, {with_units}, one thread"


def select(
    cell: str,
    passed: str,
    dtype: str,
    seconds: float,
    names: Sequence[str],
    precisions: Sequence[str],
) -> Selection:
    """These precisions, or all; the workloads of these names or sizes, or `SHAPES`.

    Raises
    ------
    ValueError for a name that this cell has no workload of, and for a pass or a dtype that has no
    precision.
    """
    if (passed, dtype) != ("inference", PLAIN):
        raise ValueError(f"--precision is of inference in {PLAIN}, not of {passed} in {dtype}")
    chosen = tuple(dict.fromkeys(precisions or PRECISIONS))
    return Selection(cell, seconds, chosen, workloads_named(names or SHAPES, cell))


def run(console: Any, selection: Selection, out: Path) -> None:
    """Measure, write to the folder `out`, and then tell: a console that fails loses nothing.

    On a terminal the table grows as rows are known.
    """
    for other in OTHERS:
        if (message := missing(other)) and not other.leaving:
            print_line(console, message)
    with pinned() as core:
        rows = _measured(console, selection)
    try:
        with bad_input("cannot write to"):
            _write(selection, core, rows, out)
    finally:  # nor does a disk that is full
        _tell(console, selection, rows)
    print_line(console, f"In {one_line(str(out))}: {PICTURE}, {NUMBERS}")


def _measured(console: Any, selection: Selection) -> list[Row]:
    title, precisions = selection.title, selection.precisions
    table, rows = precision_report.table(title, precisions), []
    with report.growing(console, table, title, len(selection.workloads)) as show:
        for sizes in selection.workloads.values():
            rows.append(compare(selection.cell, sizes, precisions, selection.seconds))
            precision_report.add_row(table, rows[-1])
            show()
    return rows


def _counted(cell: str) -> dict[str, str]:
    """What the bytes of each library are."""
    others = {other.name: other.counted for other in others_for(cell)}
    return {RNNCore.name: _COUNTED, **others}


def _write(selection: Selection, core: int | None, rows: list[Row], out: Path) -> None:
    numbers = {
        "cell": selection.cell,
        "precisions": selection.precisions,
        "core": core,
        "config": show_config("dicts"),
        "libraries": versions(),
        "bytes": _counted(selection.cell),
        "workloads": {
            name: row.as_dict() for name, row in zip(selection.workloads, rows, strict=True)
        },
        "standings": [
            {
                "precision": standing.precision,
                "beside": standing.beside,
                "one_row": _as_dict(standing.one_row),
                "sequences": _as_dict(standing.sequences),
            }
            for standing in standings(rows, selection.precisions)
        ],
    }
    with replacing(out / NUMBERS) as path:
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    with replacing(out / PICTURE) as path:
        draw_errors(path, selection.title, rows)


def _as_dict(of: Beside | None) -> dict[str, Any] | None:
    return of and {**of._asdict(), "at": of.at._asdict()}


def _tell(console: Any, selection: Selection, rows: list[Row]) -> None:
    if not console.is_terminal:  # where it stands already
        table = precision_report.table(selection.title, selection.precisions, rows)
        report.print_whole(console, table)
    print_line(
        console,
        "error of y: the largest, against float64; / w8a8: the time over that of rnncore w8a8",
    )
    counted = "; ".join(f"{name} {what}" for name, what in _counted(selection.cell).items())
    print_line(console, f"bytes: {counted}")
    if found := standings(rows, selection.precisions):
        report.print_whole(console, precision_report.summary(found))
    else:
        print_line(console, "no other library that has this cell below float32 is installed")
