"""The reference against values worked by hand.

The logistic function and tanh are fractions at logarithms:

    sigmoid(ln 3) = 3/4    sigmoid(-ln 3) = 1/4    sigmoid(ln 2) = 2/3    sigmoid(0) = 1/2
    tanh(ln 2) = (4 - 1) / (4 + 1) = 3/5

so a whole step, and its gradient, can be followed on paper. One step, one row, one input and one
unit: T = B = I = H = 1.
"""

from math import log, tanh

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rnncore.reference import (
    gru_backward,
    gru_forward,
    indrnn_backward,
    indrnn_forward,
    layer_norm_lstm_backward,
    layer_norm_lstm_forward,
    lstm_backward,
    lstm_forward,
    rnn_backward,
    rnn_forward,
)
from rnncore.reference.layer_norm_lstm import norm, norm_gradient

LN2, LN3 = log(2), log(3)
ONE = np.ones((1, 1))


def column(*values):
    return np.array(values)[:, None]


def assert_values(found, **expected):
    for name, value in expected.items():
        assert_allclose(getattr(found, name).ravel(), value, rtol=1e-14, err_msg=name)


def test_rnn_tanh():
    w_ih, w_hh = column(LN2 - 2), column(4.0)
    trace = rnn_forward(ONE[None], w_ih, w_hh, np.array([1.0]), h0=column(0.25))
    # pre = (ln 2 - 2) * 1 + 1 + 4 * 1/4 = ln 2, so h = 3/5 and h' = 1 - 9/25 = 16/25
    assert_values(trace, y=[3 / 5])
    grads = rnn_backward(trace, w_ih, w_hh, dh=ONE)
    dpre = 16 / 25
    assert_values(grads, x=dpre * (LN2 - 2), w_ih=dpre, w_hh=dpre / 4, b=dpre, h0=dpre * 4)


def test_rnn_relu_and_its_derivative_at_zero_and_nan():
    x = np.array([2.0, 0.0, -2.0, np.nan]).reshape(1, 4, 1)  # four rows
    trace = rnn_forward(x, ONE, ONE, nonlinearity="relu")
    assert_array_equal(trace.y[0, :, 0], [2, 0, 0, np.nan])
    grads = rnn_backward(trace, ONE, ONE, dh=np.full((4, 1), 5.0))
    assert_array_equal(grads.x[0, :, 0], [5, 0, 0, 5])  # as PyTorch


def test_rnn_adds_up_over_time():
    # Weights of 1 and relu of positive numbers: h = 1, 3, 6, the running sums of x = 1, 2, 3.
    x = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    trace = rnn_forward(x, ONE, ONE, nonlinearity="relu")
    assert_array_equal(trace.h[:, 0, 0], [0, 1, 3, 6])
    # L = sum of y: step t reaches the outputs from t on, so dpre = 3, 2, 1.
    grads = rnn_backward(trace, ONE, ONE, dy=np.ones((3, 1, 1)))
    assert_array_equal(grads.x[:, 0, 0], [3, 2, 1])
    assert grads.w_ih.item() == 3 * 1 + 2 * 2 + 1 * 3
    assert grads.w_hh.item() == 3 * 0 + 2 * 1 + 1 * 3
    assert grads.b.item() == 3 + 2 + 1  # a bias's gradient is the sum over steps
    assert grads.h0.item() == 3


