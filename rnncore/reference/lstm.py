"""The LSTM in NumPy, (L0) to (L6) of docs/equations.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.arguments import inputs
from rnncore._cells.lstm import LSTM, LSTMGrads, LSTMOptions
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


def lstm_step_forward(
    x_t: A, h_prev: A, c_prev: A, w_ih: A, w_hh: A, b: Maybe, w_ch: Maybe, w_hr: Maybe,
    peephole: str | None, coupled: bool, functions: Functions, h_mask: Maybe,
) -> tuple[A, A, A]:  # fmt: skip
    sigma, phi, psi = functions
    h_in = masked(h_prev, h_mask)  # (M)
    pre = linear(x_t, w_ih, b) + linear(h_in, w_hh)  # (L0)
    i_pre, f_pre, g_pre, o_pre = np.split(pre, 4, axis=-1)
    if w_ch is not None:
        w_ci, w_cf, w_co = np.split(w_ch, 3)
        i_pre = i_pre + w_ci * c_prev  # (L1p)
        f_pre = f_pre + w_cf * c_prev  # (L2p)
    i = sigma(i_pre)  # (L1)
    f = 1 - i if coupled else sigma(f_pre)  # (L2)
    g = phi(g_pre)  # (L3)
    c = f * c_prev + i * g  # (L4)
    if w_ch is not None:
        o_pre = o_pre + w_co * (c if peephole == "current" else c_prev)  # (L5p)
    o = sigma(o_pre)  # (L5)
    m = o * psi(c)  # (L6)
    h = m if w_hr is None else linear(m, w_hr)  # (L6p)
    return h, c, np.concatenate((i, f, g, o), axis=-1)


def lstm_step_backward(
    dh: A, dc: A, c_prev: A, c: A, gates: A, w_hh: A, w_ch: Maybe, w_hr: Maybe,
    peephole: str | None, coupled: bool, functions: Functions, h_mask: Maybe,
) -> tuple[A, A, A, A]:  # fmt: skip
    """With a projection, dpre has as its last block the gradient of what it gave."""
    sigma, phi, psi = functions
    i, f, g, o = np.split(gates, 4, axis=-1)
    if w_ch is not None:
        w_ci, w_cf, w_co = np.split(w_ch, 3)
    psi_c = psi(c)
    dm = dh if w_hr is None else dh @ w_hr  # (L6p) h = m @ w_hr', m what (L6) made
    do = dm * psi_c  # (L6) m = o * psi(c)
    dc = dc + psi.gradient(dm * o, psi_c)  # (L6)
    do_pre = sigma.gradient(do, o)  # (L5) o = sigma(o_pre)
    if peephole == "current":
        dc = dc + do_pre * w_co  # (L5p) o_pre = .. + w_co * c
    df = dc * c_prev  # (L4) c = f * c_prev + i * g
    dc_prev = dc * f  # (L4)
    di = dc * g  # (L4)
    dg = dc * i  # (L4)
    if peephole == "previous":
        dc_prev = dc_prev + do_pre * w_co  # (L5p) o_pre = .. + w_co * c_prev
    dg_pre = phi.gradient(dg, g)  # (L3) g = phi(g_pre)
    if coupled:
        di = di - df  # (L2) f = 1 - i
        df_pre = np.zeros_like(f)  # (L2) f_pre is not read
    else:
        df_pre = sigma.gradient(df, f)  # (L2) f = sigma(f_pre)
    di_pre = sigma.gradient(di, i)  # (L1) i = sigma(i_pre)
    if w_ch is not None:
        dc_prev = dc_prev + df_pre * w_cf  # (L2p) f_pre = .. + w_cf * c_prev
        dc_prev = dc_prev + di_pre * w_ci  # (L1p) i_pre = .. + w_ci * c_prev
    dpre = np.concatenate((di_pre, df_pre, dg_pre, do_pre), axis=-1)
    dh_in = dpre @ w_hh  # (L0) pre = x_t @ w_ih' + b + h_in @ w_hh'
    dh_prev = masked(dh_in, h_mask)  # (M) h_in = h_prev * h_mask
    if w_hr is not None:
        dpre = np.concatenate((dpre, dh), axis=-1)
    return dpre, dc, dh_prev, dc_prev


@overload
def lstm_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, c0: Maybe = None, *,
    training: Literal[True] = True, **options: Unpack[LSTMOptions],
) -> MemoryTrace: ...  # fmt: skip
@overload
def lstm_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, c0: Maybe = None, *,
    training: Literal[False], **options: Unpack[LSTMOptions],
) -> MemoryOutputs: ...  # fmt: skip
@overload
def lstm_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, c0: Maybe = None, *,
    training: bool, **options: Unpack[LSTMOptions],
) -> MemoryTrace | MemoryOutputs: ...  # fmt: skip
@quiet
def lstm_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b: FloatArray | None = None,
    h0: FloatArray | None = None,
    c0: FloatArray | None = None,
    *,
    w_ch: FloatArray | None = None,
    w_hr: FloatArray | None = None,
    peephole: str | None = None,
    coupled: bool = False,
    activations: Sequence[str | tuple[str | float, ...]] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    keep_c: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> MemoryTrace | MemoryOutputs:
    """Run an LSTM over a batch of sequences, (L0)-(L6) of docs/equations.md::

        c[t+1] = f * c[t] + i * g        h[t+1] = o * tanh(c[t+1])

    Parameters
    ----------
    x : (T, B, I) array, float32 or float64; all arrays have its dtype
    w_ih, w_hh, b : (4H, I), (4H, P), (4H,) arrays, row blocks i, f, g, o; no bias is added where
        `b` is None
    h0, c0 : (B, P), (B, H) arrays, zeros by default; P is H without a projection
    w_ch : (3H,) array, the peephole weights of i, f, o; given exactly when `peephole` is
    w_hr : (P, H) array, a projection that makes the state h narrower (Sak, Senior and Beaufays,
        2014): ``h[t+1] = (o * tanh(c[t+1])) @ w_hr'``
    peephole : None; "previous": i, f and o see ``c[t]``; "current": i and f see ``c[t]``, o sees
        ``c[t+1]`` (Gers, Schraudolph and Schmidhuber, 2002)
    coupled : f is ``1 - i``; the rows of f in the weights are not read and their gradient is 0
    activations : None for sigmoid of i, f and o, tanh of g and tanh of c, or one entry for each of
        the three: a name of ONNX's list in any case, or a tuple (name, alpha) or (name, alpha,
        beta)
    clip : None or a positive number: the sums of i, f, g and o are clamped to [-clip, clip]
    lengths : (B,) integers from 0 to T, in any order, None for T everywhere; past its length a row
        of `y` is 0, `x` is not read, and its final state is that at its end, where `reverse` starts
    h_mask : (B, P) array, what `h` is multiplied with where the recurrent product reads it, the
        same at all steps (variational dropout, Gal and Ghahramani, 2016)
    keep_h, keep_c : (T, B, P), (T, B, H) arrays in time order, the part of `h` and of `c` that a
        step keeps as it was, 0 to 1 (zoneout, Krueger et al., 2017); h is made from the c before it
    reverse : read `x` from its last step to its first; ``y[t]`` is the state after ``x[t]``
    training : keep what `lstm_backward` reads

    Returns
    -------
    A trace with `y` (T, B, P), `h_n` (B, P) and `c_n` (B, H), the states `h` (T+1, B, P) and `c`
    (T+1, B, H) and `gates` i | f | g | o (T, B, 4H), read-only. Not training: outputs with `y`,
    `h_n`, `c_n`.

    Raises
    ------
    ValueError if shapes disagree or an option is unknown, TypeError if dtypes disagree.

    Examples
    --------
    With zero weights every gate is 1/2 and g is 0, so the cell halves:

    >>> zeros = np.zeros
    >>> trace = lstm_forward(zeros((1, 1, 1)), zeros((4, 1)), zeros((4, 1)), zeros(4),
    ...                      c0=np.array([[2.0]]))
    >>> trace.c[:, 0, 0]
    array([2., 1.])
    """
    cell = inputs(LSTM, locals())
    functions = functions_of(LSTM, cell.options)

    def step(x_t: A, h: A, c: A) -> tuple[A, ...]:
        return lstm_step_forward(
            x_t, h, c, w_ih, w_hh, b, w_ch, w_hr, peephole, coupled, functions, h_mask
        )

    result: MemoryTrace | MemoryOutputs = run_forward(cell, step, (4 * cell.H,))
    return result


@quiet
def lstm_backward(
    trace: MemoryTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    dc: FloatArray | None = None,
    *,
    w_ch: FloatArray | None = None,
    w_hr: FloatArray | None = None,
    flow: NDArray[np.float64] | None = None,
) -> LSTMGrads:
    """Gradients of everything `lstm_forward` read, through time.

    Parameters
    ----------
    trace : what `lstm_forward` returned
    w_ih, w_hh, w_ch, w_hr : the weights it was given
    dy : (T, B, P) gradient of ``trace.y``
    dh, dc : (B, P), (B, H) gradients of ``trace.h_n`` and ``trace.c_n``; zeros stand for those that
        are not given, but for one
    flow : (2, T, B) float64 array that is filled with the squared Euclidean norms of each row's
        dL/dh and dL/dc after every ``x[t]``, with all that arrives there; 0 past the row's end.
        With `keep_c` no h is made from the state c, and dL/dc is what comes from the next step

    Returns
    -------
    LSTMGrads: x, w_ih, w_hh, b, h0, c0, w_ch, w_hr, each shaped as the thing. `b` is there without
    a bias too; `w_ch` is None without peepholes and `w_hr` without a projection.

    Raises
    ------
    ValueError if shapes disagree, the forward pass was not training, or no gradient is given;
    TypeError if dtypes disagree or `trace` is another cell's.

    Examples
    --------
    With zero weights every forget gate is 1/2, and the memory's gradient halves at every step:

    >>> weights = np.zeros((4, 1)), np.zeros((4, 1))
    >>> trace = lstm_forward(np.zeros((3, 1, 1)), *weights)
    >>> lstm_backward(trace, *weights, dc=np.ones((1, 1))).c0
    array([[0.125]])
    """
    kept, given = arriving(LSTM, locals())
    h, c, gates, h_mask = kept.h, kept.c, kept.kept[0], kept.h_mask
    peephole, coupled, functions = kept.options["peephole"], kept.options["coupled"], kept.functions
    i, f, g, o = np.split(gates, 4, axis=-1)
    made = c[1:] if kept.keeps[1] is None else f * c[:-1] + i * g  # (L4), before (Z)

    def step(t: int, dh: A, dc: A) -> BackwardStep:
        dpre_t, dc, dh_prev, dc_prev = lstm_step_backward(
            dh, dc, c[t], made[t], gates[t], w_hh, w_ch, w_hr, peephole, coupled, functions, h_mask
        )
        return dpre_t, (dh, dc), (dh_prev, dc_prev)

    sums = gates.shape[-1]
    width = sums if w_hr is None else sums + kept.P
    dpre, dh0, dc0 = run_backward(step, kept, given, width)

    dpre, dprojected = dpre[..., :sums], dpre[..., sums:]
    dw_ch = dw_hr = None
    if peephole:
        di_pre, df_pre, _, do_pre = np.split(dpre, 4, axis=-1)
        o_reads = made if peephole == "current" else c[:-1]
        seen = (di_pre * c[:-1], df_pre * c[:-1], do_pre * o_reads)  # (L1p) (L2p) (L5p)
        dw_ch = sum_over_time(np.concatenate(seen, axis=-1), kept)
    if w_hr is not None:
        _, _, psi = functions
        dw_hr = weight_gradient(dprojected, o * psi(made), kept)  # (L6p)
    return LSTMGrads(
        x=input_gradient(dpre, w_ih, kept),
        w_ih=weight_gradient(dpre, inputs_in_order(kept), kept),
        w_hh=weight_gradient(dpre, masked(h[:-1], h_mask), kept),
        b=sum_over_time(dpre, kept),
        h0=dh0,
        c0=dc0,
        w_ch=dw_ch,
        w_hr=dw_hr,
    )
