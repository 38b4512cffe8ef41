"""The tables of `rnncore bench --precision`."""

from collections.abc import Iterable, Sequence
from typing import Any

from rnncore._bench.precision import Beside, Row, Standing
from rnncore._bench.report import us


def table(title: str, precisions: Sequence[str], rows: Iterable[Row] = ()) -> Any:
    """A rich table, to which `add_row` adds; a line is a program, and a stream is marked."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.add_column("T,B,I,H", no_wrap=True)
    made.add_column("program", no_wrap=True)
    for name in ("us", "error of y", "bytes"):
        made.add_column(name, justify="right", no_wrap=True)
    for name in precisions:
        made.add_column(f"/ {name}", justify="right", overflow="fold")
    for row in rows:
        add_row(made, row)
    return made


def add_row(to: Any, row: Row) -> None:
    """A section: all programs on one workload."""
    heading = [",".join(map(str, row.sizes)), *(["a stream"] if row.sizes.T == 1 else [])]
    for k, (name, one) in enumerate(row.programs.items()):
        to.add_row(
            heading[k] if k < len(heading) else "",
            name,
            us(one.seconds),
            f"{one.error:.1e}",
            f"{one.nbytes:,}",
            *(f"{ratio:.2f}" for ratio in one.ratios.values()),
            end_section=k == len(row.programs) - 1,
        )


def summary(standings: Iterable[Standing]) -> Any:
    """How many times as long others take, in the mean and at least, and our error over theirs."""
    from rich import box
    from rich.table import Table

    made = Table(
        title="weights of as many bits: how many times as long others take, our error / theirs",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("rnncore", "beside"):
        made.add_column(name, no_wrap=True)
    for name in ("one row: mean", "worst", "error", "sequences: mean", "worst", "error"):
        made.add_column(name, justify="right")
    for one in standings:
        made.add_row(one.precision, one.beside, *_figures(one.one_row), *_figures(one.sequences))
    return made


def _figures(of: Beside | None) -> tuple[str, ...]:
    if of is None:
        return ("-",) * 3
    return f"{of.mean:.2f}", f"{of.worst:.2f}", f"<= {of.error:.2f}"
