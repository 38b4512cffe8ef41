"""What `help` and editors show of the constructors."""

import inspect

import numpy as np
import pytest

import rnncore as rc


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "IndRNN", "LayerNormLSTM"])
def test_signatures_show_every_option(name):
    layer, cell = getattr(rc, name), getattr(rc, f"{name}Cell")
    shown = inspect.signature(layer).parameters
    assert list(shown)[:3] == ["input_size", "hidden_size", "num_layers"]
    assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in shown.values())
    made = layer(3, 4, rng=0)
    assert shown.keys() == made.options.keys() | {"rng"}
    for key, value in made.options.items():
        if shown[key].default is not inspect.Parameter.empty:
            expected = shown[key].default
            assert value == (np.dtype(expected) if key == "dtype" else expected)
    of_cell = inspect.signature(cell).parameters
    of_steps = {"num_layers", "batch_first", "dropout", "bidirectional"}
    assert list(of_cell) == [key for key in shown if key not in of_steps]


def test_signatures_of_classes_of_ones_own():
    class Small(rc.GRU):
        def __init__(self, size, **common):
            super().__init__(size, 4, **common)

    class Cell(rc.GRUCell):
        pass

    shown = list(inspect.signature(Small).parameters)
    assert shown[:3] == ["size", "bias", "batch_first"]
    assert Small(3, bias=False, rng=0).bias is False
    assert inspect.signature(Cell) == inspect.signature(rc.GRUCell)
    assert Cell(3, 4, rng=0)(np.ones((2, 3), np.float32)).shape == (2, 4)
