"""The pictures of the command `rnncore gates`, told apart in print by line and marker too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnncore.gates.exploding import CLIP, GAIN, LR, Exploding
from rnncore.gates.learning import Runs
from rnncore.gates.memory import Memory
from rnncore.gates.settings import Settings
from rnncore.gates.vanishing import Norms, geometric_mean
from rnncore.tasks import ADDING_BASELINE

# The colours of Okabe and Ito, which the colour-blind tell apart too.
_LOOKS = (
    {"color": "#000000", "linestyle": "-", "marker": "o"},
    {"color": "#d55e00", "linestyle": "--", "marker": "s"},
    {"color": "#0072b2", "linestyle": "-.", "marker": "^"},
    {"color": "#009e73", "linestyle": ":", "marker": "D"},
)
_DPI = 120
_SMOOTHED = 25  # steps of training in one point


def draw_vanishing(path: Path, norms: Mapping[str, Mapping[str, Norms]]) -> None:
    """The norm of the gradient by distance, before and after training."""
    titles = {"initial": "before training", "trained": "after training"}
    with _figure(path, 10, 4.6) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for ax, (when, title) in zip(panels, titles.items(), strict=True):
            for (cell, measured), look in zip(norms[when].items(), _LOOKS, strict=True):
                symbol = "h" if measured.dc is None else "c"
                runs = measured.memory
                label, back = f"{cell}, |dL/d{symbol}|", range(runs.shape[1])
                _middle_and_range(ax, back, runs, geometric_mean(runs), label, look)
            subject = measured.dh.shape[1] - 2
            ax.axvline(subject, color="0.4", linewidth=1)
            at = ax.get_xaxis_transform()
            ax.text(subject, 0.02, "subject ", transform=at, ha="right", color="0.3")
            ax.set_yscale("log")
            ax.set_title(title)
            ax.set_xlabel("words back from the last one")
            ax.grid(alpha=0.3)
        panels[0].set_ylabel("norm of the gradient, 1 at the last output")
        panels[0].legend(loc="lower left")


def draw_exploding(path: Path, exploding: Exploding) -> None:
    """Gradients by distance and by update, and the losses with and without clipping."""
    unclipped, clipped = exploding.unclipped, exploding.clipped
    with _figure(path, 13, 4.2) as figure:
        flow, norm, loss = figure.subplots(1, 3)
        for (gain, norms), look in zip(exploding.norms.items(), _LOOKS, strict=False):
            flow.plot(norms, **look, markevery=5, label=f"weights x {gain:g}")
        flow.set_title("RNN (ReLU), before training")
        flow.set_xlabel("steps back from the last one")
        flow.set_ylabel("|dL/dh|, 1 at the last step")

        updates = np.arange(1, len(clipped.norms) + 1)
        norm.plot(updates, clipped.norms, color="0.6", linewidth=0.8, label="before clipping")
        norm.plot(updates, np.minimum(clipped.norms, CLIP), color="#0072b2", label="after clipping")
        if unclipped.diverged is not None:
            taken = np.arange(1, len(unclipped.norms) + 1)
            norm.plot(taken, unclipped.norms, "kx-", label="training without clipping")
        norm.set_title(f"norm of the whole gradient, weights x {GAIN:g}")
        norm.set_xlabel("update")
        norm.set_ylabel("norm")

        loss.plot(*_blocks(clipped.losses), color="#0072b2", label=f"clipped to norm {CLIP:g}")
        end = "" if unclipped.diverged is None else f": no number from update {unclipped.diverged}"
        few = len(unclipped.losses) < 2 * _SMOOTHED
        points = (np.arange(1, len(unclipped.losses) + 1), unclipped.losses)
        loss.plot(*(points if few else _blocks(unclipped.losses)), "kx-" if few else "k--",
                  label=f"not clipped{end}")  # fmt: skip
        loss.axhline(ADDING_BASELINE, color="0.3", linestyle=":", label="always answering 1: 1/6")
        loss.set_title(f"adding problem, plain descent, rate {LR:g}")
        loss.set_xlabel("update")
        loss.set_ylabel("mean squared error")
        for ax in (flow, norm, loss):
            ax.set_yscale("log")
            ax.grid(alpha=0.3)
            ax.legend(loc="best")


def draw_agreement(
    path: Path,
    settings: Settings,
    by_distance: Mapping[str, Mapping[int, Runs]],
    on_passages: Mapping[str, Runs],
) -> None:
    """Accuracy by distance, of every run and the mean, and the training on passages."""
    with _figure(path, 10, 4.4) as figure:
        accuracy, loss = figure.subplots(1, 2)
        for k, (cell, found) in enumerate(by_distance.items()):
            percent = 100 * np.array([runs.accuracy for runs in found.values()])
            accuracy.plot(list(found), percent.mean(axis=1), **_LOOKS[k], label=cell)
            # Each run by itself, the cells side by side
            beside = np.array(list(found))[:, np.newaxis] + 0.4 * (k - 1) + 0 * percent
            each = {**_LOOKS[k], "linestyle": "none", "markersize": 4, "fillstyle": "none"}
            accuracy.plot(beside.ravel(), percent.ravel(), **each)
        accuracy.axhline(50, color="0.4", linewidth=1)
        accuracy.text(settings.distances[0], 51, "guessing", color="0.3")
        accuracy.set_ylim(25, 103)
        accuracy.set_title(f"trained on one distance alone, {settings.steps} steps")
        accuracy.set_xlabel("distance from subject to verb, words")
        accuracy.set_ylabel("verbs right in unseen sentences, %")
        for (cell, runs), look in zip(on_passages.items(), _LOOKS, strict=True):
            steps, means = _blocks(runs.losses)
            _middle_and_range(loss, steps, means, means.mean(axis=0), cell, look)
        loss.set_title(f"short sentences among those of up to {settings.longest} words")
        loss.set_xlabel("step of training")
        loss.set_ylabel("loss, nats for a verb")
        loss.set_ylim(0, None)
        accuracy.legend(loc="lower left", title="line: mean; open: each run")
        loss.legend(loc="upper right", title="line: mean; band: all runs")
        for ax in (accuracy, loss):
            ax.grid(alpha=0.3)


def draw_memory(path: Path, memories: Mapping[str, Memory]) -> None:
    """Gates and memory of the units that carry the number, a column for each word."""
    panels: list[tuple[str, np.ndarray, Memory, str, tuple[float, float]]] = []
    for cell, memory in memories.items():
        for gate, values in memory.gates.items():
            sense = "1 writes, 0 keeps" if gate == "update" else "1 keeps, 0 forgets"
            panels.append((f"{cell}: {gate} gate ({sense})", values, memory, "Greys", (0, 1)))
        limit = float(np.abs(memory.memory).max())
        symbol = "c" if "forget" in memory.gates else "h"
        title = f"{cell}: memory {symbol}"
        panels.append((title, memory.memory, memory, "cividis", (-limit, limit)))
    with _figure(path, 10.5, 1.6 * len(panels) + 1.5) as figure:
        for ax, (title, values, memory, colours, (low, high)) in zip(
            figure.subplots(len(panels), 1), panels, strict=True
        ):
            image = ax.imshow(
                values, aspect="auto", cmap=colours, vmin=low, vmax=high, interpolation="nearest"
            )
            figure.colorbar(image, ax=ax, pad=0.01)
            ax.set_title(title, loc="left")
            ax.set_ylabel("unit")
            ax.set_yticks(range(len(memory.units)), memory.units)
            ax.set_xticks(range(len(memory.words)), [])
            for step in memory.before_verb:
                ax.axvline(step + 0.5, color="#d55e00", linewidth=2)
            if values is memory.memory:  # the last panel of a cell
                ax.set_xticklabels(memory.words, rotation=60, ha="right", rotation_mode="anchor")
                told = ", then ".join(memory.told)
                ax.set_xlabel(f"orange: here a verb is to be told; it says {told}")


@contextlib.contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """A figure to draw in, which is saved in the end."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fonts = {"font.size": 10.5, "legend.fontsize": 9.5, "axes.titlesize": 11, "lines.markersize": 5}
    with matplotlib.rc_context(fonts):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        # Without the version of matplotlib in it, a file is the same wherever it was drawn alike
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _middle_and_range(
    ax: Any, x: Any, runs: np.ndarray, middle: np.ndarray, label: str, look: dict[str, str]
) -> None:
    """A line, and the band from the least of the runs, (runs, points), to the largest."""
    ax.plot(x, middle, **look, markevery=max(1, len(x) // 12), label=label)
    ax.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=look["color"], alpha=0.15, lw=0)


def _blocks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of `_SMOOTHED` steps, at the middle of each; what is left over is not."""
    count = max(1, values.shape[-1] // _SMOOTHED)
    width = min(_SMOOTHED, values.shape[-1])
    blocks = values[..., : count * width].reshape(*values.shape[:-1], count, width)
    return (np.arange(count) + 0.5) * width, blocks.mean(axis=-1)
