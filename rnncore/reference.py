"""RNN, GRU and LSTM in NumPy: the oracle for the compiled core, written to be read.

One layer, one direction. Every forward line carries a number, (R0) to (R1), (G0) to (G4), (L0) to
(L6), and what all cells share a letter alone, (M) and (Z); the backward step beside it walks the
numbers backwards, one derivative a line, quoting the line it undoes. docs/equations.md derives them
in the same letters and numbers.

`d` + a name is the gradient of that thing, `dpre` that of the sums the activations are applied to.
Weights have PyTorch's layout: the blocks of the gates are stacked by rows, r z n and i f g o.
`sigma`, `phi` and `psi` are the activations of gates, candidate and memory: the logistic function,
tanh and tanh unless the option `activations` names others; rnncore/_cells/activations.py has
formulas and derivatives.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnncore import _check
from rnncore._cells.activations import Clamped, resolve
from rnncore._cells.results import (
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
    in_order,
    require_trace,
    steps_taken,
)
from rnncore._common.quiet import quiet

__all__ = [
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]


# What the cells share: the activations, the products, the loop over time


def functions_of(activations, defaults, clip):
    """The activations of a cell; those of gates and candidate, not psi, read clamped sums."""
    found = activations or resolve(None, defaults)
    return found if clip is None else (*(Clamped(f, clip) for f in found[:2]), *found[2:])


def linear(a, w, b=None):
    """a @ w' + b: (B x K) (K x GH) + (GH) = (B x GH)."""
    return a @ w.T if b is None else a @ w.T + b


def masked(h_prev, h_mask):
    """(M) what the recurrent product reads. It is its own backward: dh_prev = dh_in * h_mask."""
    return h_prev if h_mask is None else h_prev * h_mask


def kept_in_part(previous, made, keep):
    """(Z) zoneout: the part `keep` of a state stays as it was."""
    return made if keep is None else keep * previous + (1 - keep) * made


def rows_of(a, taken):
    """(T, B, K) -> (N, K): the rows of all steps that were taken, one under the other."""
    return a.reshape(-1, a.shape[-1]) if taken is None else a[taken]


def weight_gradient(dpre, a, taken):
    """Undo ``pre = a @ w'`` for w: the sum of dpre' a over steps and rows."""
    return rows_of(dpre, taken).T @ rows_of(a, taken)  # (GH x N) (N x K) = (GH x K)


def sum_over_time(d, taken):
    """Undo the broadcast of a vector over steps and rows: what a bias has as its gradient."""
    return rows_of(d, taken).sum(axis=0)


def copy_or_zeros(a, shape, dtype):
    """A copy: without steps the gradient of h0 is that of h_n, and shares no memory with it."""
    return np.zeros(shape, dtype) if a is None else np.array(a)


def optional_copy(a):
    return None if a is None else np.array(a)


def input_gradient(dpre, w_ih, trace):
    """Undo ``pre = x @ w_ih'`` for x, back in time order."""
    return np.ascontiguousarray(in_order(dpre @ w_ih, trace.reverse, trace.lengths))


def steps_of(trace):
    """The steps that the rows of a trace took, (T, B); None where all took all."""
    return None if trace.lengths is None else steps_taken(len(trace.x), trace.lengths)


def keeps_in_order(keeps, T, reverse, lengths):
    """What every step in the order of computation keeps of each state, or None."""
    turned = [[None] * T if k is None else in_order(k, reverse, lengths) for k in keeps]
    return list(zip(*turned, strict=True))


