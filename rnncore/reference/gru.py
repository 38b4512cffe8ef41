"""The GRU in NumPy, (G0) to (G4) of docs/equations.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.arguments import inputs
from rnncore._cells.gru import GRU, GRUGrads, GRUOptions
from rnncore._cells.results import FloatArray, GatedTrace, Outputs
from rnncore._common.quiet import quiet
from rnncore.reference.loop import (
    A,
    BackwardStep,
    Functions,
    Maybe,
    arriving,
    functions_of,
    input_gradient,
    inputs_in_order,
    linear,
    masked,
    run_backward,
    run_forward,
    sum_over_time,
    weight_gradient,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


def split_reset_update(w: A) -> list[A]:
    """The rows of gates r and z together, and those of n; of weights or of a bias."""
    both = len(w) // 3 * 2
    return [w[:both], w[both:]]


def gru_step_forward(
    x_t: A, h_prev: A, w_ih: A, w_hh: A, b_ih: Maybe, b_hh: Maybe,
    reset: str, functions: Functions, h_mask: Maybe,
) -> tuple[A, A]:  # fmt: skip
    sigma, phi = functions
    w_hrz, w_hn = split_reset_update(w_hh)
    b_hrz, b_hn = (None, None) if b_hh is None else split_reset_update(b_hh)
    h_in = masked(h_prev, h_mask)  # (M)
    r_x, z_x, n_x = np.split(linear(x_t, w_ih, b_ih), 3, axis=-1)  # (G0)
    r_h, z_h = np.split(linear(h_in, w_hrz, b_hrz), 2, axis=-1)  # (G0)
    r = sigma(r_x + r_h)  # (G1)
    z = sigma(z_x + z_h)  # (G2)
    if reset == "after":
        hn = linear(h_in, w_hn, b_hn)  # (G3a)
        n = phi(n_x + r * hn)  # (G3a)
    else:
        n = phi(n_x + linear(r * h_in, w_hn, b_hn))  # (G3b)
    h = (1 - z) * n + z * h_prev  # (G4)
    kept = (r, z, n, hn) if reset == "after" else (r, z, n)
    return h, np.concatenate(kept, axis=-1)


def gru_step_backward(
    dh: A, h_prev: A, gates: A, w_hh: A, reset: str, functions: Functions, h_mask: Maybe
) -> tuple[A, A]:
    """dpre has the blocks of `gates`: with reset "after", the last is the gradient of hn."""
    sigma, phi = functions
    w_hrz, w_hn = split_reset_update(w_hh)
    h_in = masked(h_prev, h_mask)
    if reset == "after":
        r, z, n, hn = np.split(gates, 4, axis=-1)
    else:
        r, z, n = np.split(gates, 3, axis=-1)
    dz = dh * (h_prev - n)  # (G4) h = (1 - z) * n + z * h_prev
    dn = dh * (1 - z)  # (G4)
    dh_prev = dh * z  # (G4)
    dn_pre = phi.gradient(dn, n)  # (G3) n = phi(n_pre)
    if reset == "after":
        dr = dn_pre * hn  # (G3a) n_pre = n_x + r * hn
        dhn = dn_pre * r  # (G3a)
        dh_in = dhn @ w_hn  # (G3a) hn = h_in @ w_hn' + b_hn
    else:
        drh = dn_pre @ w_hn  # (G3b) n_pre = n_x + (r * h_in) @ w_hn' + b_hn
        dr = drh * h_in  # (G3b)
        dh_in = drh * r  # (G3b)
    dz_pre = sigma.gradient(dz, z)  # (G2) z = sigma(z_x + z_h)
    dr_pre = sigma.gradient(dr, r)  # (G1) r = sigma(r_x + r_h)
    drz_pre = np.concatenate((dr_pre, dz_pre), axis=-1)
    dh_in = dh_in + drz_pre @ w_hrz  # (G0) r_h, z_h = h_in @ w_hrz' + b_hrz
    dh_prev = dh_prev + masked(dh_in, h_mask)  # (M) h_in = h_prev * h_mask
    dn_blocks = (dn_pre, dhn) if reset == "after" else (dn_pre,)
    return np.concatenate((drz_pre, *dn_blocks), axis=-1), dh_prev


@overload
def gru_forward(
    x: A, w_ih: A, w_hh: A, b_ih: Maybe = None, b_hh: Maybe = None, h0: Maybe = None, *,
    training: Literal[True] = True, **options: Unpack[GRUOptions],
) -> GatedTrace: ...  # fmt: skip
@overload
def gru_forward(
    x: A, w_ih: A, w_hh: A, b_ih: Maybe = None, b_hh: Maybe = None, h0: Maybe = None, *,
    training: Literal[False], **options: Unpack[GRUOptions],
) -> Outputs: ...  # fmt: skip
@overload
def gru_forward(
    x: A, w_ih: A, w_hh: A, b_ih: Maybe = None, b_hh: Maybe = None, h0: Maybe = None, *,
    training: bool, **options: Unpack[GRUOptions],
) -> GatedTrace | Outputs: ...  # fmt: skip
@quiet
def gru_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b_ih: FloatArray | None = None,
    b_hh: FloatArray | None = None,
    h0: FloatArray | None = None,
    *,
    reset: str = "after",
    activations: Sequence[str | tuple[str | float, ...]] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> GatedTrace | Outputs:
    """Run a GRU over a batch of sequences, (G0)-(G4) of docs/equations.md::

        n = tanh(x[t] @ w_in' + b_in + r * (h[t] @ w_hn' + b_hn))     reset "after" the product
        n = tanh(x[t] @ w_in' + b_in + (r * h[t]) @ w_hn' + b_hn)     reset "before" it
        h[t+1] = (1 - z) * n + z * h[t]

    Parameters
    ----------
    x : (T, B, I) array, float32 or float64; all arrays have its dtype
    w_ih, w_hh : (3H, I), (3H, H) arrays, row blocks r, z, n
    b_ih, b_hh : (3H,) arrays, each added unless None
    h0 : (B, H) array, zeros by default
    reset : "after" as PyTorch and cuDNN, or "before" as the first paper (Cho et al., 2014)
    activations : None for sigmoid of r and z and tanh of n, or one entry for each of the two: a
        name of ONNX's list in any case, or a tuple (name, alpha) or (name, alpha, beta)
    clip : None or a positive number: the sums of r, z and n are clamped to [-clip, clip]
    lengths : (B,) integers from 0 to T, in any order, None for T everywhere; past its length a row
        of `y` is 0, `x` is not read, and its final state is that at its end, where `reverse` starts
    h_mask : (B, H) array, what `h` is multiplied with where the recurrent product reads it, the
        same at all steps (variational dropout, Gal and Ghahramani, 2016)
    keep_h : (T, B, H) array in time order, the part of `h` that a step keeps as it was, 0 to 1
        (zoneout, Krueger et al., 2017)
    reverse : read `x` from its last step to its first; ``y[t]`` is the state after ``x[t]``
    training : keep what `gru_backward` reads

    Returns
    -------
    A trace with `y` (T, B, H), `h_n` (B, H), the states `h` (T+1, B, H) and `gates`, read-only:
    r | z | n | hn (T, B, 4H) with hn the product that r scales, r | z | n (T, B, 3H) with reset
    "before". Not training: outputs with `y` and `h_n`.

    Raises
    ------
    ValueError if shapes disagree or an option is unknown, TypeError if dtypes disagree.

    Examples
    --------
    With zero weights z is 1/2 and n is 0, so the state halves:

    >>> zeros = np.zeros
    >>> trace = gru_forward(zeros((2, 1, 1)), zeros((3, 1)), zeros((3, 1)), h0=np.array([[4.0]]))
    >>> trace.h[:, 0, 0]
    array([4., 2., 1.])
    """
    cell = inputs(GRU, locals())
    functions = functions_of(GRU, cell.options)

    def step(x_t: A, h: A) -> tuple[A, A]:
        return gru_step_forward(x_t, h, w_ih, w_hh, b_ih, b_hh, reset, functions, h_mask)

    width = 4 * cell.H if reset == "after" else 3 * cell.H
    result: GatedTrace | Outputs = run_forward(cell, step, (width,))
    return result


@quiet
def gru_backward(
    trace: GatedTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    *,
    flow: NDArray[np.float64] | None = None,
) -> GRUGrads:
    """Gradients of everything `gru_forward` read, through time.

    Parameters
    ----------
    trace : what `gru_forward` returned
    w_ih, w_hh : the weights it was given
    dy : (T, B, H) gradient of ``trace.y``
    dh : (B, H) gradient of ``trace.h_n``; zeros stand for one of the two that is not given
    flow : (1, T, B) float64 array that is filled with the squared Euclidean norm of each row's
        dL/dh after every ``x[t]``, with all that arrives there; 0 past the row's end

    Returns
    -------
    GRUGrads: x, w_ih, w_hh, b_ih, b_hh, h0, each shaped as the thing. The biases' are there
    without biases too.

    Raises
    ------
    ValueError if shapes disagree, the forward pass was not training, or no gradient is given;
    TypeError if dtypes disagree or `trace` is another cell's.

    Examples
    --------
    With zero weights every step halves the state, and so the gradient on its way back:

    >>> weights = np.zeros((3, 1)), np.zeros((3, 1))
    >>> trace = gru_forward(np.zeros((3, 1, 1)), *weights)
    >>> gru_backward(trace, *weights, dh=np.ones((1, 1))).h0
    array([[0.125]])
    """
    kept, given = arriving(GRU, locals())
    h, gates, h_mask, reset, H = kept.h, kept.kept[0], kept.h_mask, kept.options["reset"], kept.H
    functions = kept.functions

    def step(t: int, dh: A) -> BackwardStep:
        dpre_t, dh_prev = gru_step_backward(dh, h[t], gates[t], w_hh, reset, functions, h_mask)
        return dpre_t, (dh,), (dh_prev,)

    dpre, dh0 = run_backward(step, kept, given, gates.shape[-1])

    # The recurrent product of n stands apart. Reset "after": r scales it, so its gradient is the
    # fourth block. Reset "before": its gradient is that of the sum, but it reads r * h_in.
    dpre_x, drz, dhn = dpre[..., : 3 * H], dpre[..., : 2 * H], dpre[..., -H:]
    rz_reads = masked(h[:-1], h_mask)
    n_reads = rz_reads if reset == "after" else gates[..., :H] * rz_reads
    return GRUGrads(
        x=input_gradient(dpre_x, w_ih, kept),
        w_ih=weight_gradient(dpre_x, inputs_in_order(kept), kept),
        w_hh=np.concatenate(
            (weight_gradient(drz, rz_reads, kept), weight_gradient(dhn, n_reads, kept))
        ),
        b_ih=sum_over_time(dpre_x, kept),
        b_hh=np.concatenate((sum_over_time(drz, kept), sum_over_time(dhn, kept))),
        h0=dh0,
    )
