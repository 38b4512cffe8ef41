"""How far a training is: a bar where somebody looks on, else a line for each epoch."""

from __future__ import annotations

import contextlib
import sys
import time
from importlib.util import find_spec
from typing import Any

_REFRESH = 0.1  # seconds


class Silent:
    """Nothing is shown."""

    def begin(self, epoch: int, epochs: int, batches: int | None) -> None:
        pass

    def advance(self, loss: float, rows: int) -> None:
        pass

    def end(self, values: dict[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Silent):
    """A line for each epoch: what was measured, the rate, rows a second, time left."""

    def begin(self, epoch: int, epochs: int, batches: int | None) -> None:
        self._epoch, self._epochs, self._rows = epoch, epochs, 0
        self._began = time.perf_counter()

    def advance(self, loss: float, rows: int) -> None:
        self._rows += rows

    def end(self, values: dict[str, float]) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            print(self._line(values), file=sys.stderr, flush=True)

    def _line(self, values: dict[str, float]) -> str:
        spent = time.perf_counter() - self._began
        told = "  ".join(
            f"{name} {value:.4g}" for name, value in values.items() if name != "seconds"
        )
        left = spent * (self._epochs - self._epoch - 1)
        rate = self._rows / max(spent, 1e-9)
        name = f"epoch {self._epoch + 1}/{self._epochs}"
        return f"{name}  {told}  {rate:,.0f} rows/s  {left:,.0f} s left"


class Bar(Lines):
    """A bar for the batches of an epoch, and the lines above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4g}  {task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            auto_refresh=False,  # no thread of its own
            transient=True,
        )
        self._bar.start()
        self._task: Any = None
        self._due = 0.0

    def begin(self, epoch: int, epochs: int, batches: int | None) -> None:
        super().begin(epoch, epochs, batches)
        if self._task is not None:
            self._bar.remove_task(self._task)
        name = f"epoch {epoch + 1}/{epochs}"
        self._task = self._bar.add_task(name, total=batches, loss=float("nan"), rate=0.0)

    def advance(self, loss: float, rows: int) -> None:
        super().advance(loss, rows)
        now = time.perf_counter()
        rate = self._rows / max(now - self._began, 1e-9)
        self._bar.update(self._task, advance=1, loss=loss, rate=rate)
        if now >= self._due:
            self._due = now + _REFRESH
            with contextlib.suppress(OSError, ValueError):
                self._bar.refresh()

    def end(self, values: dict[str, float]) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._bar.console.print(self._line(values), highlight=False, markup=False)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._bar.stop()


def progress_of(wanted: bool) -> Silent:
    """A bar on a terminal, where rich is installed; lines elsewhere."""
    if not wanted or sys.stderr is None or sys.stderr.closed:
        return Silent()
    if sys.stderr.isatty() and find_spec("rich") is not None:
        return Bar()
    return Lines()