def run_forward(step, x, initial, keeps, kept_widths, reverse, lengths):
    """Run ``step(x_t, *states) -> (*states, *kept)`` through time.

    `keeps` has the zoneout of each state, or None. Returns the states at all T+1 instants, row 0
    the initial one, and what each of the T steps keeps, `kept_widths` wide, both in the order of
    computation.
    """
    T, B, _ = x.shape
    states = [np.empty((T + 1, *first.shape), x.dtype) for first in initial]
    kept = [np.empty((T, B, width), x.dtype) for width in kept_widths]
    for rows, first in zip(states, initial, strict=True):
        rows[0] = first
    keeps = keeps_in_order(keeps, T, reverse, lengths)
    results = [rows[1:] for rows in states] + kept
    for t, x_t in enumerate(in_order(x, reverse, lengths)):
        previous = [rows[t] for rows in states]
        made = list(step(x_t, *previous))
        made[: len(states)] = map(kept_in_part, previous, made, keeps[t])  # (Z)
        if lengths is not None:  # a row past its end holds its states and keeps zeros
            running = (t < lengths)[:, np.newaxis]
            past = [*previous, *(0 for _ in kept)]
            made = [np.where(running, new, old) for new, old in zip(made, past, strict=True)]
        for rows, result in zip(results, made, strict=True):
            rows[t] = result
    return *states, *kept


def run_backward(step, dy, final, keeps, dpre_width, trace, flow):
    """Run ``step(t, *dstates) -> (dpre_t, dstates, dstates_prev)`` from the last step to the first.

    `final` has the gradients of the final states. The state h of every step is an output too: its
    gradient is what comes from the step after plus ``dy[t]``. A step returns, besides dpre and what
    goes on to the step before, the gradients of the states it made with all that it added to them.
    Returns dpre of all steps, in the order of computation, and the gradients of the initial states.
    What dpre holds past the end of a row is not to be read: `rows_of` and `in_order` leave it out.
    """
    T, B, _ = dy.shape
    reverse, lengths = trace.reverse, trace.lengths
    dpre = np.empty((T, B, dpre_width), dy.dtype)
    squares = np.zeros((T, B, len(final)))
    dy = in_order(dy, reverse, lengths)
    keeps = keeps_in_order(keeps, T, reverse, lengths)
    dstates = list(final)
    for t in reversed(range(T)):
        arrived = [dstates[0] + dy[t], *dstates[1:]]
        # (Z) state = keep * previous + (1 - keep) * made
        dmade = [d if k is None else (1 - k) * d for d, k in zip(arrived, keeps[t], strict=True)]
        dpre[t], totals, dprevious = step(t, *dmade)
        if flow is not None:
            for k, keep in enumerate(keeps[t]):
                d = totals[k] if keep is None else arrived[k]
                squares[t, :, k] = np.square(d, dtype=np.float64).sum(axis=-1)
        dprevious = [
            d if keep is None else d + keep * whole  # (Z)
            for d, whole, keep in zip(dprevious, arrived, keeps[t], strict=True)
        ]
        if lengths is not None:  # past the end of a row no step was taken
            running = (t < lengths)[:, np.newaxis]
            dprevious = [
                np.where(running, new, old) for new, old in zip(dprevious, dstates, strict=True)
            ]
        dstates = dprevious
    if flow is not None:
        flow[...] = np.moveaxis(in_order(squares, reverse, lengths), -1, 0)
    return dpre, *dstates


# RNN


def rnn_step_forward(x_t, h_prev, w_ih, w_hh, b, phi, h_mask):
    h_in = masked(h_prev, h_mask)  # (M)
    pre = linear(x_t, w_ih, b) + linear(h_in, w_hh)  # (R0)
    return phi(pre)  # (R1)


def rnn_step_backward(dh, h, w_hh, phi, h_mask):
    dpre = phi.gradient(dh, h)  # (R1) h = phi(pre)
    dh_in = dpre @ w_hh  # (R0) pre = x_t @ w_ih' + b + h_in @ w_hh'
    dh_prev = masked(dh_in, h_mask)  # (M) h_in = h_prev * h_mask
    return dpre, dh_prev


