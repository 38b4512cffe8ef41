"""The tables of `rnncore bench`."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rnncore._bench.limits import Machine
from rnncore._bench.measure import Row
from rnncore._bench.workloads import Workload
from rnncore._console.report import work

WIDE = 100  # columns for the libraries that there are


def table(title: str, peers: Sequence[str], rows: Iterable[Row] = ()) -> Any:
    """A rich table, to which `add_row` adds; a ratio is that of the time to rnncore's.

    Times, and the limit, are in us. A narrow console breaks headings, but no figures.
    """
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    made.add_column("T,B,I,H", no_wrap=True)
    for name in ("us", "limit"):
        made.add_column(name, justify="right", no_wrap=True)
    for name in ("of it", *peers, "GFLOP/s", "of peak"):
        made.add_column(name, justify="right", overflow="fold")
    for row in rows:
        add_row(made, peers, row)
    return made


def add_row(to: Any, peers: Sequence[str], row: Row) -> None:
    to.add_row(
        ",".join(map(str, row.sizes)),
        us(row.seconds),
        us(row.limit),
        f"{row.of_limit:.0%}",
        *(f"{row.ratios[name]:.2f}" for name in peers),
        f"{row.gflops:.0f}",
        f"{row.of_peak:.0%}",
    )


def us(seconds: float) -> str:
    us = 1e6 * seconds
    return f"{us:,.0f}" if us >= 1000 else f"{us:.1f}"


def machine_lines(core: int | None, machine: Machine) -> list[str]:
    """What the limits follow from.

    >>> from rnncore._bench.limits import Cache
    >>> caches = Cache(32 << 10, 210.0), Cache(1 << 20, 120.0)
    >>> print(*machine_lines(1, Machine(117.0, caches, 1e-9, 5e-10)), sep="\\n")
    measured on core 1, the best of all rows
      multiply-adds    117 GFLOP/s
      reading          210 GB/s from the first cache, 32 KB
      reading          120 GB/s from the second cache, 1,024 KB
      gates             16.0 ns for 16 units forward, 8.0 ns backward
    """
    where = "this machine" if core is None else f"core {core}"
    return [
        f"measured on {where}, the best of all rows",
        f"  multiply-adds  {machine.peak:5.0f} GFLOP/s",
        *(
            f"  reading        {cache.gb_per_s:5.0f} GB/s from the {which} cache, "
            f"{cache.size >> 10:,} KB"
            for which, cache in zip(("first", "second", "third"), machine.caches, strict=False)
        ),
        f"  gates          {16e9 * machine.gates:7.1f} ns for 16 units forward, "
        f"{16e9 * machine.gates_back:.1f} ns backward",
    ]


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
    print_whole(console, table(title, peers, rows))


def print_whole(console: Any, made: Any) -> None:
    """Print a table in its whole width, whatever the console's."""
    console.width = max(console.width, WIDE)
    console.print(made)
