"""The pictures of the command `rnncore gates`: what a colour says, something else says too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnncore.gates.exploding import CLIP, GAIN, LR, Exploding, Training
from rnncore.gates.learning import Runs
from rnncore.gates.memory import Memory
from rnncore.gates.settings import Settings
from rnncore.gates.vanishing import Norms, geometric_mean
from rnncore.tasks import ADDING_BASELINE

# The colours of Okabe and Ito, which the colour-blind tell apart too.
_LOOKS: dict[str, dict[str, Any]] = {
    "RNN": {"color": "#000000", "linestyle": "-", "marker": "o"},
    "GRU": {"color": "#d55e00", "linestyle": "--", "marker": "s"},
    "LSTM": {"color": "#0072b2", "linestyle": "-.", "marker": "^"},
    "LSTM with peepholes": {"color": "#009e73", "linestyle": ":", "marker": "D"},
    "GRU, chrono": {"color": "#e69f00", "linestyle": (0, (7, 1, 1, 1, 1, 1)), "marker": "X"},
    "LSTM, chrono": {"color": "#cc79a7", "linestyle": (0, (3, 1)), "marker": "v"},
}
FORMS = ("png", "svg", "pdf")
_DPI = 120
_SMOOTHED = 25  # steps of training in one point


def draw_vanishing(path: Path, norms: Mapping[str, Mapping[str, Norms]]) -> None:
    """The norm of the gradient by distance, before and after training."""
    titles = {"initial": "before training", "trained": "after training"}
    with _figure(path, 10, 4.6) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for ax, (when, title) in zip(panels, titles.items(), strict=True):
            for k, (cell, measured) in enumerate(norms[when].items()):
                symbol = "h" if measured.dc is None else "c"
                runs = measured.memory
                label, back = f"{cell}, |dL/d{symbol}|", range(runs.shape[1])
                middle = geometric_mean(runs)
                _middle_and_range(ax, back, runs, middle, (label, k), _LOOKS[cell])
            subject = measured.dh.shape[1] - 2
            ax.axvline(subject, color="0.4", linewidth=1)
            at = ax.get_xaxis_transform()
            ax.text(subject, 0.02, "subject ", transform=at, ha="right", color="0.3")
            ax.set_yscale("log")
            ax.minorticks_off()  # of all that is drawn they take the longest
            ax.set_title(title)
            ax.set_xlabel("words back from the last one")
            ax.grid(alpha=0.3)
        panels[0].set_ylabel("norm of the gradient, 1 at the last output")
        panels[0].legend(loc="lower left", title="thick: mean; thin, band: all runs")


def draw_exploding(path: Path, exploding: Exploding) -> None:
    """Gradients by distance and by update, and the losses with and without clipping."""
    unclipped, clipped = exploding.unclipped, exploding.clipped
    with _figure(path, 13, 4.2) as figure:
        flow, norm, loss = figure.subplots(1, 3)
        for (gain, norms), look in zip(exploding.norms.items(), _LOOKS.values(), strict=False):
            flow.plot(norms, **look, markevery=5, label=f"weights x {gain:g}")
        flow.set_title("RNN (ReLU), before training")
        flow.set_xlabel("steps back from the last one")
        flow.set_ylabel("|dL/dh|, 1 at the last step")

        before, after = clipped.norms, np.minimum(clipped.norms, CLIP)
        norm.plot(*_ever_wider(before), color="0.6", linewidth=0.8, label="before clipping")
        norm.plot(*_ever_wider(after), color="#0072b2", linestyle="--", label="after clipping")
        _plot_to_the_edge(norm, unclipped, unclipped.norms, before, "not clipped")
        norm.set_title(f"norm of the whole gradient, weights x {GAIN:g}")
        norm.set_ylabel("norm")

        loss.plot(*_ever_wider(clipped.losses), color="#0072b2", linestyle="--",
                  label=f"clipped to norm {CLIP:g}")  # fmt: skip
        end = "" if unclipped.diverged is None else f", no number from update {unclipped.diverged}"
        told = f"not clipped{end}"
        _plot_to_the_edge(loss, unclipped, unclipped.losses, clipped.losses, told)
        loss.axhline(ADDING_BASELINE, color="0.3", linestyle=":", label="always answering 1: 1/6")
        loss.set_title(f"adding problem, plain descent, rate {LR:g}")
        loss.set_ylabel("mean squared error")
        for ax in (norm, loss):
            ax.set_xlabel("update; means over ever more of them")
            ax.set_xscale("log")
        for ax in (flow, norm, loss):
            ax.set_yscale("log")
            ax.minorticks_off()  # of all that is drawn they take the longest
            ax.grid(alpha=0.3)
            ax.legend(loc="best")


def draw_agreement(
    path: Path,
    settings: Settings,
    by_distance: Mapping[str, Mapping[int, Runs]],
    on_passages: Mapping[str, Runs],
) -> None:
    """Accuracy by distance, of every run and the mean, and the training on passages."""
    with _figure(path, 11, 4.8) as figure:
        accuracy, loss = figure.subplots(1, 2)
        distances = np.array(settings.distances)
        for k, (cell, found) in enumerate(by_distance.items()):
            percent = 100 * np.array([runs.accuracy for runs in found.values()])
            # The cells side by side, and each run by itself
            beside = distances + 0.8 * (k - len(by_distance) // 2)
            accuracy.plot(beside, percent.mean(axis=1), **_LOOKS[cell], label=cell)
            each = {**_LOOKS[cell], "linestyle": "none", "markersize": 7, "fillstyle": "none"}
            accuracy.plot(beside, percent, **each)
        accuracy.axhline(50, color="0.4", linewidth=1)
        accuracy.text(distances[0], 51, "guessing", color="0.3")
        accuracy.set_ylim(0, 104)
        accuracy.set_xticks(distances)
        accuracy.set_title(f"trained on one distance alone, {settings.steps} steps")
        accuracy.set_xlabel("distance from subject to verb, words")
        accuracy.set_ylabel("verbs right in unseen sentences, %")
        for k, (cell, runs) in enumerate(on_passages.items()):
            steps, means = _blocks(np.array(runs.losses))
            _middle_and_range(loss, steps, means, means.mean(axis=0), (cell, k), _LOOKS[cell])
        loss.set_title(f"short sentences among those of up to {settings.longest} words")
        loss.set_xlabel("step of training")
        loss.set_ylabel("loss, nats for a verb")
        loss.set_ylim(0, None)
        accuracy.legend(loc="lower left", ncols=2, title="line: mean; open marker: each run")
        loss.legend(loc="upper right", title="thick: mean; thin, band: all runs")
        for ax in (accuracy, loss):
            ax.grid(alpha=0.3)


def draw_memory(path: Path, memories: Mapping[str, Memory]) -> None:
    """Gates and memory of the units that carry the number, a column for each word."""
    panels: list[tuple[str, np.ndarray, Memory, str, float]] = []
    for cell, memory in memories.items():
        for gate, values in memory.gates.items():
            sense = "1 writes, 0 keeps" if gate == "update" else "1 keeps, 0 forgets"
            panels.append((f"{cell}: {gate} gate ({sense})", values, memory, "Greys", 0.0))
        limit = float(np.abs(memory.memory).max())
        symbol = "c" if "forget" in memory.gates else "h"
        panels.append((f"{cell}: memory {symbol}", memory.memory, memory, "cividis", -limit))
    with _figure(path, 11.5, 1.7 * len(panels) + 1.2) as figure:
        for ax, (title, values, memory, colours, low) in zip(
            figure.subplots(len(panels), 1), panels, strict=True
        ):
            _draw_units(ax, values, colours, low)
            ax.set_title(title, loc="left")
            ax.set_ylabel("unit")
            ax.set_yticks(range(len(memory.units)), memory.units)
            ax.set_xticks(range(len(memory.words)), [])
            for step, verb in zip(memory.before_verb, memory.told, strict=True):
                ax.axvline(step + 0.5, color="#d55e00", linewidth=2.5)
                side = "right" if step == len(memory.words) - 1 else "center"
                ax.text(step + 0.5, -0.55, f"it says: {verb} \N{BLACK DOWN-POINTING TRIANGLE}",
                        ha=side, va="bottom")  # fmt: skip
            if values is memory.memory:  # the last panel of a cell
                ax.set_xticklabels(memory.words, rotation=60, ha="right", rotation_mode="anchor")


def _draw_units(ax: Any, values: np.ndarray, colours: str, low: float) -> None:
    """A cell for each number, with what it is, from `low` to -low, or to 1 where that is 0."""
    high = -low or 1.0
    ax.imshow(values, aspect="auto", cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        value = round(float(value), 1) + 0.0  # without -0.0
        text = f"{value:.1f}" if low == 0 else f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
        share = (value - low) / (high - low)
        dark = share > 0.5 if low == 0 else share < 0.5
        ax.text(column, row, text, ha="center", va="center", fontsize=7.5, in_layout=False,
                color="white" if dark else "black")  # fmt: skip


@contextlib.contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """A figure to draw in, which is saved in the end, in all forms beside each other.

    Without dates and versions in it, a file is the same wherever it was drawn alike.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fonts = {"font.size": 10.5, "legend.fontsize": 9.5, "axes.titlesize": 11, "lines.markersize": 5}
    with matplotlib.rc_context({**fonts, "svg.hashsalt": path.name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        unsaid = {
            "png": {"Software": None},
            "svg": {"Creator": None, "Date": None},
            "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
        }
        for form in FORMS:
            metadata: Any = unsaid[form]
            figure.savefig(path.with_suffix(f".{form}"), dpi=_DPI, metadata=metadata)


def _middle_and_range(
    ax: Any,
    x: Any,
    runs: np.ndarray,
    middle: np.ndarray,
    named: tuple[str, int],
    look: dict[str, Any],
) -> None:
    """A line, and the band from the least of the runs, (runs, points), to the largest.

    The markers of lines that lie upon each other stand side by side.
    """
    (label, k), every = named, max(1, len(x) // 9)
    ax.plot(x, middle, **look, linewidth=2, markevery=(k * every // 6, every), label=label)
    least, most = runs.min(axis=0), runs.max(axis=0)
    ax.fill_between(x, least, most, color=look["color"], alpha=0.15, lw=0)
    for edge in (least, most):
        ax.plot(x, edge, color=look["color"], linestyle=look["linestyle"], linewidth=0.6)


def _plot_to_the_edge(
    ax: Any, training: Training, wild: np.ndarray, tame: np.ndarray, label: str
) -> None:
    """`wild` of a training that may explode, as far as there is room above another's `tame`."""
    top = 30 * float(tame.max(initial=0.1))
    points = wild if training.diverged is None else np.append(wild, np.inf)
    above = np.flatnonzero(points > top)
    outside = int(above[0]) if above.size else len(points)
    shown = np.append(points[:outside], [top] * bool(above.size))
    look = "kx-" if above.size else "k-"
    ax.plot(np.arange(1, len(shown) + 1), shown, look, label=label, clip_on=False, zorder=3)
    ax.set_ylim(float(tame[tame > 0].min(initial=top)) / 3, top)
    if outside < len(wild):
        ax.annotate(f"{wild[-1]:.0e} at update {len(wild)}", (len(shown), top), (8, -12),
                    textcoords="offset points")  # fmt: skip


def _ever_wider(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of values over blocks that grow with their distance from the first, for a log axis."""
    edges = np.unique(np.geomspace(1, len(values) + 1, 60).astype(int)) - 1
    widths = np.diff(edges)
    return edges[:-1] + (widths + 1) / 2, np.add.reduceat(values, edges[:-1]) / widths


def _blocks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of `_SMOOTHED` steps, at the middle of each; what is left over is not."""
    count = max(1, values.shape[-1] // _SMOOTHED)
    width = min(_SMOOTHED, values.shape[-1])
    blocks = values[..., : count * width].reshape(*values.shape[:-1], count, width)
    return (np.arange(count) + 0.5) * width, blocks.mean(axis=-1)
