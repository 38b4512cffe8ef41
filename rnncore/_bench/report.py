"""The table and the picture of `rnncore bench`."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rnncore._bench.library import RNNCore
from rnncore._bench.measure import Row
from rnncore._bench.workloads import Workload
from rnncore._console.report import work

WIDE = 100  # columns for the libraries that there are

# Apart in print too: another marker and dash for every library. rnncore's line is the thick one.
_STYLES = {
    "rnncore": {"color": "#c1272d", "marker": "o", "linestyle": "-", "linewidth": 2.4},
    "torch": {"color": "#0b5fa5", "marker": "s", "linestyle": "--"},
    "onnxruntime": {"color": "#2e7d32", "marker": "^", "linestyle": "-."},
    "openvino": {"color": "#6a3d9a", "marker": "D", "linestyle": ":"},
    "jax": {"color": "#b26b00", "marker": "v", "linestyle": (0, (6, 2, 1, 2, 1, 2))},
}


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


def draw_sweep(path: Path, title: str, sweeps: Sequence[Sequence[Row]]) -> None:
    """Time against hidden size, one line a library, a panel for every number of batch rows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    figure = Figure(figsize=(4.4 * len(sweeps), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sweeps), squeeze=False, sharey=True)[0]
    for axes, rows in zip(panels, sweeps, strict=True):
        sizes = [row.sizes.H for row in rows]
        # rnncore last, on top of the others
        for name in (*rows[0].ratios, RNNCore.name):
            times = [row.seconds * row.ratios.get(name, 1.0) for row in rows]
            style = {"linewidth": 1.4, "markersize": 5, **_STYLES[name]}
            axes.loglog(sizes, [1e6 * time for time in times], label=name, **style)
        axes.set_title(steps_of_rows(rows[0].sizes), fontsize="medium")
        axes.set_xlabel("inputs and hidden units, I = H")
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axes.grid(which="major", alpha=0.35)
    panels[0].set_ylabel("time of a call, µs")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[0].legend(handles[::-1], labels[::-1], fontsize="small")
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=160)
