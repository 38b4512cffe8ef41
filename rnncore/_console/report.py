"""What the commands print: progress bars, lines and tables."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_LINES = 12  # progress lines of a run whose output is no terminal
_LONGEST_SILENCE = 60.0  # seconds between two of them
_EVERY = 10.0  # the same for work whose time nobody knows in advance
_REFRESH = 0.25  # seconds between two pictures of a bar
_NARROWEST = 40  # columns


def new_console() -> Any:
    """A rich console on stdout that raises when its reader has gone, as `print` does."""
    from rich.console import Console

    def on_broken_pipe() -> None:
        raise  # rich calls this where it has caught the error

    console = Console()
    console.on_broken_pipe = on_broken_pipe
    if console.width < _NARROWEST:  # a table of less shows no figures, and one of 0 is not printed
        console.width = _NARROWEST
    return console


@contextlib.contextmanager
def progress(console: Any, seconds: float) -> Iterator[Callable[[float, float, float], None]]:
    """Show how far a run of so many seconds is.

    Gives a function to call as ``show(elapsed, bits_per_character, characters_per_second)``. On a
    terminal it moves a bar, elsewhere it prints a line from time to time.
    """
    if not console.is_terminal:
        yield _progress_lines(console, seconds)
        return
    from rich.progress import TextColumn

    columns = (
        TextColumn("{task.fields[bits]:.3f} bits/char", style="bold"),
        TextColumn("{task.fields[rate]:,.0f} chars/s"),
    )
    with _bar(console, "training", *columns) as bar:
        task = bar.add_task("training", total=seconds, bits=float("nan"), rate=0.0)
        due = _Due(_REFRESH)

        def show(elapsed: float, bits: float, rate: float) -> None:
            bar.update(task, completed=min(elapsed, seconds), bits=bits, rate=rate)
            if due():
                bar.refresh()

        yield show


def _progress_lines(console: Any, seconds: float) -> Callable[[float, float, float], None]:
    every = min(max(1.0, seconds / _LINES), _LONGEST_SILENCE)
    last = -every

    def show(elapsed: float, bits: float, rate: float) -> None:
        nonlocal last
        if elapsed - last >= every or elapsed >= seconds:
            last = elapsed
            left = max(0.0, seconds - elapsed)
            print_line(
                console,
                f"{elapsed:7.1f} s   {bits:6.3f} bits/char   {rate:9,.0f} chars/s   "
                f"{left:5.0f} s left",
            )

    return show


@contextlib.contextmanager
def work(console: Any, title: str, total: int) -> Iterator[Callable[..., None]]:
    """Show how far a piece of work is; gives a function to call with what was done of `total`.

    On a terminal it moves a bar, elsewhere it prints a line at once and then from time to time. A
    console that fails ends nothing here: what is measured shall not be lost with it.
    """
    failing = contextlib.suppress(OSError)
    done, due = 0, _Due(_REFRESH if console.is_terminal else _EVERY)
    if not console.is_terminal:
        with failing:
            print_line(console, f"{title} ...")

        def advance(more: int = 1) -> None:
            nonlocal done
            done += more
            if due():
                with failing:
                    print_line(console, f"{title}: {done / total:.0%}")

        yield advance
        return
    bar = _bar(console, title)
    task = bar.add_task(title, total=total)

    def move(more: int = 1) -> None:
        bar.update(task, advance=more)
        if due():
            with failing:
                bar.refresh()

    try:
        with failing:
            bar.start()
        yield move
        bar.update(task, completed=total)  # what ended early has done less
    finally:
        with failing:
            bar.stop()


def _bar(console: Any, title: str, *columns: Any) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn(title),
        BarColumn(bar_width=None),
        *columns,
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=console,
        expand=True,
        # No thread of its own: it takes time from what is measured, and nobody sees it fail.
        auto_refresh=False,
    )


class _Due:
    """Tells whether so many seconds have passed since it last said so, or was made."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._last = time.perf_counter()

    def __call__(self) -> bool:
        now = time.perf_counter()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def print_line(console: Any, text: str, **style: Any) -> None:
    """Print text as it is: no markup, no colours guessed, no line broken."""
    console.print(text, markup=False, highlight=False, soft_wrap=True, **style)


def print_bits(console: Any, models: Mapping[str, float], compressors: Mapping[str, float]) -> None:
    """A table of bits per character on held-back text, the fewest first."""
    from rich.table import Table

    table = Table(title="held-back text", title_justify="left")
    table.add_column("")
    table.add_column("bits per character", justify="right")
    table.add_column("of the original size", justify="right")
    for name, bits in sorted({**models, **compressors}.items(), key=lambda row: row[1]):
        style = "bold" if name in models else ""
        table.add_row(name, f"{bits:.3f}", f"{bits / 8:.1%}", style=style)
    console.print(table)


def print_step_times(console: Any, seconds: Mapping[str, float]) -> None:
    """A table of the median time that one training step takes, the fastest first."""
    from rich.table import Table

    fastest = min(seconds.values())
    table = Table(title="one training step, median", title_justify="left")
    table.add_column("recurrent layers computed by")
    table.add_column("ms", justify="right")
    table.add_column("times the fastest", justify="right")
    for name, value in sorted(seconds.items(), key=lambda row: row[1]):
        table.add_row(name, f"{1e3 * value:.1f}", f"{value / fastest:.1f}")
    console.print(table)


def print_precisions(console: Any, costs: Mapping[str, tuple[float, float]], read: int) -> None:
    """A table of bits, over `read` characters, and of speed, for weights of each precision."""
    from rich.table import Table

    title = f"precision of the recurrent layers, first {read:,} held-back characters"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("bits per character", justify="right")
    table.add_column("characters a second, written", justify="right")
    for name, (bits, rate) in costs.items():
        table.add_row(name, f"{bits:.4f}", f"{rate:,.0f}")
    console.print(table)
