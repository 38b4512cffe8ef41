"""Sigmoid and tanh of the compiled core, in units in the last place of the result.

They are reached through the cells: with w_ih = 1, w_hh = 0 and no bias, the sums that the gates see
are the numbers of x. Where a norm stands between, the gates see their bias.
"""

import numpy as np
import pytest

from rnncore import functional

ULP = 3  # measured: 2.4 (sigmoid) and 2.6 (tanh), the most of both dtypes and all instruction sets
PRODUCT_ULP = 6  # of i * g and o * tanh(c), which are divided once; measured: 5.4

# The next wider type of real, in which the exact value is computed.
WIDER = {np.float32: np.float64, np.float64: np.longdouble}


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def dtype(request):
    return request.param


@pytest.fixture(scope="module")
def x(dtype):
    """The dense grid: every binade there is, the range in which results vary, and its ends."""
    info = np.finfo(dtype)
    as_integer = np.dtype(f"i{info.bits // 8}")
    largest = np.array(info.max).view(as_integer)
    binades = np.linspace(0, float(largest), 2**15).astype(as_integer).view(dtype)
    varied = np.linspace(0, 30, 2**16, dtype=dtype)
    # Beyond the first exp(-x) is below the normal numbers, beyond the second exp(x) is infinite.
    underflow, overflow = -np.log(info.tiny), np.log(info.max)
    ends = np.linspace(0.99 * underflow, 1.01 * overflow, 2**12, dtype=dtype)
    subnormal = info.smallest_subnormal
    named = [subnormal, info.tiny / 2, info.tiny, 87, 88, 89, 709, 710, 1e30, info.max, np.inf]
    positive = np.concatenate((binades, varied, ends, np.array(named, dtype)))
    return np.concatenate((positive, -positive))


