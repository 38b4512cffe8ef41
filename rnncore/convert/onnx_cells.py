"""Nodes RNN, GRU and LSTM as layers: their attributes as options, their arrays as parameters.

Sources: the operators RNN, GRU and LSTM of ONNX, versions 1 to 22; how activation_alpha and
activation_beta are shared out, as onnxruntime reads them. Where they are not given they are those
of the operators of these names, as ONNX has it; onnxruntime takes 0 for ThresholdedRelu.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore._cells.activations import FUNCTIONS
from rnncore.convert import layouts
from rnncore.convert.onnx_graph import Node
from rnncore.layers import GRU, LSTM, RNN
from rnncore.layers.parameters import LATER

__all__ = ["CELLS", "Spec", "float_of", "layer_of", "params_of", "short", "spec_of"]

CELLS = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}
_FUNCTIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_KNOWN = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size",
    "input_forget", "layout", "linear_before_reset", "output_sequence",
}  # fmt: skip


class Spec(NamedTuple):
    """What the attributes of a recurrent node say.

    Attributes
    ----------
    op : "RNN", "GRU" or "LSTM"
    reverses : for each direction whether it reads from the end
    activations : for each direction its functions, as layers take them
    options : of a layer, but for sizes, bias, peephole and directions
    batch_first : whether the node has its layout 1
    hidden_size : as it says, or None
    """

    op: str
    reverses: tuple[bool, ...]
    activations: tuple[tuple[Any, ...], ...]
    options: dict[str, Any]
    batch_first: bool
    hidden_size: int | None


def spec_of(node: Node) -> Spec:
    """The attributes of a node; ValueError, which names it, for what they cannot be."""
    a = node.attributes
    unknown = a.keys() - _KNOWN
    if unknown:
        raise ValueError(f"{node} has the attribute {sorted(unknown)[0]!r}, which there is not")
    direction = a.get("direction", "forward")
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    if direction not in directions:
        raise ValueError(
            f"{node} has direction {direction!r}, expected {' or '.join(map(repr, directions))}"
        )
    layout = a.get("layout", 0)
    if layout not in (0, 1):
        raise ValueError(f"{node} has layout {layout}, expected 0 or 1")
    if a.get("clip", 0) < 0:
        raise ValueError(f"{node} has clip {a['clip']}, expected a positive number")
    options: dict[str, Any] = {"clip": short(a["clip"]) if a.get("clip") else None}
    if node.op == "GRU":
        options["reset"] = "after" if a.get("linear_before_reset", 0) else "before"
    if node.op == "LSTM":
        options["coupled"] = bool(a.get("input_forget", 0))
    reverses = directions[direction]
    functions = _functions(node, len(reverses))
    return Spec(node.op, reverses, functions, options, layout == 1, a.get("hidden_size"))


def params_of(
    node: Node, spec: Spec, arrays: Sequence[np.ndarray | None], dtype: np.dtype | None = None
) -> tuple[dict[str, np.ndarray], int, int]:
    """The parameters of a layer from W, R, B and P, and its sizes I and H.

    Raises
    ------
    ValueError, which names the node, where the shapes do not fit together.
    """
    D, G = len(spec.reverses), _GATES[spec.op]
    W, R, B, P = (None if a is None else float_of(node, a, dtype) for a in arrays)
    if W is None or R is None or W.ndim != 3 or R.ndim != 3:
        raise ValueError(f"{node} has no W and R of three axes")
    H, I = R.shape[2], W.shape[2]
    expected = {"W": (W, (D, G * H, I)), "R": (R, (D, G * H, H))}
    expected |= {"B": (B, (D, 2 * G * H))} if B is not None else {}  # type: ignore[dict-item]
    expected |= {"P": (P, (D, 3 * H))} if P is not None else {}  # type: ignore[dict-item]
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise ValueError(f"{node} has {name} of shape {array.shape}, expected {shape}")
    if spec.hidden_size not in (None, H) or min(H, I) < 1:
        raise ValueError(f"{node} has hidden_size {spec.hidden_size}, and R of shape {R.shape}")
    return layouts.from_onnx(spec.op, W, R, B, P), I, H


def layer_of(spec: Spec, I: int, H: int, dtype: np.dtype, *, bias: bool, peephole: bool) -> Any:
    """A layer of these sizes without parameters; of two directions where both are alike.

    Where their functions differ, as ONNX allows, `spec` is one of a single direction.
    """
    own = dict(spec.options)
    if spec.op == "LSTM":
        own["peephole"] = "current" if peephole else None
    functions: Any = spec.activations[0]
    if spec.op == "RNN" and functions in (("Tanh",), ("Relu",)):
        own["nonlinearity"], functions = functions[0].lower(), None
    elif functions == _FUNCTIONS[spec.op]:
        functions = None
    return CELLS[spec.op](
        I,
        H,
        bias=bias,
        bidirectional=len(spec.reverses) == 2,
        activations=functions,
        dtype=dtype,
        rng=LATER,
        **own,
    )


def float_of(node: Node, array: Any, dtype: np.dtype | None = None) -> np.ndarray:
    """An array as float32 or float64: narrower floats widened, which loses nothing."""
    if not isinstance(array, np.ndarray) or array.dtype.name not in (
        "float16", "bfloat16", "float32", "float64"
    ):  # fmt: skip
        came = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{node} reads {came}, expected floats")
    if dtype is None:
        dtype = np.dtype(np.float64 if array.dtype == np.float64 else np.float32)
    return np.ascontiguousarray(array, dtype)


def short(number: float) -> float:
    """What was meant by a number of float32: 0.2, and not 0.20000000298.

    >>> short(float(np.float32(0.2)))
    0.2
    """
    return float(str(np.float32(number)))


# Activations


def _functions(node: Node, D: int) -> tuple[tuple[Any, ...], ...]:
    usual = _FUNCTIONS[node.op]
    names = node.attributes.get("activations") or list(usual * D)
    n = len(usual)
    if len(names) == n and D == 2:
        names = list(names) * 2  # as PyTorch's older exporter writes a bidirectional RNN
    if len(names) != n * D:
        raise ValueError(f"{node} has activations {names}, expected {n * D} names")
    entries = list(_entries(node, names))
    return tuple(tuple(entries[d * n : (d + 1) * n]) for d in range(D))


def _entries(node: Node, names: Sequence[str]) -> Iterator[Any]:
    """An entry for each: those that take an alpha, or a beta, take the next of the node's."""
    by_lower = {name.lower(): name for name in FUNCTIONS}
    left = {
        "alpha": map(short, node.attributes.get("activation_alpha") or ()),
        "beta": map(short, node.attributes.get("activation_beta") or ()),
    }
    for name in names:
        if name.lower() not in by_lower:
            raise ValueError(f"{node} has the activation {name!r}, expected {', '.join(FUNCTIONS)}")
        own = by_lower[name.lower()]
        given = [next(left[what], None) for what in FUNCTIONS[own].takes]
        defaults = FUNCTIONS[own].defaults or (0.0,) * len(given)
        values = [d if v is None else v for v, d in zip(given, defaults, strict=True)]
        if not any(v is not None for v in given):
            values = values if not FUNCTIONS[own].defaults else []
        yield (own, *values) if values else own
