"""DynamicQuantizeLSTM of onnxruntime: an LSTM whose products are of numbers of 8 bits.

What its weights are multiplied with is rounded to 8 bits too, by one scale for all of it: x of all
steps together, h of all rows at every step. onnxruntime does so on one thread; on several it rounds
h of groups of rows. Sources: its documentation of the contributed operators and its kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._cells.activations import Activation, resolve
from rnncore._common.quiet import quiet
from rnncore._engine.linear import linear_forward
from rnncore.convert.onnx_cells import params_of, spec_of
from rnncore.convert.onnx_graph import Node
from rnncore.onnx.recurrent import reversed_rows

__all__ = ["quantized_lstm"]

_EXACT = 1 << 24  # integers up to here are floats of 32 bits


def quantized_lstm(node: Node, constants: Sequence[Any]) -> Any:
    """The node as a function of its inputs; all its weights have to be constant.

    W and R are (D, I, 4H) and (D, H, 4H), their scales and zero points (D,) or (D, 4H).
    """
    own = [*constants, *[None] * (12 - len(constants))]
    given = {name: own[k] for k, name in enumerate(_INPUTS) if k < len(node.inputs)}
    for k, name in enumerate(_INPUTS):
        there = k < len(node.inputs) and node.inputs[k]
        if there and given[name] is None and name not in ("X", *_PER_CALL):
            raise ValueError(f"{node} has {name} that depends on inputs, expected a constant")
    spec = spec_of(node._replace(op="LSTM"))
    if spec.batch_first:
        raise ValueError(f"{node} has layout 1, which this operator does not have")
    (W, W_scale), (R, R_scale) = (_of_weight(node, given, name) for name in ("W", "R"))
    B, P = given.get("B"), given.get("P")
    _, I, H = params_of(node, spec, (W, R, B, P))  # which checks all shapes
    units = [
        _Direction(
            _Product.of(W[d], W_scale[d]),
            _Product.of(R[d], R_scale[d]),
            np.zeros((4, H), np.float32) if B is None else B[d].reshape(2, 4, H).sum(axis=0),
            np.zeros((3, H), np.float32) if P is None else P[d].reshape(3, H),
            resolve(spec.activations[d], ("Sigmoid", "Tanh", "Tanh")),
            spec.options["clip"],
            spec.options["coupled"],
            bool(node.outputs[0]),
        )
        for d in range(len(W))
    ]

    def run(X: Any, *inputs: Any) -> tuple[np.ndarray, ...]:
        lens, h, c = ([*inputs, *[None] * 6])[3:6]
        if X.dtype != np.float32 or X.ndim != 3 or X.shape[2] != I:
            raise ValueError(f"X is {X.dtype} of shape {X.shape}, expected float32 (T, B, {I})")
        T, rows = X.shape[:2]
        own = _check.lengths(lens, T, rows)
        lengths = np.full(rows, T, np.intp) if own is None else own
        found, shape = [], (len(units), rows, H)
        for name, state in (("initial_h", h), ("initial_c", c)):
            if state is not None and state.shape != shape:
                raise ValueError(f"{name} has shape {state.shape}, expected {shape}")
        for d, unit in enumerate(units):
            states = [np.zeros((rows, H), np.float32) if a is None else a[d] for a in (h, c)]
            back = spec.reverses[d]
            y, *ends = unit.run(reversed_rows(X, lengths) if back else X, lengths, *states)
            found.append((reversed_rows(y, lengths) if back else y, *ends))
        Y, h_n, c_n = zip(*found, strict=True)
        return np.stack(Y, axis=1), np.stack(h_n), np.stack(c_n)

    return run


_INPUTS = (
    "X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P",
    "W_scale", "W_zero_point", "R_scale", "R_zero_point",
)  # fmt: skip
_PER_CALL = ("sequence_lens", "initial_h", "initial_c")


class _Product(NamedTuple):
    """Rows of floats times a weight of integers, (outputs, inputs), and its scales."""

    weight: np.ndarray
    scale: np.ndarray

    @staticmethod
    def of(weight: np.ndarray, scale: np.ndarray) -> _Product:
        """In floats in which all sums of products with 8 bits are exact, in whatever order."""
        most = 255 * float(np.abs(weight).sum(axis=1).max(initial=0))
        return _Product(weight.astype(np.float32 if most < _EXACT else np.float64), scale)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        low, high = np.minimum(rows.min(initial=0), 0), np.maximum(rows.max(initial=0), 0)
        step = np.float32(1) if low == high else (high - low) / np.float32(255)
        zero = np.rint(np.clip(-low / step, 0, 255))
        narrow = np.clip(np.rint(rows / step) + zero, 0, 255) - zero
        sums = linear_forward(narrow.astype(self.weight.dtype), self.weight, None)
        return sums.astype(np.float32) * (step * self.scale)


class _Direction(NamedTuple):
    """The LSTM in one direction; its bias (4, H) and peepholes (3, H) are of i, o, f and g."""

    of_x: _Product
    of_h: _Product
    bias: np.ndarray
    peephole: np.ndarray
    functions: tuple[Activation, ...]
    clip: float | None
    coupled: bool
    has_y: bool

    @quiet
    def run(
        self, x: np.ndarray, lengths: np.ndarray, h: np.ndarray, c: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Y (T, B, H), and the final h and c, 0 of rows without steps."""
        (T, B, I), H = x.shape, h.shape[1]
        y, last = np.zeros((T, B, H), np.float32), int(lengths.max(initial=0))
        h_n, c_n = np.zeros((B, H), np.float32), np.zeros((B, H), np.float32)
        sums = self.of_x(x[:last].reshape(-1, I)).reshape(last, B, 4 * H)
        for t in range(last):
            there = (t < lengths)[:, np.newaxis]
            new_h, c = self._step(sums[t] + self.of_h(h), c)
            y[t] = np.where(there, new_h, 0)
            h_n, c_n = np.where(there, new_h, h_n), np.where(there, c, c_n)
            h = y[t] if self.has_y else h_n  # what onnxruntime finds there of rows that have ended
        return y, h_n, c_n

    def _step(self, sums: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sigma, phi, psi = self.functions
        i, o, f, g = sums.reshape(len(c), 4, -1).swapaxes(0, 1)
        (b_i, b_o, b_f, b_g), (p_i, p_o, p_f) = self.bias, self.peephole
        i = sigma(self._clipped(i + p_i * c + b_i))
        f = 1 - i if self.coupled else sigma(self._clipped(f + p_f * c + b_f))
        c = f * c + i * phi(self._clipped(g + b_g))
        return sigma(self._clipped(o + p_o * c + b_o)) * psi(c), c

    def _clipped(self, sums: np.ndarray) -> np.ndarray:
        return sums if self.clip is None else np.clip(sums, -self.clip, self.clip)


def _of_weight(node: Node, given: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """value - zero point, (D, 4H, inputs), as floats; and the scale, (D, 1) or (D, 4H)."""
    q, scale, zero = given.get(name), given.get(f"{name}_scale"), given.get(f"{name}_zero_point")
    if q is None or scale is None or zero is None or q.ndim != 3 or q.dtype.itemsize != 1:
        raise ValueError(f"{node} has no {name} of 8 bits with three axes, scale and zero point")
    D, _, columns = q.shape
    for what, array in (("scale", scale), ("zero point", zero)):
        if array.shape not in ((D,), (D, columns), ()):
            raise ValueError(
                f"{node} has a {what} of {name} of shape {array.shape}, expected ({D},) or"
                f" ({D}, {columns})"
            )
    scale, zero = (
        np.broadcast_to(a.astype(np.float32), (D,))[:, np.newaxis] if a.ndim < 2 else a
        for a in (scale, zero)
    )
    whole = q.astype(np.float32) - zero[:, np.newaxis].astype(np.float32)
    return np.ascontiguousarray(whole.swapaxes(1, 2)), scale.astype(np.float32)
