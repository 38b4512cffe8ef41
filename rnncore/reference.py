"""RNN, GRU and LSTM in NumPy: the oracle for the compiled core, written to be read.

One layer, one direction. Every forward line carries a number, (R0) to (R1), (G0) to (G4), (L0) to
(L6); the backward step beside it walks the numbers backwards, one derivative a line, quoting the
line it undoes. docs/equations.md derives them in the same letters and numbers.

`d` + a name is the gradient of that thing, `dpre` that of the sums the activations are applied to.
Weights have PyTorch's layout: the blocks of the gates are stacked by rows, r z n and i f g o.
"""

import numpy as np

from rnncore import _validate
from rnncore._results import (
    FloatArray,
    GRUGrads,
    GRUOutputs,
    GRUTrace,
    LSTMGrads,
    LSTMOutputs,
    LSTMTrace,
    RNNGrads,
    RNNOutputs,
    RNNTrace,
    require_trace,
)

__all__ = [
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]

# Infinity and NaN travel like any number: an overflow is seen in the result, not as a warning.
_quiet = np.errstate(over="ignore", invalid="ignore")


# What the cells share: the activation, the products, the loop over time


def sigmoid(a):
    """1 / (1 + exp(-a)), in the form that raises e to negative powers only: no overflow."""
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1, e) / (1 + e)


def linear(a, w, b=None):
    """a @ w' + b: (B x K) (K x GH) + (GH) = (B x GH)."""
    return a @ w.T if b is None else a @ w.T + b


def weight_gradient(dpre, a):
    """Undo ``pre = a @ w'`` for w: the sum of dpre' a over steps and rows."""
    return np.tensordot(dpre, a, axes=((0, 1), (0, 1)))  # (GH x TB) (TB x K) = (GH x K)


def sum_over_time(d):
    """Undo the broadcast of a vector over steps and rows: what a bias has as its gradient."""
    return d.sum(axis=(0, 1))


def copy_or_zeros(a, shape, dtype):
    """A copy: without steps the gradient of h0 is that of h_n, and shares no memory with it."""
    return np.zeros(shape, dtype) if a is None else np.array(a)


def in_order(a, reverse):
    """Turn time order into the order of computation, or back."""
    return a[::-1] if reverse else a


def input_gradient(dpre, w_ih, reverse):
    """Undo ``pre = x @ w_ih'`` for x, back in time order."""
    return np.ascontiguousarray(in_order(dpre @ w_ih, reverse))


def run_forward(step, x, initial, kept_widths, reverse):
    """Run ``step(x_t, *states) -> (*states, *kept)`` through time.

    Returns the states at all T+1 instants, row 0 the initial one, and what each of the T steps
    keeps, `kept_widths` wide, both in the order of computation.
    """
    T, B, _ = x.shape
    states = [np.empty((T + 1, *first.shape), x.dtype) for first in initial]
    kept = [np.empty((T, B, width), x.dtype) for width in kept_widths]
    for rows, first in zip(states, initial, strict=True):
        rows[0] = first
    results = [rows[1:] for rows in states] + kept
    for t, x_t in enumerate(in_order(x, reverse)):
        for rows, result in zip(results, step(x_t, *(s[t] for s in states)), strict=True):
            rows[t] = result
    return *states, *kept


def run_backward(step, dy, final, dpre_width, reverse):
    """Run ``step(t, *dstates) -> (dpre_t, *dstates)`` from the last step back to the first.

    `final` has the gradients of the final states. The state h of every step is an output too: its
    gradient is what comes from the step after plus ``dy[t]``. Returns dpre of all steps, in the
    order of computation, and the gradients of the initial states.
    """
    T, B, _ = dy.shape
    dpre = np.empty((T, B, dpre_width), dy.dtype)
    dy = in_order(dy, reverse)
    dh, *others = final
    for t in reversed(range(T)):
        dpre[t], dh, *others = step(t, dh + dy[t], *others)
    return dpre, dh, *others


# RNN


def rnn_step_forward(x_t, h_prev, w_ih, w_hh, b, nonlinearity):
    pre = linear(x_t, w_ih, b) + linear(h_prev, w_hh)  # (R0)
    h = np.tanh(pre) if nonlinearity == "tanh" else np.maximum(pre, 0)  # (R1)
    return (h,)