def test_gru_reset_after():
    w_hh, b_hh = column(2.0, -1.0, 1.0), np.array([0.0, 0.0, -1.0])
    # h_prev = 3: w_hh h + b_hh = 6, -3, 2. The sums of r, z, n: ln 3, -ln 3, n_x + 3/4 * 2 = ln 2.
    w_ih = column(LN3 - 6, -LN3 + 3, LN2 - 1.5)
    trace = gru_forward(ONE[None], w_ih, w_hh, b_hh=b_hh, h0=column(3.0))
    assert_values(trace, gates=[3 / 4, 1 / 4, 3 / 5, 2], y=[6 / 5])  # 3/4 * 3/5 + 1/4 * 3
    grads = gru_backward(trace, w_ih, w_hh, dh=ONE)
    # dz = 3 - 3/5, dn = 3/4; dn_pre = 3/4 * 16/25; dr = dn_pre * 2; dhn = dn_pre * 3/4
    dr_pre, dz_pre, dn_pre, dhn = 9 / 50, 9 / 20, 12 / 25, 9 / 25
    assert_values(
        grads,
        b_ih=[dr_pre, dz_pre, dn_pre],
        w_ih=[dr_pre, dz_pre, dn_pre],
        b_hh=[dr_pre, dz_pre, dhn],
        w_hh=[3 * dr_pre, 3 * dz_pre, 3 * dhn],
        h0=13 / 25,  # 1/4 + 2 * 9/50 - 9/20 + 9/25
    )


def test_gru_reset_before():
    w_hh = column(2.0, -1.0, 2.0)
    # r * h_prev = 9/4: the sums of r, z, n are ln 3, -ln 3, n_x + 2 * 9/4 = ln 2.
    w_ih = column(LN3 - 6, -LN3 + 3, LN2 - 4.5)
    trace = gru_forward(ONE[None], w_ih, w_hh, h0=column(3.0), reset="before")
    assert_values(trace, gates=[3 / 4, 1 / 4, 3 / 5], y=[6 / 5])
    grads = gru_backward(trace, w_ih, w_hh, dh=ONE)
    # d(r h) = 2 * 12/25 = 24/25; dr = 3 * 24/25; dr_pre = dr * 3/16
    dr_pre, dz_pre, dn_pre = 27 / 50, 9 / 20, 12 / 25
    assert_values(
        grads,
        b_ih=[dr_pre, dz_pre, dn_pre],
        b_hh=[dr_pre, dz_pre, dn_pre],
        w_hh=[3 * dr_pre, 3 * dz_pre, 9 / 4 * dn_pre],
        h0=8 / 5,  # 1/4 + 24/25 * 3/4 + 2 * 27/50 - 9/20
    )


def test_lstm():
    # The sums of i, f, g, o are ln 3, 0, ln 2, ln 2; c_prev is such that c = ln 2.
    c_prev = 2 * (LN2 - 9 / 20)
    w_hh = column(2.0, 0.0, -4.0, 6.0)
    w_ih = column(LN3 - 1, 0, LN2 + 2, LN2 - 3) / 2
    trace = lstm_forward(2 * ONE[None], w_ih, w_hh, h0=column(0.5), c0=column(c_prev))
    assert_values(trace, gates=[3 / 4, 1 / 2, 3 / 5, 2 / 3], c_n=LN2, y=[2 / 5])
    grads = lstm_backward(trace, w_ih, w_hh, dh=ONE)
    # dc = 2/3 * 16/25 = 32/75; di = 3/5 dc, df = c_prev dc, dg = 3/4 dc, do = 3/5
    dpre = np.array([6 / 125, 8 / 75 * c_prev, 128 / 625, 2 / 15])
    assert_values(
        grads,
        b=dpre,
        w_ih=2 * dpre,
        w_hh=dpre / 2,
        c0=16 / 75,  # dc / 2
        h0=2 * dpre[0] - 4 * dpre[2] + 6 * dpre[3],
        x=dpre @ w_ih[:, 0],
    )
    assert grads.w_ch is None


