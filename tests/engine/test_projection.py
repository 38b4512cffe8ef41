"""An LSTM whose h is narrower than its memory, as ``torch.nn.LSTM(proj_size=...)`` has it."""

import numpy as np
import pytest
from problems import draw, everything, gaps, load_layer, run_layer

from rnncore import LSTM

# torch says once that its fast path has no projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

BOUND = {"float32": 1e-5, "float64": 1e-13}

# I, H, P: the widths on either side of a register's
SIZES = [(1, 2, 1), (5, 17, 16), (3, 9, 8), (20, 33, 5), (4, 16, 15)]
SCAFFOLDS = [(1, False), (1, True), (2, False), (3, True)]  # layers, both ways


def problem(sizes, scaffold, rng, dtype="float64", steps=6, batch=3, **options):
    names = ("input_size", "hidden_size", "proj_size", "num_layers", "bidirectional")
    options = dict(zip(names, (*sizes, *scaffold), strict=True)) | {"dtype": dtype} | options
    return draw("LSTM", options, steps, batch, everything("LSTM"), rng)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch", [None, 1, 5])
@pytest.mark.parametrize("scaffold", SCAFFOLDS, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", BOUND)
def test_torch(dtype, sizes, scaffold, batch, bias, rng):
    oracle = pytest.importorskip("torch_oracle", reason="PyTorch is not installed")
    drawn = problem(sizes, scaffold, rng, dtype, batch=batch, bias=bias)
    worst = gaps(run_layer(drawn), oracle.run_torch(drawn))
    assert max(worst.values()) < BOUND[dtype], worst


@pytest.mark.parametrize("proj_size", [1, 4])
def test_shapes(proj_size):
    layer = LSTM(3, 5, 2, bidirectional=True, proj_size=proj_size)
    shapes = {name: value.shape for name, value in layer.params.items()}
    assert shapes["weight_ih_l0"] == (20, 3)
    assert shapes["weight_ih_l1_reverse"] == (20, 2 * proj_size)
    assert shapes["weight_hh_l0"] == (20, proj_size)
    assert shapes["weight_hr_l1_reverse"] == (proj_size, 5)
    y, (h, c) = layer(np.zeros((7, 2, 3), np.float32))
    assert (y.shape, h.shape, c.shape) == ((7, 2, 2 * proj_size), (4, 2, proj_size), (4, 2, 5))


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", BOUND)
def test_a_stream_gives_the_bits_of_the_layer(dtype, sizes, layers, rows, rng):
    drawn = problem(sizes, (layers, False), rng, dtype, batch=rows)
    layer, x = load_layer(drawn), drawn.inputs["x"]
    start = drawn.inputs["h0"], drawn.inputs["c0"]
    y, end = layer(x, start)
    stream = layer.freeze().stream(rows)
    for state, want in ((None, layer(x)), (start, (y, end))):
        stream.reset(state)
        for x_t, y_t in zip(x, want[0], strict=True):
            np.testing.assert_array_equal(stream(x_t), y_t)
        for part, expected in zip(stream.state, want[1], strict=True):
            np.testing.assert_array_equal(part, expected, strict=True)


def test_a_projection_that_selects_units(rng):
    """A matrix of ones and zeros: h has the first P of what an LSTM without projection would have.

    The recurrent weights see those alone.
    """
    I, H, P = 3, 5, 2
    layer, plain = LSTM(I, H, proj_size=P, rng=0), LSTM(I, H)
    layer.params["weight_hr_l0"][...] = np.eye(P, H)
    seen = {name: value for name, value in layer.params.items() if name != "weight_hr_l0"}
    seen["weight_hh_l0"] = np.pad(seen["weight_hh_l0"], ((0, 0), (0, H - P)))
    plain.load_params(seen)
    x = rng.standard_normal((6, 2, I), np.float32)
    np.testing.assert_allclose(layer(x)[0], plain(x)[0][..., :P], rtol=1e-6, atol=1e-7)
