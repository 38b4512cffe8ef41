"""The state of random generators: of layers, of what holds layers, and of generators that share."""

import copy
import json

import numpy as np
import pytest

import rnncore as rc
from rnncore._common.sealed import Sealed
from rnncore.train.generators import rng_state, set_rng_state

X = np.ones((6, 3, 4), np.float32)
BITS = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]


class Model(Sealed):
    """What holds layers, in lists too."""

    def __init__(self, *layers):
        self.first, self.others = layers[0], list(layers[1:])
        self.again = {"the first": layers[0]}

    def forward(self):
        return [layer.forward(X)[0] for layer in (self.first, *self.others)]


def layer(rng):
    return rc.GRU(4, 4, 2, dropout=0.5, rng=rng)


def in_json(state):
    return json.loads(json.dumps(state, allow_nan=False))


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bits", BITS)
def test_every_bit_generator_comes_back(bits):
    generator = np.random.Generator(bits(3))
    generator.random(5, np.float32)  # half a number is left over
    state = in_json(rng_state(generator))
    first = generator.random(7, np.float32), generator.standard_normal(9)
    set_rng_state(generator, state)
    assert_same((generator.random(7, np.float32), generator.standard_normal(9)), first)
    another = np.random.Generator(bits(4))
    set_rng_state([another], state)
    assert_same((another.random(7, np.float32), another.standard_normal(9)), first)


def test_layers_with_generators_of_their_own():
    model = Model(layer(1), rc.Linear(4, 2, rng=0), layer(2))
    model.others.pop(0)
    state = in_json(rng_state(model))
    assert state["places"] == [0, 1]
    expected = model.forward()
    assert (model.forward()[0] != expected[0]).any()
    set_rng_state(model, state)
    assert_same(model.forward(), expected)
    set_rng_state([model.first, model.others], state)
    assert_same(model.forward(), expected)


def test_layers_that_share_a_generator_share_it_again():
    rng = np.random.default_rng(5)
    model = Model(layer(rng), layer(rng))
    own = Model(*(copy.deepcopy(each) for each in (model.first, model.others[0])))
    state = in_json(rng_state(model))
    assert state["places"] == [0, 0]
    expected = model.forward() + model.forward()
    set_rng_state(model, state)
    assert model.first._rng is rng
    assert_same(model.forward() + model.forward(), expected)
    set_rng_state(own, state)
    assert own.first._rng is own.others[0]._rng is not rng
    assert_same(own.forward() + own.forward(), expected)


def test_layers_that_share_none_are_parted():
    rng = np.random.default_rng(5)
    model, sharing = Model(layer(1), layer(2)), Model(layer(rng), layer(rng))
    for one, other in zip(
        (model.first, model.others[0]), (sharing.first, sharing.others[0]), strict=True
    ):
        other.load_params(one.params)
    state = rng_state(model)
    expected = model.forward()
    set_rng_state(sharing, state)
    assert_same(sharing.forward(), expected)


def test_a_generator_of_another_kind_takes_its_place():
    model = layer(np.random.Generator(np.random.MT19937(1)))
    other = layer(2)
    other.load_params(model.params)
    state = in_json(rng_state(model))
    expected = model.forward(X)[0]
    set_rng_state(other, state)
    np.testing.assert_array_equal(other.forward(X)[0], expected)


def test_what_has_no_generator_has_an_empty_state():
    state = rng_state(rc.Linear(3, 2, rng=0))
    assert state == {"generators": [], "places": []}
    set_rng_state(rc.Linear(3, 2, rng=0), state)


STATE = rng_state(np.random.default_rng(0))
(OF_ONE,) = STATE["generators"]


def one(**parts):
    return {"generators": [{**OF_ONE, **parts}], "places": [0]}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (3, TypeError, "state is of type int, expected Mapping"),
        ({}, ValueError, "state has [], expected 'generators' and 'places'"),
        ({**STATE, "more": 1}, ValueError, "state has ['generators', 'more', 'places'], expected"),
        ({**STATE, "places": 0}, TypeError, "state['places'] is of type int, expected list"),
        ({**STATE, "places": []}, ValueError, "state is of 0 places of generators, but the owner"),
        ({**STATE, "places": [1]}, ValueError, "state['places'][0] is 1, expected an integer of"),
        ({**STATE, "generators": 0}, TypeError, "state['generators'] is of type int, expected li"),
        (
            {**STATE, "generators": [3]},
            TypeError,
            "state['generators'][0] is of type int, expected Mapping",
        ),
        (one(bit_generator="RANDU"), ValueError, "state['generators'][0]['bit_generator'] is 'RA"),
        (one(bit_generator=[]), ValueError, "state['generators'][0]['bit_generator'] is [], exp"),
        (one(bit_generator="SFC64"), ValueError, "state['generators'][0] is no state of SFC64"),
        (one(state=3), ValueError, "state['generators'][0] is no state of PCG64"),
        (one(state={"state": -1, "inc": 1}), ValueError, "state['generators'][0] is no state of"),
        (
            one(state={"state": 2**128, "inc": 1}),
            ValueError,
            "state['generators'][0] is no state of",
        ),
        (one(state={"state": "a", "inc": 1}), ValueError, "state['generators'][0] is no state of"),
        (one(has_uint32=7), ValueError, "state['generators'][0] is no state of PCG64"),
        (one(more=7), ValueError, "state['generators'][0] is no state of PCG64"),
    ],
)
def test_a_state_that_is_none_changes_nothing(state, error, message):
    generator = np.random.default_rng(3)
    before = rng_state(generator)
    with pytest.raises(error) as caught:
        set_rng_state(generator, state)
    assert str(caught.value).startswith(message)
    assert rng_state(generator) == before


@pytest.mark.parametrize("wrong", [-1, 625, 10**9])
def test_a_place_that_is_none_is_never_read(wrong):
    for bits, name in ((np.random.MT19937, "pos"), (np.random.Philox, "buffer_pos")):
        generator = np.random.Generator(bits(0))
        state = rng_state(generator)
        (of_one,) = state["generators"]
        within = of_one if name in of_one else of_one["state"]
        within[name] = wrong
        with pytest.raises(
            ValueError, match=rf"^state\['generators'\]\[0\] is no state of {bits.__name__}$"
        ):
            set_rng_state(generator, state)


def test_a_generator_alone_cannot_become_another():
    state = rng_state(np.random.Generator(np.random.Philox(0)))
    with pytest.raises(ValueError, match=r"^owner has other generators than those whose state"):
        set_rng_state(np.random.default_rng(0), state)


@pytest.mark.parametrize("owner", [None, 3, np.ones(3), np.random.RandomState(0)])
def test_an_owner_is_what_may_have_generators(owner):
    message = f"^owner is of type {type(owner).__name__}, expected a layer, a model, a numpy"
    for call in (rng_state, lambda owner: set_rng_state(owner, STATE)):
        with pytest.raises(TypeError, match=message):
            call(owner)