@pytest.mark.parametrize("peephole", ["previous", "current"])
def test_lstm_peephole(peephole):
    w_ch = np.array([1.0, 2.0, 3.0])  # i, f, o
    c_prev, c = 1.0, 19 / 20  # 1/2 * 1 + 3/4 * 3/5
    seen = c_prev if peephole == "previous" else c
    b = np.array([LN3 - 1, -2, LN2, LN2 - 3 * seen])  # sums again ln 3, 0, ln 2, ln 2
    weights = np.zeros((4, 1)), np.zeros((4, 1))
    options = {"w_ch": w_ch, "peephole": peephole}
    trace = lstm_forward(ONE[None], *weights, b, c0=column(c_prev), **options)
    assert_values(trace, gates=[3 / 4, 1 / 2, 3 / 5, 2 / 3], c_n=c, y=[2 / 3 * tanh(c)])
    grads = lstm_backward(trace, *weights, dh=ONE, w_ch=w_ch)
    do_pre = tanh(c) * 2 / 9
    dc = 2 / 3 * (1 - tanh(c) ** 2) + (3 * do_pre if peephole == "current" else 0)
    di_pre, df_pre, dg_pre = dc * 3 / 5 * 3 / 16, dc * c_prev / 4, dc * 3 / 4 * 16 / 25
    assert_values(
        grads,
        b=[di_pre, df_pre, dg_pre, do_pre],
        w_ch=[di_pre * c_prev, df_pre * c_prev, do_pre * seen],
        c0=dc / 2 + di_pre + 2 * df_pre + (3 * do_pre if peephole == "previous" else 0),
    )


def test_lstm_coupled():
    b = np.array([LN3, 99, LN2, LN2])  # i = 3/4, so f = 1/4 whatever its sum
    weights = np.zeros((4, 1)), np.zeros((4, 1))
    trace = lstm_forward(ONE[None], *weights, b, c0=column(1.0), coupled=True)
    assert_values(trace, gates=[3 / 4, 1 / 4, 3 / 5, 2 / 3], c_n=7 / 10)  # 1/4 + 3/4 * 3/5
    grads = lstm_backward(trace, *weights, dc=ONE)
    # di = g - c_prev = -2/5, times 3/16; dg = 3/4, times 16/25
    assert_values(grads, b=[-3 / 40, 0, 12 / 25, 0], c0=1 / 4)


def test_a_memory_with_open_forget_and_shut_input_keeps_its_gradient():
    # Why the LSTM: f = 1, i = 0 (sums of 1000) carries c and its gradient unchanged for 100 steps.
    b = np.array([-1000.0, 1000.0, 0.0, 0.0])
    weights = np.zeros((4, 1)), np.zeros((4, 1))
    trace = lstm_forward(np.ones((100, 1, 1)), *weights, b, c0=column(0.7))
    assert trace.c_n.item() == 0.7
    assert lstm_backward(trace, *weights, dc=ONE).c0.item() == 1


def test_projection():
    # As in test_lstm: o * tanh(c) = 2/3 * 3/5, and the projection makes h three and five times it.
    w_hr = column(3.0, 5.0)
    b = np.array([LN3, 0, LN2, LN2])
    weights = np.zeros((4, 1)), np.zeros((4, 2))
    c_prev = 2 * (LN2 - 9 / 20)
    trace = lstm_forward(ONE[None], *weights, b, c0=column(c_prev), w_hr=w_hr)
    assert_values(trace, c_n=LN2, y=[6 / 5, 2])
    grads = lstm_backward(trace, *weights, dh=np.array([[1.0, 2.0]]), w_hr=w_hr)
    dm = 1 * 3 + 2 * 5
    assert_values(grads, w_hr=[2 / 5, 4 / 5], c0=dm * 16 / 75, b=dm * np.array(
        [6 / 125, 8 / 75 * c_prev, 128 / 625, 2 / 15]))  # fmt: skip


