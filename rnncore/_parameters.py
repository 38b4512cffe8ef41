"""The parameters of a layer: names, shapes, and the values that it starts with.

Names and layouts are PyTorch's: the row blocks of a weight are the gates, in the order i f g o for
the LSTM and r z n for the GRU, and a suffix tells the layer of the stack and the direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np


def suffixes(num_layers: int, num_directions: int) -> Iterator[str]:
    """The ends of the names, in the order of a state's first axis.

    >>> list(suffixes(2, 2))
    ['_l0', '_l0_reverse', '_l1', '_l1_reverse']
    """
    for layer in range(num_layers):
        for direction in ("", "_reverse")[:num_directions]:
            yield f"_l{layer}{direction}"


def cell_shapes(
    num_gates: int,
    input_size: int,
    hidden_size: int,
    *,
    bias: bool,
    peephole: bool = False,
    proj_size: int = 0,
) -> dict[str, tuple[int, ...]]:
    """The shapes of one layer and direction, by the stems of the names.

    >>> cell_shapes(3, 5, 2, bias=False)
    {'weight_ih': (6, 5), 'weight_hh': (6, 2)}
    """
    rows = num_gates * hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, input_size),
        "weight_hh": (rows, proj_size or hidden_size),
    }
    if bias:
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    if peephole:
        shapes["weight_ch"] = (3 * hidden_size,)
    if proj_size:
        shapes["weight_hr"] = (proj_size, hidden_size)
    return shapes


def initialise(
    shapes: Mapping[str, tuple[int, ...]],
    gates: str,
    gate_bias: Mapping[str, float],
    rng: np.random.Generator,
    dtype: np.dtype,
) -> dict[str, np.ndarray]:
    """Draw the parameters of `shapes`, in its order, gate block by gate block.

    * Input weights ``weight_ih``: uniform in +-sqrt(6 / (I + H)) for each gate block (H, I), which
      keeps the variance through the layer both ways (Glorot and Bengio 2010, equation 16).
    * Recurrent weights ``weight_hh``: each gate block (H, P) is a random matrix with orthonormal
      columns, orthogonal without a projection, which keeps the length of what is carried from step
      to step (Saxe, McClelland and Ganguli 2014).
    * Projections ``weight_hr`` (P, H): Glorot uniform.
    * Biases are 0 but for the gates named in `gate_bias`, whose block of ``bias_ih`` is set: the
      LSTM sets its forget gate to 1, so that it starts out remembering (Jozefowicz, Zaremba and
      Sutskever 2015). One of the two biases carries it, as the gates see their sum.
    * Peepholes ``weight_ch`` are 0: the layer starts as the LSTM without them.

    The draws are float64 and then rounded to `dtype`, so that one seed gives the same layer in both
    precisions; biases and peepholes draw nothing.
    """
    blocks = len(gates)
    params = {}
    for name, shape in shapes.items():
        value = np.zeros(shape)
        if name.startswith("weight_ih"):
            for block in np.split(value, blocks):
                block[...] = _glorot_uniform(block.shape, rng)
        elif name.startswith("weight_hh"):
            for block in np.split(value, blocks):
                block[...] = _orthonormal(block.shape, rng)
        elif name.startswith("weight_hr"):
            value[...] = _glorot_uniform(shape, rng)
        elif name.startswith("bias_ih"):
            for gate, block in zip(gates, np.split(value, blocks), strict=True):
                block[...] = gate_bias.get(gate, 0.0)
        params[name] = value.astype(dtype)
    return params


def _glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    bound = np.sqrt(6 / sum(shape))
    return rng.uniform(-bound, bound, shape)


def _orthonormal(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A matrix with orthonormal columns, or rows where it is wide, each as likely as any other.

    That is the Q of a Gaussian matrix, once the diagonal of R is made positive: LAPACK leaves its
    signs open (Mezzadri 2007, "How to generate random matrices from the classical compact groups").
    """
    rows, columns = shape
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q = q * np.copysign(1.0, np.diagonal(r))
    return q if rows >= columns else q.T
