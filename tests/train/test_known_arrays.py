"""Steps whose arrays are those of the step before: nothing is checked by name, and all is seen."""

import copy
import pickle

import numpy as np
import pytest
from steps import STEPS, made

import rnncore as rc
from rnncore.train import clipping
from rnncore.train.optimizer import Optimizer


@pytest.fixture
def by_name_is_over(monkeypatch):
    """Call it, and nothing is checked by its name any more."""

    def refuse(*_):
        raise AssertionError("looked at by name")

    def forbid():
        monkeypatch.setattr(Optimizer, "_step_by_name", refuse)
        monkeypatch.setattr(clipping, "_clip_norm_by_name", refuse)
        monkeypatch.setattr(clipping, "_clip_value_by_name", refuse)

    return forbid


def a_model():
    return [rc.Embedding(5, 3, rng=0), rc.LSTM(3, 4, rng=1), rc.Linear(4, 5, rng=2)]


def gradients_of(model, rng):
    embedding, lstm, head = model
    ids = rng.integers(0, 5, (6, 2))
    x, embedding_trace = embedding.forward(ids)
    y, _, trace = lstm.forward(x)
    logits, head_trace = head.forward(y)
    _, dlogits = rc.softmax_cross_entropy(logits, np.roll(ids, -1))
    of_head = head.backward(head_trace, dlogits)
    of_lstm = lstm.backward(trace, of_head.x)
    return [embedding.backward(embedding_trace, of_lstm.x), of_lstm, of_head]


@pytest.mark.parametrize("name", STEPS)
def test_a_training_loop_is_checked_by_name_once(name, by_name_is_over, rng):
    model = a_model()
    optimizer = made(name, model)
    optimizer.step(gradients_of(model, rng))
    by_name_is_over()
    for _ in range(2):
        grads = gradients_of(model, rng)
        assert rc.clip_grad_norm(grads, 0.01) > 0.01
        assert rc.clip_grad_norm(grads, 1) == pytest.approx(0.01, rel=1e-6)
        rc.clip_grad_value(grads, 0.001)
        optimizer.step(grads)
    assert optimizer.steps == 3


@pytest.mark.parametrize("name", STEPS)
def test_tied_weights_are_checked_by_name_once(name, by_name_is_over, rng):
    w, other, *drawn = rng.standard_normal((8, 3, 5)).astype(np.float32)
    tied, one = {"a": w.copy(), "o": other.copy()}, {"w": w.copy(), "o": other.copy()}
    tied["b"] = tied["a"][:]
    of_tied, of_one = made(name, tied), made(name, one)
    for k in range(2):
        a, o, b = drawn[3 * k : 3 * k + 3]
        of_one.step({"w": a + b, "o": o})
        of_tied.step({"a": a, "o": o, "b": b})
        by_name_is_over()
    np.testing.assert_array_equal(tied["a"], one["w"])
    np.testing.assert_array_equal(tied["o"], one["o"])


@pytest.mark.parametrize("name", STEPS)
def test_it_does_not_matter_whether_arrays_are_known(name, rng):
    """Arrays that are replaced by equal ones before every step are checked by name every time."""
    start, *drawn = rng.standard_normal((6, 3, 7))
    known, new = {"a": start.copy(), "b": start[0].copy()}, {}
    new = copy.deepcopy(known)
    of_known, of_new = made(name, known), made(name, new)
    for grad in drawn:
        grads = {"a": grad, "b": grad[1]}
        of_known.step(grads)
        new.update({key: np.asfortranarray(array.copy()) for key, array in new.items()})
        of_new.step(grads)
    for key in known:
        np.testing.assert_array_equal(new[key], known[key])


def tie(params):
    params["b"] = params["a"]


def overlap(params):
    params["b"] = params["a"].reshape(-1)[4:8].reshape(2, 2)


def shape(params):
    params["b"].resize(4, refcheck=False)


def swap_shapes(params):
    params["a"], params["b"] = params["b"], params["a"]


def lock(params):
    params["b"].flags.writeable = False


def widen(params):
    params["b"] = params["b"].astype(np.float64)


def remove(params):
    del params["b"]


def add(params):
    params["c"] = np.zeros(2, np.float32)


