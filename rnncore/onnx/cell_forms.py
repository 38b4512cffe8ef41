"""Which cell a body is: its values as linear forms of x and the states, and functions of those.

A value is read as an expression. What MatMul, Add, Slice, Split and Concat make of x and h is one
linear form ``x A + h C + b``; a gate is a function of such a form, and the new states are compared
with the equations of the LSTM, the GRU and the RNN, in whatever order their products and sums were
written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert.onnx_cells import CELLS
from rnncore.layers.parameters import LATER

__all__ = ["Form", "cell_of", "counted"]


class Form(NamedTuple):
    """A cell that was found.

    Attributes
    ----------
    layer : of one step, with the parameters of the cell
    states : the names of the body's inputs that are h and, of an LSTM, c
    outputs : the names of values of the body that are the new h
    constants : of the body and around it
    """

    layer: Any
    states: tuple[str, ...]
    outputs: Mapping[str, None]
    constants: Mapping[str, Any]


class _Linear(NamedTuple):
    """The sum over sources of ``source @ weight``, and a bias; sources are by identity."""

    terms: tuple[tuple[Any, np.ndarray], ...]
    bias: np.ndarray


class _Call(NamedTuple):
    """A function of expressions: of a sum or a product their order does not count."""

    op: str
    of: tuple[Any, ...]


class _Leaf(NamedTuple):
    """x, or a state, of some width that is not known at first."""

    name: str


class _NoCellError(Exception):
    """The body is none of these cells."""


_MISFITS = (_NoCellError, ValueError, IndexError, KeyError, StopIteration, RecursionError)


def cell_of(
    graph: Any, x: str, ends: Mapping[str, str], constants: Mapping[str, Any]
) -> Form | None:
    """The cell that a body is, of step `x` and of states with the names of what they become."""
    for H in _widths(graph, constants):
        reader = _Reader(graph, x, tuple(ends), constants, H)
        for name, end in ends.items():
            for match in (_lstm, _gru, _rnn):
                try:
                    found = match(reader, name, reader.read(end), ends)
                except _MISFITS:
                    continue
                if found is not None:
                    kind, options, params, states = found
                    layer = CELLS[kind](**options, rng=LATER)
                    layer.params = params
                    outputs = dict.fromkeys(reader.same_as(ends[states[0]]))
                    return Form(layer, states, outputs, constants)
    return None


def _widths(graph: Any, constants: Mapping[str, Any]) -> list[int]:
    """What H may be, where a product of x and h side by side does not tell: of 1 to 4 blocks."""
    products = [n for n in graph.nodes if n.op in ("MatMul", "Linear", "Gemm") and n.inputs[1:]]
    weights = [constants.get(node.inputs[1]) for node in products]
    sizes = {w.shape[k] for w in weights if w is not None and w.ndim == 2 for k in (0, 1)}
    return sorted({size // blocks for size in sizes for blocks in (1, 2, 4)} - {0})


def counted(graph: Any, start: str, end: str, constants: Mapping[str, Any]) -> int | None:
    """By how much a state that counts grows at every step; None for any other."""
    maker = {name: node for node in graph.nodes for name in node.outputs}
    while end in maker and maker[end].op == "Identity":
        end = maker[end].inputs[0]
    if end == start:
        return 0
    node = maker.get(end)
    if node is None or node.op != "Add" or start not in node.inputs:
        return None
    other = node.inputs[1 - node.inputs.index(start)]
    value = constants.get(other)
    if value is None or np.size(value) != 1 or np.asarray(value).dtype.kind not in "iu":
        return None
    return int(np.ravel(value)[0])


class _Reader:
    """The values of a body as expressions."""

    def __init__(
        self,
        graph: Any,
        x: str,
        states: tuple[str, ...],
        constants: Mapping[str, Any],
        hidden_size: int,
    ) -> None:
        self._maker = {name: node for node in graph.nodes for name in node.outputs}
        self.constants, self.x, self._hidden_size = constants, x, hidden_size
        self._found: dict[str, Any] = {name: _Leaf(name) for name in (x, *states)}
        self._names = list(self._maker)

    def same_as(self, end: str) -> list[str]:
        """The values that are this one."""
        expression, found = self.read(end), [end]
        for name in self._names:
            try:
                if self.read(name) is expression:
                    found.append(name)
            except _MISFITS:
                continue
        return found

    def read(self, name: str) -> Any:
        if name not in self._found:
            if name in self.constants:
                self._found[name] = np.asarray(self.constants[name])
            elif name not in self._maker:
                raise _NoCellError
            else:
                self._read_node(self._maker[name])
        return self._found[name]

    def _read_node(self, node: Any) -> None:
        if any(True for _ in node.graphs) or node.domain not in ("", "rnncore"):
            raise _NoCellError
        op = node.op
        if op in ("Identity", "Cast"):
            self._found[node.outputs[0]] = self.read(node.inputs[0])
        elif op in ("Squeeze", "Unsqueeze", "Reshape"):
            raise _NoCellError
        elif op in ("MatMul", "Linear", "Gemm"):
            self._found[node.outputs[0]] = self._product(node)
        elif op == "Split":
            self._split(node)
        elif op == "Slice":
            self._found[node.outputs[0]] = self._slice(node)
        elif op == "Concat":
            self._found[node.outputs[0]] = _Call("Concat", tuple(map(self.read, node.inputs)))
        elif op in ("Add", "Sub", "Mul", "Sigmoid", "Tanh", "Relu"):
            self._found[node.outputs[0]] = self._arithmetic(op, list(map(self.read, node.inputs)))
        else:
            raise _NoCellError

    # Linear forms

    def _product(self, node: Any) -> Any:
        value, weight = self.read(node.inputs[0]), self.read(node.inputs[1])
        a = node.attributes
        if not isinstance(weight, np.ndarray) or weight.ndim != 2 or isinstance(value, np.ndarray):
            raise _NoCellError
        if node.op == "Gemm":
            if a.get("transA", 0) or a.get("alpha", 1.0) != 1 or a.get("beta", 1.0) != 1:
                raise _NoCellError
            weight = weight.T if a.get("transB", 0) else weight
        zero = np.zeros(weight.shape[1], weight.dtype)
        if isinstance(value, _Call) and value.op == "Concat":
            x, H = self.read(self.x), self._hidden_size
            widths = [0 if source is x else H for source in value.of]
            widths = [width or len(weight) - sum(widths) for width in widths]
            if min(widths) < 1 or sum(widths) != len(weight):
                raise _NoCellError
            pieces = np.split(weight, np.cumsum(widths)[:-1])
            terms = zip(value.of, pieces, strict=True)
            found: Any = _Linear(tuple(terms), zero)
        else:
            found = _Linear(((value, weight),), zero)
        if len(node.inputs) > 2 and node.inputs[2]:
            found = _plus(found, self.read(node.inputs[2]))
        return found

    def _split(self, node: Any) -> None:
        value, n = self.read(node.inputs[0]), len(node.outputs)
        if not isinstance(value, _Linear) or node.attributes.get("axis", 0) not in (1, -1):
            raise _NoCellError
        sizes = node.attributes.get("split")
        if sizes is None and len(node.inputs) > 1 and node.inputs[1]:
            sizes = np.ravel(self.read(node.inputs[1])).tolist()
        width = len(value.bias)
        sizes = sizes or [width // n] * n
        if sum(sizes) != width or len(sizes) != n:
            raise _NoCellError
        ends = np.cumsum(sizes)
        for name, end, size in zip(node.outputs, ends, sizes, strict=True):
            self._found[name] = _columns(value, slice(int(end) - size, int(end)))

    def _slice(self, node: Any) -> Any:
        value = self.read(node.inputs[0])
        if not isinstance(value, _Linear) or len(node.inputs) < 4:
            raise _NoCellError
        starts, ends, axes, *steps = (np.ravel(self.read(n)).tolist() for n in node.inputs[1:])
        if len(starts) != 1 or axes[0] not in (1, -1) or (steps and steps[0] != [1]):
            raise _NoCellError
        return _columns(value, slice(starts[0], ends[0]))

    def _arithmetic(self, op: str, values: list[Any]) -> Any:
        if len(values) == 1:
            return _Call(op, tuple(values))
        a, b = values
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            raise _NoCellError
        if op == "Add" and (isinstance(a, _Linear) or isinstance(b, _Linear)):
            return _plus(a, b) if isinstance(a, _Linear) else _plus(b, a)
        return _Call(op, (a, b))


def _plus(form: _Linear, other: Any) -> Any:
    if isinstance(other, np.ndarray):
        if other.size not in (1, len(form.bias)):
            raise _NoCellError
        return form._replace(bias=form.bias + other.ravel())
    if not isinstance(other, _Linear):
        return _Call("Add", (form, other))
    terms = list(form.terms)
    for source, weight in other.terms:
        terms.append((source, weight))
    return _Linear(tuple(terms), form.bias + other.bias)


def _columns(form: _Linear, where: slice) -> _Linear:
    terms = tuple((source, weight[:, where]) for source, weight in form.terms)
    return _Linear(terms, form.bias[where])


# The cells


def _of(expression: Any, op: str, n: int) -> tuple[Any, ...]:
    """The parts of a function."""
    if not isinstance(expression, _Call) or expression.op != op or len(expression.of) != n:
        raise _NoCellError
    return expression.of


def _parts(form: Any, *sources: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """The weights (G, K) of a linear form for each source, each there once, and the bias."""
    if not isinstance(form, _Linear) or len(form.terms) != len(sources):
        raise _NoCellError
    found = []
    for source in sources:
        own = [weight for term, weight in form.terms if term is source]
        if len(own) != 1:
            raise _NoCellError
        found.append(own[0].T)
    return found, form.bias


_Found = tuple[str, dict[str, Any], dict[str, np.ndarray], tuple[str, ...]]


def _made(
    kind: str, gates: list[tuple[list[np.ndarray], np.ndarray]], states: tuple[str, ...], **own: Any
) -> _Found:
    """A layer of these gates, each weights of x and h and the bias."""
    w_ih = np.concatenate([weights[0] for weights, _ in gates])
    w_hh = np.concatenate([weights[1] for weights, _ in gates])
    b = np.concatenate([bias for _, bias in gates])
    H = w_hh.shape[1]
    if w_ih.dtype not in (np.float32, np.float64) or len(b) != len(gates) * H:
        raise _NoCellError
    params = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh, "bias_ih_l0": b}
    params["bias_hh_l0"] = own.pop("b_hh", np.zeros_like(b))
    options = {"input_size": w_ih.shape[1], "hidden_size": H, "dtype": w_ih.dtype.name, **own}
    if w_hh.dtype != w_ih.dtype or b.dtype != w_ih.dtype:
        raise _NoCellError
    return kind, options, {k: np.ascontiguousarray(a) for k, a in params.items()}, states


def _rnn(reader: _Reader, name: str, end: Any, ends: Mapping[str, str]) -> _Found | None:
    """h' = tanh(x A + h C + b), or relu."""
    x, h = reader.read(reader.x), reader.read(name)
    if not isinstance(end, _Call) or end.op not in ("Tanh", "Relu"):
        return None
    gate = _parts(end.of[0], x, h)
    return _made("RNN", [gate], (name,), nonlinearity=end.op.lower())


