"""MatMul and Gemm with constant weights, by the product of the compiled core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore._engine.linear import linear_forward
from rnncore.convert.onnx_graph import Node
from rnncore.convert.onnx_ops import Kernel

__all__ = ["gemm", "linear", "rows_by"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def rows_by(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """``x @ w.T + b`` for x of any leading axes, w (N, K)."""
    N, K = w.shape
    if x.ndim < 1 or x.shape[-1] != K:
        raise ValueError(f"its input has shape {x.shape}, expected (..., {K})")
    if x.dtype != w.dtype:
        raise ValueError(f"its input has dtype {x.dtype}, expected {w.dtype} as its weights")
    return linear_forward(x.reshape(-1, K), w, b).reshape(*x.shape[:-1], N)


def linear(node: Node, constants: Sequence[Any]) -> Kernel | None:
    """MatMul(x, W), or the fused Linear(x, W, b); None where it is to be done by others."""
    W = constants[1] if len(constants) > 1 else None
    if W is None or constants[0] is not None or not _fits(W):
        return None
    w = np.ascontiguousarray(W.T)
    b = None
    if len(constants) > 2:
        b = np.ascontiguousarray(constants[2].ravel())

    def run(x: np.ndarray, *_: Any) -> tuple[np.ndarray]:
        return (rows_by(x, w, b),)

    return run


def gemm(node: Node, constants: Sequence[Any]) -> Kernel | None:
    """Gemm(A, B, C) with a constant B; C too, or added afterwards."""
    a = node.attributes
    B, C = constants[1], constants[2] if len(constants) > 2 else None
    if B is None or constants[0] is not None or not _fits(B):
        return None
    w = np.ascontiguousarray(B if a.get("transB", 0) else B.T)
    alpha, beta, turned = a.get("alpha", 1.0), a.get("beta", 1.0), bool(a.get("transA", 0))
    if alpha != 1:
        w = (w * w.dtype.type(alpha)).astype(w.dtype)
    b = None
    if C is not None and C.shape in ((len(w),), (1, len(w))) and C.dtype == w.dtype:
        b = np.ascontiguousarray(C.ravel() if beta == 1 else C.ravel() * w.dtype.type(beta))

    def run(A: np.ndarray, _: Any, C: Any = None) -> tuple[np.ndarray]:
        if A.ndim != 2:
            raise ValueError(f"its input A has shape {A.shape}, expected two axes")
        y = rows_by(A.T if turned else A, w, b)
        if C is not None and b is None:
            y = y + (C if beta == 1 else C * w.dtype.type(beta))
        return (y,)

    return run


def _fits(W: Any) -> bool:
    return isinstance(W, np.ndarray) and W.ndim == 2 and W.dtype in _FLOATS and W.size > 0
