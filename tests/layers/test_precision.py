"""Frozen layers below float32: exact integers, known errors, all promises of a frozen layer."""

import copy
import pickle

import numpy as np
import pytest
from dot_units import THERE, use_units

import rnncore
from rnncore._cells.activations import resolve
from rnncore._core import core
from rnncore._engine.weights import narrowed, widened
from rnncore.reference import precision as twin
from rnncore.reference.gru import gru_step_forward
from rnncore.reference.indrnn import indrnn_step_forward
from rnncore.reference.layer_norm_lstm import layer_norm_lstm_step_forward
from rnncore.reference.lstm import lstm_step_forward
from rnncore.reference.rnn import rnn_step_forward

INTEGERS = ("w8a16", "w8a8")
KINDS = ("RNN", "GRU", "LSTM", "IndRNN", "LayerNormLSTM")
OPTIONS = {
    "RNN": [{}, {"nonlinearity": "relu"}],
    "GRU": [{}, {"reset": "before"}],
    "LSTM": [{}, {"peephole": "current"}, {"coupled": True}, {"proj_size": 19}, {"clip": 2.0}],
    "IndRNN": [{}],
    "LayerNormLSTM": [{}],
}
CELLS = [(kind, options) for kind in KINDS for options in OPTIONS[kind]]
every_cell = pytest.mark.parametrize(("kind", "options"), CELLS, ids=lambda v: str(v))
every_precision = pytest.mark.parametrize("precision", twin.PRECISIONS)


@pytest.fixture(params=THERE)
def units(request):
    """With what the processor has for narrow products, and without it."""
    use_units(request.param)
    yield
    use_units(THERE[0])


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def layer_of(kind, options, I=23, H=37, **more):
    return getattr(rnncore, kind)(I, H, **options, **more, rng=0)


def product_alone(w, rows, precision):
    """What the core makes of ``rows @ w.T``: a step of an RNN whose activation does nothing."""
    N, K = w.shape
    layer = rnncore.RNN(K, N, bias=False, activations=[("affine", 1.0, 0.0)])
    layer.params["weight_ih_l0"][...] = w
    return layer.freeze(precision)(rows[np.newaxis])[0][0]