@quiet
def rnn_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b: FloatArray | None = None,
    h0: FloatArray | None = None,
    *,
    nonlinearity: str = "tanh",
    activations: Sequence[str | tuple] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
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
    activations : None for `nonlinearity`, or one entry: a name of ONNX's list in any case,
        or a tuple (name, alpha) or (name, alpha, beta)
    clip : None or a positive number: the sums are clamped to [-clip, clip]
    lengths : (B,) integers from 0 to T, in any order, None for T everywhere; past its length a row
        of `y` is 0, `x` is not read, and its final state is that at its end, where `reverse` starts
    h_mask : (B, H) array, what `h` is multiplied with where the recurrent product reads it, the
        same at all steps (variational dropout, Gal and Ghahramani, 2016)
    keep_h : (T, B, H) array in time order, the part of `h` that a step keeps as it was, 0 to 1
        (zoneout, Krueger et al., 2017)
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
    _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    if activations is not None:
        if nonlinearity != "tanh":
            raise ValueError(
                f"activations is given beside nonlinearity {nonlinearity!r}, expected one of them"
            )
        activations = resolve(activations, ("Tanh",))
    clip = _check.clip(clip)
    _check.cell_inputs(
        1, x, w_ih, w_hh,
        biases={"b": b}, states={"h0": h0}, h_mask=h_mask, keeps={"keep_h": keep_h},
        reverse=reverse, training=training,
    )  # fmt: skip
    T, B, _ = x.shape
    H = w_hh.shape[1]
    lengths = _check.lengths(lengths, T, B)
    h0 = copy_or_zeros(h0, (B, H), x.dtype)
    (phi,) = functions_of(activations, (nonlinearity.title(),), clip)
    zoneout = keep_h is not None

    def step(x_t, h):
        h = rnn_step_forward(x_t, h, w_ih, w_hh, b, phi, h_mask)
        return (h, h) if zoneout else (h,)

    h, *gates = run_forward(step, x, (h0,), (keep_h,), (H,) * zoneout, reverse, lengths)
    trace = RNNTrace(
        x=np.array(x), h=h, nonlinearity=nonlinearity, reverse=reverse,
        activations=activations, clip=clip, lengths=lengths, h_mask=optional_copy(h_mask),
        keep_h=optional_copy(keep_h), gates=gates[0] if zoneout else None,
    )  # fmt: skip
    return trace if training else RNNOutputs(trace.y.copy(), trace.h_n.copy())


