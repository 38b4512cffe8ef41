"""The tables of `rnncore bench`."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rnncore._bench.measure import Row
from rnncore._bench.workloads import Workload
from rnncore._console.report import work

WIDE = 100  # columns for the libraries that there are


def table(title: str, peers: Sequence[str], rows: Iterable[Row] = ()) -> Any:
    """A rich table, to which `add_row` adds; a ratio is that of the time to rnncore's."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    made.add_column("T,B,I,H", no_wrap=True)
    for name in ("us", *peers, "GFLOP/s", "of peak"):
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        add_row(made, peers, row)
    return made


def add_row(to: Any, peers: Sequence[str], row: Row) -> None:
    us = 1e6 * row.seconds
    to.add_row(
        ",".join(map(str, row.sizes)),
        f"{us:,.0f}" if us >= 1000 else f"{us:.1f}",
        *(f"{row.ratios[name]:.2f}" for name in peers),
        f"{row.gflops:.0f}",
        f"{row.of_peak:.0%}",
    )


def steps_of_rows(sizes: Workload) -> str:
    """
    >>> steps_of_rows(Workload(50, 1, 16, 16)), steps_of_rows(Workload(50, 16, 16, 16))
    ('50 steps of 1 row', '50 steps of 16 rows')
    """
    return f"{sizes.T} steps of {sizes.B} row{'s' if sizes.B > 1 else ''}"


@contextlib.contextmanager
def growing(console: Any, table: Any, title: str, rows: int) -> Iterator[Callable[[], None]]:
    """Show a table while rows are added; call what this gives after each.

    Where there is no terminal, lines tell how far it is. A console that fails ends nothing here.
    """
    if not console.is_terminal:
        with work(console, f"Measuring {title}", rows) as advance:
            yield advance
        return
    from rich.live import Live

    failing = contextlib.suppress(OSError)
    # No refreshing by a thread of its own: it would run on the core that is measured.
    live = Live(table, console=console, auto_refresh=False)

    def show() -> None:
        with failing:
            live.update(table, refresh=True)

    try:
        with failing:
            live.start()
        yield show
    finally:
        with failing:
            live.stop()


def print_table(console: Any, title: str, peers: Sequence[str], rows: Iterable[Row]) -> None:
    """Print a table in its whole width, whatever the console's."""
    console.width = max(console.width, WIDE)
    console.print(table(title, peers, rows))