def weights_at_the_ends(N, K):
    w = np.random.default_rng(2).integers(-127, 128, (N, K)).astype(np.float32)
    w[0], w[1], w[2] = 127, -127, 0
    w[3], w[3, K // 2] = 1e-3, 1e4
    w[4:] = np.where(np.arange(K) == 0, 127, w[4:])
    return w


@pytest.mark.usefixtures("units")
@pytest.mark.parametrize("K", [1, 3, 4, 5, 16, 63, 64, 67, 513, 3000])
@pytest.mark.parametrize("B", [1, 2, 5, 6, 7, 13])
@pytest.mark.parametrize("precision", INTEGERS)
def test_the_sums_are_those_of_the_twin(precision, B, K):
    w, largest = weights_at_the_ends(35, K), twin.LARGEST[precision]
    rows = np.random.default_rng(3).integers(-largest, largest + 1, (B, K)).astype(np.float32)
    rows[:, 0] = largest  # so that the scale of a row is 1
    rows[0] = largest
    rows[-1, 1:] = -largest
    found = product_alone(w, rows, precision)
    narrow = twin.quantize(w)
    np.testing.assert_array_equal(found, twin.product(rows, narrow, precision))
    exact = twin.integer_product(rows.astype(np.int64), narrow.values)
    small = (np.abs(exact) < 2**24) & (narrow.scale == 1)
    np.testing.assert_array_equal(found[small], exact[small].astype(np.float32))
    assert small.any()


@pytest.mark.usefixtures("units")
@pytest.mark.parametrize("precision", INTEGERS)
def test_minus_128_is_a_weight_too(precision):
    layer = rnncore.RNN(200, 35, bias=False, activations=[("affine", 1.0, 0.0)])
    fast = layer.freeze(precision)
    arrays = dict(fast._arrays)
    arrays["weight_ih_l0"] = np.full((35, 200), -128, np.int8)
    arrays["weight_ih_l0_scale"] = np.ones(35, np.float32)
    make, (kind, options, *_) = fast.__reduce__()
    largest = twin.LARGEST[precision]
    for sign in (-1, 1):
        rows = np.full((1, 3, 200), sign * largest, np.float32)
        y = make(kind, options, precision, arrays)(rows)[0]
        np.testing.assert_array_equal(y, np.float32(-128 * 200 * largest * sign))


@pytest.mark.usefixtures("units")
@pytest.mark.parametrize("precision", INTEGERS)
def test_rows_are_rounded_as_by_the_twin(precision):
    w, rows = drawn(35, 67), drawn(9, 67, seed=1) * np.logspace(-19, 19, 9, dtype="f4")[:, None]
    found = product_alone(w, rows, precision)
    np.testing.assert_array_equal(found, twin.product(rows, twin.quantize(w), precision))


def step_of_the_twin(layer, precision):
    """A step of the twin, (x_t, *states) to the states, with weights and rows as narrow."""
    options = dict(layer._options)
    params = {name.removesuffix("_l0"): value for name, value in layer.params.items()}
    functions = resolve(None, layer._kind.own_functions(options))

    def narrow(name):
        return twin.NarrowMatrix(twin.quantize(params[name]), precision)

    w_hr = narrow("weight_hr") if "weight_hr" in params else None
    recurrent = params["weight_hh"] if layer._kind.name == "IndRNN" else narrow("weight_hh")
    w, b = (narrow("weight_ih"), recurrent), [params.get(f"bias_{of}") for of in ("ih", "hh")]
    if layer._kind.name == "LayerNormLSTM":
        of = ("ih", "hh", "c")
        norms = (
            *(params[f"norm_{name}_weight"] for name in of),
            *(params[f"norm_{name}_bias"] for name in of),
        )
        rest = *norms, options["eps"], functions, None
        return lambda x, h, c: layer_norm_lstm_step_forward(x, h, c, *w, *rest)[:2]
    if layer._kind.name == "RNN":
        return lambda x, h: (rnn_step_forward(x, h, *w, sum(b), functions[0], None),)
    if layer._kind.name == "IndRNN":
        return lambda x, h: (indrnn_step_forward(x, h, *w, params["bias_ih"], functions[0], None),)
    if layer._kind.name == "GRU":
        reset = options["reset"]
        return lambda x, h: gru_step_forward(x, h, *w, *b, reset, functions, None)[:1]
    how = params.get("weight_ch"), w_hr, options["peephole"], options["coupled"]
    return lambda x, h, c: lstm_step_forward(x, h, c, *w, sum(b), *how, functions, None)[:2]


@pytest.mark.usefixtures("units")
@pytest.mark.parametrize("B", [1, 8])
@pytest.mark.parametrize("precision", INTEGERS)
@pytest.mark.parametrize(
    ("kind", "options"), [cell for cell in CELLS if "clip" not in cell[1]], ids=lambda v: str(v)
)
def test_steps_are_those_of_the_twin(kind, options, precision, B):
    layer = layer_of(kind, options)
    step, fast, x = step_of_the_twin(layer, precision), layer.freeze(precision), drawn(12, B, 23)
    state = [1.5 * drawn(B, width, seed=k) for k, width in enumerate(layer._widths)]
    for x_t in x:
        given = [part[np.newaxis] for part in state]
        _, found = fast(x_t[np.newaxis], tuple(given) if len(given) > 1 else given[0])
        found, expected = [part[0] for part in parts(found)], step(x_t, *state)
        for part, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(part, right, rtol=3e-5, atol=3e-5)
        state = found


def rounded_weights(layer, precision):
    """The layer, with weights that are rounded and then widened again."""
    other = copy.copy(layer)
    arrays = narrowed(layer.params, precision)
    other.params = widened(arrays, layer._shapes, precision)
    return other


@every_cell
def test_bfloat16_weights_alone_are_a_layer_of_rounded_weights(kind, options):
    use_units("plain")
    try:
        layer, x = layer_of(kind, options, num_layers=2, bidirectional=True), drawn(11, 5, 23)
        found = layer.freeze("bfloat16")(x)[0]
    finally:
        use_units(THERE[0])
    np.testing.assert_array_equal(found, rounded_weights(layer, "bfloat16")(x)[0])


@pytest.mark.usefixtures("units")
@every_cell
def test_w8a16_leaves_the_rounding_of_weights(kind, options):
    layer, x = layer_of(kind, options, num_layers=2), drawn(11, 5, 23)
    found = layer.freeze("w8a16")(x)[0]
    np.testing.assert_allclose(found, rounded_weights(layer, "w8a16")(x)[0], rtol=0, atol=1e-3)


@every_precision
def test_comparing_finds_the_largest_difference(precision):
    layer, x = layer_of("GRU", {}, batch_first=True), drawn(5, 11, 23)
    fast = layer.freeze(precision)
    state, lengths = drawn(1, 5, 37), [3, 11, 0, 7, 1]
    found = fast.compare(x, state, lengths=lengths)
    y = fast(x, state, lengths=lengths)[0]
    gap = np.abs(y.astype("f8") - layer(x, state, lengths=lengths)[0])
    assert found.largest == gap.max() == gap[found.where] > 0
    assert found.mean == gap.mean()
    assert fast.compare(x[:, :0]) == (0.0, 0.0, ())


def test_the_core_has_the_precisions_of_the_twin():
    assert set(core.PRECISIONS) == {None, *twin.PRECISIONS}


@pytest.mark.usefixtures("units")
@every_precision
@every_cell
def test_a_row_depends_on_itself_alone(kind, options, precision):
    layer = layer_of(kind, options, num_layers=2)
    fast, x = layer.freeze(precision), drawn(9, 13, 23)
    y, state = fast(x)
    for row in (0, 5, 12):
        alone, _ = fast(x[:, row : row + 1])
        np.testing.assert_array_equal(alone[:, 0], y[:, row])
    lengths = np.array([9, 3, 0, 7, 1, 9, 2, 5, 8, 4, 6, 9, 1])
    ragged, _ = fast(x, lengths=lengths)
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(ragged[:length, row], y[:length, row])
        assert not ragged[length:, row].any()
    with rnncore.num_threads(3):
        np.testing.assert_array_equal(fast(x)[0], y)
    stream = fast.stream(13)
    np.testing.assert_array_equal([stream(x_t).copy() for x_t in x], y)
    whole, _ = fast(x[4:], fast(x[:4])[1])
    np.testing.assert_array_equal(whole, y[4:])
    for part, end in zip(parts(stream.state), parts(state), strict=True):
        np.testing.assert_array_equal(part, end)


@every_precision
@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("B", [1, 24], ids=["units", "rows"])
def test_threads_share_what_takes_long(B, threads, precision):
    fast, x = rnncore.GRU(64, 700, rng=0).freeze(precision), drawn(60, B, 64)
    with rnncore.num_threads(1):
        y = fast(x)[0]
    with rnncore.num_threads(threads):
        np.testing.assert_array_equal(fast(x)[0], y)
        stream = fast.stream(B)
        np.testing.assert_array_equal([stream(x_t).copy() for x_t in x], y)


@pytest.mark.usefixtures("units")
@every_precision
@every_cell
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_strange_numbers_stay_in_their_row(kind, options, precision, strange):
    fast, x = layer_of(kind, options).freeze(precision), drawn(6, 4, 23)
    y = fast(x)[0]
    x[2, 1, 22] = strange
    found = fast(x)[0]
    np.testing.assert_array_equal(np.delete(found, 1, 1), np.delete(y, 1, 1))
    np.testing.assert_array_equal(found[:2], y[:2])
    if precision != "bfloat16" or np.isnan(strange):
        assert np.isnan(found[2:, 1]).all()


@pytest.mark.parametrize("precision", INTEGERS)
def test_inputs_of_any_scale_are_as_exact(precision):
    w, rows = drawn(35, 67), drawn(9, 67, seed=1)
    exact = rows.astype("f8") @ w.T.astype("f8")
    errors = []
    for scale in (1e-20, 1.0, 1e20):
        y = product_alone(w, rows * np.float32(scale), precision)
        errors.append(np.abs(y / np.float64(scale) - exact).max())
    assert max(errors) < 1.1 * min(errors)
    assert not product_alone(w, rows * np.float32(1e-42), precision).any()


@every_precision
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_copies_pickles_and_files_are_the_same(kind, precision, suffix, tmp_path):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    layer = layer_of(kind, {}, I=120, H=120, num_layers=2, batch_first=True)
    fast, x = layer.freeze(precision), drawn(3, 6, 120)
    y = fast(x)[0]
    assert copy.deepcopy(fast) is fast
    path, plain = tmp_path / f"fast{suffix}", tmp_path / f"plain{suffix}"
    fast.save(path)
    layer.save(plain)
    for other in (pickle.loads(pickle.dumps(fast)), rnncore.load(path)):
        assert other.precision == precision
        assert other.nbytes == fast.nbytes
        assert repr(other) == repr(fast)
        np.testing.assert_array_equal(other(x)[0], y)
        with pytest.raises(ValueError, match="compare before saving"):
            other.compare(x)
    part = path.stat().st_size / plain.stat().st_size
    assert part < (0.6 if precision == "bfloat16" else 0.35)


def test_a_plain_frozen_layer_can_be_saved(tmp_path):
    layer = layer_of("LSTM", {})
    layer.freeze().save(tmp_path / "fast.npz")
    fast, x = rnncore.load(tmp_path / "fast.npz"), drawn(3, 2, 23)
    np.testing.assert_array_equal(fast(x)[0], layer(x)[0])
    assert fast.compare(x).largest == 0


def test_weights_that_changed_after_freezing_are_no_matter():
    layer, x = layer_of("LSTM", {}), drawn(3, 2, 23)
    fast = layer.freeze("w8a8")
    y = fast(x)[0]
    layer.params["weight_ih_l0"][...] = 0
    np.testing.assert_array_equal(fast(x)[0], y)
    assert fast.compare(x).largest < 0.1


def test_products_of_scales_beyond_float32_are_no_matter():
    w, rows = np.zeros((2, 4), np.float32), np.zeros((1, 4), np.float32)
    w[0, 0], w[1], rows[0, 1] = 1e20, 0.1, 1e25
    for precision in INTEGERS:
        np.testing.assert_allclose(product_alone(w, rows, precision), [[0, 1e24]], rtol=1e-2)
    w, rows = drawn(5, 8), drawn(3, 8, seed=1)
    for precision in INTEGERS:
        found = product_alone(w, rows * np.float32(1e-32), precision)
        np.testing.assert_allclose(found * 1e32, rows @ w.T, atol=0.1)


@pytest.mark.parametrize("precision", INTEGERS)
def test_the_widest_sums_fit_and_wider_ones_are_refused(precision):
    most, largest = core.NARROW_TERMS, twin.LARGEST[precision]
    w = np.ones((1, most), np.float32)
    rows = np.full((2, most), 255, np.float32)
    rows[1], rows[:, 0] = -largest, largest
    exact = rows.astype("f8") @ w.T if precision == "w8a16" else None
    found = product_alone(w, rows, precision)
    np.testing.assert_array_equal(found, twin.product(rows, twin.quantize(w), precision))
    if exact is not None:
        np.testing.assert_allclose(found, exact, rtol=1e-6)
    layer = rnncore.RNN(most + 1, 1, rng=0)
    with pytest.raises(ValueError, match="a row has 65537 numbers, expected at most 65536"):
        layer.freeze(precision)
    layer.freeze("bfloat16")


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    class Own(rnncore.GRU):
        pass

    with pytest.raises(TypeError, match="layer is of type Own, expected"):
        Own(3, 4).freeze("w8a8").save(tmp_path / "own.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["int8", "", 8, "W8A8", np.array(["w8a8", "x"])])
def test_another_precision_is_refused(precision):
    with pytest.raises(ValueError, match=r"precision is .*, expected None or one of 'bfloat16'"):
        layer_of("GRU", {}).freeze(precision)


@every_precision
def test_float64_is_refused(precision):
    with pytest.raises(ValueError, match="expected None for a layer of float64"):
        layer_of("GRU", {}, dtype="float64").freeze(precision)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("weight_hh_l0_scale"),
        lambda arrays: arrays.update(weight_hh_l0=arrays["weight_hh_l0"].astype("i2")),
        lambda arrays: arrays.update(weight_hh_l0_scale=arrays["weight_hh_l0_scale"][1:]),
        lambda arrays: arrays.update(more=np.zeros(3, np.int8)),
        lambda arrays: arrays.update(weight_hh_l0_scale=-arrays["weight_hh_l0_scale"]),
        lambda arrays: arrays.update(weight_hh_l0_scale=np.full(111, np.inf, "f4")),
    ],
)
def test_a_file_with_other_arrays_is_refused(change, tmp_path):
    from rnncore.layers.storage import load_arrays, save_arrays

    path = tmp_path / "fast.npz"
    layer_of("GRU", {}).freeze("w8a8").save(path)
    kind, options, arrays = load_arrays(path)
    change(arrays)
    save_arrays(path, kind, options, arrays)
    with pytest.raises(ValueError, match=r"fast\.npz (holds no Frozen|has infinity or)"):
        rnncore.load(path)


def test_bfloat16_is_the_nearest():
    a = np.array([1, 1.00390625, 1.01171875, -3.1415927, 1e-40, np.inf, np.nan], np.float32)
    back = twin.from_bfloat16(twin.to_bfloat16(a))
    np.testing.assert_array_equal(back[:4], np.float32([1, 1, 1.015625, -3.140625]))
    np.testing.assert_array_equal(back[5:], [np.inf, np.nan])
    many = drawn(10_000)
    assert (np.abs(twin.from_bfloat16(twin.to_bfloat16(many)) - many) <= np.abs(many) / 256).all()