def rnn_step_backward(dh, h, w_hh, nonlinearity):
    # relu' is 0 at 0 and 1 at NaN, as in PyTorch.
    tanh = nonlinearity == "tanh"
    dpre = dh * (1 - h**2) if tanh else np.where(h <= 0, 0, dh)  # (R1) h = tanh(pre) or max(pre, 0)
    dh_prev = dpre @ w_hh  # (R0) pre = x_t @ w_ih' + b + h_prev @ w_hh'
    return dpre, dh_prev


@_quiet
def rnn_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b: FloatArray | None = None,
    h0: FloatArray | None = None,
    *,
    nonlinearity: str = "tanh",
    reverse: bool = False,
    training: bool = True,
) -> RNNTrace | RNNOutputs:
    """Run a basic RNN over a batch of sequences, (R0)-(R1) of docs/equations.md::

        h[t+1] = tanh(x[t] @ w_ih' + b + h[t] @ w_hh')

    Parameters
    ----------
    x : (T, B, I) array, float32 or float64; all arrays have its dtype
    w_ih, w_hh, b : (H, I), (H, H), (H,) arrays; no bias is added where `b` is None
    h0 : (B, H) array, zeros by default
    nonlinearity : "tanh" or "relu"
    reverse : read `x` from its last step to its first; ``y[t]`` is the state after ``x[t]``
    training : keep what `rnn_backward` reads

    Returns
    -------
    RNNTrace with `y` (T, B, H), `h_n` (B, H) and the states `h` (T+1, B, H), read-only; or, not
    training, RNNOutputs with `y` and `h_n`.

    Raises
    ------
    ValueError if shapes disagree or an option is unknown, TypeError if dtypes disagree.

    Examples
    --------
    With an input weight of 1 and a recurrent one of 2, relu doubles what it holds and adds x:

    >>> x = np.array([1.0, 1.0, -9.0]).reshape(3, 1, 1)
    >>> one = np.ones((1, 1))
    >>> rnn_forward(x, one, 2 * one, nonlinearity="relu").h[:, 0, 0]
    array([0., 1., 3., 0.])
    """
    _validate.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    _validate.cell_inputs(1, x, w_ih, w_hh, biases={"b": b}, states={"h0": h0})
    h0 = copy_or_zeros(h0, (x.shape[1], w_hh.shape[1]), x.dtype)

    def step(x_t, h):
        return rnn_step_forward(x_t, h, w_ih, w_hh, b, nonlinearity)

    (h,) = run_forward(step, x, (h0,), (), reverse)
    trace = RNNTrace(x=np.array(x), h=h, nonlinearity=nonlinearity, reverse=reverse)
    return trace if training else RNNOutputs(trace.y.copy(), trace.h_n.copy())


@_quiet
def rnn_backward(
    trace: RNNTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
) -> RNNGrads:
    """Gradients of everything `rnn_forward` read, through time.

    Parameters
    ----------
    trace : what `rnn_forward` returned
    w_ih, w_hh : the weights it was given
    dy : (T, B, H) gradient of ``trace.y``, zeros by default
    dh : (B, H) gradient of ``trace.h_n``, zeros by default

    Returns
    -------
    RNNGrads: x, w_ih, w_hh, b, h0, each shaped as the thing. `b` is there without a bias too.

    Raises
    ------
    ValueError if shapes disagree or the forward pass was not training, TypeError if dtypes
    disagree or `trace` is another cell's.

    Examples
    --------
    One step of relu with a positive sum is linear, so every gradient is the other factor:

    >>> two, three = np.full((1, 1), 2.0), np.full((1, 1), 3.0)
    >>> trace = rnn_forward(two[None], w_ih=three, w_hh=two, h0=three, nonlinearity="relu")
    >>> grads = rnn_backward(trace, three, two, dh=np.ones((1, 1)))
    >>> grads.x.item(), grads.w_ih.item(), grads.w_hh.item(), grads.b.item(), grads.h0.item()
    (3.0, 2.0, 3.0, 1.0, 2.0)
    """
    trace = require_trace(trace, RNNTrace)
    _validate.cell_output_gradients(1, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh})
    h, dtype = trace.h, trace.h.dtype

    def step(t, dh):
        return rnn_step_backward(dh, h[t + 1], w_hh, trace.nonlinearity)

    dy = copy_or_zeros(dy, h[1:].shape, dtype)
    dh = copy_or_zeros(dh, h[0].shape, dtype)
    dpre, dh0 = run_backward(step, dy, (dh,), h.shape[-1], trace.reverse)
    return RNNGrads(
        x=input_gradient(dpre, w_ih, trace.reverse),
        w_ih=weight_gradient(dpre, in_order(trace.x, trace.reverse)),
        w_hh=weight_gradient(dpre, h[:-1]),
        b=sum_over_time(dpre),
        h0=dh0,
    )


