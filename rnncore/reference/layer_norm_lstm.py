"""The LSTM with normalised sums in NumPy, (N0) to (N6) of docs/equations.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.arguments import inputs
from rnncore._cells.layer_norm_lstm import LAYER_NORM_LSTM, LayerNormLSTMGrads, LayerNormLSTMOptions
from rnncore._cells.results import FloatArray, MemoryOutputs, MemoryTrace
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


def norm(a: A, eps: float) -> tuple[A, A]:
    """Rows with the mean 0 and the variance 1, and what they were scaled by."""
    centred = a - a.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + eps)
    return centred * scale, scale


def norm_gradient(dn: A, n: A, scale: A) -> A:
    """Undo ``n = norm(a)`` for a: what is left of dn beside the mean and n itself, scaled."""
    mean: A = dn.mean(axis=-1, keepdims=True)
    along: A = (dn * n).mean(axis=-1, keepdims=True)
    return scale * (dn - mean - n * along)


def scaled(n: A, gain: A, bias: Maybe) -> A:
    """Undo the loss of scale and mean, unit by unit."""
    return n * gain if bias is None else n * gain + bias


def layer_norm_lstm_step_forward(
    x_t: A, h_prev: A, c_prev: A, w_ih: A, w_hh: A, g_ih: A, g_hh: A, g_c: A,
    b_ih: Maybe, b_hh: Maybe, b_c: Maybe, eps: float, functions: Functions, h_mask: Maybe,
) -> tuple[A, A, A, A, A, A]:  # fmt: skip
    sigma, phi, psi = functions
    h_in = masked(h_prev, h_mask)  # (M)
    a_x, a_h = linear(x_t, w_ih), linear(h_in, w_hh)  # (N0)
    n_x, scale_x = norm(a_x, eps)  # (N1)
    n_h, scale_h = norm(a_h, eps)  # (N1)
    pre = scaled(n_x, g_ih, b_ih) + scaled(n_h, g_hh, b_hh)  # (N2)
    i_pre, f_pre, g_pre, o_pre = np.split(pre, 4, axis=-1)
    i = sigma(i_pre)  # (N3)
    f = sigma(f_pre)  # (N3)
    g = phi(g_pre)  # (N3)
    o = sigma(o_pre)  # (N3)
    c = f * c_prev + i * g  # (N4)
    n_c, _ = norm(c, eps)  # (N5)
    h = o * psi(scaled(n_c, g_c, b_c))  # (N6)
    gates = np.concatenate((i, f, g, o), axis=-1)
    return h, c, gates, n_x, n_h, np.concatenate((scale_x, scale_h), axis=-1)


def layer_norm_lstm_step_backward(
    dh: A, dc: A, c_prev: A, c: A, gates: A, norms: tuple[A, A, A, A], w_hh: A,
    g_ih: A, g_hh: A, g_c: A, b_c: Maybe, eps: float, functions: Functions, h_mask: Maybe,
) -> tuple[A, A, A, A]:  # fmt: skip
    """dpre has four parts: of the sums of x, of the sums of h, of pre, and of what psi reads."""
    sigma, phi, psi = functions
    i, f, g, o = np.split(gates, 4, axis=-1)
    n_x, n_h, scale_x, scale_h = norms
    n_c, scale_c = norm(c, eps)
    psi_c = psi(scaled(n_c, g_c, b_c))
    do = dh * psi_c  # (N6) h = o * psi(m), m = n_c * g_c + b_c
    dm = psi.gradient(dh * o, psi_c)  # (N6)
    dc = dc + norm_gradient(dm * g_c, n_c, scale_c)  # (N5) n_c = norm(c)
    df = dc * c_prev  # (N4) c = f * c_prev + i * g
    dc_prev = dc * f  # (N4)
    di = dc * g  # (N4)
    dg = dc * i  # (N4)
    do_pre = sigma.gradient(do, o)  # (N3) o = sigma(o_pre)
    dg_pre = phi.gradient(dg, g)  # (N3) g = phi(g_pre)
    df_pre = sigma.gradient(df, f)  # (N3) f = sigma(f_pre)
    di_pre = sigma.gradient(di, i)  # (N3) i = sigma(i_pre)
    dpre = np.concatenate((di_pre, df_pre, dg_pre, do_pre), axis=-1)
    da_x = norm_gradient(dpre * g_ih, n_x, scale_x)  # (N2), (N1) n_x = norm(a_x)
    da_h = norm_gradient(dpre * g_hh, n_h, scale_h)  # (N2), (N1) n_h = norm(a_h)
    dh_in = da_h @ w_hh  # (N0) a_h = h_in @ w_hh'
    dh_prev = masked(dh_in, h_mask)  # (M) h_in = h_prev * h_mask
    return np.concatenate((da_x, da_h, dpre, dm), axis=-1), dc, dh_prev, dc_prev


@overload
def layer_norm_lstm_forward(
    x: A, w_ih: A, w_hh: A, g_ih: A, g_hh: A, g_c: A, b_ih: Maybe = None, b_hh: Maybe = None,
    b_c: Maybe = None, h0: Maybe = None, c0: Maybe = None, *,
    training: Literal[True] = True, **options: Unpack[LayerNormLSTMOptions],
) -> MemoryTrace: ...  # fmt: skip
@overload
def layer_norm_lstm_forward(
    x: A, w_ih: A, w_hh: A, g_ih: A, g_hh: A, g_c: A, b_ih: Maybe = None, b_hh: Maybe = None,
    b_c: Maybe = None, h0: Maybe = None, c0: Maybe = None, *,
    training: Literal[False], **options: Unpack[LayerNormLSTMOptions],
) -> MemoryOutputs: ...  # fmt: skip
@overload
def layer_norm_lstm_forward(
    x: A, w_ih: A, w_hh: A, g_ih: A, g_hh: A, g_c: A, b_ih: Maybe = None, b_hh: Maybe = None,
    b_c: Maybe = None, h0: Maybe = None, c0: Maybe = None, *,
    training: bool, **options: Unpack[LayerNormLSTMOptions],
) -> MemoryTrace | MemoryOutputs: ...  # fmt: skip
@quiet
def layer_norm_lstm_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    g_ih: FloatArray,
    g_hh: FloatArray,
    g_c: FloatArray,
    b_ih: FloatArray | None = None,
    b_hh: FloatArray | None = None,
    b_c: FloatArray | None = None,
    h0: FloatArray | None = None,
    c0: FloatArray | None = None,
    *,
    eps: float = 1e-5,
    activations: Sequence[str | tuple[str | float, ...]] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    keep_c: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> MemoryTrace | MemoryOutputs:
    """Run an LSTM with layer normalisation, (N0)-(N6) of docs/equations.md::

        i, f, g, o from norm(x[t] @ w_ih') * g_ih + b_ih + norm(h[t] @ w_hh') * g_hh + b_hh
        c[t+1] = f * c[t] + i * g        h[t+1] = o * tanh(norm(c[t+1]) * g_c + b_c)

    with ``norm(a) = (a - mean(a)) / sqrt(var(a) + eps)`` over all numbers of a row (Ba, Kiros and
    Hinton, 2016, "Layer normalization").

    Parameters
    ----------
    x : (T, B, I) array, float32 or float64; all arrays have its dtype
    w_ih, w_hh : (4H, I), (4H, H) arrays, row blocks i, f, g, o
    g_ih, g_hh, g_c : (4H,), (4H,), (H,) arrays, the gains
    b_ih, b_hh, b_c : (4H,), (4H,), (H,) arrays, the biases; none is added where it is None
    h0, c0 : (B, H) arrays, zeros by default
    eps : a positive number, which is added to a variance
    activations : None for sigmoid of i, f and o, tanh of g and tanh of c, or one entry for each of
        the three: a name of ONNX's list in any case, or a tuple (name, alpha) or (name, alpha,
        beta)
    clip : None or a positive number: what i, f, g and o are functions of is clamped to
        [-clip, clip]
    lengths : (B,) integers from 0 to T, in any order, None for T everywhere; past its length a row
        of `y` is 0, `x` is not read, and its final state is that at its end, where `reverse` starts
    h_mask : (B, H) array, what `h` is multiplied with where the recurrent product reads it, the
        same at all steps (variational dropout, Gal and Ghahramani, 2016)
    keep_h, keep_c : (T, B, H) arrays in time order, the part of `h` and of `c` that a step keeps as
        it was, 0 to 1 (zoneout, Krueger et al., 2017); h is made from the c before it
    reverse : read `x` from its last step to its first; ``y[t]`` is the state after ``x[t]``
    training : keep what `layer_norm_lstm_backward` reads

    Returns
    -------
    A trace with `y` (T, B, H), `h_n` and `c_n` (B, H), the states `h` and `c` (T+1, B, H) and
    `gates` i | f | g | o (T, B, 4H), read-only. Not training: outputs with `y`, `h_n`, `c_n`.

    Raises
    ------
    ValueError if shapes disagree or an option is unknown, TypeError if dtypes disagree.

    Examples
    --------
    Weights of zero have sums of zero, and so have their norms: every gate is 1/2, g is 0.

    >>> zeros, ones = np.zeros, np.ones
    >>> gains = ones(4), ones(4), ones(1)
    >>> trace = layer_norm_lstm_forward(zeros((1, 1, 1)), zeros((4, 1)), zeros((4, 1)), *gains,
    ...                                 c0=np.array([[2.0]]))
    >>> trace.c[:, 0, 0]
    array([2., 1.])
    """
    cell = inputs(LAYER_NORM_LSTM, locals())
    functions = functions_of(LAYER_NORM_LSTM, cell.options)

    def step(x_t: A, h: A, c: A) -> tuple[A, ...]:
        return layer_norm_lstm_step_forward(
            x_t, h, c, w_ih, w_hh, g_ih, g_hh, g_c, b_ih, b_hh, b_c, eps, functions, h_mask
        )

    widths = 4 * cell.H, 4 * cell.H, 4 * cell.H, 2
    result: MemoryTrace | MemoryOutputs = run_forward(cell, step, widths)
    return result


@quiet
def layer_norm_lstm_backward(
    trace: MemoryTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    g_ih: FloatArray,
    g_hh: FloatArray,
    g_c: FloatArray,
    b_c: FloatArray | None = None,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    dc: FloatArray | None = None,
    *,
    flow: NDArray[np.float64] | None = None,
) -> LayerNormLSTMGrads:
    """Gradients of everything `layer_norm_lstm_forward` read, through time.

    Parameters
    ----------
    trace : what `layer_norm_lstm_forward` returned
    w_ih, w_hh, g_ih, g_hh, g_c, b_c : the weights it was given
    dy : (T, B, H) gradient of ``trace.y``
    dh, dc : (B, H) gradients of ``trace.h_n`` and ``trace.c_n``; zeros stand for those that are not
        given, but for one
    flow : (2, T, B) float64 array that is filled with the squared Euclidean norms of each row's
        dL/dh and dL/dc after every ``x[t]``, with all that arrives there; 0 past the row's end.
        With `keep_c` no h is made from the state c, and dL/dc is what comes from the next step

    Returns
    -------
    LayerNormLSTMGrads: x, w_ih, w_hh, g_ih, g_hh, g_c, b_ih, b_hh, b_c, h0, c0, each shaped as the
    thing. The biases' are there without biases too.

    Raises
    ------
    ValueError if shapes disagree, the forward pass was not training, or no gradient is given;
    TypeError if dtypes disagree or `trace` is another cell's.

    Examples
    --------
    With weights of zero every forget gate is 1/2, and the memory's gradient halves at every step:

    >>> weights = np.zeros((4, 1)), np.zeros((4, 1)), np.ones(4), np.ones(4), np.ones(1)
    >>> trace = layer_norm_lstm_forward(np.zeros((3, 1, 1)), *weights)
    >>> layer_norm_lstm_backward(trace, *weights, dc=np.ones((1, 1))).c0
    array([[0.125]])
    """
    kept, given = arriving(LAYER_NORM_LSTM, locals())
    h, c, H, h_mask = kept.h, kept.c, kept.H, kept.h_mask
    eps, functions = kept.options["eps"], kept.functions
    gates, n_x, n_h, scales = kept.kept
    i, f, g, _ = np.split(gates, 4, axis=-1)
    made = c[1:] if kept.keeps[1] is None else f * c[:-1] + i * g  # (N4), before (Z)

    def step(t: int, dh: A, dc: A) -> BackwardStep:
        norms = n_x[t], n_h[t], scales[t, :, :1], scales[t, :, 1:]
        dpre_t, dc, dh_prev, dc_prev = layer_norm_lstm_step_backward(
            dh, dc, c[t], made[t], gates[t], norms, w_hh, g_ih, g_hh, g_c, b_c, eps, functions,
            h_mask,
        )  # fmt: skip
        return dpre_t, (dh, dc), (dh_prev, dc_prev)

    all_dpre, dh0, dc0 = run_backward(step, kept, given, 13 * H)
    da_x, da_h, dpre, dm = np.split(all_dpre, (4 * H, 8 * H, 12 * H), axis=-1)
    n_c, _ = norm(made, eps)
    return LayerNormLSTMGrads(
        x=input_gradient(da_x, w_ih, kept),
        w_ih=weight_gradient(da_x, inputs_in_order(kept), kept),
        w_hh=weight_gradient(da_h, masked(h[:-1], h_mask), kept),
        g_ih=sum_over_time(dpre * n_x, kept),
        g_hh=sum_over_time(dpre * n_h, kept),
        g_c=sum_over_time(dm * n_c, kept),
        b_ih=sum_over_time(dpre, kept),
        b_hh=sum_over_time(dpre, kept),
        b_c=sum_over_time(dm, kept),
        h0=dh0,
        c0=dc0,
    )
