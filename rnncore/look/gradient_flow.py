"""How much of the gradient arrives how far back, and how often the gates are open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.layers.results import Trace
from rnncore.models.called import Model
from rnncore.models.members import ends_time, leaves, traces_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What counts as nearly 0 and nearly 1.
_SHUT, _OPEN = 0.1, 0.9
_GATES = "iforz"  # the blocks of rows that go through a sigmoid; g and n are what is written


@dataclass(frozen=True, eq=False, repr=False)
class GradientFlow:
    """What `gradient_flow` measured: read-only arrays, (L*D, T) each, with time as in `x`.

    The rows are the layers and their directions in the order of the first axis of a state.

    Attributes
    ----------
    dh : the norm of dL/dh after each step, h being the output of the layer there
    dc : the norm of dL/dc after each step, c being the memory; None of a cell without one
    distance : how many steps the direction has still to take after each step; 0 at its last one
    gate_mean : the mean of each gate at each step, by the name of the gate
    gate_low : the fraction of rows and units whose gate is below 0.1
    gate_high : the fraction of rows and units whose gate is above 0.9
    names : what the rows are: ``"layer 0"``, ``"layer 0, reverse"``, ...

    The gates are i, f and o of an LSTM, r and z of a GRU; RNN and IndRNN have none. A GRU's update
    gate is ``1 - z`` where a text writes with it, so that its mean is ``1 - gate_mean["z"]``.
    """

    dh: np.ndarray
    dc: np.ndarray | None
    distance: np.ndarray
    gate_mean: Mapping[str, np.ndarray]
    gate_low: Mapping[str, np.ndarray]
    gate_high: Mapping[str, np.ndarray]
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name, value in [*vars(self).items()]:
            if isinstance(value, Mapping):
                object.__setattr__(self, name, MappingProxyType(dict(value)))
            for array in value.values() if isinstance(value, Mapping) else (value,):
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False

    def __reduce__(self) -> tuple[Any, ...]:
        fields = vars(self).values()  # a proxy has no pickle
        return type(self), tuple(dict(v) if isinstance(v, Mapping) else v for v in fields)

    def __repr__(self) -> str:
        rows, steps = self.dh.shape
        return f"GradientFlow({', '.join(self.names[:rows])}; {steps} steps)"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the norms against the distance on a log scale; needs matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes to draw into; a new figure by default

        Returns
        -------
        The Axes. A norm of 0 has no place on a log scale and is left out.

        Raises
        ------
        ImportError if matplotlib is missing.
        """
        if ax is None:
            ax = _new_axes()
        for k, name in enumerate(self.names):
            order = np.argsort(self.distance[k])
            for symbol, norms, style in (("h", self.dh, "-"), ("c", self.dc, "--")):
                if norms is not None:
                    shown = np.where(norms[k] > 0, norms[k], np.nan)[order]
                    label = f"|dL/d{symbol}|, {name}"
                    ax.plot(self.distance[k][order], shown, style, color=f"C{k}", label=label)
        ax.set_yscale("log")
        ax.set_xlabel("steps before the last")
        ax.set_ylabel("norm of the gradient")
        ax.grid(alpha=0.3)
        ax.legend()
        return ax


@overload
def gradient_flow(
    layer: RecurrentLayer[Any], x: np.ndarray, dy: np.ndarray | None = None
) -> GradientFlow: ...
@overload
def gradient_flow(
    layer: Model, x: np.ndarray, dy: np.ndarray | None = None
) -> dict[str, GradientFlow]: ...
@quiet
def gradient_flow(
    layer: RecurrentLayer[Any] | Model, x: np.ndarray, dy: np.ndarray | None = None
) -> GradientFlow | dict[str, GradientFlow]:
    """Measure the gradient at every step on its way back, in one forward and one backward pass.

    A gradient that reaches a far step with a norm of nearly nothing has vanished: what was read
    there cannot be learned from. One that grows from step to step explodes.

    Parameters
    ----------
    layer : any recurrent layer, whatever its options, or a model with at least one
    x : an input of the layer, with at least one step and one row
    dy : the gradient of a loss at the output, of the shape of ``y``
        By default the loss is on the last step alone, of each direction its own: at that output of
        the last layer each direction has a gradient whose elements are all the same and whose norm
        is 1, so that every other norm is relative to it. Of a model it is on the last step of its
        output, or on all of one that has no steps, again with a norm of 1.

    Returns
    -------
    GradientFlow: named arrays, which it can `plot`; of a model one for each recurrent layer, in a
    dict by their names. A norm is that of all batch rows together, the
    root of the sum of their squares: the gradient of the whole batch as one vector.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    With parameters of zero the update gate of a GRU is 1/2 and nothing else leads back, so the
    gradient halves at every step:

    >>> from rnncore.layers import GRU
    >>> layer = GRU(1, 1)
    >>> layer.load_params({name: np.zeros_like(value) for name, value in layer.params.items()})
    >>> flow = gradient_flow(layer, np.ones((4, 1), np.float32))
    >>> flow.dh
    array([[0.125, 0.25 , 0.5  , 1.   ]])
    >>> flow.distance, flow.gate_mean["z"]
    (array([[3, 2, 1, 0]]), array([[0.5, 0.5, 0.5, 0.5]]))
    """
    if isinstance(layer, Model):
        return _flows_of_model(layer, x, dy)
    _check.instance("layer", layer, RecurrentLayer)
    y, _, trace = layer.forward(x)
    _check_output(x, y)
    if dy is None:
        dy = _unit_at_the_end(layer, y)
    flow = _room(layer, trace)
    layer.backward(trace, dy, flow=flow)
    return _measured(layer, trace, flow)


