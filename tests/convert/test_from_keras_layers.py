"""Models of Keras, layer by layer: the same outputs here, from files and from memory."""

import numpy as np
import pytest
from in_keras import check, outputs, randomised, three_ways
from numpy.testing import assert_allclose

import rnncore as rc
from rnncore.convert import keras_activations, keras_weights
from rnncore.convert.from_keras import from_keras
from rnncore.convert.keras_config import Node

keras = pytest.importorskip("keras", reason="Keras is not installed")
L = keras.layers
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5:UserWarning"),
]
B, T, I, H = 3, 7, 5, 4


def sequences(rng, *shapes):
    return [rng.standard_normal((*shape, I)).astype(np.float32) for shape in shapes]


def sequential(rng, *layers, shape=(None, I)):
    return randomised(keras.Sequential([L.Input(shape), *layers]), rng)


KINDS = {"LSTM": L.LSTM, "GRU": L.GRU, "SimpleRNN": L.SimpleRNN}
OPTIONS = [
    ("LSTM", {}),
    ("LSTM", {"use_bias": False, "unit_forget_bias": False}),
    ("LSTM", {"recurrent_activation": "hard_sigmoid", "activation": "softsign"}),
    ("LSTM", {"activation": "elu", "recurrent_activation": "tanh", "dropout": 0.5}),
    ("GRU", {}),
    ("GRU", {"reset_after": False, "recurrent_dropout": 0.5}),
    ("GRU", {"use_bias": False, "activation": "leaky_relu"}),
    ("GRU", {"recurrent_activation": "hard_sigmoid", "activation": "linear"}),
    ("SimpleRNN", {}),
    ("SimpleRNN", {"activation": "relu", "use_bias": False}),
    ("SimpleRNN", {"activation": "softplus", "kernel_regularizer": "l2"}),
]


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_recurrent(kind, options, backwards, every, tmp_path, rng):
    layer = KINDS[kind](H, return_sequences=every, go_backwards=backwards, **options)
    check(sequential(rng, layer), tmp_path, *sequences(rng, (B, T), (1, 1), (2, 13)))


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("kind", KINDS)
def test_bidirectional(kind, merge, every, tmp_path, rng):
    layer = L.Bidirectional(KINDS[kind](H, return_sequences=every), merge_mode=merge)
    check(sequential(rng, layer, L.Dense(2)), tmp_path, *sequences(rng, (B, T), (1, 1), (2, 9)))


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(
    "cells",
    [
        lambda: L.LSTMCell(H),
        lambda: [L.GRUCell(3, reset_after=False), L.LSTMCell(H), L.SimpleRNNCell(2), L.LSTMCell(3)],
    ],
    ids=["one", "a stack"],
)
def test_cells(cells, every, tmp_path, rng):
    layers = L.RNN(cells(), return_sequences=every), L.Dense(2)
    check(sequential(rng, *layers), tmp_path, *sequences(rng, (B, T), (2, 1)))


@pytest.mark.parametrize("every", [False, True])
def test_a_cell_in_two_directions(every, tmp_path, rng):
    layer = L.Bidirectional(L.RNN(L.GRUCell(H), return_sequences=every), merge_mode="ave")
    check(sequential(rng, layer), tmp_path, *sequences(rng, (B, T)))


OVER_TIME = {
    "valid": lambda: L.Conv1D(6, 3, activation="relu"),
    "strides": lambda: L.Conv1D(6, 4, strides=3, padding="same", use_bias=False),
    "same": lambda: L.Conv1D(6, 2, padding="same"),
    "same dilated": lambda: L.Conv1D(6, 3, padding="same", dilation_rate=2),
    "causal": lambda: L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="gelu"),
    "causal strides": lambda: L.Conv1D(6, 3, padding="causal", strides=2),
    "max": lambda: L.MaxPooling1D(2),
    "max strides": lambda: L.MaxPooling1D(3, strides=1),
    "average": lambda: L.AveragePooling1D(3, strides=2),
    "max same": lambda: L.MaxPooling1D(4, strides=3, padding="same"),
    "average same": lambda: L.AveragePooling1D(3, strides=1, padding="same"),
    "groups": lambda: L.Conv1D(6, 3, groups=3, activation="tanh"),
    "a group for each": lambda: L.Conv1D(
        12, 4, strides=2, groups=6, padding="same", use_bias=False
    ),
    "global max": lambda: L.GlobalMaxPooling1D(),
    "global average": lambda: L.GlobalAveragePooling1D(),
}


@pytest.mark.parametrize("name", OVER_TIME)
def test_over_time(name, tmp_path, rng):
    model = sequential(rng, L.Dense(6), OVER_TIME[name](), L.Dense(2))
    check(model, tmp_path, *sequences(rng, (B, T), (1, 8), (2, 13)))


