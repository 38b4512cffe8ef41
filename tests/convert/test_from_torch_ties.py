"""`from_torch` on weights that are one: they are one array here, also from a file."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import rnncore as rc  # noqa: E402
from rnncore.convert.from_torch import from_torch  # noqa: E402

V, H = 7, 3


class Tied(nn.Module):
    """A language model whose head has the weight of its embedding."""

    def __init__(self, head):
        super().__init__()
        self.e, self.rnn, self.h = nn.Embedding(V, H), nn.GRU(H, H), nn.Linear(H, V)
        self.h.weight, self.head = self.e.weight, head

    def forward(self, ids):
        return self.head(self, self.rnn(self.e(ids))[0])


HEADS = {
    "h": lambda m, y: m.h(y),
    "linear": lambda m, y: functional.linear(y, m.e.weight),
    "matmul": lambda m, y: y @ m.e.weight.t(),
}


def ties(model):
    """Names of the same array."""
    found = {}
    for name, a in model.params.items():
        found.setdefault(id(a), []).append(name)
    return [names for names in found.values() if len(names) > 1]


@pytest.mark.parametrize("head", HEADS)
def test_in_a_graph(head, tmp_path):
    module, ids = Tied(HEADS[head]), torch.randint(0, V, (5, 2))
    model = from_torch(module, ids)
    expected = [["e.weight", f"{'h' if head == 'h' else 'linear'}.weight"]]
    assert ties(model) == expected
    model.save(tmp_path / "m.npz")
    assert ties(rc.load(tmp_path / "m.npz")) == expected
    model.params["e.weight"][...] *= 2
    assert torch.equal(module.e.weight, module.h.weight)
    with torch.no_grad():
        module.e.weight *= 2
        y = module(ids).numpy()
    assert_allclose(model(ids.numpy())[0], y, rtol=1e-4, atol=1e-6)


def test_of_a_state_dict(tmp_path):
    state = Tied(None).state_dict()
    torch.save(state, tmp_path / "m.pt")
    arrays = {name: a.numpy() for name, a in state.items()}
    for given in (state, tmp_path / "m.pt", arrays, {n: a.double() for n, a in state.items()}):
        cast = isinstance(given, dict) and any(a.dtype == torch.float64 for a in given.values())
        model = from_torch(given)
        assert ties(model) == ([] if cast else [["e.weight", "h.weight"]])
        assert not any(np.shares_memory(model.params["e.weight"], a) for a in arrays.values())


def test_a_layer_at_two_places():
    for layer in (nn.Linear(H, H), nn.GRU(H, H)):
        model = from_torch(nn.Sequential(layer, nn.Tanh(), layer))
        assert ties(model) == [[f"0.{n}", f"2.{n}"] for n, _ in layer.named_parameters()]


def test_within_a_layer():
    cell = nn.GRUCell(H, H)
    cell.bias_hh = cell.bias_ih
    params = from_torch(cell).params
    assert params["bias_hh"] is params["bias_ih"]
    x = torch.randn(2, H)
    assert_allclose(from_torch(cell)(x.numpy()), cell(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_equal_numbers_are_no_tie():
    norms = nn.Sequential(nn.Linear(H, H), nn.LayerNorm(H), nn.ReLU(), nn.LayerNorm(H))
    assert ties(from_torch(norms)) == []