# GRU


def split_reset_update(w):
    """The rows of gates r and z together, and those of n; of weights or of a bias."""
    return (None, None) if w is None else np.split(w, (len(w) // 3 * 2,))


def gru_step_forward(x_t, h_prev, w_ih, w_hh, b_ih, b_hh, reset):
    w_hrz, w_hn = split_reset_update(w_hh)
    b_hrz, b_hn = split_reset_update(b_hh)
    r_x, z_x, n_x = np.split(linear(x_t, w_ih, b_ih), 3, axis=-1)  # (G0)
    r_h, z_h = np.split(linear(h_prev, w_hrz, b_hrz), 2, axis=-1)  # (G0)
    r = sigmoid(r_x + r_h)  # (G1)
    z = sigmoid(z_x + z_h)  # (G2)
    if reset == "after":
        hn = linear(h_prev, w_hn, b_hn)  # (G3a)
        n = np.tanh(n_x + r * hn)  # (G3a)
        kept = (r, z, n, hn)
    else:
        n = np.tanh(n_x + linear(r * h_prev, w_hn, b_hn))  # (G3b)
        kept = (r, z, n)
    h = (1 - z) * n + z * h_prev  # (G4)
    return h, np.concatenate(kept, axis=-1)


def gru_step_backward(dh, h_prev, gates, w_hh, reset):
    """dpre has the blocks of `gates`: with reset "after", the last is the gradient of hn."""
    w_hrz, w_hn = split_reset_update(w_hh)
    if reset == "after":
        r, z, n, hn = np.split(gates, 4, axis=-1)
    else:
        r, z, n = np.split(gates, 3, axis=-1)
    dz = dh * (h_prev - n)  # (G4) h = (1 - z) * n + z * h_prev
    dn = dh * (1 - z)  # (G4)
    dh_prev = dh * z  # (G4)
    dn_pre = dn * (1 - n**2)  # (G3) n = tanh(n_pre)
    if reset == "after":
        dr = dn_pre * hn  # (G3a) n_pre = n_x + r * hn
        dhn = dn_pre * r  # (G3a)
        dh_prev = dh_prev + dhn @ w_hn  # (G3a) hn = h_prev @ w_hn' + b_hn
    else:
        drh = dn_pre @ w_hn  # (G3b) n_pre = n_x + (r * h_prev) @ w_hn' + b_hn
        dr = drh * h_prev  # (G3b)
        dh_prev = dh_prev + drh * r  # (G3b)
    dz_pre = dz * z * (1 - z)  # (G2) z = sigmoid(z_x + z_h)
    dr_pre = dr * r * (1 - r)  # (G1) r = sigmoid(r_x + r_h)
    drz_pre = np.concatenate((dr_pre, dz_pre), axis=-1)
    dh_prev = dh_prev + drz_pre @ w_hrz  # (G0) r_h, z_h = h_prev @ w_hrz' + b_hrz
    dn_blocks = (dn_pre, dhn) if reset == "after" else (dn_pre,)
    return np.concatenate((drz_pre, *dn_blocks), axis=-1), dh_prev


@_quiet
def gru_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b_ih: FloatArray | None = None,
    b_hh: FloatArray | None = None,
    h0: FloatArray | None = None,
    *,
    reset: str = "after",
    reverse: bool = False,
    training: bool = True,
) -> GRUTrace | GRUOutputs:
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
    reverse : read `x` from its last step to its first; ``y[t]`` is the state after ``x[t]``
    training : keep what `gru_backward` reads

    Returns
    -------
    GRUTrace with `y` (T, B, H), `h_n` (B, H), the states `h` (T+1, B, H) and `gates`, read-only:
    r | z | n | hn (T, B, 4H) with hn the product that r scales, r | z | n (T, B, 3H) with reset
    "before". Not training: GRUOutputs with `y` and `h_n`.

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
    _validate.choice("reset", reset, ("after", "before"))
    _validate.cell_inputs(
        3, x, w_ih, w_hh, biases={"b_ih": b_ih, "b_hh": b_hh}, states={"h0": h0}
    )  # fmt: skip
    H = w_hh.shape[1]
    h0 = copy_or_zeros(h0, (x.shape[1], H), x.dtype)

    def step(x_t, h):
        return gru_step_forward(x_t, h, w_ih, w_hh, b_ih, b_hh, reset)

    width = 4 * H if reset == "after" else 3 * H
    h, gates = run_forward(step, x, (h0,), (width,), reverse)
    trace = GRUTrace(x=np.array(x), h=h, gates=gates, reset=reset, reverse=reverse)
    return trace if training else GRUOutputs(trace.y.copy(), trace.h_n.copy())


@_quiet
def gru_backward(
    trace: GRUTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
) -> GRUGrads:
    """Gradients of everything `gru_forward` read, through time.

    Parameters
    ----------
    trace : what `gru_forward` returned
    w_ih, w_hh : the weights it was given
    dy : (T, B, H) gradient of ``trace.y``, zeros by default
    dh : (B, H) gradient of ``trace.h_n``, zeros by default

    Returns
    -------
    GRUGrads: x, w_ih, w_hh, b_ih, b_hh, h0, each shaped as the thing. The biases' are there
    without biases too.

    Raises
    ------
    ValueError if shapes disagree or the forward pass was not training, TypeError if dtypes
    disagree or `trace` is another cell's.

    Examples
    --------
    With zero weights every step halves the state, and so the gradient on its way back:

    >>> weights = np.zeros((3, 1)), np.zeros((3, 1))
    >>> trace = gru_forward(np.zeros((3, 1, 1)), *weights)
    >>> gru_backward(trace, *weights, dh=np.ones((1, 1))).h0
    array([[0.125]])
    """
    trace = require_trace(trace, GRUTrace)
    _validate.cell_output_gradients(3, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh})
    h, gates, dtype = trace.h, trace.gates, trace.h.dtype
    H = h.shape[-1]

    def step(t, dh):
        return gru_step_backward(dh, h[t], gates[t], w_hh, trace.reset)

    dy = copy_or_zeros(dy, h[1:].shape, dtype)
    dh = copy_or_zeros(dh, h[0].shape, dtype)
    dpre, dh0 = run_backward(step, dy, (dh,), gates.shape[-1], trace.reverse)

    # The recurrent product of n stands apart. Reset "after": r scales it, so its gradient is the
    # fourth block. Reset "before": its gradient is that of the sum, but it reads r * h.
    dpre_x, drz, dhn = dpre[..., : 3 * H], dpre[..., : 2 * H], dpre[..., -H:]
    n_reads = h[:-1] if trace.reset == "after" else gates[..., :H] * h[:-1]
    return GRUGrads(
        x=input_gradient(dpre_x, w_ih, trace.reverse),
        w_ih=weight_gradient(dpre_x, in_order(trace.x, trace.reverse)),
        w_hh=np.concatenate((weight_gradient(drz, h[:-1]), weight_gradient(dhn, n_reads))),
        b_ih=sum_over_time(dpre_x),
        b_hh=np.concatenate((sum_over_time(drz), sum_over_time(dhn))),
        h0=dh0,
    )