@quiet
def rnn_backward(
    trace: RNNTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    *,
    flow: NDArray[np.float64] | None = None,
) -> RNNGrads:
    """Gradients of everything `rnn_forward` read, through time.

    Parameters
    ----------
    trace : what `rnn_forward` returned
    w_ih, w_hh : the weights it was given
    dy : (T, B, H) gradient of ``trace.y``
    dh : (B, H) gradient of ``trace.h_n``; zeros stand for one of the two that is not given
    flow : (1, T, B) float64 array that is filled with the squared Euclidean norm of each row's
        dL/dh after every ``x[t]``, with all that arrives there; 0 past the row's end

    Returns
    -------
    RNNGrads: x, w_ih, w_hh, b, h0, each shaped as the thing. `b` is there without a bias too.

    Raises
    ------
    ValueError if shapes disagree, the forward pass was not training, or no gradient is given;
    TypeError if dtypes disagree or `trace` is another cell's.

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
    _check.cell_output_gradients(1, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh}, flow=flow)
    h, h_mask, dtype = trace.h, trace.h_mask, trace.h.dtype
    made = h[1:] if trace.keep_h is None else trace.gates
    (phi,) = functions_of(trace.activations, (trace.nonlinearity.title(),), trace.clip)

    def step(t, dh):
        dpre_t, dh_prev = rnn_step_backward(dh, made[t], w_hh, phi, h_mask)
        return dpre_t, (dh,), (dh_prev,)

    dy = copy_or_zeros(dy, h[1:].shape, dtype)
    dh = copy_or_zeros(dh, h[0].shape, dtype)
    dpre, dh0 = run_backward(step, dy, (dh,), (trace.keep_h,), h.shape[-1], trace, flow)

    taken = steps_of(trace)
    return RNNGrads(
        x=input_gradient(dpre, w_ih, trace),
        w_ih=weight_gradient(dpre, in_order(trace.x, trace.reverse, trace.lengths), taken),
        w_hh=weight_gradient(dpre, masked(h[:-1], h_mask), taken),
        b=sum_over_time(dpre, taken),
        h0=dh0,
    )


# GRU

_GRU_FUNCTIONS = ("Sigmoid", "Tanh")  # sigma, phi


def split_reset_update(w):
    """The rows of gates r and z together, and those of n; of weights or of a bias."""
    return (None, None) if w is None else np.split(w, (len(w) // 3 * 2,))


def gru_step_forward(x_t, h_prev, w_ih, w_hh, b_ih, b_hh, reset, functions, h_mask):
    sigma, phi = functions
    w_hrz, w_hn = split_reset_update(w_hh)
    b_hrz, b_hn = split_reset_update(b_hh)
    h_in = masked(h_prev, h_mask)  # (M)
    r_x, z_x, n_x = np.split(linear(x_t, w_ih, b_ih), 3, axis=-1)  # (G0)
    r_h, z_h = np.split(linear(h_in, w_hrz, b_hrz), 2, axis=-1)  # (G0)
    r = sigma(r_x + r_h)  # (G1)
    z = sigma(z_x + z_h)  # (G2)
    if reset == "after":
        hn = linear(h_in, w_hn, b_hn)  # (G3a)
        n = phi(n_x + r * hn)  # (G3a)
        kept = (r, z, n, hn)
    else:
        n = phi(n_x + linear(r * h_in, w_hn, b_hn))  # (G3b)
        kept = (r, z, n)
    h = (1 - z) * n + z * h_prev  # (G4)
    return h, np.concatenate(kept, axis=-1)


def gru_step_backward(dh, h_prev, gates, w_hh, reset, functions, h_mask):
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
    activations: Sequence[str | tuple] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
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
    _check.choice("reset", reset, ("after", "before"))
    activations = None if activations is None else resolve(activations, _GRU_FUNCTIONS)
    clip = _check.clip(clip)
    _check.cell_inputs(
        3, x, w_ih, w_hh,
        biases={"b_ih": b_ih, "b_hh": b_hh}, states={"h0": h0},
        h_mask=h_mask, keeps={"keep_h": keep_h},
        reverse=reverse, training=training,
    )  # fmt: skip
    T, B, _ = x.shape
    H = w_hh.shape[1]
    lengths = _check.lengths(lengths, T, B)
    h0 = copy_or_zeros(h0, (B, H), x.dtype)
    functions = functions_of(activations, _GRU_FUNCTIONS, clip)

    def step(x_t, h):
        return gru_step_forward(x_t, h, w_ih, w_hh, b_ih, b_hh, reset, functions, h_mask)

    width = 4 * H if reset == "after" else 3 * H
    h, gates = run_forward(step, x, (h0,), (keep_h,), (width,), reverse, lengths)
    trace = GRUTrace(
        x=np.array(x), h=h, gates=gates, reset=reset, reverse=reverse,
        activations=activations, clip=clip, lengths=lengths, h_mask=optional_copy(h_mask),
        keep_h=optional_copy(keep_h),
    )  # fmt: skip
    return trace if training else GRUOutputs(trace.y.copy(), trace.h_n.copy())


@quiet
def gru_backward(
    trace: GRUTrace,
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
    trace = require_trace(trace, GRUTrace)
    _check.cell_output_gradients(3, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh}, flow=flow)
    h, gates, h_mask, dtype = trace.h, trace.gates, trace.h_mask, trace.h.dtype
    H = h.shape[-1]
    functions = functions_of(trace.activations, _GRU_FUNCTIONS, trace.clip)

    def step(t, dh):
        dpre_t, dh_prev = gru_step_backward(
            dh, h[t], gates[t], w_hh, trace.reset, functions, h_mask
        )
        return dpre_t, (dh,), (dh_prev,)

    dy = copy_or_zeros(dy, h[1:].shape, dtype)
    dh = copy_or_zeros(dh, h[0].shape, dtype)
    dpre, dh0 = run_backward(step, dy, (dh,), (trace.keep_h,), gates.shape[-1], trace, flow)

    # The recurrent product of n stands apart. Reset "after": r scales it, so its gradient is the
    # fourth block. Reset "before": its gradient is that of the sum, but it reads r * h_in.
    taken = steps_of(trace)
    dpre_x, drz, dhn = dpre[..., : 3 * H], dpre[..., : 2 * H], dpre[..., -H:]
    rz_reads = masked(h[:-1], h_mask)
    n_reads = rz_reads if trace.reset == "after" else gates[..., :H] * rz_reads
    return GRUGrads(
        x=input_gradient(dpre_x, w_ih, trace),
        w_ih=weight_gradient(dpre_x, in_order(trace.x, trace.reverse, trace.lengths), taken),
        w_hh=np.concatenate(
            (weight_gradient(drz, rz_reads, taken), weight_gradient(dhn, n_reads, taken))
        ),
        b_ih=sum_over_time(dpre_x, taken),
        b_hh=np.concatenate((sum_over_time(drz, taken), sum_over_time(dhn, taken))),
        h0=dh0,
    )


# LSTM

_LSTM_FUNCTIONS = ("Sigmoid", "Tanh", "Tanh")  # sigma, phi, psi


def lstm_step_forward(
    x_t, h_prev, c_prev, w_ih, w_hh, b, w_ch, w_hr, peephole, coupled, functions, h_mask
):
    sigma, phi, psi = functions
    h_in = masked(h_prev, h_mask)  # (M)
    pre = linear(x_t, w_ih, b) + linear(h_in, w_hh)  # (L0)
    i_pre, f_pre, g_pre, o_pre = np.split(pre, 4, axis=-1)
    if peephole:
        w_ci, w_cf, w_co = np.split(w_ch, 3)
        i_pre = i_pre + w_ci * c_prev  # (L1p)
        f_pre = f_pre + w_cf * c_prev  # (L2p)
    i = sigma(i_pre)  # (L1)
    f = 1 - i if coupled else sigma(f_pre)  # (L2)
    g = phi(g_pre)  # (L3)
    c = f * c_prev + i * g  # (L4)
    if peephole:
        o_pre = o_pre + w_co * (c if peephole == "current" else c_prev)  # (L5p)
    o = sigma(o_pre)  # (L5)
    h = o * psi(c)  # (L6)
    if w_hr is not None:
        h = linear(h, w_hr)  # (L6p)
    return h, c, np.concatenate((i, f, g, o), axis=-1)


def lstm_step_backward(
    dh, dc, c_prev, c, gates, w_hh, w_ch, w_hr, peephole, coupled, functions, h_mask
):
    """With a projection, dpre has as its last block the gradient of what it gave."""
    sigma, phi, psi = functions
    i, f, g, o = np.split(gates, 4, axis=-1)
    w_ci, w_cf, w_co = np.split(w_ch, 3) if peephole else (None, None, None)
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
    if peephole:
        dc_prev = dc_prev + df_pre * w_cf  # (L2p) f_pre = .. + w_cf * c_prev
        dc_prev = dc_prev + di_pre * w_ci  # (L1p) i_pre = .. + w_ci * c_prev
    dpre = np.concatenate((di_pre, df_pre, dg_pre, do_pre), axis=-1)
    dh_in = dpre @ w_hh  # (L0) pre = x_t @ w_ih' + b + h_in @ w_hh'
    dh_prev = masked(dh_in, h_mask)  # (M) h_in = h_prev * h_mask
    if w_hr is not None:
        dpre = np.concatenate((dpre, dh), axis=-1)
    return dpre, dc, dh_prev, dc_prev


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
    activations: Sequence[str | tuple] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    keep_c: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> LSTMTrace | LSTMOutputs:
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
    LSTMTrace with `y` (T, B, P), `h_n` (B, P) and `c_n` (B, H), the states `h` (T+1, B, P) and `c`
    (T+1, B, H) and `gates` i | f | g | o (T, B, 4H), read-only. Not training: LSTMOutputs with `y`,
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
    _check.choice("peephole", peephole, (None, "previous", "current"))
    _check.flag("coupled", coupled)
    activations = None if activations is None else resolve(activations, _LSTM_FUNCTIONS)
    clip = _check.clip(clip)
    _check.cell_inputs(
        4, x, w_ih, w_hh,
        biases={"b": b}, states={"h0": h0, "c0": c0}, w_ch=w_ch, peephole=peephole,
        w_hr=w_hr, h_mask=h_mask, keeps={"keep_h": keep_h, "keep_c": keep_c},
        reverse=reverse, training=training,
    )  # fmt: skip
    T, B, _ = x.shape
    H, P = len(w_hh) // 4, w_hh.shape[1]
    lengths = _check.lengths(lengths, T, B)
    h0 = copy_or_zeros(h0, (B, P), x.dtype)
    c0 = copy_or_zeros(c0, (B, H), x.dtype)
    functions = functions_of(activations, _LSTM_FUNCTIONS, clip)

    def step(x_t, h, c):
        return lstm_step_forward(
            x_t, h, c, w_ih, w_hh, b, w_ch, w_hr, peephole, coupled, functions, h_mask
        )

    h, c, gates = run_forward(step, x, (h0, c0), (keep_h, keep_c), (4 * H,), reverse, lengths)
    trace = LSTMTrace(
        x=np.array(x), h=h, c=c, gates=gates, peephole=peephole, coupled=coupled, reverse=reverse,
        projected=w_hr is not None, activations=activations, clip=clip, lengths=lengths,
        h_mask=optional_copy(h_mask), keep_h=optional_copy(keep_h), keep_c=optional_copy(keep_c),
    )  # fmt: skip
    return trace if training else LSTMOutputs(trace.y.copy(), trace.h_n.copy(), trace.c_n.copy())


@quiet
def lstm_backward(
    trace: LSTMTrace,
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
    trace = require_trace(trace, LSTMTrace)
    _check.cell_output_gradients(
        4, trace.x, trace.h, w_ih, w_hh, dy,
        dstates={"dh": dh, "dc": dc}, w_ch=w_ch, peephole=trace.peephole, w_hr=w_hr,
        projected=trace.projected, units=trace.c.shape[-1], flow=flow,
    )  # fmt: skip
    h, c, gates, dtype = trace.h, trace.c, trace.gates, trace.h.dtype
    peephole, coupled, h_mask = trace.peephole, trace.coupled, trace.h_mask
    functions = functions_of(trace.activations, _LSTM_FUNCTIONS, trace.clip)
    i, f, g, o = np.split(gates, 4, axis=-1)
    made = c[1:] if trace.keep_c is None else f * c[:-1] + i * g  # (L4), before (Z)

    def step(t, dh, dc):
        dpre_t, dc, dh_prev, dc_prev = lstm_step_backward(
            dh, dc, c[t], made[t], gates[t], w_hh, w_ch, w_hr, peephole, coupled, functions, h_mask
        )
        return dpre_t, (dh, dc), (dh_prev, dc_prev)

    dy = copy_or_zeros(dy, h[1:].shape, dtype)
    dh = copy_or_zeros(dh, h[0].shape, dtype)
    dc = copy_or_zeros(dc, c[0].shape, dtype)
    sums, keeps = gates.shape[-1], (trace.keep_h, trace.keep_c)
    width = sums if w_hr is None else sums + h.shape[-1]
    dpre, dh0, dc0 = run_backward(step, dy, (dh, dc), keeps, width, trace, flow)

    taken = steps_of(trace)
    dpre, dprojected = dpre[..., :sums], dpre[..., sums:]
    dw_ch = dw_hr = None
    if peephole:
        di_pre, df_pre, _, do_pre = np.split(dpre, 4, axis=-1)
        o_reads = made if peephole == "current" else c[:-1]
        seen = (di_pre * c[:-1], df_pre * c[:-1], do_pre * o_reads)  # (L1p) (L2p) (L5p)
        dw_ch = sum_over_time(np.concatenate(seen, axis=-1), taken)
    if w_hr is not None:
        _, _, psi = functions
        dw_hr = weight_gradient(dprojected, o * psi(made), taken)  # (L6p)
    return LSTMGrads(
        x=input_gradient(dpre, w_ih, trace),
        w_ih=weight_gradient(dpre, in_order(trace.x, trace.reverse, trace.lengths), taken),
        w_hh=weight_gradient(dpre, masked(h[:-1], h_mask), taken),
        b=sum_over_time(dpre, taken),
        h0=dh0,
        c0=dc0,
        w_ch=dw_ch,
        w_hr=dw_hr,
    )
