"""The operators RNN, GRU and LSTM, with all their attributes, on frozen layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnncore.convert.onnx_cells import Spec, float_of, layer_of, params_of, spec_of
from rnncore.convert.onnx_graph import Node

__all__ = ["RecurrentNode", "recurrent", "reversed_rows"]

_PLACES = {"RNN": 6, "GRU": 6, "LSTM": 8}  # inputs


class RecurrentNode:
    """A node as a function of its inputs; weights that are constant are packed once.

    It gives Y (T, D, B, H), Y_h and, of an LSTM, Y_c (D, B, H); with layout 1 the batch is first.
    """

    def __init__(
        self, node: Node, weights: Sequence[np.ndarray | None] | None, spec: Spec | None = None
    ) -> None:
        """Of the constants W, R, B and P; None where one of them comes with every call."""
        self._node, self._spec = node, spec_of(node) if spec is None else spec
        self._run = None if weights is None else _runner(node, self._spec, weights)

    def __call__(
        self,
        X: np.ndarray,
        W: Any = None,
        R: Any = None,
        B: Any = None,
        sequence_lens: np.ndarray | None = None,
        initial_h: np.ndarray | None = None,
        initial_c: np.ndarray | None = None,
        P: Any = None,
    ) -> tuple[np.ndarray, ...]:
        run = self._run
        if run is None:
            run = _runner(self._node, self._spec, (W, R, B, P))
        given = X.dtype
        if given != run.dtype:
            if given.name not in ("float16", "bfloat16"):
                raise ValueError(f"X has dtype {given}, expected {run.dtype} as its weights")
            X = X.astype(run.dtype)
        starts = [initial_h, initial_c][: run.parts]
        first = self._spec.batch_first
        if first:
            X = X.swapaxes(0, 1)
            starts = [None if a is None else a.swapaxes(0, 1) for a in starts]
        if given != run.dtype:
            starts = [None if a is None else a.astype(run.dtype) for a in starts]
        Y, ends = run(X, sequence_lens, starts)
        if first:
            Y, ends = np.moveaxis(Y, 2, 0), tuple(a.swapaxes(0, 1) for a in ends)
        if given != run.dtype:
            return tuple(a.astype(given) for a in (Y, *ends))
        return (Y, *ends)


def recurrent(node: Node, constants: Sequence[Any], names_given: Sequence[bool]) -> RecurrentNode:
    """A node, with the constants among its inputs."""
    places = _PLACES[node.op]
    if len(node.inputs) > places:
        raise ValueError(f"{node} has {len(node.inputs)} inputs, expected at most {places}")
    own = [constants[k] if k < len(constants) else None for k in (1, 2, 3, 7)]
    given = [k < len(names_given) and names_given[k] for k in (1, 2, 3, 7)]
    fixed = all(a is not None for a, there in zip(own, given, strict=True) if there)
    return RecurrentNode(node, own if fixed else None)


class _Runner:
    """Frozen layers for one or two directions: a layer of both where both are alike."""

    def __init__(self, node: Node, spec: Spec, arrays: Sequence[Any]) -> None:
        W, _, B, P = arrays
        self.dtype = float_of(node, W).dtype
        params, I, H = params_of(node, spec, arrays, self.dtype)
        self.parts, self.directions, self.hidden_size = (
            1 + (spec.op == "LSTM"),
            len(spec.reverses),
            H,
        )
        self._input_size = I
        options = {"bias": B is not None, "peephole": P is not None}
        alike = len(set(spec.activations)) == 1
        self._units: list[tuple[Callable[..., Any], bool]] = []  # a layer, and whether it reverses
        if self.directions == 1 or alike:
            units = [(spec, params, spec.reverses == (True,))]
        else:
            units = []
            for d, suffix in enumerate(("", "_reverse")):
                one = spec._replace(reverses=(False,), activations=(spec.activations[d],))
                names = [name for name in params if name.endswith("_reverse") == bool(d)]
                own = {name.removesuffix(suffix): params[name] for name in names}
                units.append((one, own, bool(d)))
        for one, own, reverse in units:
            layer = layer_of(one, I, H, self.dtype, **options)
            layer.params = own
            self._units.append((layer.freeze(), reverse))
        alone, reverse = self._units[0]
        self._plain = None if reverse or len(self._units) > 1 else alone  # a short way

    def __call__(
        self, X: np.ndarray, lengths: np.ndarray | None, starts: Sequence[np.ndarray | None]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        if X.ndim != 3 or X.shape[2] != self._input_size:
            raise ValueError(f"X has shape {X.shape}, expected (T, B, {self._input_size})")
        T, B, _ = X.shape
        D, H = self.directions, self.hidden_size
        if lengths is None and self._plain and (starts[0] is None) == (starts[-1] is None):
            state: Any = starts[0] if self.parts == 1 or starts[0] is None else tuple(starts)
            y, end = self._plain(X, state)  # which checks the state
            ends = end if self.parts == 2 else (end,)
            return y.reshape(T, B, D, H).swapaxes(1, 2), ends
        states: tuple[np.ndarray, ...] | None = None
        if any(start is not None for start in starts):
            shape = (D, B, H)
            for name, start in zip(("initial_h", "initial_c"), starts, strict=False):
                if start is not None and start.shape != shape:
                    raise ValueError(f"{name} has shape {start.shape}, expected {shape}")
            states = tuple(np.zeros(shape, self.dtype) if a is None else a for a in starts)
        if lengths is not None and lengths.shape == (B,) and bool((lengths == T).all()):
            lengths = None
        if len(self._units) == 1:
            frozen, reverse = self._units[0]
            y, ends = self._one(frozen, reverse, X, lengths, states)
        else:
            found = []
            for d, (frozen, reverse) in enumerate(self._units):
                own = None if states is None else tuple(a[d : d + 1] for a in states)
                found.append(self._one(frozen, reverse, X, lengths, own))
            y = np.concatenate([y for y, _ in found], axis=2)
            ends = tuple(np.concatenate(pair) for pair in zip(*(e for _, e in found), strict=True))
        return y.reshape(T, B, D, H).swapaxes(1, 2), ends

    def _one(
        self,
        frozen: Callable[..., Any],
        reverse: bool,
        X: np.ndarray,
        lengths: np.ndarray | None,
        states: tuple[np.ndarray, ...] | None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        if reverse:
            X = reversed_rows(X, lengths)
        state: Any = states
        if states is not None and self.parts == 1:
            state = states[0]
        y, end = frozen(X, state, lengths=lengths)
        return (reversed_rows(y, lengths) if reverse else y), (end if self.parts == 2 else (end,))


_runner = _Runner


def reversed_rows(a: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """The steps of each row from its own end; what is past it stays."""
    if lengths is None:
        return a[::-1]
    T, B = a.shape[:2]
    t = np.arange(T)[:, np.newaxis]
    order = np.where(t < lengths, np.asarray(lengths) - 1 - t, t)
    turned: np.ndarray = a[order, np.arange(B)]
    return turned