# LSTM


def lstm_step_forward(x_t, h_prev, c_prev, w_ih, w_hh, b, w_ch, peephole, coupled):
    pre = linear(x_t, w_ih, b) + linear(h_prev, w_hh)  # (L0)
    i_pre, f_pre, g_pre, o_pre = np.split(pre, 4, axis=-1)
    if peephole:
        w_ci, w_cf, w_co = np.split(w_ch, 3)
        i_pre = i_pre + w_ci * c_prev  # (L1p)
        f_pre = f_pre + w_cf * c_prev  # (L2p)
    i = sigmoid(i_pre)  # (L1)
    f = 1 - i if coupled else sigmoid(f_pre)  # (L2)
    g = np.tanh(g_pre)  # (L3)
    c = f * c_prev + i * g  # (L4)
    if peephole:
        o_pre = o_pre + w_co * (c if peephole == "current" else c_prev)  # (L5p)
    o = sigmoid(o_pre)  # (L5)
    h = o * np.tanh(c)  # (L6)
    return h, c, np.concatenate((i, f, g, o), axis=-1)


def lstm_step_backward(dh, dc, c_prev, c, gates, w_hh, w_ch, peephole, coupled):
    i, f, g, o = np.split(gates, 4, axis=-1)
    w_ci, w_cf, w_co = np.split(w_ch, 3) if peephole else (None, None, None)
    tanh_c = np.tanh(c)
    do = dh * tanh_c  # (L6) h = o * tanh(c)
    dc = dc + dh * o * (1 - tanh_c**2)  # (L6)
    do_pre = do * o * (1 - o)  # (L5) o = sigmoid(o_pre)
    if peephole == "current":
        dc = dc + do_pre * w_co  # (L5p) o_pre = .. + w_co * c
    df = dc * c_prev  # (L4) c = f * c_prev + i * g
    dc_prev = dc * f  # (L4)
    di = dc * g  # (L4)
    dg = dc * i  # (L4)
    if peephole == "previous":
        dc_prev = dc_prev + do_pre * w_co  # (L5p) o_pre = .. + w_co * c_prev
    dg_pre = dg * (1 - g**2)  # (L3) g = tanh(g_pre)
    if coupled:
        di = di - df  # (L2) f = 1 - i
        df_pre = np.zeros_like(f)  # (L2) f_pre is not read
    else:
        df_pre = df * f * (1 - f)  # (L2) f = sigmoid(f_pre)
    di_pre = di * i * (1 - i)  # (L1) i = sigmoid(i_pre)
    if peephole:
        dc_prev = dc_prev + df_pre * w_cf  # (L2p) f_pre = .. + w_cf * c_prev
        dc_prev = dc_prev + di_pre * w_ci  # (L1p) i_pre = .. + w_ci * c_prev
    dpre = np.concatenate((di_pre, df_pre, dg_pre, do_pre), axis=-1)
    dh_prev = dpre @ w_hh  # (L0) pre = x_t @ w_ih' + b + h_prev @ w_hh'
    return dpre, dh_prev, dc_prev