def _flows_of_model(model: Model, x: np.ndarray, dy: np.ndarray | None) -> dict[str, GradientFlow]:
    y, _, trace = model.forward(x)
    _check_output(x, y)
    if dy is None:
        dy = np.zeros_like(y)
        last = dy
        if not ends_time(model):
            last = dy[:, -1] if model.batch_first and y.ndim == 3 else dy[-1]
        last[...] = 1 / np.sqrt(last.size)
    dy = _check.array("dy", dy, y.shape, dtype=y.dtype, owner="the model")
    layers = {
        prefix.removesuffix("."): (leaf, own)
        for (prefix, leaf), own in zip(leaves(model), traces_of(model, trace.inner), strict=True)
        if isinstance(leaf, RecurrentLayer)
    }
    if not layers:
        raise ValueError("layer is a model without a recurrent layer, expected at least one")
    flows = {id(own): _room(leaf, own) for leaf, own in layers.values()}
    model._backward(trace.inner, dy, (None,) * model._count, flows)
    return {name: _measured(leaf, own, flows[id(own)]) for name, (leaf, own) in layers.items()}


def _check_output(x: np.ndarray, y: np.ndarray) -> None:
    if y.size == 0:
        raise ValueError(f"x has shape {x.shape}, expected at least one step and one row")


def _room(layer: RecurrentLayer[Any], trace: Trace) -> np.ndarray:
    """For the `flow` of a backward pass."""
    T, B, _ = trace.cells[0].x.shape
    return np.zeros((len(layer._kind.states), len(trace.cells), T, B))


def _measured(layer: RecurrentLayer[Any], trace: Trace, flow: np.ndarray) -> GradientFlow:
    dh, *dc = np.sqrt(flow.sum(axis=-1))
    cells = [(k, cell.reverse) for k, cell in enumerate(trace.cells)]
    ahead = np.arange(flow.shape[2])[::-1]
    return GradientFlow(
        dh=dh,
        dc=dc[0] if dc else None,
        distance=np.array([ahead[::-1] if reverse else ahead for _, reverse in cells]),
        **_gate_statistics(layer, trace),
        names=tuple(
            f"layer {k // layer.num_directions}{', reverse' if reverse else ''}"
            for k, reverse in cells
        ),
    )


def _unit_at_the_end(layer: RecurrentLayer[Any], y: np.ndarray) -> np.ndarray:
    """A gradient of norm 1 at the last step that each direction takes."""
    dy = np.zeros_like(y)
    time_first = layer._time_first(dy)  # views: what is set in them is set in dy
    for direction, last in enumerate(np.split(time_first, layer.num_directions, axis=-1)):
        end = last[0 if direction == 1 else -1]
        end[...] = 1 / np.sqrt(end.size)
    return dy


def _gate_statistics(
    layer: RecurrentLayer[Any], trace: Trace
) -> dict[str, Mapping[str, np.ndarray]]:
    """For every layer and direction, at each step: the mean over rows and units, and the ends."""
    found: dict[str, dict[str, list[np.ndarray]]] = {
        statistic: {name: [] for name in layer._kind.gates if name in _GATES}
        for statistic in ("gate_mean", "gate_low", "gate_high")
    }
    for cell in trace.cells if found["gate_mean"] else ():
        gates = cell.gates[::-1] if cell.reverse else cell.gates
        for name in found["gate_mean"]:
            block = layer._kind.gates.index(name)
            values = gates[..., block * layer.hidden_size :][..., : layer.hidden_size]
            for statistic, measured in (
                ("gate_mean", values),
                ("gate_low", values < _SHUT),
                ("gate_high", values > _OPEN),
            ):
                found[statistic][name].append(measured.mean(axis=(1, 2), dtype=np.float64))
    return {
        statistic: {name: np.array(rows) for name, rows in by_name.items()}
        for statistic, by_name in found.items()
    }


def _new_axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install matplotlib") from error
    return pyplot.subplots(layout="constrained")[1]