@pytest.mark.parametrize("options", [(4, 1), (2, 2), (3, 2), (9, 4), (2, 5)], ids=str)
@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_windows_at_the_ends(kind, options, rng):
    """As Keras has it on JAX: on PyTorch an average has the step at an end several times."""
    pytest.importorskip("jax", reason="JAX is not installed")
    from keras.src.backend.jax import nn

    size, stride = options
    layer = getattr(L, f"{kind}Pooling1D")(size, strides=stride, padding="same")
    made = from_keras(keras.Sequential([L.Input((None, I)), layer]))
    pool = nn.max_pool if kind == "Max" else nn.average_pool
    for x in sequences(rng, (B, T), (1, 1), (2, 17)):
        expected = np.asarray(pool(x, size, stride, "same", "channels_last"))
        assert_allclose(made(x)[0], expected, rtol=1e-5, atol=1e-6)


BY_STEP = {
    "dense": lambda: [L.Dense(6)],
    "dense without": lambda: [L.Dense(6, use_bias=False, activation="softmax")],
    "batch": lambda: [L.BatchNormalization(epsilon=0.01, momentum=0.9)],
    "batch plain": lambda: [L.BatchNormalization(center=False, scale=False)],
    "batch scale": lambda: [L.BatchNormalization(center=False)],
    "batch centre": lambda: [L.BatchNormalization(scale=False)],
    "layer": lambda: [L.LayerNormalization(epsilon=0.01)],
    "layer plain": lambda: [L.LayerNormalization(center=False, scale=False)],
    "layer centre": lambda: [L.LayerNormalization(scale=False)],
    "time": lambda: [L.TimeDistributed(L.Dense(3, activation="tanh")), L.Dense(2)],
    "time batch": lambda: [L.TimeDistributed(L.BatchNormalization())],
    "time model": lambda: [L.TimeDistributed(keras.Sequential([L.Dense(3), L.ReLU()]))],
    "training": lambda: [
        L.Dropout(0.5), L.SpatialDropout1D(0.5), L.GaussianNoise(1.0), L.GaussianDropout(0.5),
        L.AlphaDropout(0.5), L.Identity(), L.Dense(2),
    ],
    "rescaling": lambda: [L.Rescaling(0.5, offset=2.0)],
    "nothing": lambda: [L.Identity()],
}  # fmt: skip


@pytest.mark.parametrize("name", BY_STEP)
def test_by_step(name, tmp_path, rng):
    model = sequential(rng, *BY_STEP[name]())
    check(model, tmp_path, *sequences(rng, (B, T), (1, 1)))


@pytest.mark.parametrize("name", [name for name in BY_STEP if "time" not in name])
def test_without_steps(name, tmp_path, rng):
    layers = [layer for layer in BY_STEP[name]() if "Spatial" not in type(layer).__name__]
    model = sequential(rng, *layers, L.Flatten(), shape=(I,))
    check(model, tmp_path, rng.standard_normal((B, I)).astype(np.float32))