def test_indrnn_relu():
    """Two units: of each other's states they see nothing."""
    w_ih, w_hh = column(1.0, -9.0), np.array([2.0, 0.5])
    h0 = np.array([[3.0, 4.0]])
    trace = indrnn_forward(ONE[None], w_ih, w_hh, np.ones(2), h0)
    assert_values(trace, y=[8, 0])  # 1 + 1 + 2 * 3, and -9 + 1 + 4/2 is below 0
    grads = indrnn_backward(trace, w_ih, w_hh, dh=np.array([[5.0, 7.0]]))
    assert_values(grads, x=5, w_ih=[5, 0], w_hh=[15, 0], b=[5, 0], h0=[10, 0])


def test_indrnn_tanh():
    w_ih, w_hh = column(LN2 - 2), np.array([4.0])
    b, h0 = np.array([1.0]), column(0.25)
    trace = indrnn_forward(ONE[None], w_ih, w_hh, b, h0, nonlinearity="tanh")
    assert_values(trace, y=[3 / 5])  # as in test_rnn_tanh
    grads = indrnn_backward(trace, w_ih, w_hh, dh=ONE)
    dpre = 16 / 25
    assert_values(grads, x=dpre * (LN2 - 2), w_ih=dpre, w_hh=dpre / 4, b=dpre, h0=dpre * 4)


def test_indrnn_adds_up_over_time():
    # Units that double and halve what they hold: h = 1, 3, 7 and 1, 3/2, 7/4.
    w_ih, w_hh = column(1.0, 1.0), np.array([2.0, 0.5])
    trace = indrnn_forward(np.ones((3, 1, 1)), w_ih, w_hh)
    assert_array_equal(trace.h[:, 0].T, [[0, 1, 3, 7], [0, 1, 1.5, 1.75]])
    # L = sum of the last h: dpre = 4, 2, 1 and 1/4, 1/2, 1.
    grads = indrnn_backward(trace, w_ih, w_hh, dh=np.ones((1, 2)))
    assert_values(grads, x=[4.25, 2.5, 2], w_ih=[7, 1.75], b=[7, 1.75], h0=[8, 1 / 8])
    assert_values(grads, w_hh=[4 * 0 + 2 * 1 + 1 * 3, 1 / 2 * 1 + 1 * 3 / 2])


# For a norm: 3, 1, -1, -3 have the mean 0 and the variance 5; with eps = 4 they are divided by 3.
SPREAD = column(3.0, 1.0, -1.0, -3.0)
NORMAL = np.array([1, 1 / 3, -1 / 3, -1])


def test_norm():
    for mean in (0, 7):
        n, scale = norm(SPREAD[:, 0] + mean, 4.0)
        assert_allclose(n, NORMAL, rtol=1e-14)
        assert_allclose(scale, 1 / 3, rtol=1e-14)
    # da = (dn - mean(dn) - n * mean(dn * n)) / 3, and both means are 1/4
    da = norm_gradient(np.array([1.0, 0, 0, 0]), n, scale)
    assert_allclose(da, [1 / 6, -1 / 9, -1 / 18, 0], rtol=1e-14, atol=1e-16)
    # What moves all alike is lost, and of what moves them apart there is eps / (var + eps) = 4/9.
    assert_allclose(norm_gradient(np.ones(4), n, scale), 0, atol=1e-16)
    assert_allclose(norm_gradient(n, n, scale), 4 / 9 * n / 3, rtol=1e-14)


# Gains and biases that make of NORMAL the sums ln 3, 0, ln 2, ln 2, so that the gates are those of
# test_lstm: 3/4, 1/2, 3/5, 2/3.
GAINS, BIASES = np.array([LN3, 3, -3 * LN2, LN2]), np.array([0, -1, 0, 2 * LN2])
ZEROS4, ONES4 = np.zeros((4, 1)), np.ones(4)


