"""The parameters of a layer: names, shapes, and the values that it starts with.

Names and layouts are PyTorch's: the row blocks of a weight are the gates, in the order i f g o for
the LSTM and r z n for the GRU, and a suffix tells the layer of the stack and the direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rnncore import _check
from rnncore._cells.kind import CellKind
from rnncore._common.places import first_names
from rnncore._engine.linear import linear_forward

# Stands for a generator where the parameters come later, from a file: nothing is drawn.
LATER: Any = object()

# In float32, 2048 units take half the time; small matrices stay the same in both precisions.
_MOST_IN_FLOAT64 = 256
_REFLECTIONS = 128  # at once: with 64, 2048 units take a tenth longer, with 32 half as long again


def suffixes(num_layers: int, num_directions: int) -> Iterator[str]:
    """The ends of the names, in the order of a state's first axis.

    >>> list(suffixes(2, 2))
    ['_l0', '_l0_reverse', '_l1', '_l1_reverse']
    """
    for layer in range(num_layers):
        for direction in ("", "_reverse")[:num_directions]:
            yield f"_l{layer}{direction}"


def count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers there are in all.

    >>> count({"weight_ih": (6, 5), "bias_ih": (6,)})
    36
    """
    return sum(math.prod(shape) for shape in shapes.values())


def copied_into(own: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> None:
    """Copy the arrays of `given` into those of the same names and shapes; all, or none.

    Raises
    ------
    ValueError for an array that is read-only, and for unequal values of those that are one array.
    """
    for name, value in own.items():
        _check.writable(f"params[{name!r}]", value)
    # Copies first: an array that is given may share memory with one that is written to.
    copies = {name: value.copy() for name, value in given.items()}
    for name, first in first_names("params", own).items():
        if not np.array_equal(copies[name], copies[first], equal_nan=True):
            raise ValueError(f"{name} and {first} are one array here, expected equal values")
    for name, value in copies.items():
        own[name][...] = value


def initialise(
    kind: CellKind,
    suffixes: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    options: Mapping[str, Any],
    rng: np.random.Generator,
    dtype: np.dtype[Any],
) -> dict[str, np.ndarray]:
    """Draw the parameters of `shapes`, in its order, gate block by gate block.

    * Input weights ``weight_ih``: uniform in +-sqrt(6 / (I + H)) for each gate block (H, I), which
      keeps the variance through the layer both ways (Glorot and Bengio 2010, equation 16).
    * Recurrent weights ``weight_hh``: each gate block (H, P) is a random matrix with orthonormal
      columns, orthogonal without a projection, which keeps the length of what is carried from step
      to step (Saxe, McClelland and Ganguli 2014). Those of single units are uniform in 0 to 1.
    * Projections ``weight_hr`` (P, H): Glorot uniform.
    * Biases are 0 but for the gates that the kind of the cell names, whose block of ``bias_ih`` is
      set: the LSTM sets its forget gate to 1, so that it starts out remembering (Jozefowicz,
      Zaremba and Sutskever 2015). One of the two biases carries it, as the gates see their sum.
    * With ``bias_init=("chrono", T_max)`` the bias of the gate that keeps the memory, an LSTM's f
      and a GRU's z, is log(u), u uniform in 1 to T_max - 1 for each unit, and that of an LSTM's i
      is -log(u): a unit forgets over some 1 + u steps, so that all ranges up to T_max are there at
      the start (Tallec and Ollivier 2018, "Can recurrent neural networks warp time?"). They are
      drawn last: all else is as without.
    * Peepholes ``weight_ch`` are 0: the layer starts as the LSTM without them. Gains are 1.

    The draws are float64 and then rounded to `dtype`, so that one seed gives the same layer in both
    precisions, but for the last bits of recurrent weights of more than 256 units. Constants draw
    nothing.
    """
    params = {}
    for name, weight in (
        (weight.stem + suffix, weight) for suffix in suffixes for weight in kind.weights
    ):
        if name not in shapes:
            continue
        value, start = np.zeros(shapes[name], dtype), weight.start
        blocks = np.split(value, int(weight.shape[0][:-1] or 1))  # "4H" has four
        if callable(start):
            constants = start(options)
            for gate, block in zip(kind.gates, blocks, strict=True):
                block[...] = constants.get(gate, 0.0)
        elif not isinstance(start, str):
            value[...] = start
        else:
            for block in blocks:
                block[...] = _DRAWN[start](block.shape, rng, dtype)
        params[name] = value
    if options.get("bias_init") is not None:
        first = next(weight.stem for weight in kind.weights if weight.needs == "bias")
        for suffix in suffixes:
            _set_time_scales(kind, params[first + suffix], options["bias_init"][1], rng)
    return params


def _set_time_scales(
    kind: CellKind, bias: np.ndarray, T_max: int, rng: np.random.Generator
) -> None:
    blocks = np.split(bias, len(kind.gates))
    log_u = np.log(rng.uniform(1, T_max - 1, len(blocks[0])))
    for gate, sign in kind.keeping.items():
        blocks[kind.gates.index(gate)][...] = sign * log_u


def _glorot_uniform(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[Any]
) -> np.ndarray:
    bound = np.sqrt(6 / sum(shape))
    return rng.uniform(-bound, bound, shape)


def _uniform(shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[Any]) -> np.ndarray:
    return rng.random(shape)


def _orthonormal(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[Any]
) -> np.ndarray:
    """A matrix with orthonormal columns, or rows where it is wide, each as likely as any other.

    That is a product of Householder reflections (Stewart 1980, "The efficient generation of random
    orthogonal matrices"): reflection k takes a vector of normal numbers to the axis k, and is the
    identity before it. So many at once are ``I - V T V'`` with an upper triangular T (Schreiber and
    Van Loan 1989), whose inverse is the upper triangle of V'V with its diagonal halved. It takes
    half the work of a QR decomposition, and the products are the core's: the threads of LAPACK
    would fight with others for busy cores.
    """
    rows, columns = max(shape), min(shape)
    if rows <= _MOST_IN_FLOAT64:
        dtype = np.dtype(np.float64)
    q = np.eye(columns, rows, dtype=dtype)  # transposed
    signs = np.copysign(1.0, rng.standard_normal(columns)).astype(dtype)
    reflections = min(columns, rows - 1)  # of a single number there is nothing but its sign
    for k in reversed(range(0, reflections, _REFLECTIONS)):
        count = min(_REFLECTIONS, reflections - k)
        v = np.tril(rng.standard_normal((rows - k, count))).astype(dtype)
        diagonal = np.arange(count)
        signs[k : k + count] = np.copysign(1.0, v[diagonal, diagonal])
        v[diagonal, diagonal] += signs[k : k + count] * np.sqrt(np.square(v).sum(axis=0))
        v_t = np.ascontiguousarray(v.T)
        gram = linear_forward(v_t, v_t, None)
        t = np.zeros((count, count), dtype)
        for j in range(count):
            t[j, j] = 2 / gram[j, j]
            t[:j, j] = (t[:j, :j] * gram[:j, j]).sum(axis=1) * -t[j, j]
        q_v_t = linear_forward(linear_forward(q[k:, k:], v_t, None), t, None)
        q[k:, k:] -= linear_forward(q_v_t, v, None)
    # A reflection takes its vector to minus its sign: with these, R of a QR would be positive.
    q *= -signs[:, np.newaxis]
    return q if q.shape == shape else q.T


_DRAWN = {"glorot": _glorot_uniform, "orthonormal": _orthonormal, "uniform": _uniform}