def behind_a_norm(x):
    """The gates of an LSTM of one step, whose norms are 0: each unit's sums are its bias."""
    H = 256
    zeros, ones = (lambda *shape, f=f: f(shape, x.dtype) for f in (np.zeros, np.ones))
    weights = zeros(4 * H, 1), zeros(4 * H, H), ones(4 * H), ones(4 * H), ones(H)
    found = []
    for bias in np.resize(x, (-(-len(x) // H), H)):
        trace = functional.layer_norm_lstm_forward(zeros(1, 1, 1), *weights, np.tile(bias, 4))
        found.append(trace.gates.reshape(4, H))
    return np.concatenate(found, axis=1)[:, : len(x)]


def activations(x):
    """Cell and gate -> its value at every x, of all the gates there are."""
    batch, zero = x.reshape(1, -1, 1), np.zeros

    def weights(gates):
        return np.ones((gates, 1), x.dtype), zero((gates, 1), x.dtype)

    rnn = functional.rnn_forward(batch, *weights(1))
    gru = functional.gru_forward(batch, *weights(3))
    lstm = functional.lstm_forward(batch, *weights(4))
    indrnn = functional.indrnn_forward(
        batch, np.ones((1, 1), x.dtype), zero(1, x.dtype), nonlinearity="tanh"
    )
    found = {"rnn h": rnn.y[0, :, 0], "indrnn h": indrnn.y[0, :, 0]}
    norm_lstm = behind_a_norm(x)
    found |= {f"norm lstm {name}": norm_lstm[k] for k, name in enumerate("ifgo")}
    found |= {f"gru {name}": gru.gates[0, :, k] for k, name in enumerate("rzn")}
    return found | {f"lstm {name}": lstm.gates[0, :, k] for k, name in enumerate("ifgo")}


@pytest.fixture(scope="module")
def on_the_grid(x):
    return activations(x)


TANH = ("rnn h", "gru n", "lstm g", "indrnn h", "norm lstm g")
SIGMOID = (
    "gru r",
    "gru z",
    *(f"{cell} {gate}" for cell in ("lstm", "norm lstm") for gate in "ifo"),
)


def exact(name, x):
    """The true value, rounded in the wider type alone."""
    wider = WIDER[x.dtype.type]
    if np.finfo(wider).nmant < np.finfo(x.dtype).nmant + 8:
        pytest.skip(f"{np.dtype(wider)} is no more precise than {x.dtype} on this machine")
    x = x.astype(wider)
    with np.errstate(over="ignore", under="ignore"):
        return np.tanh(x) if name in TANH else 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("name", TANH + SIGMOID)
def test_units_in_the_last_place(name, x, on_the_grid):
    found, expected = on_the_grid[name], exact(name, x)
    assert found.dtype == x.dtype
    smallest = np.finfo(x.dtype).tiny
    normal = np.abs(expected) >= smallest
    spacing = np.spacing(np.abs(expected[normal]).astype(x.dtype))
    gap = np.abs(found[normal] - expected[normal]) / spacing
    # What is rounded to below the smallest normal number is flushed to zero.
    edge = (np.abs(expected[normal]) < smallest + ULP * spacing) & (found[normal] == 0)
    gap[edge] = 0
    worst = np.argmax(gap)
    assert gap[worst] < ULP, f"{gap[worst]:.2f} ulp at {x[normal][worst]!r}"


@pytest.mark.parametrize("name", TANH + SIGMOID)
def test_results_below_the_smallest_normal_number_are_zero(name, x, on_the_grid):
    found, expected = on_the_grid[name], exact(name, x)
    smallest = np.finfo(x.dtype).tiny
    far_below = np.abs(expected) < smallest * (1 - 8 * np.finfo(x.dtype).eps)
    assert far_below.any()
    np.testing.assert_array_equal(found[far_below], 0)
    assert not np.any((found != 0) & (np.abs(found) < smallest))


@pytest.mark.parametrize("name", TANH)
def test_tanh_is_odd_and_never_beyond_one(name, x, on_the_grid):
    found = on_the_grid[name]
    half = len(x) // 2
    np.testing.assert_array_equal(found[half:], -found[:half])  # x[half:] is -x[:half]
    assert np.abs(found).max() == 1


@pytest.mark.parametrize("name", SIGMOID)
def test_sigmoid_is_never_outside_zero_and_one(name, on_the_grid):
    found = on_the_grid[name]
    assert found.min() == 0
    assert found.max() == 1


@pytest.mark.parametrize("name", TANH + SIGMOID)
def test_the_extremes_are_exact(name, dtype):
    subnormal = np.finfo(dtype).smallest_subnormal
    at = np.array([-np.inf, np.inf, 0.0, -0.0, subnormal, -subnormal, np.nan], dtype)
    expected = [-1, 1, 0, 0, 0, 0, np.nan] if name in TANH else [0, 1, *[0.5] * 4, np.nan]
    np.testing.assert_array_equal(activations(at)[name], np.array(expected, dtype))


@pytest.fixture(scope="module")
def products(x):
    """Pairs (a, b) of the grid; h and c of an LSTM of i_pre = o_pre = a, g_pre = b, no memory."""
    rng = np.random.default_rng(0)
    a, b = (rng.permutation(x[np.abs(x) < 1000]) for _ in range(2))
    w_ih = np.array([[1, 0], [0, 0], [0, 1], [1, 0]], x.dtype)  # i, f, g, o
    found = functional.lstm_forward(
        np.stack((a, b), axis=-1)[None], w_ih, np.zeros_like(w_ih[:, :1])
    )
    return a, b, found.h[1, :, 0], found.c[1, :, 0]


def assert_close_products(found, sigmoid_of, tanh_of):
    dtype, wider = found.dtype, WIDER[found.dtype.type]
    if np.finfo(wider).nmant < np.finfo(dtype).nmant + 8:
        pytest.skip(f"{np.dtype(wider)} is no more precise than {dtype} on this machine")
    with np.errstate(over="ignore", under="ignore"):
        expected = np.tanh(tanh_of.astype(wider)) / (1 + np.exp(-sigmoid_of.astype(wider)))
    smallest = np.finfo(dtype).tiny
    normal = np.abs(expected) >= smallest * (1 + 8 * np.finfo(dtype).eps)
    gap = np.abs(found - expected)[normal] / np.spacing(np.abs(expected[normal]).astype(dtype))
    assert normal.sum() > 1000
    assert gap.max() < PRODUCT_ULP
    assert np.abs(found[~normal]).max() <= smallest * (1 + 16 * np.finfo(dtype).eps)


def test_the_product_of_input_and_candidate(products):
    a, b, _, c = products
    assert_close_products(c, a, b)


def test_the_product_of_output_and_memory(products):
    a, _, h, c = products
    assert_close_products(h, a, c)


@pytest.mark.parametrize("candidate", [-np.inf, np.inf, np.nan, 0.0])
@pytest.mark.parametrize("gate", [-np.inf, np.inf, np.nan, 0.0])
def test_products_at_the_extremes(gate, candidate, dtype):
    zeros = np.zeros((4, 1), dtype)
    bias = np.array([gate, 0, candidate, gate], dtype)  # i, f, g, o
    found = functional.lstm_forward(zeros[:1, :, None], zeros, zeros, bias)
    open_by = {-np.inf: 0, np.inf: 1, 0.0: 0.5}.get(gate, np.nan)
    c = found.c[1, :, 0]
    np.testing.assert_array_equal(c, np.full(1, open_by * np.tanh(candidate), dtype))
    h = open_by * np.tanh(c.astype(WIDER[dtype]))
    np.testing.assert_allclose(found.h[1, :, 0], h, rtol=PRODUCT_ULP * np.finfo(dtype).eps)