FUNCTIONS = [
    "linear", "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "swish", "mish",
    "sigmoid", "hard_sigmoid", "hard_silu", "hard_tanh", "tanh", "softplus", "softsign",
    "exponential", "log_sigmoid", "softmax", "log_softmax",
]  # fmt: skip
LAYERS = [
    lambda: L.ReLU(),
    lambda: L.ReLU(max_value=0.7),
    lambda: L.ReLU(negative_slope=0.2),
    lambda: L.ReLU(threshold=0.4),
    lambda: L.LeakyReLU(),
    lambda: L.LeakyReLU(negative_slope=0.1),
    lambda: L.ELU(alpha=0.7),
    lambda: L.Softmax(),
    lambda: L.Activation("tanh"),
    lambda: L.Dense(3, activation=L.LeakyReLU(negative_slope=0.4)),
    lambda: L.Activation(L.ReLU(max_value=1.0)),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions(function, tmp_path, rng):
    model = sequential(rng, L.Activation(function))
    check(model, tmp_path, 3 * sequences(rng, (B, T))[0])


@pytest.mark.parametrize("k", range(len(LAYERS)))
def test_layers_of_functions(k, tmp_path, rng):
    check(sequential(rng, LAYERS[k]()), tmp_path, 3 * sequences(rng, (B, T))[0])


def test_every_function_of_keras_is_there_or_refused():
    from keras.src.activations import ALL_OBJECTS_DICT

    refused = set()
    for name in ALL_OBJECTS_DICT:
        node = Node("Dense", "a", {"activation": name})
        try:
            keras_activations.of_option(node, "activation", 3)
        except ValueError:
            refused.add(name)
    assert refused == {
        "glu", "hard_shrink", "soft_shrink", "sparse_plus", "sparse_sigmoid", "sparsemax",
        "squareplus", "tanh_shrink", "threshold",
    }  # fmt: skip


def deep(rng):
    """Layers whose classes repeat, whose names are against their order, and models within."""
    inner = keras.Sequential(
        [L.Dense(6, name="z"), L.BatchNormalization(), L.Dense(5, activation="relu", name="a")]
    )
    start = keras.Input((None, H))
    return sequential(
        rng,
        L.GRU(H, return_sequences=True, name="gru_1"),
        L.GRU(H, return_sequences=True, name="gru"),
        keras.Model(start, L.LSTM(6, return_sequences=True)(L.Dense(3, name="gru_2")(start))),
        inner,
        L.BatchNormalization(),
        L.LSTM(3, name="lstm with blanks"),
        L.Dense(2, name="a" * 70),
    )


def test_a_deep_model(tmp_path, rng):
    model = check(deep(rng), tmp_path, *sequences(rng, (B, T), (1, 2)))
    assert model.names[:2] == ("gru_1", "gru")
    assert "lstm with blanks" in model.names
    assert model.batch_first
    saved = tmp_path / "model.npz"
    model.save(saved)
    x = sequences(rng, (B, T))[0]
    assert_allclose(rc.load(saved)(x)[0], model(x)[0], rtol=0)


@pytest.mark.parametrize("frozen", ["inner", "first"])
def test_layers_that_are_not_trained(frozen, tmp_path, rng):
    """A legacy file has the weights that are trained before the others."""
    model = deep(rng)
    inner = next(layer for layer in model.layers if isinstance(layer, keras.Sequential))
    if frozen == "inner":
        inner.trainable = False
    else:
        inner.layers[0].trainable = False
    check(model, tmp_path, *sequences(rng, (B, T)))


def test_a_functional_model(tmp_path, rng):
    x = keras.Input((None,), dtype="int32")
    h = L.Embedding(11, I)(x)
    h = L.Conv1D(6, 3, padding="causal")(h)
    h, *_ = L.LSTM(H, return_sequences=True, return_state=True)(h)
    h = L.Dropout(0.5)(h)
    model = randomised(keras.Model(x, L.Dense(2, activation="softmax")(h)), rng)
    check(model, tmp_path, rng.integers(0, 11, (B, T)), rng.integers(0, 11, (1, 2)))


@pytest.mark.parametrize("form", ["y", "list", "dict", "inside"])
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("kind", [L.LSTM, L.GRU])
def test_states_that_nobody_reads(kind, every, form, tmp_path, rng):
    x = keras.Input((None, I))
    y, *_ = kind(H, return_sequences=every, return_state=True)(x)
    if form == "inside":
        y = L.Dense(2)(y)
    model = randomised(keras.Model(x, {"list": [y], "dict": {"y": y}}.get(form, y)), rng)
    for found in three_ways(model, tmp_path):
        for own in sequences(rng, (B, T), (1, 1)):
            expected = outputs(keras.Model(x, y), own)
            assert_allclose(found(own)[0], expected, rtol=1e-5, atol=1e-6)


def test_states_among_the_outputs(tmp_path):
    x = keras.Input((None, I))
    model = keras.Model(x, L.LSTM(H, return_state=True, name="rnn")(x))
    message = (
        r"Functional\) has 3 outputs, expected one: it also gives output 1 of layer 'rnn'; final"
    )
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"model{suffix}")
        with pytest.raises(ValueError, match=message):
            from_keras(tmp_path / f"model{suffix}")
    with pytest.raises(ValueError, match=message):
        from_keras(model)


def test_stateful_is_a_stream(tmp_path, rng):
    start = keras.Input((None, I), batch_size=1)
    model = keras.Model(start, L.Dense(2)(L.LSTM(H, return_sequences=True, stateful=True)(start)))
    randomised(model, rng)
    model.layers[1].reset_state()
    model.save(tmp_path / "m.keras")
    made = from_keras(tmp_path / "m.keras")
    state = None
    for x in sequences(rng, (1, 3), (1, 1), (1, 4)):
        y, state = made(x, state)
        assert_allclose(y, outputs(model, x), rtol=1e-5, atol=1e-6)


def test_a_layer_alone(rng):
    layer = L.Bidirectional(L.GRU(H))
    (x,) = sequences(rng, (B, T))
    expected = outputs(layer, x)
    assert_allclose(from_keras(layer)(x)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["float64", "mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_dtype_policies(policy, tmp_path, rng):
    options = {"dtype": policy, "recurrent_initializer": "glorot_uniform"}
    layers = [L.GRU(H, return_sequences=True, **options), L.Dense(2, dtype=policy)]
    model = keras.Sequential([L.Input((None, I), dtype="float32"), *layers])
    for weight in model.weights:
        weight.assign(rng.standard_normal(weight.shape).astype(np.float32) / 2)
    model.save(tmp_path / "m.keras")
    found = [from_keras(tmp_path / "m.keras"), from_keras(model)]
    dtype = np.float64 if policy == "float64" else np.float32
    for made in found:
        assert made.dtype == dtype
        x = rng.standard_normal((B, T, I)).astype(dtype)
        wide = keras.Sequential([L.Input((None, I)), L.GRU(H, return_sequences=True), L.Dense(2)])
        wide.set_weights([keras.ops.convert_to_numpy(keras.ops.cast(w, "float32"))
                          for w in model.weights])  # fmt: skip
        expected = outputs(wide, x.astype(np.float32))
        assert_allclose(made(x)[0], expected, rtol=1e-4, atol=1e-5)


def test_names_of_classes_are_written_as_keras_does():
    from keras.src.utils.naming import to_snake_case

    for name in [*dir(L), "A", "AB", "Ab", "aB", "A1B", "LSTM2Cell", "_Private"]:
        assert keras_weights.snake_case(name) == to_snake_case(name), name
