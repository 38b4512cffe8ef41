"""How far a training is: a bar where somebody looks on, else a line for each epoch."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from rnncore.fitting.scores import Means

_REFRESH = 0.1  # seconds
_BAR = 8  # columns that are left for it


class Silent:
    """Nothing is shown."""

    def start(self, epoch: int, epochs: int, *, ended: bool) -> None:
        """So many epochs are done of so many; or the training had ended before them."""

    def begin(self, epoch: int, batches: int | None) -> None:
        pass

    def advance(self, means: Means, lr: float, rows: int) -> None:
        pass

    def end(self, values: Mapping[str, float]) -> None:
        pass

    def back(self, epoch: int) -> None:
        """The parameters of this epoch, counted from 1, are those of the model again."""

    def close(self) -> None:
        pass


class Lines(Silent):
    """A line for each epoch: what was measured, the rate, rows a second, time left."""

    def start(self, epoch: int, epochs: int, *, ended: bool) -> None:
        if epoch:
            how = "ended early" if ended else "goes on" if epoch < epochs else "is over"
            with contextlib.suppress(OSError, ValueError):
                self._print(f"the training of the checkpoint {how}, after epoch {epoch}", {})
        self._first, self._epochs, self._started = epoch, epochs, time.perf_counter()
        self._batches: int | None = None

    def begin(self, epoch: int, batches: int | None) -> None:
        self._epoch, self._rows, self._done = epoch, 0, 0
        self._batches = batches or self._batches
        self._began = time.perf_counter()

    def advance(self, means: Means, lr: float, rows: int) -> None:
        self._rows += rows
        self._done += 1

    def end(self, values: Mapping[str, float]) -> None:
        self._batches = self._done  # also of those that nobody counted before
        told = [f"{name} {value:.4g}" for name, value in values.items() if name != "seconds"]
        whole = [self._name(), *told, self._speed(), f"{self._left(1.0):,.0f} s left"]
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            self._print("  ".join(whole), values)

    def back(self, epoch: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._print(f"the model is that of epoch {epoch}, with the least val_loss", {})

    def _print(self, whole: str, values: Mapping[str, float]) -> None:
        print(whole, file=sys.stderr, flush=True)

    def _name(self) -> str:
        return f"epoch {self._epoch + 1}/{self._epochs}"

    def _speed(self) -> str:
        return f"{self._rows / max(time.perf_counter() - self._began, 1e-9):,.0f} rows/s"

    def _left(self, share: float) -> float:
        """Seconds of the whole training, where a share of this epoch is done."""
        done = max(self._epoch - self._first + share, 1e-9)
        left = self._epochs - self._epoch - share
        return (time.perf_counter() - self._started) * left / done


class Bar(Lines):
    """A bar for the batches of an epoch, and the lines above it, none wider than the terminal."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        texts = [Column(no_wrap=True, overflow="ellipsis") for _ in range(2)]
        self._bar = Progress(
            TextColumn("{task.description}", table_column=texts[0], markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[told]}", table_column=texts[1], markup=False),
            console=console or Console(stderr=True),
            auto_refresh=False,  # no thread of its own
            transient=True,
            expand=True,
        )
        self._bar.start()
        self._task: Any = None
        self._due = 0.0

    def begin(self, epoch: int, batches: int | None) -> None:
        super().begin(epoch, batches)
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(self._name(), total=self._batches, told="")

    def advance(self, means: Means, lr: float, rows: int) -> None:
        super().advance(means, lr, rows)
        now = time.perf_counter()
        if now < self._due:
            return
        self._due = now + _REFRESH
        with contextlib.suppress(OSError, ValueError):
            left = (
                ""
                if not self._batches
                else f"{_clock(self._left(self._done / self._batches))} left"
            )
            loss, *more = _pairs(means.values())
            width = self._bar.console.width - len(self._name()) - _BAR - 2
            told = fitted([loss], more, [f"lr {lr:.3g}", self._speed(), left], width)
            self._bar.update(self._task, completed=self._done, told=told)
            self._bar.refresh()

    def _print(self, whole: str, values: Mapping[str, float]) -> None:
        width = self._bar.console.width
        if len(whole) > width and values:
            loss, *more = _pairs(values)
            last = [f"lr {values['lr']:.3g}", self._speed(), f"{_clock(self._left(1.0))} left"]
            whole = fitted([self._name(), loss], more, last, width)
        self._bar.console.print(whole, highlight=False, markup=False, no_wrap=True)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._bar.stop()


def _pairs(values: Mapping[str, float]) -> list[str]:
    """Losses and metrics, each with that of the validation behind a stroke."""
    found = []
    for name, value in values.items():
        if name in ("lr", "seconds") or name.startswith("val_"):
            continue
        both = [value, *(values[key] for key in (f"val_{name}",) if key in values)]
        found.append(f"{name} {'/'.join(f'{one:#.3g}'.rstrip('.') for one in both)}")
    return found


def fitted(first: Sequence[str], more: Sequence[str], last: Sequence[str], width: int) -> str:
    """All on one line; what has no room goes, the last of `more` first, the last of `first` last.

    >>> fitted(["loss 2"], ["mse 3"], ["lr 1", "9 rows/s", "0:01 left"], 22)
    'loss 2 lr 1 0:01 left'
    """
    for gap in ("  ", " "):
        whole = gap.join(filter(None, [*first, *more, *last]))
        if len(whole) <= width:
            return whole
    if more:
        return fitted(first, more[:-1], last, width)
    if last:
        rest = [*last[:-2], last[-1]] if len(last) > 1 else []
        return fitted(first, (), rest, width)
    return whole[: max(width, 0)]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def progress_of(wanted: bool) -> Silent:
    """A bar on a terminal, where rich is installed; lines elsewhere."""
    stream = sys.stderr  # or what somebody has put in its place, which may write and flush alone
    if not wanted or stream is None or getattr(stream, "closed", False):
        return Silent()
    if getattr(stream, "isatty", bool)() and find_spec("rich") is not None:
        return Bar()
    return Lines()
