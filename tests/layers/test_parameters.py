"""Names, shapes and initial values of the parameters."""

import numpy as np
import pytest
from numpy.random import default_rng
from problems import LAYERS

import rnncore
from rnncore._cells.kind import sized
from rnncore.layers import GRU, LSTM, RNN, IndRNN, LayerNormLSTM
from rnncore.layers.parameters import _orthonormal


def starting(stem, start):
    """The layers whose parameter of this stem starts like that."""
    return [
        layer
        for layer in LAYERS
        if any((weight.stem, weight.start) == (stem, start) for weight in layer._kind.weights)
    ]


def each(layers):
    return pytest.mark.parametrize("cell", layers, ids=lambda cell: cell.__name__)


each_cell = each(LAYERS)


def shapes(layer):
    return {name: value.shape for name, value in layer.params.items()}


def blocks(layer, name):
    return np.split(layer.params[name], len(layer._kind.gates))


@each([RNN, GRU, LSTM])
def test_names_and_shapes_of_one_layer(cell):
    rows = {RNN: 1, GRU: 3, LSTM: 4}[cell] * 5
    assert shapes(cell(3, 5)) == {
        "weight_ih_l0": (rows, 3),
        "weight_hh_l0": (rows, 5),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
    }


@each_cell
def test_the_parameters_are_those_of_the_description(cell):
    sizes = {"I": 3, "H": 5, "P": 5}
    weights = [weight for weight in cell._kind.weights if weight.needs in ("", "bias")]
    want = {f"{weight.stem}_l0": sized(weight.shape, sizes) for weight in weights}
    assert list(shapes(cell(3, 5)).items()) == list(want.items())
    without = {f"{weight.stem}_l0" for weight in weights if not weight.needs}
    assert set(shapes(cell(3, 5, bias=False))) == without


def test_a_recurrent_weight_of_an_indrnn_is_one_per_unit():
    assert shapes(IndRNN(3, 5)) == {
        "weight_ih_l0": (5, 3),
        "weight_hh_l0": (5,),
        "bias_ih_l0": (5,),
        "bias_hh_l0": (5,),
    }


def test_norms_have_a_gain_and_a_bias():
    both = {"weight_ih_l0": (20, 3), "weight_hh_l0": (20, 5)}
    norms = {"norm_ih": (20,), "norm_hh": (20,), "norm_c": (5,)}
    gains = {f"{name}_weight_l0": shape for name, shape in norms.items()}
    biases = {f"{name}_bias_l0": shape for name, shape in norms.items()}
    assert shapes(LayerNormLSTM(3, 5)) == both | gains | biases
    assert shapes(LayerNormLSTM(3, 5, bias=False)) == both | gains


def test_names_and_shapes_of_a_stack_in_both_directions():
    assert list(shapes(GRU(3, 5, 2, bias=False, bidirectional=True)).items()) == [
        ("weight_ih_l0", (15, 3)),
        ("weight_hh_l0", (15, 5)),
        ("weight_ih_l0_reverse", (15, 3)),
        ("weight_hh_l0_reverse", (15, 5)),
        ("weight_ih_l1", (15, 10)),
        ("weight_hh_l1", (15, 5)),
        ("weight_ih_l1_reverse", (15, 10)),
        ("weight_hh_l1_reverse", (15, 5)),
    ]


def test_peepholes_are_three_per_unit():
    layer = LSTM(3, 5, 2, peephole="current")
    assert shapes(layer)["weight_ch_l0"] == shapes(layer)["weight_ch_l1"] == (15,)
    assert "weight_ch_l0" not in LSTM(3, 5).params


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_cell
def test_every_parameter_is_writable_contiguous_and_of_the_dtype(cell, dtype):
    for value in cell(3, 5, 2, dtype=dtype).params.values():
        assert value.dtype == dtype
        assert value.flags.c_contiguous
        assert value.flags.writeable


@each(starting("weight_hh", "orthonormal"))
def test_each_recurrent_block_is_orthogonal(cell):
    layer = cell(3, 17, 2, bidirectional=True, dtype=np.float64, rng=1)
    names = [name for name in layer.params if name.startswith("weight_hh")]
    assert len(names) == 4
    for name in names:
        for block in blocks(layer, name):
            np.testing.assert_allclose(block @ block.T, np.eye(17), atol=1e-14)


def test_recurrent_blocks_have_either_sign_equally_often():
    """LAPACK's Q alone would have a fixed sign: without the correction, one of these is 0."""
    rng = np.random.default_rng(0)
    values = [RNN(1, 1, rng=rng).params["weight_hh_l0"].item() for _ in range(400)]
    assert set(values) == {-1.0, 1.0}
    assert abs(np.mean(values)) < 0.2  # four standard deviations


@pytest.mark.parametrize("size", [(2, 3), (128, 128), (129, 129), (300, 140)], ids=str)
def test_a_projected_block_has_orthonormal_rows_or_columns(size):
    """Some are drawn in one block of reflections, some in several."""
    H, P = size
    layer = LSTM(3, H, proj_size=P, dtype=np.float64, rng=1) if P < H else None
    blocks_ = (
        blocks(layer, "weight_hh_l0") if layer else [_orthonormal(size, default_rng(1), np.float64)]
    )
    for block in blocks_:
        small = block.T @ block if H >= P else block @ block.T
        np.testing.assert_allclose(small, np.eye(min(size)), atol=1e-13)


