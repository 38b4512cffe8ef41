"""The layers as functions of their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnncore.jax.arguments import problem_of
from rnncore.jax.calls import run

Activations = Sequence[str | tuple[Any, ...]] | None


def rnn(
    params: Mapping[str, Any],
    x: Any,
    state: Any = None,
    lengths: Any = None,
    *,
    nonlinearity: str = "tanh",
    batch_first: bool = False,
    activations: Activations = None,
    clip: float | None = None,
) -> tuple[Any, Any]:
    """`rnncore.RNN` as a function that JAX transforms: (R0) to (R1) of docs/equations.md.

    Parameters
    ----------
    params : dict of str to array, all float32 or all float64
        Those of a layer, by its names and in its shapes: ``weight_ih_l0`` (G*H, I),
        ``weight_hh_l0`` (G*H, P), ``bias_ih_l0`` and ``bias_hh_l0`` (G*H,), or no bias at all; the
        suffix ``_l1`` for the next layer, ``_reverse`` for a second direction. They tell I, H, L, D
        and P.
    x : (T, B, I), with `batch_first` (B, T, I), or (T, I) array of their dtype
    state : the initial state (L*D, B, H), or without a batch (L*D, H); zeros by default
    lengths : (B,) integers from 0 to T, optional
        Past its length a row has the output 0 and no gradient; its final state is the one there.
    nonlinearity, batch_first, activations, clip
        As of the layer.

    Returns
    -------
    y, state: (T, B, D*H), laid out as `x`, and the final state.

    Raises
    ------
    TypeError or ValueError for what is wrong with shapes, dtypes and options, before anything is
    computed; lengths beyond T whose numbers are not known when the function is traced make the call
    itself fail, with JAX's error. NotImplementedError for a second derivative.

    Examples
    --------
    With relu and weights of 1, the layer adds up what it reads, and a weight that is one larger
    would give each step's state once more:

    >>> import jax.numpy as jnp
    >>> params = {"weight_ih_l0": jnp.ones((1, 1)), "weight_hh_l0": jnp.ones((1, 1))}
    >>> y, h = rnn(params, jnp.array([[1.0], [2.0], [3.0]]), nonlinearity="relu")
    >>> y[:, 0].tolist(), h.tolist()
    ([1.0, 3.0, 6.0], [[6.0]])
    """
    own = {"nonlinearity": nonlinearity, "batch_first": batch_first}
    return _outputs("rnn", params, x, state, lengths, own, activations, clip)


def gru(
    params: Mapping[str, Any],
    x: Any,
    state: Any = None,
    lengths: Any = None,
    *,
    reset: str = "after",
    batch_first: bool = False,
    activations: Activations = None,
    clip: float | None = None,
) -> tuple[Any, Any]:
    """`rnncore.GRU` as a function that JAX transforms: (G0) to (G4) of docs/equations.md.

    Parameters, results and errors are those of `rnn`, with the gates r, z, n in the rows of the
    weights, and `reset` as of the layer.

    Examples
    --------
    With parameters of zero n is 0 and z is 1/2, so that the state halves:

    >>> import jax.numpy as jnp
    >>> params = {"weight_ih_l0": jnp.zeros((3, 1)), "weight_hh_l0": jnp.zeros((3, 1))}
    >>> y, h = gru(params, jnp.ones((2, 1)), jnp.ones((1, 1)))
    >>> y[:, 0].tolist()
    [0.5, 0.25]
    """
    own = {"reset": reset, "batch_first": batch_first}
    return _outputs("gru", params, x, state, lengths, own, activations, clip)


def lstm(
    params: Mapping[str, Any],
    x: Any,
    state: Any = None,
    lengths: Any = None,
    *,
    peephole: str | None = None,
    coupled: bool = False,
    batch_first: bool = False,
    activations: Activations = None,
    clip: float | None = None,
) -> tuple[Any, tuple[Any, Any]]:
    """`rnncore.LSTM` as a function that JAX transforms: (L0) to (L6) of docs/equations.md.

    Parameters, results and errors are those of `rnn`, with the gates i, f, g, o in the rows of the
    weights, and `peephole` and `coupled` as of the layer. The parameters may have
    ``weight_ch_l0`` (3*H,) with `peephole`, and ``weight_hr_l0`` (P, H), a projection. A state is
    the pair (h, c) of (L*D, B, P) and (L*D, B, H).

    Examples
    --------
    With parameters of zero every gate is 1/2 and g is 0, so that the memory halves:

    >>> import jax.numpy as jnp
    >>> params = {"weight_ih_l0": jnp.zeros((4, 1)), "weight_hh_l0": jnp.zeros((4, 1))}
    >>> y, (h, c) = lstm(params, jnp.ones((2, 1)), (jnp.zeros((1, 1)), jnp.ones((1, 1))))
    >>> c.tolist()
    [[0.25]]
    """
    own = {"peephole": peephole, "coupled": coupled, "batch_first": batch_first}
    return _outputs("lstm", params, x, state, lengths, own, activations, clip)


def _outputs(
    prefix: str,
    params: Mapping[str, Any],
    x: Any,
    state: Any,
    lengths: Any,
    own: Mapping[str, Any],
    activations: Activations,
    clip: float | None,
) -> tuple[Any, Any]:
    """y and the final state, in the shapes of users."""
    options = {**own, "activations": activations, "clip": clip}
    problem = problem_of(prefix, params, x, state, lengths, options)
    y, ends = run(*problem)
    if len(x.shape) == 2:
        y = y.reshape(x.shape[0], -1)
        ends = tuple(end[:, 0] for end in ends)
    return y, ends[0] if len(ends) == 1 else ends
