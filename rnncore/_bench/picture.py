"""The pictures of `rnncore bench`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnncore._bench.library import RNNCore
from rnncore._bench.measure import Row
from rnncore._bench.precision import PLAIN, name_of
from rnncore._bench.precision import Row as Precise
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


# Below float32 the colour is that of the library, and the marker says what the weights are.
_MARKERS = {"bfloat16": "s", "bf16": "s", "w8a16": "D", "w8a8": "o", "int8": "o"}
_PLAIN, _FRONT = f"{name_of(PLAIN)} (its time)", "nothing is both faster and more exact"


def draw_errors(path: Path, title: str, rows: Sequence[Precise]) -> None:
    """Error against time, a point a program, a panel for every workload: left and low is good."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, len(rows))
    high = -(-len(rows) // columns)
    figure = Figure(figsize=(max(6.4, 3.3 * columns), 3.1 * high + 1.1), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(high, columns, squeeze=False, sharey=True).ravel()
    shown: dict[str, Any] = {}
    for axes, row in zip(panels, rows, strict=False):
        shown |= _draw_points(axes, row)
    for axes in panels[len(rows) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(rows) - columns) : len(rows)]:  # with none below
        axes.set_xlabel("time of a call, µs", fontsize="small")
    for axes in panels[::columns]:
        axes.set_ylabel("largest error of y", fontsize="small")
    lines = shown.pop(_PLAIN), shown.pop(_FRONT)
    figure.legend(
        (*shown.values(), *lines), (*shown, _PLAIN, _FRONT),
        loc="outside lower center", ncols=columns + 1, fontsize="small",
    )  # fmt: skip
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=130)


def _draw_points(axes: Any, row: Precise) -> dict[str, Any]:
    """One panel; gives what there is to explain, by name."""
    points = {
        name: (1e6 * one.seconds, one.error)
        for name, one in row.programs.items()
        if name != name_of(PLAIN)  # whose error is a thousandth of the others'
    }
    drawn = {}
    for name, (time, error) in points.items():
        library, weights = name.split()
        own = library == RNNCore.name
        drawn[name] = axes.scatter(
            time, error, s=85 if own else 50, marker=_MARKERS[weights], zorder=4 if own else 3,
            color=STYLES[library]["color"], edgecolor="white", linewidth=0.8,
        )  # fmt: skip
    plain = 1e6 * row.programs[name_of(PLAIN)].seconds
    drawn[_PLAIN] = axes.axvline(
        plain, color=STYLES[RNNCore.name]["color"], linestyle=":", linewidth=1.2, zorder=1
    )
    front = _front(list(points.values()))
    times, errors = zip(*front, strict=True)
    drawn[_FRONT] = axes.step(
        (*times, 1e9), (*errors, errors[-1]), where="post", color="0.72", linewidth=1.1, zorder=2
    )[0]
    axes.set_xscale("log")
    axes.set_yscale("log")
    every = [*(time for time, _ in points.values()), plain]
    axes.set_xlim(min(every) / 1.35, max(every) * 1.35)
    _label(axes.xaxis, "{x:,g}", (1, 2, 5) if max(every) > 9 * min(every) else (1, 2, 3, 5, 7))
    _label(axes.yaxis, "{x:g}", (1, 2, 5))
    axes.tick_params(labelsize="small")
    axes.grid(which="major", alpha=0.25)
    kind = "a step of a stream" if row.sizes.T == 1 else steps_of_rows(row.sizes)
    axes.set_title(f"{kind}, I = {row.sizes.I}, H = {row.sizes.H}", fontsize="small")
    return drawn


def _label(axis: Any, form: str, digits: tuple[int, ...]) -> None:
    """Numbers of these first digits on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(StrMethodFormatter(form))
    axis.set_minor_locator(NullLocator())


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those for which no other is both faster and more exact, by time.

    >>> _front([(1.0, 9.0), (2.0, 9.5), (3.0, 1.0), (4.0, 2.0)])
    [(1.0, 9.0), (3.0, 1.0)]
    """
    found: list[tuple[float, float]] = []
    for point in sorted(points):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return found
