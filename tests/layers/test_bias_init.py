"""Biases that give every unit a time scale of its own: `bias_init=("chrono", T_max)`."""

import json

import numpy as np
import pytest

import rnncore as rc
from rnncore import GRU, LSTM, LayerNormLSTM

T_MAX = 40
# Layer -> its bias, how many gates it has, those that keep the memory and those that write to it
GATED = {
    LSTM: ("bias_ih", "ifgo", "f", "i"),
    GRU: ("bias_ih", "rzn", "z", ""),
    LayerNormLSTM: ("norm_ih_bias", "ifgo", "f", "i"),
}
each_layer = pytest.mark.parametrize("kind", GATED, ids=lambda kind: kind.__name__)


def both(kind, H=5, **options):
    """The layer with such biases, and without, of one seed."""
    made = [
        kind(3, H, 2, bidirectional=True, rng=7, bias_init=init, **options)
        for init in (("chrono", T_MAX), None)
    ]
    return made[0], made[1]


def gates(kind, layer, suffix):
    name, letters, *_ = GATED[kind]
    blocks = np.split(layer.params[f"{name}_{suffix}"], len(letters))
    return dict(zip(letters, blocks, strict=True))


SUFFIXES = ("l0", "l0_reverse", "l1", "l1_reverse")


@each_layer
def test_every_unit_keeps_its_memory_for_a_time_up_to_t_max(kind):
    """exp of the bias is uniform in 1 to T_max - 1, in every layer and direction by itself."""
    layer, _ = both(kind, 1000, dtype=np.float64)
    *_, keeps, writes = GATED[kind]
    seen = []
    for suffix in SUFFIXES:
        found = gates(kind, layer, suffix)
        u = np.exp(found[keeps])
        assert 1 <= u.min() < 1.5
        assert T_MAX - 1.5 < u.max() < T_MAX - 1
        np.testing.assert_allclose(np.sort(u), np.linspace(1, T_MAX - 1, 1000), atol=0.06 * T_MAX)
        if writes:
            np.testing.assert_array_equal(found[writes], -found[keeps])
        for gate in set(found) - {keeps, writes}:
            assert not found[gate].any()
        seen.append(u)
    assert len({u.tobytes() for u in seen}) == len(SUFFIXES)
    assert np.abs(np.corrcoef(seen) - np.eye(len(SUFFIXES))).max() < 0.15


@each_layer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_else_is_as_without(kind, dtype):
    layer, plain = both(kind, dtype=dtype)
    name = GATED[kind][0]
    assert list(layer.params) == list(plain.params)
    for key, value in layer.params.items():
        assert value.dtype == dtype
        if key.startswith(name):
            assert (value != plain.params[key]).any()
        else:
            np.testing.assert_array_equal(value, plain.params[key])


@each_layer
def test_a_gate_that_sees_nothing_forgets_over_so_many_steps(kind):
    """Weights of 0: a memory of 1 is u / (1 + u) after a step, as f or z is sigmoid(log u)."""
    layer = kind(1, 6, bias_init=("chrono", 9), dtype=np.float64, rng=0)
    u = np.exp(gates(kind, layer, "l0")[GATED[kind][2]])
    for name, value in layer.params.items():
        if name.startswith("weight"):
            value[...] = 0
    ones = np.ones((1, 6))
    _, state = layer(np.ones((3, 1)), ones if kind is GRU else (0 * ones, ones))
    kept = state[0] if kind is GRU else state[1][0]
    np.testing.assert_allclose(kept, (u / (1 + u)) ** 3, rtol=1e-12)


def test_coupled_gates_keep_by_writing_less():
    layer, _ = both(LSTM, coupled=True, peephole="previous")
    found = gates(LSTM, layer, "l1")
    np.testing.assert_array_equal(found["i"], -found["f"])
    assert found["i"].max() < 0


@each_layer
def test_a_seed_says_it_all_and_the_draw_is_the_layers_own(kind):
    def made(rng, **options):
        return kind(3, 5, 2, bias_init=("chrono", T_MAX), rng=rng, **options).params

    name = f"{GATED[kind][0]}_l1"
    first, in_float64 = made(3), made(3, dtype=np.float64)
    np.testing.assert_array_equal(made(3)[name], first[name])
    np.testing.assert_array_equal(made(np.random.default_rng(3))[name], first[name])
    np.testing.assert_array_equal(in_float64[name].astype(np.float32), first[name])
    assert (made(4)[name] != first[name]).any()


@each_layer
def test_it_is_shown_saved_and_loaded(kind, tmp_path):
    layer, plain = both(kind)
    assert f"bias_init=('chrono', {T_MAX})" in repr(layer)
    assert "bias_init" not in repr(plain)
    assert eval(repr(layer), vars(rc)).options == layer.options
    assert layer.bias_init == ("chrono", T_MAX)
    assert json.loads(json.dumps(layer.options))["bias_init"] == ["chrono", T_MAX]
    layer.save(tmp_path / "layer.npz")
    again = rc.load(tmp_path / "layer.npz")
    assert again.options == layer.options
    for name, value in layer.params.items():
        np.testing.assert_array_equal(again.params[name], value)


@each_layer
def test_a_cell_starts_as_its_layer(kind):
    cell = getattr(rc, f"{kind.__name__}Cell")(3, 5, bias_init=["chrono", T_MAX], rng=0)
    layer = kind(3, 5, bias_init=("chrono", np.int64(T_MAX)), rng=0)
    assert cell.bias_init == layer.bias_init == ("chrono", T_MAX)
    for name, value in cell.params.items():
        np.testing.assert_array_equal(layer.params[f"{name}_l0"], value)


def test_the_least_range_starts_with_gates_half_open():
    assert not LSTM(3, 5, bias_init=("chrono", 2)).params["bias_ih_l0"].any()


def test_a_longest_time_that_is_not_told_is_100():
    one, other = (LSTM(3, 50, bias_init=init, rng=0) for init in ("chrono", ("chrono", 100)))
    assert one.bias_init == other.bias_init == ("chrono", 100)
    np.testing.assert_array_equal(one.params["bias_ih_l0"], other.params["bias_ih_l0"])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            "chrono ",
            ValueError,
            r"bias_init is 'chrono ', expected None, 'chrono' or \('chrono', T_m",
        ),
        (("chrono",), ValueError, r"bias_init is \('chrono',\), expected None, "),
        (("ones", 5), ValueError, r"bias_init is \('ones', 5\), expected None, "),
        (100, ValueError, "bias_init is 100, expected None, "),
        (("chrono", 1), ValueError, r"bias_init\[1\] is 1, expected an integer of at least 2"),
        (("chrono", 10.5), TypeError, r"bias_init\[1\] is 10.5, expected an integer"),
        (("chrono", True), TypeError, r"bias_init\[1\] is True, expected an integer"),
    ],
)
@each_layer
def test_what_is_no_such_start_is_refused(kind, wrong, error, message):
    with pytest.raises(error, match=f"^{message}"):
        kind(3, 5, bias_init=wrong)


@each_layer
def test_without_biases_there_is_nothing_to_start(kind):
    with pytest.raises(ValueError, match=r"^bias_init is \('chrono', 9\) and bias is False"):
        kind(3, 5, bias=False, bias_init=("chrono", 9))


@pytest.mark.parametrize("kind", [rc.RNN, rc.IndRNN, rc.RNNCell])
def test_what_has_no_gates_has_no_such_option(kind):
    with pytest.raises(TypeError, match="bias_init"):
        kind(3, 5, bias_init=("chrono", 9))
