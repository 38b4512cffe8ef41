"""Layers of PyTorch run, to compare what was made of a state_dict."""

import numpy as np
import pytest

import rnncore as rc
from rnncore.convert.recording import recorded_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

TORCH = {
    "rnn": lambda o: rc.RNN(3, 5, num_layers=2, **o),
    "gru": lambda o: rc.GRU(3, 17, bidirectional=True, **o),
    "lstm": lambda o: rc.LSTM(3, 33, bias=False, batch_first=True, **o),
    "projected": lambda o: rc.LSTM(3, 5, proj_size=2, **o),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", TORCH)
def test_layers_of_torch(name, dtype):
    layer = TORCH[name]({"rng": 0, "dtype": dtype})
    size, b = layer(np.ones((1, 1, 3), dtype))[0].shape[-1], layer.batch_first
    norm = rc.BatchNorm(size, dtype=dtype)
    norm.buffers["running_var"][...] = 0.5
    model = rc.Sequential(
        layer, rc.LayerNorm(size, dtype=dtype), norm, rc.Linear(size, 2, rng=0, dtype=dtype)
    )
    found = recorded_of("weights.pt", model)
    assert found.source == f"weights.pt, run by torch {torch.__version__}"
    assert [case.lengths is None for case in found.cases] == [True, True, False]
    assert found.cases[0].x.shape[:2] == ((3, 17) if b else (17, 3))
    assert found.check(model) < (1e-5 if dtype == np.float32 else 1e-12)


def test_a_model_that_differs_is_found():
    model = rc.Sequential(rc.Embedding(9, 3, rng=0), rc.GRU(3, 5, rng=0))
    found = recorded_of("weights.pt", model)
    model.params["1.bias_hh_l0"][-1] += 0.1
    with pytest.raises(ValueError, match=r"off by .* weights\.pt, run by torch"):
        found.check(model)


def test_what_torch_has_no_module_for_is_said():
    model = rc.Sequential(rc.GRU(3, 5, rng=0), rc.Pool("last"))
    found = recorded_of("weights.pt", model)
    assert found.cases == ()
    assert "nothing was recorded: of the layer '1', Pool('last'), no module" in found.source