def to_list(params):
    params["b"] = params["b"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (tie, r"^params\['b'\] is the array of params\['a'\], expected an array of its own"),
        (overlap, r"^params\['a'\] and params\['b'\] overlap in memory"),
        (shape, r"^params\['b'\] has shape \(4,\), expected \(2, 2\)"),
        (swap_shapes, r"^params\['a'\] has shape \(2, 2\), expected \(3, 4\)"),
        (lock, r"^params\['b'\] is read-only"),
        (widen, r"^params\['b'\] has dtype float64, expected float32"),
        (remove, r"^params misses 'b'"),
        (add, r"^params has unknown 'c'"),
        (to_list, r"^params\['b'\] is of type list"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("name", STEPS)
def test_what_changes_between_steps_is_seen(name, change, message):
    params = {"a": np.ones((3, 4), np.float32), "b": np.ones((2, 2), np.float32)}
    if change is tie:
        params["a"] = np.ones((2, 2), np.float32)
    grads = {key: np.ones_like(array) for key, array in params.items()}
    optimizer = made(name, params)
    optimizer.step(grads)
    optimizer.step(grads)
    change(params)
    arrays = {key: np.array(array) for key, array in params.items()}
    before = optimizer.state
    for _ in range(2):
        with pytest.raises((TypeError, ValueError), match=message):
            optimizer.step(grads)
    for key, array in params.items():
        np.testing.assert_array_equal(array, arrays[key])
    for key, array in optimizer.state.items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("name", STEPS)
def test_new_names_for_the_same_arrays_are_refused(name):
    params, grads = {"a": np.ones(3), "b": np.ones(3)}, {"a": np.ones(3), "b": np.ones(3)}
    optimizer = made(name, params)
    optimizer.step(grads)
    for arrays in (params, grads):
        arrays["c"] = arrays.pop("b")
    before = params["a"].copy()
    with pytest.raises(ValueError, match=r"^params misses 'b' and has unknown 'c'$"):
        optimizer.step(grads)
    np.testing.assert_array_equal(params["a"], before)


class Changing:
    """Gives other arrays when it is asked for the third time: two that overlap."""

    def __init__(self):
        memory = np.ones(9)
        right, wrong = ({"a": memory[:3], "b": memory[k : k + 3]} for k in (3, 2))
        self.next = iter([right, right])
        self.last = wrong

    @property
    def params(self):
        return next(self.next, self.last)


@pytest.mark.parametrize("name", STEPS)
def test_what_is_known_are_the_arrays_that_were_checked(name):
    optimizer = made(name, Changing())
    grads = {"a": np.ones(3), "b": np.ones(3)}
    optimizer.step(grads)
    with pytest.raises(ValueError, match=r"^params\['a'\] and params\['b'\] overlap in memory"):
        optimizer.step(grads)


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"a": np.ones((4, 3), np.float32)}, r"^grads\['a'\] has shape \(4, 3\), expected \(3, 4"),
        ({"a": np.ones((3, 4))}, r"^grads\['a'\] has dtype float64, expected float32"),
        ({"a": np.ones((3, 4), ">f4")}, r"^grads\['a'\] has dtype float32 \(byte-swapped\)"),
        ({"b": np.ones((3, 4), np.float32)}, r"^grads misses 'a' and has unknown 'b'"),
        ({"a": np.ma.ones((3, 4))}, r"^grads\['a'\] is of type MaskedArray"),
        ({"a": bytearray(48)}, r"^grads\['a'\] is of type bytearray"),
        (rc.Linear(4, 3), r"^grads is of type Linear, expected what its backward returned"),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("name", STEPS)
def test_wrong_gradients_at_a_later_step_change_nothing(name, grads, message):
    params = {"a": np.ones((3, 4), np.float32)}
    optimizer = made(name, params)
    optimizer.step({"a": np.ones((3, 4), np.float32)})
    before, state = params["a"].copy(), optimizer.state
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.step(grads)
    np.testing.assert_array_equal(params["a"], before)
    for key, array in optimizer.state.items():
        np.testing.assert_array_equal(array, state[key])


@pytest.mark.parametrize("name", STEPS)
def test_gradients_in_the_memory_of_parameters_are_read_before_it_is_written_to(name, rng):
    memory = rng.standard_normal(300)
    params = {"a": memory[:100], "b": memory[100:200]}
    apart = {key: array.copy() for key, array in params.items()}
    of_views, of_copies = made(name, params), made(name, apart)
    for grads in (
        {"a": memory[200:], "b": memory[200:]},
        {"a": params["b"], "b": params["a"]},
        {"a": memory[50:150], "b": memory[1:101]},
        {"a": params["a"], "b": memory[:200:2]},
    ):
        copies = copy.deepcopy(grads)
        of_views.step(grads)
        of_copies.step(copies)
        for key, array in params.items():
            np.testing.assert_array_equal(array, apart[key])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
@pytest.mark.parametrize("name", STEPS)
def test_a_copy_steps_arrays_of_its_own(name, again, rng):
    params, *drawn = ({"p": p} for p in rng.standard_normal((4, 20)))
    optimizer = made(name, params)
    optimizer.step(drawn[0])
    other = again(optimizer)
    kept, state = params["p"].copy(), optimizer.state
    other.step(drawn[1])
    np.testing.assert_array_equal(params["p"], kept)
    for key, array in optimizer.state.items():
        np.testing.assert_array_equal(array, state[key])
    optimizer.step(drawn[1])
    for key, array in optimizer.state.items():
        np.testing.assert_array_equal(array, other.state[key])
    np.testing.assert_array_equal(other._params["p"], params["p"])