@pytest.mark.parametrize("side", ["ih", "hh"])
def test_layer_norm_lstm_gates(side):
    # The sums of one side are SPREAD; those of the other are 0, and so is their norm. A memory of
    # one unit has the norm 0: h = o * tanh(b_c) = 2/3 * 3/5.
    other = "hh" if side == "ih" else "ih"
    weights = {f"w_{side}": SPREAD, f"w_{other}": ZEROS4, f"g_{side}": GAINS, f"g_{other}": ONES4}
    weights |= {"g_c": np.array([9.0]), "b_c": np.array([LN2])}
    biases = {f"b_{side}": BIASES - 1, f"b_{other}": ONES4}
    start = {"h0": ONE, "c0": column(2.0)}
    trace = layer_norm_lstm_forward(ONE[None], **weights, **biases, **start, eps=4.0)
    assert_values(trace, gates=[3 / 4, 1 / 2, 3 / 5, 2 / 3], c_n=29 / 20, y=[2 / 5])
    grads = layer_norm_lstm_backward(trace, **weights, dh=column(5.0), dc=ONE)
    # do = 3 for dh = 5, dm = 5 * 2/3 * 16/25; of dc = 1 alone: di = 3/5, df = 2, dg = 3/4
    dpre = np.array([9 / 80, 1 / 2, 12 / 25, 2 / 3])
    dn = dpre * GAINS
    da = (dn - dn.mean() - NORMAL * (dn @ NORMAL) / 4) / 3
    assert_values(grads, c0=1 / 2, b_ih=dpre, b_hh=dpre, b_c=32 / 15, g_c=0)
    assert_values(grads, **{f"g_{side}": dpre * NORMAL, f"g_{other}": 0, f"w_{side}": da})
    # Through a norm: the sums are three times NORMAL, of which 4/9 are left, as in test_norm.
    read, unread = (grads.x, grads.h0) if side == "ih" else (grads.h0, grads.x)
    assert_allclose(read.item(), 4 / 9 * dn @ NORMAL, rtol=1e-14)
    assert unread.item() == 0


def test_layer_norm_lstm_memory():
    # i = 0 and f = 1 keep c = 5, -1: the mean is 2, the variance 9; with eps = 16 n_c = 3/5, -3/5.
    b_ih = np.repeat([-1000.0, 1000.0, 0.0, LN2], 2)
    g_c, b_c = np.array([5 / 3 * LN2, 0]), np.array([0, LN2])
    weights = np.zeros((8, 1)), np.zeros((8, 2)), np.ones(8), np.ones(8), g_c
    c0 = np.array([[5.0, -1.0]])
    trace = layer_norm_lstm_forward(ONE[None], *weights, b_ih, b_c=b_c, c0=c0, eps=16.0)
    assert_values(trace, c_n=[5, -1], y=[2 / 5, 2 / 5])  # 2/3 * tanh(ln 2)
    grads = layer_norm_lstm_backward(trace, *weights, b_c, dh=np.array([[1.0, 0.0]]))
    dm = 2 / 3 * 16 / 25
    assert_values(grads, b_c=[dm, 0], g_c=[3 / 5 * dm, 0])
    # dn = 5/3 ln 2 * dm, 0; dc = (dn - dn/2 - n * 3/10 dn) / 5: 8/25 dn / 5 and its negative
    assert_values(grads, c0=np.array([1, -1]) * (8 / 125) * (5 / 3) * LN2 * dm)
    assert_values(grads, b_ih=[0] * 6 + [3 / 5 * 2 / 9, 0])


def test_variational_dropout_scales_what_the_product_reads():
    # relu of positive numbers: h = x + 1/2 h_prev = 1, 5/2, 17/4, though h itself stays whole.
    x = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    trace = rnn_forward(x, ONE, ONE, nonlinearity="relu", h_mask=column(0.5))
    assert_array_equal(trace.h[:, 0, 0], [0, 1, 5 / 2, 17 / 4])
    grads = rnn_backward(trace, ONE, ONE, dh=ONE)
    assert_array_equal(grads.x[:, 0, 0], [1 / 4, 1 / 2, 1])
    assert grads.w_hh.item() == 1 / 4 * 0 + 1 / 2 * (1 / 2) * 1 + 1 * (1 / 2) * (5 / 2)


