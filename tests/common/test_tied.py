"""Tied weights: one array under several names is one parameter, with the sum of their gradients."""

import copy
import pickle

import numpy as np
import problems
import pytest
from problems import STEPS

import rnncore as rc
from rnncore._common.groups import ParamGrads
from rnncore.language_model import LanguageModel
from rnncore.models.part import HeadGrads

V, D, T, B = 7, 5, 4, 3
OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.3}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "adam": ("Adam", {"lr": 0.05}),
    "decay": ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "weight_decay": 0.1}),
}
CLIPS = ["none", "norm", "value"]
LIMITS = {"norm": 0.2, "value": 0.01}  # each is below what comes at every step
VIEWS = {"the same object": lambda w: w, "another view": lambda w: w[:]}


def tied(view, dtype=np.float64):
    """A language model whose head is its embedding, and what it is trained on."""
    embedding, head = rc.Embedding(V, D, dtype=dtype, rng=0), rc.Linear(D, V, dtype=dtype, rng=1)
    head.params["weight"] = view(embedding.params["weight"])
    rng = np.random.default_rng(2)
    batches = [(rng.integers(0, V, (T, B)), rng.integers(0, V, (T, B))) for _ in range(3)]
    return embedding, head, batches


def gradients(embedding, head, ids, targets):
    vectors, embedding_trace = embedding.forward(ids)
    logits, head_trace = head.forward(vectors)
    _, dlogits = rc.softmax_cross_entropy(logits, targets)
    head_grads = head.backward(head_trace, dlogits)
    return [embedding.backward(embedding_trace, head_grads.x), head_grads]