def _lstm(reader: _Reader, name: str, end: Any, ends: Mapping[str, str]) -> _Found | None:
    """h' = o * tanh(c'), c' = f * c + i * g."""
    x, h = reader.read(reader.x), reader.read(name)
    o, tanh = _either(_of(end, "Mul", 2), "Sigmoid", "Tanh")
    (new_c,) = tanh.of
    memory = next((n for n, e in ends.items() if n != name and reader.read(e) is new_c), None)
    if memory is None:
        return None
    c = reader.read(memory)
    kept, written = (_of(part, "Mul", 2) for part in _of(new_c, "Add", 2))
    if not any(part is c for part in kept):
        kept, written = written, kept
    f = next(part for part in kept if part is not c)
    if not any(part is c for part in kept):
        return None
    i, g = _either(written, "Sigmoid", "Tanh")
    gates = [_parts(gate.of[0], x, h) for gate in (i, _call(f, "Sigmoid"), g, o)]
    return _made("LSTM", gates, (name, memory))


def _gru(reader: _Reader, name: str, end: Any, ends: Mapping[str, str]) -> _Found | None:
    """h' = z * h + (1 - z) * n, with n = tanh(x A + r * (h C + b)) or tanh(x A + (r * h) C + b)."""
    x, h = reader.read(reader.x), reader.read(name)
    one, other = (_of(part, "Mul", 2) for part in _of(end, "Add", 2))
    if not any(part is h for part in one):
        one, other = other, one
    z = next(part for part in one if part is not h)
    n = next(part for part in other if isinstance(part, _Call) and part.op == "Tanh")
    rest = next(part for part in other if part is not n)
    ones, z_again = _of(rest, "Sub", 2)
    if not any(part is h for part in one) or z_again is not z or not np.all(ones == 1):
        return None
    (sums,) = _of(n, "Tanh", 1)
    gate = _parts(_call(z, "Sigmoid").of[0], x, h)
    if isinstance(sums, _Linear):  # reset before
        product = next(source for source, _ in sums.terms if source is not x)
        candidate = _parts(sums, x, product)
        r = _other(_of(product, "Mul", 2), h)
        return _made("GRU", [_gate_of(r, x, h), gate, candidate], (name,), reset="before")
    form, product = _of(sums, "Add", 2)
    if not isinstance(form, _Linear):
        form, product = product, form
    pair = _of(product, "Mul", 2)
    inner = next(part for part in pair if isinstance(part, _Linear))
    r = _other(pair, inner)
    (w_x,), b_x = _parts(form, x)
    (w_h,), b_h = _parts(inner, h)
    b_hh = np.concatenate((np.zeros(2 * len(b_h), b_h.dtype), b_h))
    gates = [_gate_of(r, x, h), gate, ([w_x, w_h], b_x)]
    return _made("GRU", gates, (name,), reset="after", b_hh=b_hh)


def _gate_of(gate: Any, x: Any, h: Any) -> tuple[list[np.ndarray], np.ndarray]:
    return _parts(_call(gate, "Sigmoid").of[0], x, h)


def _call(expression: Any, op: str) -> _Call:
    _of(expression, op, 1)
    assert isinstance(expression, _Call)
    return expression


def _either(pair: tuple[Any, ...], first: str, second: str) -> tuple[_Call, _Call]:
    a, b = pair
    if isinstance(a, _Call) and a.op == second:
        a, b = b, a
    return _call(a, first), _call(b, second)


def _other(pair: tuple[Any, ...], one: Any) -> Any:
    found = [part for part in pair if part is not one]
    if len(found) != 1:
        raise _NoCellError
    return found[0]
