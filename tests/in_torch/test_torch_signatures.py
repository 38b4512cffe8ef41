"""What `help` and editors show of the modules' constructors, and that it is what they take."""

import inspect

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import rnncore.torch as rt  # noqa: E402

NAMES = ["RNN", "GRU", "LSTM", "IndRNN", "LayerNormLSTM"]
NAMES += [f"{name}Cell" for name in NAMES]
OF_ALL = {"recurrent_dropout", "zoneout", "activations", "clip", "double_backward"}
OWN = {"GRU": {"reset"}, "LSTM": {"peephole", "coupled"}, "LayerNormLSTM": {"eps"}}


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_shown_with_its_value(name):
    kind = getattr(rt, name)
    found = inspect.signature(kind).parameters
    assert not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found.values())
    by_name = {n for n, p in found.items() if p.kind is p.KEYWORD_ONLY} - {"device", "dtype"}
    assert by_name == OF_ALL | OWN.get(name.removesuffix("Cell"), set())
    made = kind(3, 4)
    for option, p in found.items():
        if p.default is not p.empty and option not in ("device", "dtype"):
            assert getattr(made, option) == p.default
    # All by name, and as many as PyTorch takes by position in its order.
    given = {n: p.default for n, p in found.items() if p.default is not p.empty}
    assert kind(input_size=3, hidden_size=4, **given).extra_repr() == made.extra_repr()
    # A call of a module is no constructor.
    assert "input" in inspect.signature(made.forward).parameters


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"])
def test_positions_are_those_of_pytorch(name):
    ours, theirs = getattr(rt, name), getattr(torch.nn, name)
    own = [p for p in inspect.signature(ours).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    values = {"input_size": 3, "hidden_size": 4, "num_layers": 2, "nonlinearity": "relu",
              "bias": False, "batch_first": True, "dropout": 0.25, "bidirectional": True,
              "proj_size": 2, "device": None, "dtype": None}  # fmt: skip
    args = [values[p.name] for p in own]
    more = {} if name.endswith("Cell") else {"dtype": torch.float64}
    left, right = ours(*args, **more), theirs(*args, **more)
    assert left.extra_repr() == right.extra_repr()
    assert {n: p.dtype for n, p in left.named_parameters()} == {
        n: p.dtype for n, p in right.named_parameters()
    }


def test_a_class_of_ones_own_hands_on_what_it_is_given():
    class Small(rt.GRU):
        def __init__(self, size, **options):
            super().__init__(size, 4, **options)

    assert list(inspect.signature(Small).parameters) == ["size", "options"]
    assert Small(3, reset="before").reset == "before"
    with pytest.raises(TypeError):
        rt.GRU(3, 4, resets="before")