def train(optimizer, clip, view=VIEWS["the same object"]):
    """The weight and the bias after three steps, and the norms before clipping."""
    embedding, head, batches = tied(view)
    name, options = OPTIMIZERS[optimizer]
    optimizer = getattr(rc, name)([embedding, head], **options)
    norms = []
    for ids, targets in batches:
        grads = gradients(embedding, head, ids, targets)
        norms.append(rc.clip_grad_norm(grads, LIMITS["norm"] if clip == "norm" else np.inf))
        if clip == "value":
            rc.clip_grad_value(grads, LIMITS["value"])
        optimizer.step(grads)
    assert np.shares_memory(embedding.params["weight"], head.params["weight"])
    return embedding.params["weight"], head.params["bias"], norms


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_three_steps_of_a_tied_parameter_of_torch(optimizer, clip, view):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    embedding, head, batches = tied(VIEWS[view])
    weight = torch.nn.Parameter(torch.tensor(embedding.params["weight"]))
    bias = torch.nn.Parameter(torch.tensor(head.params["bias"]))
    look_up, linear = torch.nn.Embedding(V, D), torch.nn.Linear(D, V)
    look_up.weight = linear.weight = weight
    linear.bias = bias
    name, options = OPTIMIZERS[optimizer]
    steps = getattr(torch.optim, name)([weight, bias], **options)
    norms = []
    for ids, targets in batches:
        steps.zero_grad()
        logits = linear(look_up(torch.tensor(ids)))
        wanted = torch.tensor(targets).reshape(-1)
        torch.nn.functional.cross_entropy(logits.reshape(-1, V), wanted).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_([weight, bias], np.inf)))
        if clip == "norm":  # torch divides by the norm and 1e-6 more
            for parameter in (weight, bias):
                parameter.grad *= LIMITS["norm"] / norms[-1]
        if clip == "value":
            torch.nn.utils.clip_grad_value_([weight, bias], LIMITS["value"])
        steps.step()

    found = train(optimizer, clip, VIEWS[view])
    np.testing.assert_allclose(found[0], weight.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(found[1], bias.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(found[2], norms, rtol=1e-14)
    assert min(norms) > LIMITS["norm"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_are_those_of_one_name_with_the_sum(optimizer, rng):
    name, options = OPTIMIZERS[optimizer]
    w, other = rng.standard_normal((2, 3, 4)).astype(np.float32)
    one, three = {"w": w.copy(), "o": other.copy()}, {"a": w.copy(), "o": other.copy()}
    three |= {"b": three["a"], "c": three["a"][:]}
    of_one, of_three = (getattr(rc, name)(params, **options) for params in (one, three))
    for _ in range(3):
        drawn = rng.standard_normal((4, 3, 4)).astype(np.float32)
        grads = dict(zip("abco", drawn, strict=True))
        before = copy.deepcopy(grads)
        of_three.step(dict(reversed(grads.items())))
        of_one.step({"w": grads["a"] + grads["b"] + grads["c"], "o": grads["o"]})
        for key, g in before.items():
            np.testing.assert_array_equal(grads[key], g)
    np.testing.assert_array_equal(three["a"], one["w"])
    np.testing.assert_array_equal(three["o"], one["o"])


def test_the_state_has_one_slot_under_the_first_name():
    w = np.ones(2)
    params = [{"embed": w}, {"head": w, "bias": np.ones(2)}]
    optimizer = rc.Adam(params)
    names = ["mean.0.embed", "mean.1.bias", "square.0.embed", "square.1.bias"]
    assert list(optimizer.state) == ["steps", *names]
    optimizer.step([{"embed": w}, {"head": w, "bias": w}])
    again = rc.Adam(params)
    again.load_state(optimizer.state)
    for name, value in optimizer.state.items():
        np.testing.assert_array_equal(again.state[name], value)
    with pytest.raises(ValueError, match=r"^state has unknown 'mean.1.head'$"):
        again.load_state(optimizer.state | {"mean.1.head": np.ones(2)})


@pytest.mark.parametrize("make", [lambda p: rc.SGD(p, 0.1), rc.Adam])
def test_what_is_tied_may_not_change(make):
    w, b = np.ones(2), np.ones(2)
    grads = {"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)}
    for before, after, now, then in (
        ({"b": w}, {"b": b}, "an array of its own", r"the array of params\['a'\]"),
        ({"b": b}, {"b": w}, r"the array of params\['a'\]", "an array of its own"),
    ):
        params = {"a": w, "b": w, "c": np.ones(2)} | before
        optimizer = make(params)
        params |= after
        message = rf"^params\['b'\] is {now}, expected {then}, as when the optimiser was made$"
        with pytest.raises(ValueError, match=message):
            optimizer.step(grads)
        assert optimizer.steps == 0
        for array in (*params.values(), w, b):
            np.testing.assert_array_equal(array, 1)


@pytest.mark.parametrize("make", [lambda p: rc.SGD(p, 0.1), rc.Adam])
def test_overlapping_parameters_are_refused_when_made_and_at_each_step(make):
    w = np.ones((2, 2))
    params = {"a": w, "b": np.ones((2, 2))}
    optimizer = make(params)
    for view in (w.T, w[::-1]):
        message = r"^params\['a'\] and params\['b'\] overlap in memory, expected one array or two"
        params["b"] = view
        with pytest.raises(ValueError, match=message):
            make(params)
        with pytest.raises(ValueError, match=message):
            optimizer.step({"a": np.ones((2, 2)), "b": np.ones((2, 2))})
    params["b"] = np.lib.stride_tricks.as_strided(np.ones(3), (2, 2), (8, 8))
    for call in (lambda: make(params), lambda: optimizer.step({"a": np.ones((2, 2)), "b": w})):
        with pytest.raises(ValueError, match=r"^params\['b'\] overlaps itself in memory"):
            call()
    assert (w == 1).all()
    assert optimizer.steps == 0


def test_columns_of_one_matrix_are_parameters_of_their_own(rng):
    whole, grads = rng.standard_normal((2, 3, 2))
    start = whole.copy()
    rc.SGD({"a": whole[:, 0], "b": whole[:, 1]}, 0.5).step({"a": grads[:, 0], "b": grads[:, 1]})
    np.testing.assert_allclose(whole, start - 0.5 * grads, rtol=1e-15)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_gradients_that_share_memory_with_parameters_are_read_first(shift):
    """Every gradient is that of before the step, also where the step writes to its memory."""
    buffer = np.arange(40_002.0)  # more than one chunk
    a, b = buffer[shift : 40_000 + shift], np.ones(40_000)
    expected_a, expected_b = a - 0.5 * buffer[:40_000], b - 0.5 * a
    rc.SGD({"a": a, "b": b}, 0.5).step({"a": buffer[:40_000], "b": a})
    np.testing.assert_array_equal(a, expected_a)
    np.testing.assert_array_equal(b, expected_b)


# Clipping


def of_two(values, dtype=np.float64):
    """Gradients of one parameter under two names, and of another one."""
    w, bias = np.zeros(2, dtype), np.zeros(1, dtype)
    a, b, c = (np.array(value, dtype) for value in values)
    return ParamGrads({"a": a, "b": b, "c": c}, {"a": w, "b": w[:], "c": bias})


def test_the_norm_is_that_of_the_sum_and_each_gradient_is_scaled():
    grads = of_two([[1, 5], [2, -1], [12]])
    assert rc.clip_grad_norm(grads, 6.5) == 13.0  # 3, 4, 12
    np.testing.assert_array_equal(grads["a"], [0.5, 2.5])
    np.testing.assert_array_equal(grads["b"], [1.0, -0.5])
    np.testing.assert_array_equal(grads["c"], [6.0])


def test_in_a_plain_dict_each_array_counts_by_itself():
    grads = dict(of_two([[1, 5], [2, -1], [12]]))
    assert rc.clip_grad_norm(grads, np.inf) == pytest.approx(np.sqrt(1 + 25 + 4 + 1 + 144))


def test_a_sum_that_overflows_is_named():
    big = np.finfo(np.float32).max
    grads = of_two([[big, 0], [big, 0], [1]], np.float32)
    with pytest.raises(FloatingPointError, match=r"^gradient is not finite in the sum of 'a', 'b'"):
        rc.clip_grad_norm(grads, 1.0)
    assert grads["a"][0] == big
    with pytest.raises(FloatingPointError, match=r"^gradient is not finite in 'b'$"):
        rc.clip_grad_norm(of_two([[1, 0], [np.inf, 0], [1]]), 1.0)


def test_the_sum_is_what_is_clipped_to_a_value():
    grads = of_two([[3, np.nan], [-2.5, 1], [7]])
    rc.clip_grad_value(grads, 1.0)
    np.testing.assert_array_equal(grads["a"], [3, np.nan])  # whose sum is within the limit
    np.testing.assert_array_equal(grads["b"], [-2.5, 1])
    np.testing.assert_array_equal(grads["c"], [1.0])
    grads = of_two([[3, np.inf], [-5, 1], [7]])
    rc.clip_grad_value(grads, 1.0)
    np.testing.assert_array_equal(grads["a"], [-1.0, 1.0])
    np.testing.assert_array_equal(grads["b"], [0.0, 0.0])


def test_one_gradient_array_under_two_names_of_a_tied_parameter():
    w, g = np.zeros(1), np.array([3.0])
    grads = ParamGrads({"a": g, "b": g}, {"a": w, "b": w})
    assert rc.clip_grad_norm(grads, 2.0) == 6.0
    np.testing.assert_array_equal(g, [1.0])
    g[...] = 3.0
    rc.clip_grad_value(grads, 1.0)
    np.testing.assert_array_equal(g, [0.5])


@pytest.mark.parametrize("clip", [rc.clip_grad_norm, rc.clip_grad_value])
def test_overlapping_gradients_are_refused(clip):
    g = np.full((2, 2), 9.0)
    for grads, message in (
        ({"a": g, "b": g.T}, r"^grads\['a'\] and grads\['b'\] overlap in memory"),
        ([{"a": g}, {"b": g[1]}], r"^grads\['0.a'\] and grads\['1.b'\] overlap in memory"),
        ({"a": np.lib.stride_tricks.as_strided(g, (2, 2), (8, 8))}, r"^grads\['a'\] overlaps its"),
    ):
        with pytest.raises(ValueError, match=message):
            clip(grads, 1.0)
    assert (g == 9).all()


# The dicts of gradients

LAYERS = {
    **{kind.__name__: lambda kind=kind: kind(3, 4) for kind in (*problems.LAYERS, *STEPS)},
    "GRU both ways": lambda: rc.GRU(3, 4, 2, bidirectional=True),
    "LSTM projected": lambda: rc.LSTM(3, 4, proj_size=2, peephole="current"),
    "Linear": lambda: rc.Linear(3, 4),
    "Embedding": lambda: rc.Embedding(3, 4),
}


def grads_of(layer):
    ids = isinstance(layer, rc.Embedding)
    x = np.zeros((2, 2), int) if ids else np.ones((2, 2, 3), np.float32)
    if "Cell" in type(layer).__name__:
        state, trace = layer.forward(x[0])
        return layer.backward(trace, state)
    y, *_, trace = layer.forward(x)
    return layer.backward(trace, y)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_know_their_parameters(name):
    layer = LAYERS[name]()
    grads = grads_of(layer).params
    assert list(grads) == list(layer.params)
    for key, parameter in layer.params.items():
        assert np.shares_memory(grads.of[key], parameter)
        assert grads[key].shape == parameter.shape


def test_two_names_in_one_layer_are_tied_too(rng):
    layer = rc.GRU(3, 4, dtype=np.float64, rng=0)
    layer.params["bias_hh_l0"] = layer.params["bias_ih_l0"]
    y, _, trace = layer.forward(rng.standard_normal((5, 2, 3)))
    grads = layer.backward(trace, y).params
    total = grads["bias_ih_l0"] + grads["bias_hh_l0"]
    parts = [total, grads["weight_ih_l0"], grads["weight_hh_l0"]]
    expected = np.sqrt(sum(np.sum(part**2) for part in parts))
    assert rc.clip_grad_norm(grads, np.inf) == pytest.approx(expected, rel=1e-14)
    before = layer.params["bias_ih_l0"].copy()
    rc.SGD(layer, 0.5).step(grads)
    np.testing.assert_allclose(layer.params["bias_ih_l0"], before - 0.5 * total, rtol=1e-15)


def test_they_are_dicts_like_any_other():
    w, g = np.zeros(2), np.ones(2)
    grads = ParamGrads({"a": g}, {"a": w})
    assert isinstance(grads, dict)
    assert grads == {"a": g}
    assert repr(grads) == repr({"a": g})
    assert type(grads | {"b": g}) is dict
    assert dict.fromkeys(grads) == ParamGrads.fromkeys("a")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(grads, protocol))
        assert type(again) is dict
        np.testing.assert_array_equal(again["a"], g)
    for copied, array_is_copied in (
        (grads.copy(), False),
        (copy.copy(grads), False),
        (copy.deepcopy(grads), True),
    ):
        assert type(copied) is ParamGrads
        assert copied.of["a"] is w
        assert (copied["a"] is not g) == array_is_copied
        copied["b"] = g
    assert list(grads) == ["a"]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_gradients_are_taken_as_they_are(name):
    results = []
    for form in range(4):
        layer = LAYERS[name]()
        for key, array in layer.params.items():
            array[...] = np.linspace(-1, 1, array.size).reshape(array.shape)
            assert key in layer.params
        grads = grads_of(layer)
        params, given = [
            (layer, grads),
            (layer.params, grads.params),
            ([layer], [grads]),
            ((layer.params,), [grads.params]),
        ][form]
        optimizer = rc.Adam(params)
        norm = rc.clip_grad_norm(given, 0.1)
        rc.clip_grad_value(given, 0.01)
        optimizer.step(given)
        results.append((norm, *layer.params.values()))
    for found in results[1:]:
        assert found[0] == results[0][0]
        for got, expected in zip(found[1:], results[0][1:], strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_model_with_a_list_of_params_is_taken_too():
    model = LanguageModel(hidden=3, embedding=2)
    assert "mean.1.weight_hh_l0" in rc.Adam(model).state


def test_parameters_of_a_layer_that_get_new_arrays_are_followed():
    layer = rc.Linear(2, 1, bias=False)
    optimizer = rc.SGD(layer, 1.0)
    layer.params = {"weight": np.ones((1, 2), np.float32)}
    optimizer.step({"weight": np.ones((1, 2), np.float32)})
    np.testing.assert_array_equal(layer.params["weight"], 0)


# The gradient check


class Tied:
    """``y = x + x @ w @ w.T`` with w under two names."""

    def __init__(self, view):
        w = np.random.default_rng(0).standard_normal((3, 2))
        self.params = {"down": w, "up": view(w)}

    def forward(self, x):
        return x + x @ self.params["down"] @ self.params["up"].T, x

    def backward(self, x, dy):
        down, up = self.params["down"], self.params["up"]
        grads = {"down": x.T @ (dy @ up), "up": dy.T @ (x @ down)}
        return HeadGrads(dy + dy @ up @ down.T, grads)


@pytest.mark.parametrize("view", VIEWS)
def test_the_gradient_check_knows_tied_weights(view, rng):
    errors = rc.gradcheck(Tied(VIEWS[view]), rng.standard_normal((4, 3)))
    assert list(errors) == ["x", "down", "up"]
