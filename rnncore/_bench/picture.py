"""The picture of `rnncore bench`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnncore._bench.library import RNNCore
from rnncore._bench.measure import Row
from rnncore._bench.report import steps_of_rows

# Apart in print too: another marker and dash for every library. rnncore's line is the thick one.
STYLES: dict[str, dict[str, Any]] = {
    "rnncore": {"color": "#c1272d", "marker": "o", "linestyle": "-", "linewidth": 2.4},
    "torch": {"color": "#0b5fa5", "marker": "s", "linestyle": "--"},
    "onnxruntime": {"color": "#2e7d32", "marker": "^", "linestyle": "-."},
    "openvino": {"color": "#6a3d9a", "marker": "D", "linestyle": ":"},
    "jax": {"color": "#b26b00", "marker": "v", "linestyle": (0, (6, 2, 1, 2, 1, 2))},
}


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
            style = {"linewidth": 1.4, "markersize": 5, **STYLES[name]}
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
