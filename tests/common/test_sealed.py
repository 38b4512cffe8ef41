"""What a user sets on an object is something that it has, or is refused."""

import copy
import pickle

import numpy as np
import pytest
from problems import LAYERS, STEPS

import rnncore as rc


def objects():
    params = {"w": np.zeros(3)}
    gru = rc.GRU(3, 4, rng=0)
    return {
        **{layer.__name__: layer(3, 4, 2, dropout=0.5, rng=0) for layer in LAYERS},
        **{step.__name__: step(3, 4, rng=0) for step in STEPS},
        "Linear": rc.Linear(3, 4, rng=0),
        "Embedding": rc.Embedding(3, 4, rng=0),
        "Frozen": gru.freeze(),
        "Stream": gru.freeze().stream(),
        "SGD": rc.SGD(params, 0.1),
        "Adam": rc.Adam(params),
    }


WAYS = {
    "new": lambda made: made,
    "copied": copy.copy,
    "unpickled": lambda made: pickle.loads(pickle.dumps(made)),
}
MISTAKES = ("dropuot", "rng", "training", "hiden_size", "learning_rate", "weights", "num_thread")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", objects())
def test_an_attribute_that_is_not_there_is_refused(name, way):
    made = WAYS[way](objects()[name])
    for mistake in MISTAKES:
        with pytest.raises(AttributeError, match=mistake):
            setattr(made, mistake, 0.5)
        assert not hasattr(made, mistake)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("GRU", "reset"),
        ("LSTM", "dropout"),
        ("LSTM", "num_layers"),
        ("GRUCell", "hidden_size"),
        ("GRUCell", "zoneout"),
        ("Linear", "in_features"),
        ("Linear", "bias"),
        ("Embedding", "embedding_dim"),
        ("Frozen", "dtype"),
        ("SGD", "momentum"),
        ("Adam", "betas"),
        ("Adam", "eps"),
        ("Adam", "weight_decay"),
    ],
)
def test_what_an_object_was_made_with_is_fixed(name, option):
    made = objects()[name]
    before = getattr(made, option)
    with pytest.raises(AttributeError, match=f"^{option} (is fixed once the|cannot be set)"):
        setattr(made, option, before)
    assert getattr(made, option) == before


def test_the_name_that_was_meant_is_told():
    with pytest.raises(AttributeError, match=r"^LSTM has no attribute 'dropuot', did you mean 'dr"):
        rc.LSTM(3, 4).dropuot = 0.5
    with pytest.raises(AttributeError, match=r"^GRUCell has no .* did you mean 'hidden_size'"):
        rc.GRUCell(3, 4).hiden_size = 5


def test_what_may_be_set():
    layer, cell, linear = rc.GRU(3, 4, rng=0), rc.GRUCell(3, 4, rng=0), rc.Linear(3, 4, rng=0)
    for made in (layer, cell, linear):
        made.params = {name: value + 1 for name, value in made.params.items()}
    adam = rc.Adam(layer.params)
    adam.lr = 0.5
    assert adam.lr == 0.5


def test_a_class_of_a_users_own_may_have_more():
    class Named(rc.LSTM):
        def __init__(self, name, *sizes, **options):
            super().__init__(*sizes, **options)
            self.name = name

    made = Named("first", 3, 4, rng=0)
    made.name = "second"
    with pytest.raises(
        AttributeError, match=r"^Named has no attribute 'nmae', did you mean 'name'"
    ):
        made.nmae = "third"


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_of_a_single_layer_warns(kind):
    with pytest.warns(
        UserWarning, match=r"^dropout is 0.5 and does nothing.*num_layers is 1"
    ) as got:
        kind(3, 4, dropout=0.5)
    assert got[0].filename == __file__  # it points to who made the layer
    kind(3, 4, 2, dropout=0.5)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("limit", "error"), [(-5, ValueError), (0, ValueError), ("abc", TypeError), (1.5, TypeError)]
)
def test_a_memory_limit_is_checked_in_any_case(kind, training, limit, error):
    with pytest.raises(error, match=r"^memory_limit is "):
        kind(3, 4).forward(np.zeros((2, 1, 3), "f4"), training=training, memory_limit=limit)


# Sizes that no memory holds


HUGE = [10**12, 2**62, 10**30, 10**5000]


@pytest.mark.parametrize("size", HUGE, ids=lambda n: f"2**{n.bit_length()}")
@pytest.mark.parametrize("kind", [*LAYERS, *STEPS])
def test_sizes_of_layers_that_no_memory_holds(kind, size):
    with pytest.raises(ValueError, match=r"^hidden_size is "):
        kind(3, size)
    with pytest.raises(ValueError, match=r"^input_size is "):
        kind(size, 3)


@pytest.mark.parametrize("size", HUGE, ids=lambda n: f"2**{n.bit_length()}")
@pytest.mark.parametrize("kind", LAYERS)
def test_sizes_of_stacks_that_no_memory_holds(kind, size):
    """The second layer has twice as many inputs as the first has units."""
    with pytest.raises(ValueError, match=r"^hidden_size is "):
        kind(3, size, 2, bidirectional=True)


@pytest.mark.parametrize("size", [10_001, 99_999_999, *HUGE], ids=lambda n: f"2**{n.bit_length()}")
def test_more_layers_than_anyone_can_want(size):
    with pytest.raises(ValueError, match=r"^num_layers is .* expected an integer of at most"):
        rc.LSTM(1, 1, size)


@pytest.mark.parametrize("size", HUGE, ids=lambda n: f"2**{n.bit_length()}")
def test_other_sizes_that_no_memory_holds(size):
    for name, make in {
        "in_features": lambda: rc.Linear(size, 3),
        "out_features": lambda: rc.Linear(3, size),
        "num_embeddings": lambda: rc.Embedding(size, 3),
        "embedding_dim": lambda: rc.Embedding(3, size),
        "batch_size": lambda: rc.GRU(3, 4).freeze().stream(size),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} is .*expected"):
            make()
