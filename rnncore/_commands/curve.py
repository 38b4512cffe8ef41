"""The loss curve of a training: smoothed, and drawn."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def draw_curve(
    path: Path,
    history: Mapping[str, np.ndarray],
    models: Mapping[str, float],
    compressors: Mapping[str, float],
) -> None:
    """Bits per character over training time, beside the compressors, as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seconds, bits = history["seconds"], history["bits"]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(seconds, bits, color="0.8", linewidth=0.8, label="each window, before its step")
    axes.plot(seconds, smoothed(bits), color="C0", linewidth=1.8, label="smoothed")
    for marker, (name, value) in zip("oD", models.items(), strict=False):
        label = f"{name}, held-back text: {value:.2f}"
        axes.plot(seconds[-1:], [value], marker, color="C3", label=label)
    styles = (":", "-.", "--")
    for style, (name, value) in zip(styles, compressors.items(), strict=False):
        label = f"{name}, held-back text: {value:.2f}"
        axes.axhline(value, color="black", linewidth=1, linestyle=style, label=label)
    lowest = min(*models.values(), *compressors.values(), smoothed(bits).min())
    axes.set_ylim(max(0.0, lowest - 0.3), min(8.2, lowest + 3.5))
    axes.set_xlim(0, seconds[-1] * 1.02)
    axes.set_xlabel("training time, s")
    axes.set_ylabel("bits per character")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


class RunningMean:
    """The mean of what was added, each value weighing `keep` times the one after it."""

    def __init__(self, keep: float = 0.98):
        self._keep = keep
        self._total = self._weight = 0.0

    def add(self, value: float) -> float:
        """Take in one more value and give the mean."""
        self._total = self._keep * self._total + value
        self._weight = self._keep * self._weight + 1  # not 1 / (1 - keep): no bias to 0 at first
        return self._total / self._weight


def smoothed(values: np.ndarray, keep: float = 0.98) -> np.ndarray:
    """The running mean at each value.

    >>> smoothed(np.array([1.0, 1.0, 4.5]), keep=0.5)
    array([1., 1., 3.])
    """
    mean = RunningMean(keep)
    return np.array([mean.add(value) for value in values])
