"""The basic RNN in NumPy, (R0) to (R1) of docs/equations.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.arguments import inputs
from rnncore._cells.results import FloatArray, Outputs, Trace
from rnncore._cells.rnn import RNN, RNNGrads, RNNOptions
from rnncore._common.quiet import quiet
from rnncore.reference.loop import (
    A,
    BackwardStep,
    Function,
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


def rnn_step_forward(
    x_t: A, h_prev: A, w_ih: A, w_hh: A, b: Maybe, phi: Function, h_mask: Maybe
) -> A:
    h_in = masked(h_prev, h_mask)  # (M)
    pre = linear(x_t, w_ih, b) + linear(h_in, w_hh)  # (R0)
    return phi(pre)  # (R1)


def rnn_step_backward(dh: A, h: A, w_hh: A, phi: Function, h_mask: Maybe) -> tuple[A, A]:
    dpre = phi.gradient(dh, h)  # (R1) h = phi(pre)
    dh_in = dpre @ w_hh  # (R0) pre = x_t @ w_ih' + b + h_in @ w_hh'
    dh_prev = masked(dh_in, h_mask)  # (M) h_in = h_prev * h_mask
    return dpre, dh_prev


@overload
def rnn_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, *,
    training: Literal[True] = True, **options: Unpack[RNNOptions],
) -> Trace: ...  # fmt: skip
@overload
def rnn_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, *,
    training: Literal[False], **options: Unpack[RNNOptions],
) -> Outputs: ...  # fmt: skip
@overload
def rnn_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, *,
    training: bool, **options: Unpack[RNNOptions],
) -> Trace | Outputs: ...  # fmt: skip
@quiet
def rnn_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b: FloatArray | None = None,
    h0: FloatArray | None = None,
    *,
    nonlinearity: str = "tanh",
    activations: Sequence[str | tuple[str | float, ...]] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> Trace | Outputs:
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
    A trace with `y` (T, B, H), `h_n` (B, H) and the states `h` (T+1, B, H), read-only; or, not
    training, outputs with `y` and `h_n`.

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
    cell = inputs(RNN, locals())
    (phi,) = functions_of(RNN, cell.options)
    zoneout = keep_h is not None  # without it, the state is what the activation gave

    def step(x_t: A, h: A) -> tuple[A, ...]:
        h = rnn_step_forward(x_t, h, w_ih, w_hh, b, phi, h_mask)
        return (h, h) if zoneout else (h,)

    result: Trace | Outputs = run_forward(cell, step, (cell.H,) * zoneout)
    return result


@quiet
def rnn_backward(
    trace: Trace,
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
    kept, given = arriving(RNN, locals())
    h, h_mask = kept.h, kept.h_mask
    made = h[1:] if kept.gates is None else kept.gates
    (phi,) = kept.functions

    def step(t: int, dh: A) -> BackwardStep:
        dpre_t, dh_prev = rnn_step_backward(dh, made[t], w_hh, phi, h_mask)
        return dpre_t, (dh,), (dh_prev,)

    dpre, dh0 = run_backward(step, kept, given, kept.H)
    return RNNGrads(
        x=input_gradient(dpre, w_ih, kept),
        w_ih=weight_gradient(dpre, inputs_in_order(kept), kept),
        w_hh=weight_gradient(dpre, masked(h[:-1], h_mask), kept),
        b=sum_over_time(dpre, kept),
        h0=dh0,
    )