def test_recurrent_blocks_are_uniform_among_the_orthogonal_matrices():
    """Of such a matrix the trace has the mean 0, the variance 1 and the fourth moment 3."""
    rng = default_rng(0)
    traces = np.array([np.trace(_orthonormal((6, 6), rng, np.float64)) for _ in range(4000)])
    assert abs(traces.mean()) < 4 / np.sqrt(4000)
    assert abs((traces**2).mean() - 1) < 4 * np.sqrt(2 / 4000)
    assert abs((traces**4).mean() - 3) < 4 * np.sqrt(96 / 4000)


def test_one_seed_gives_the_same_bits_for_any_number_of_threads():
    layers = []
    for count in (1, 3):
        with rnncore.num_threads(count):
            layers.append(LSTM(200, 300, rng=0))
    for name, value in layers[0].params.items():
        np.testing.assert_array_equal(layers[1].params[name], value)


def test_the_units_of_an_indrnn_forget_at_once_or_remember():
    """A recurrent weight is uniform from 0 to 1, in every layer and direction."""
    layer = IndRNN(3, 2000, 2, bidirectional=True, dtype=np.float64, rng=2)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        value = np.sort(layer.params[f"weight_hh_{suffix}"])
        assert value[0] >= 0
        assert value[-1] < 1
        np.testing.assert_allclose(value, np.linspace(0, 1, 2000), atol=0.05)


@pytest.mark.parametrize("bias", [True, False])
def test_norms_start_out_as_they_are_and_remembering(bias):
    layer = LayerNormLSTM(3, 2, 2, bidirectional=True, bias=bias)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        found = {
            name: a.tolist() for name, a in layer.params.items() if name.endswith(f"_{suffix}")
        }
        assert found[f"norm_ih_weight_{suffix}"] == found[f"norm_hh_weight_{suffix}"] == [1] * 8
        assert found[f"norm_c_weight_{suffix}"] == [1] * 2
        if bias:
            assert found[f"norm_ih_bias_{suffix}"] == [0, 0, 1, 1, 0, 0, 0, 0]
            assert found[f"norm_hh_bias_{suffix}"] == [0] * 8
            assert found[f"norm_c_bias_{suffix}"] == [0] * 2


@each(starting("weight_ih", "glorot"))
def test_each_input_block_is_glorot_uniform(cell):
    I, H = 70, 90
    layer = cell(I, H, dtype=np.float64, rng=2)
    bound = np.sqrt(6 / (I + H))
    for block in blocks(layer, "weight_ih_l0"):
        assert np.abs(block).max() <= bound
        assert np.abs(block).max() > 0.99 * bound
        # Of 6300 uniform draws, the deviation and the mean are known to about 1 %.
        assert block.std() == pytest.approx(bound / np.sqrt(3), rel=0.04)
        assert abs(block.mean()) < 0.04 * bound


@each(starting("bias_ih", 0.0))
def test_biases_start_at_zero(cell):
    layer = cell(3, 5, 2)
    for name in ("bias_ih_l0", "bias_hh_l0", "bias_ih_l1", "bias_hh_l1"):
        assert not layer.params[name].any()


@pytest.mark.parametrize(("coupled", "i"), [(False, 0.0), (True, -1.0)])
def test_lstm_starts_out_remembering(coupled, i):
    """With coupled gates f = 1 - i, and sigmoid(1) = 1 - sigmoid(-1)."""
    layer = LSTM(3, 2, 2, bidirectional=True, coupled=coupled, peephole="previous")
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert layer.params[f"bias_ih_{suffix}"].tolist() == [i, i, 1, 1, 0, 0, 0, 0]
        assert not layer.params[f"bias_hh_{suffix}"].any()
        assert not layer.params[f"weight_ch_{suffix}"].any()


@each_cell
def test_a_seed_says_it_all(cell):
    by_seed, again, other = (cell(3, 5, 2, rng=seed).params for seed in (7, 7, 8))
    by_generator = cell(3, 5, 2, rng=np.random.default_rng(7)).params
    in_float64 = cell(3, 5, 2, rng=7, dtype=np.float64).params
    for name, value in by_seed.items():
        np.testing.assert_array_equal(again[name], value)
        np.testing.assert_array_equal(by_generator[name], value)
        np.testing.assert_array_equal(in_float64[name].astype(np.float32), value)
        if name.startswith("weight"):
            assert (other[name] != value).all()


def test_many_units_are_the_same_in_both_precisions_but_for_rounding():
    single, double = (RNN(1, 300, rng=7, dtype=dtype) for dtype in (np.float32, np.float64))
    for name, value in single.params.items():
        # Some 300 reflections, each of which rounds by an epsilon of 1.2e-7 or less.
        np.testing.assert_allclose(double.params[name], value, rtol=0, atol=300 * 1.2e-7)
    block = single.params["weight_hh_l0"].astype(np.float64)
    np.testing.assert_allclose(block @ block.T, np.eye(300), atol=1e-5)


def test_no_seed_draws_anew():
    first, second = (RNN(3, 5).params["weight_ih_l0"] for _ in range(2))
    assert (first != second).all()


def test_nothing_but_rng_is_drawn_from():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    rng = np.random.default_rng(0)
    GRU(3, 5, rng=rng)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert rng.random() != np.random.default_rng(0).random()


def test_layers_that_share_a_generator_differ():
    rng = np.random.default_rng(0)
    first, second = GRU(3, 5, rng=rng), GRU(3, 5, rng=rng)
    assert (first.params["weight_hh_l0"] != second.params["weight_hh_l0"]).all()