@_quiet
def lstm_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b: FloatArray | None = None,
    h0: FloatArray | None = None,
    c0: FloatArray | None = None,
    *,
    w_ch: FloatArray | None = None,
    peephole: str | None = None,
    coupled: bool = False,
    reverse: bool = False,
    training: bool = True,
) -> LSTMTrace | LSTMOutputs:
    """Run an LSTM over a batch of sequences, (L0)-(L6) of docs/equations.md::

        c[t+1] = f * c[t] + i * g        h[t+1] = o * tanh(c[t+1])

    Parameters
    ----------
    x : (T, B, I) array, float32 or float64; all arrays have its dtype
    w_ih, w_hh, b : (4H, I), (4H, H), (4H,) arrays, row blocks i, f, g, o; no bias is added where
        `b` is None
    h0, c0 : (B, H) arrays, zeros by default
    w_ch : (3H,) array, the peephole weights of i, f, o; given exactly when `peephole` is
    peephole : None; "previous": i, f and o see ``c[t]``; "current": i and f see ``c[t]``, o sees
        ``c[t+1]`` (Gers, Schraudolph and Schmidhuber, 2002)
    coupled : f is ``1 - i``; the rows of f in the weights are not read and their gradient is 0
    reverse : read `x` from its last step to its first; ``y[t]`` is the state after ``x[t]``
    training : keep what `lstm_backward` reads

    Returns
    -------
    LSTMTrace with `y` (T, B, H), `h_n` and `c_n` (B, H), the states `h` and `c` (T+1, B, H) and
    `gates` i | f | g | o (T, B, 4H), read-only. Not training: LSTMOutputs with `y`, `h_n`, `c_n`.

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
    _validate.choice("peephole", peephole, (None, "previous", "current"))
    _validate.flag("coupled", coupled)
    _validate.cell_inputs(
        4, x, w_ih, w_hh,
        biases={"b": b}, states={"h0": h0, "c0": c0}, w_ch=w_ch, peephole=peephole,
    )  # fmt: skip
    H = w_hh.shape[1]
    h0 = copy_or_zeros(h0, (x.shape[1], H), x.dtype)
    c0 = copy_or_zeros(c0, (x.shape[1], H), x.dtype)

    def step(x_t, h, c):
        return lstm_step_forward(x_t, h, c, w_ih, w_hh, b, w_ch, peephole, coupled)

    h, c, gates = run_forward(step, x, (h0, c0), (4 * H,), reverse)
    trace = LSTMTrace(
        x=np.array(x), h=h, c=c, gates=gates, peephole=peephole, coupled=coupled, reverse=reverse
    )
    return trace if training else LSTMOutputs(trace.y.copy(), trace.h_n.copy(), trace.c_n.copy())


@_quiet
def lstm_backward(
    trace: LSTMTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    dc: FloatArray | None = None,
    *,
    w_ch: FloatArray | None = None,
) -> LSTMGrads:
    """Gradients of everything `lstm_forward` read, through time.

    Parameters
    ----------
    trace : what `lstm_forward` returned
    w_ih, w_hh, w_ch : the weights it was given
    dy : (T, B, H) gradient of ``trace.y``, zeros by default
    dh, dc : (B, H) gradients of ``trace.h_n`` and ``trace.c_n``, zeros by default

    Returns
    -------
    LSTMGrads: x, w_ih, w_hh, b, h0, c0, w_ch, each shaped as the thing. `b` is there without a
    bias too; `w_ch` is None without peepholes.

    Raises
    ------
    ValueError if shapes disagree or the forward pass was not training, TypeError if dtypes
    disagree or `trace` is another cell's.

    Examples
    --------
    With zero weights every forget gate is 1/2, and the memory's gradient halves at every step:

    >>> weights = np.zeros((4, 1)), np.zeros((4, 1))
    >>> trace = lstm_forward(np.zeros((3, 1, 1)), *weights)
    >>> lstm_backward(trace, *weights, dc=np.ones((1, 1))).c0
    array([[0.125]])
    """
    trace = require_trace(trace, LSTMTrace)
    _validate.cell_output_gradients(
        4, trace.x, trace.h, w_ih, w_hh, dy,
        dstates={"dh": dh, "dc": dc}, w_ch=w_ch, peephole=trace.peephole,
    )  # fmt: skip
    h, c, gates, dtype = trace.h, trace.c, trace.gates, trace.h.dtype
    peephole, coupled = trace.peephole, trace.coupled

    def step(t, dh, dc):
        return lstm_step_backward(dh, dc, c[t], c[t + 1], gates[t], w_hh, w_ch, peephole, coupled)

    dy = copy_or_zeros(dy, h[1:].shape, dtype)
    dh = copy_or_zeros(dh, h[0].shape, dtype)
    dc = copy_or_zeros(dc, c[0].shape, dtype)
    dpre, dh0, dc0 = run_backward(step, dy, (dh, dc), gates.shape[-1], trace.reverse)

    dw_ch = None
    if peephole:
        di_pre, df_pre, _, do_pre = np.split(dpre, 4, axis=-1)
        o_reads = c[1:] if peephole == "current" else c[:-1]
        seen = (di_pre * c[:-1], df_pre * c[:-1], do_pre * o_reads)  # (L1p) (L2p) (L5p)
        dw_ch = sum_over_time(np.concatenate(seen, axis=-1))
    return LSTMGrads(
        x=input_gradient(dpre, w_ih, trace.reverse),
        w_ih=weight_gradient(dpre, in_order(trace.x, trace.reverse)),
        w_hh=weight_gradient(dpre, h[:-1]),
        b=sum_over_time(dpre),
        h0=dh0,
        c0=dc0,
        w_ch=dw_ch,
    )