@pytest.mark.parametrize("reset", ["after", "before"])
def test_the_update_gate_of_a_gru_keeps_the_unmasked_state(reset):
    # Zero weights: z = 1/2 and n = 0, so the state halves whatever the product would have read.
    weights = np.zeros((3, 1)), np.zeros((3, 1))
    trace = gru_forward(ONE[None], *weights, h0=column(4.0), reset=reset, h_mask=column(0.0))
    assert trace.h_n.item() == 2


def test_zoneout():
    # relu with weights of 1: h = 1; then 3/4 * 1 + 1/4 * (2 + 1) = 3/2.
    x = np.array([1.0, 2.0]).reshape(2, 1, 1)
    keep_h = np.array([0.0, 3 / 4]).reshape(2, 1, 1)
    trace = rnn_forward(x, ONE, ONE, nonlinearity="relu", keep_h=keep_h)
    assert_array_equal(trace.h[:, 0, 0], [0, 1, 3 / 2])
    assert_array_equal(trace.gates[:, 0, 0], [1, 3])
    flow = np.zeros((1, 2, 1))
    grads = rnn_backward(trace, ONE, ONE, dh=ONE, flow=flow)
    assert_array_equal(grads.x[:, 0, 0], [3 / 4 + 1 / 4, 1 / 4])
    assert_array_equal(flow[0, :, 0], [1, 1])
    # In reverse x[1] comes first, and so does the zoneout of its step: h = 1/4 * 2, then 1 + h.
    trace = rnn_forward(x, ONE, ONE, nonlinearity="relu", keep_h=keep_h, reverse=True)
    assert_array_equal(trace.h[:, 0, 0], [0, 1 / 2, 3 / 2])


def test_zoneout_of_the_memory_leaves_h_as_it_is():
    # c would halve from 4 to 2; kept by 1/2 it is 3, and h is made from the 2.
    weights = np.zeros((4, 1)), np.zeros((4, 1))
    keep_c = np.full((1, 1, 1), 0.5)
    trace = lstm_forward(ONE[None], *weights, c0=column(4.0), keep_c=keep_c)
    assert_values(trace, c_n=3, h_n=tanh(2) / 2)
    flow = np.zeros((2, 1, 1))
    grads = lstm_backward(trace, *weights, dh=ONE, dc=3 * ONE, flow=flow)
    dc = 1.5 + 1 / 2 * (1 - tanh(2) ** 2)
    assert_values(grads, c0=1.5 + dc / 2)
    assert_array_equal(flow[:, 0, 0], [1, 9])  # what arrives at the states


def test_flow_of_a_memory_counts_what_comes_through_h():
    weights = np.zeros((4, 1)), np.zeros((4, 1))
    trace = lstm_forward(np.zeros((2, 1, 1)), *weights, c0=column(4.0))
    flow = np.zeros((2, 2, 1))
    lstm_backward(trace, *weights, dh=ONE, dc=ONE, flow=flow)
    dc = 1 + 1 / 2 * (1 - tanh(1) ** 2)  # at c = 1; half of it goes on to c = 2
    assert_allclose(flow[:, :, 0], [[0, 1], [(dc / 2) ** 2, dc**2]], rtol=1e-14)


def test_clip_stops_values_and_gradients():
    # Sums 1/2, 2 and -2, clipped to 1 and -1: the clamped ones neither grow nor pass a gradient.
    x = np.array([0.5, 2.0, -2.0]).reshape(1, 3, 1)
    trace = rnn_forward(x, ONE, ONE, activations=[("Affine", 3.0, 1.0)], clip=1.0)
    assert_array_equal(trace.y[0, :, 0], [5 / 2, 4, -2])
    grads = rnn_backward(trace, ONE, ONE, dh=np.ones((3, 1)))
    assert_array_equal(grads.x[0, :, 0], [3, 0, 0])
