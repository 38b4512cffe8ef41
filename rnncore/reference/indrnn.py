"""The independently recurrent network in NumPy, (I0) to (I1) of docs/equations.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.arguments import inputs
from rnncore._cells.indrnn import IND_RNN, IndRNNGrads, IndRNNOptions
from rnncore._cells.results import FloatArray, Outputs, Trace
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


def indrnn_step_forward(
    x_t: A, h_prev: A, w_ih: A, w_hh: A, b: Maybe, phi: Function, h_mask: Maybe
) -> A:
    h_in = masked(h_prev, h_mask)  # (M)
    pre = linear(x_t, w_ih, b) + w_hh * h_in  # (I0)
    return phi(pre)  # (I1)


def indrnn_step_backward(dh: A, h: A, w_hh: A, phi: Function, h_mask: Maybe) -> tuple[A, A]:
    dpre = phi.gradient(dh, h)  # (I1) h = phi(pre)
    dh_in = dpre * w_hh  # (I0) pre = x_t @ w_ih' + b + w_hh * h_in
    dh_prev = masked(dh_in, h_mask)  # (M) h_in = h_prev * h_mask
    return dpre, dh_prev


@overload
def indrnn_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, *,
    training: Literal[True] = True, **options: Unpack[IndRNNOptions],
) -> Trace: ...  # fmt: skip
@overload
def indrnn_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, *,
    training: Literal[False], **options: Unpack[IndRNNOptions],
) -> Outputs: ...  # fmt: skip
@overload
def indrnn_forward(
    x: A, w_ih: A, w_hh: A, b: Maybe = None, h0: Maybe = None, *,
    training: bool, **options: Unpack[IndRNNOptions],
) -> Trace | Outputs: ...  # fmt: skip
@quiet
def indrnn_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b: FloatArray | None = None,
    h0: FloatArray | None = None,
    *,
    nonlinearity: str = "relu",
    activations: Sequence[str | tuple[str | float, ...]] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> Trace | Outputs:
    """Run an IndRNN over a batch of sequences, (I0)-(I1) of docs/equations.md::

        h[t+1] = relu(x[t] @ w_ih' + b + w_hh * h[t])

    Each unit sees its own state alone (Li et al., 2018, "Independently recurrent neural network").

    Parameters
    ----------
    x : (T, B, I) array, float32 or float64; all arrays have its dtype
    w_ih, w_hh, b : (H, I), (H,), (H,) arrays; no bias is added where `b` is None
    h0 : (B, H) array, zeros by default
    nonlinearity : "relu" or "tanh"
    activations : None for `nonlinearity`, or one entry: a name of ONNX's list in any case,
        or a tuple (name, alpha) or (name, alpha, beta)
    clip : None or a positive number: the sums are clamped to [-clip, clip]
    lengths : (B,) integers from 0 to T, in any order, None for T everywhere; past its length a row
        of `y` is 0, `x` is not read, and its final state is that at its end, where `reverse` starts
    h_mask : (B, H) array, what `h` is multiplied with where the recurrent weights read it, the
        same at all steps (variational dropout, Gal and Ghahramani, 2016)
    keep_h : (T, B, H) array in time order, the part of `h` that a step keeps as it was, 0 to 1
        (zoneout, Krueger et al., 2017)
    reverse : read `x` from its last step to its first; ``y[t]`` is the state after ``x[t]``
    training : keep what `indrnn_backward` reads

    Returns
    -------
    A trace with `y` (T, B, H), `h_n` (B, H) and the states `h` (T+1, B, H), read-only; or, not
    training, outputs with `y` and `h_n`.

    Raises
    ------
    ValueError if shapes disagree or an option is unknown, TypeError if dtypes disagree.

    Examples
    --------
    Of two units that read the same, one doubles what it holds and the other halves it:

    >>> x, w_hh = np.ones((3, 1, 1)), np.array([2.0, 0.5])
    >>> indrnn_forward(x, np.ones((2, 1)), w_hh).h[:, 0]
    array([[0.  , 0.  ],
           [1.  , 1.  ],
           [3.  , 1.5 ],
           [7.  , 1.75]])
    """
    cell = inputs(IND_RNN, locals())
    (phi,) = functions_of(IND_RNN, cell.options)
    zoneout = keep_h is not None  # without it, the state is what the activation gave

    def step(x_t: A, h: A) -> tuple[A, ...]:
        h = indrnn_step_forward(x_t, h, w_ih, w_hh, b, phi, h_mask)
        return (h, h) if zoneout else (h,)

    result: Trace | Outputs = run_forward(cell, step, (cell.H,) * zoneout)
    return result


@quiet
def indrnn_backward(
    trace: Trace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    *,
    flow: NDArray[np.float64] | None = None,
) -> IndRNNGrads:
    """Gradients of everything `indrnn_forward` read, through time.

    Parameters
    ----------
    trace : what `indrnn_forward` returned
    w_ih, w_hh : the weights it was given
    dy : (T, B, H) gradient of ``trace.y``
    dh : (B, H) gradient of ``trace.h_n``; zeros stand for one of the two that is not given
    flow : (1, T, B) float64 array that is filled with the squared Euclidean norm of each row's
        dL/dh after every ``x[t]``, with all that arrives there; 0 past the row's end

    Returns
    -------
    IndRNNGrads: x, w_ih, w_hh, b, h0, each shaped as the thing. `b` is there without a bias too.

    Raises
    ------
    ValueError if shapes disagree, the forward pass was not training, or no gradient is given;
    TypeError if dtypes disagree or `trace` is another cell's.

    Examples
    --------
    While relu is open, the gradient of a unit's state is its recurrent weight at every step:

    >>> w_ih, w_hh = np.ones((2, 1)), np.array([2.0, 0.5])
    >>> trace = indrnn_forward(np.ones((3, 1, 1)), w_ih, w_hh)
    >>> indrnn_backward(trace, w_ih, w_hh, dh=np.ones((1, 2))).h0
    array([[8.   , 0.125]])
    """
    kept, given = arriving(IND_RNN, locals())
    h, h_mask = kept.h, kept.h_mask
    made = h[1:] if kept.gates is None else kept.gates
    (phi,) = kept.functions

    def step(t: int, dh: A) -> BackwardStep:
        dpre_t, dh_prev = indrnn_step_backward(dh, made[t], w_hh, phi, h_mask)
        return dpre_t, (dh,), (dh_prev,)

    dpre, dh0 = run_backward(step, kept, given, kept.H)
    return IndRNNGrads(
        x=input_gradient(dpre, w_ih, kept),
        w_ih=weight_gradient(dpre, inputs_in_order(kept), kept),
        w_hh=sum_over_time(dpre * masked(h[:-1], h_mask), kept),
        b=sum_over_time(dpre, kept),
        h0=dh0,
    )
