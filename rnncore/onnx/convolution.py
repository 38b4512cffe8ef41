"""Conv with constant weights, of any number of axes: windows as rows of a product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore.convert.onnx_graph import Node
from rnncore.convert.onnx_ops import Kernel
from rnncore.onnx.products import rows_by

__all__ = ["conv"]

_MOST_BYTES = 1 << 24  # of the windows that lie in memory at once, if a row of them is no more


def conv(node: Node, constants: Sequence[Any]) -> Kernel | None:
    """Conv(X, W, B), X (B, C, ...), W (M, C / group, ...); None where others have to do it."""
    W, bias = constants[1], constants[2] if len(constants) > 2 else None
    if W is None or W.dtype not in (np.float32, np.float64) or W.ndim < 3 or not W.size:
        return None
    if len(node.inputs) > 2 and node.inputs[2] and bias is None:
        return None
    axes, kernel = W.ndim - 2, W.shape[2:]
    a = node.attributes
    strides, dilations = a.get("strides") or [1] * axes, a.get("dilations") or [1] * axes
    group = a.get("group", 1)
    wrong = len(strides) != axes or len(dilations) != axes or min(*strides, *dilations, group) < 1
    if wrong or len(W) % group or list(a.get("kernel_shape", kernel)) != list(kernel):
        raise ValueError(f"{node} has strides, dilations, group or kernel_shape that do not fit W")
    own = W.reshape(group, len(W) // group, -1)  # (groups, M of one, C of one * kernel)
    weights = [np.ascontiguousarray(one) for one in own]
    b = None if bias is None else np.ascontiguousarray(bias.reshape(group, -1))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    inputs = W.shape[1] * group

    def run(X: np.ndarray, *_: Any) -> tuple[np.ndarray]:
        if X.ndim != axes + 2 or X.shape[1] != inputs:
            raise ValueError(f"X has shape {X.shape}, expected (B, {inputs}) and {axes} axes more")
        pads = _pads(node, X.shape[2:], reach, strides)
        X = np.pad(X, [(0, 0), (0, 0), *pads]) if any(map(any, pads)) else X
        if min(s - r for s, r in zip(X.shape[2:], reach, strict=True)) < 0:
            raise ValueError(f"X has shape {X.shape} with its padding, expected at least {reach}")
        windows = np.lib.stride_tricks.sliding_window_view(X, reach, tuple(range(2, X.ndim)))
        steps = tuple(slice(None, None, s) for s in strides)
        inner = tuple(slice(None, None, d) for d in dilations)
        windows = windows[(slice(None), slice(None), *steps, *inner)]
        return (_products(windows, weights, b, axes),)

    return run


def _products(
    windows: np.ndarray, weights: list[np.ndarray], b: np.ndarray | None, axes: int
) -> np.ndarray:
    """(B, C, places, kernel) -> (B, M, places), of some rows or places at a time."""
    B, C, *rest = windows.shape
    places, M = tuple(rest[:axes]), len(weights[0])
    y = np.empty((B, len(weights) * M, *places), windows.dtype)
    each = C // len(weights)
    if each == M == 1:
        return _alone(windows, weights, b, axes, y)
    order = (0, *range(2, axes + 2), 1, *range(axes + 2, 2 * axes + 2))
    of_place = each * math.prod(places[1:]) * math.prod(rest[axes:]) * windows.itemsize
    rows = max(1, _MOST_BYTES // max(1, of_place * places[0]))
    steps = max(1, _MOST_BYTES // max(1, of_place)) if rows == 1 else places[0]
    for row in range(0, B, rows):
        for start in range(0, places[0], steps):
            here = slice(row, row + rows), slice(start, start + steps)
            for g, w in enumerate(weights):
                own = windows[here[0], g * each : (g + 1) * each, here[1]].transpose(order)
                bias = None if b is None else b[g]
                found = rows_by(own.reshape(*own.shape[: axes + 1], -1), w, bias)
                y[here[0], g * M : (g + 1) * M, here[1]] = np.moveaxis(found, -1, 1)
    return y


def _alone(
    windows: np.ndarray, weights: list[np.ndarray], b: np.ndarray | None, axes: int, y: np.ndarray
) -> np.ndarray:
    """Every channel with a kernel of its own."""
    w = np.concatenate(weights).reshape(-1, *windows.shape[2 + axes :])
    ones = (1,) * axes
    y[...] = 0 if b is None else b.reshape(-1, *ones)
    for place in np.ndindex(*w.shape[1:]):
        y += windows[(..., *place)] * w[(slice(None), *place)].reshape(-1, *ones)
    return y


def _pads(
    node: Node, sizes: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Zeros before and behind, for each axis."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        found = []
        for size, own, stride in zip(sizes, reach, strides, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + own - size)
            small, large = total // 2, total - total // 2
            found.append((small, large) if auto == "SAME_UPPER" else (large, small))
        return found
    pads = node.attributes.get("pads") if auto == "NOTSET" else None
    if auto not in ("NOTSET", "VALID", ""):
        raise ValueError(f"{node} has auto_pad {auto!r}, which there is not")
    if pads is None:
        return [(0, 0)] * len(sizes)
    if len(pads) != 2 * len(sizes) or min(pads) < 0 or max(pads) > 1 << 24:
        raise ValueError(f"{node} has pads {pads}, expected {2 * len(sizes)} sizes from 0")
    return list(zip(pads[: len(sizes)], pads[len(sizes) :], strict=True))
