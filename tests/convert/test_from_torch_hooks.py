"""`from_torch` on modules with hooks: the numbers are what they make, or the hook is named."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn.utils import prune, spectral_norm, weight_norm  # noqa: E402

from rnncore.convert.from_torch import from_torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
B, T, I, H = 3, 7, 5, 4


def first(y):
    return y[0] if isinstance(y, tuple) else y


def same(layer, module, x):
    with torch.no_grad():
        expected = first(module.eval()(x)).numpy()
    found = first(layer(x.numpy()))
    assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def grown(module):
    """With other parameters, from which its hooks have made no weight yet."""
    module.load_state_dict({name: 1.5 * a for name, a in module.state_dict().items()})
    return module


def pruned(module, *names):
    for name in names:
        prune.random_unstructured(module, name, 0.5)
        prune.random_unstructured(module, name, 0.2)
    return module


RENEWED = [
    lambda: weight_norm(nn.Linear(I, H)),
    lambda: spectral_norm(nn.Linear(I, H)),
    lambda: spectral_norm(weight_norm(nn.Linear(I, H), "bias"), dim=1),
    lambda: pruned(nn.Linear(I, H), "weight", "bias"),
    lambda: weight_norm(nn.GRU(I, H, 2, bidirectional=True), "weight_hh_l1"),
    lambda: pruned(nn.LSTM(I, H), "weight_ih_l0"),
    lambda: weight_norm(nn.GRUCell(I, H), "weight_hh"),
]


@pytest.mark.parametrize("with_example", [False, True])
@pytest.mark.parametrize("make", RENEWED)
def test_weights_are_what_hooks_make_of_others(make, with_example):
    module = grown(make())
    stale = {name: a for name, a in vars(module).items() if isinstance(a, torch.Tensor)}
    x = torch.randn(T, B, I) if isinstance(module, nn.RNNBase) else torch.randn(B, I)
    layer = from_torch(module, x if with_example else None)
    assert all(vars(module)[name] is a for name, a in stale.items())
    same(layer, module, x)


def test_of_half_precision():
    module, x = weight_norm(nn.Linear(I, H)).bfloat16(), torch.randn(B, I)
    same(from_torch(module), module.float(), x)


def test_of_convolutions_and_within():
    module, x = grown(weight_norm(nn.Conv1d(I, H, 3))), torch.randn(B, I, T)
    found = from_torch(module)(x.transpose(1, 2).numpy())
    assert_allclose(found, module(x).transpose(1, 2).detach().numpy(), rtol=1e-4, atol=1e-6)
    module = nn.Sequential(module, nn.ReLU(), grown(pruned(nn.Conv1d(H, 2, 1), "weight")))
    same(lambda x: from_torch(module)(x), module, x)


def hooked(module, *, before=False, at=None):
    """Whose x or y is doubled by a hook, of itself or of one in it."""
    place = module if at is None else module[at]
    if before:
        place.register_forward_pre_hook(lambda m, args: (2 * args[0], *args[1:]))
    else:
        place.register_forward_hook(lambda m, args, y: 2 * y)
    return module


HOOKED = [
    ("module (Linear)", lambda: hooked(nn.Linear(I, H))),
    ("module (LSTM)", lambda: hooked(nn.LSTM(I, H), before=True)),
    ("module (Sequential)", lambda: hooked(nn.Sequential(nn.Linear(I, H), nn.Tanh()))),
    (
        "0 (Sequential)",
        lambda: hooked(nn.Sequential(nn.Sequential(nn.Linear(I, H)), nn.Tanh()), at=0),
    ),
]


@pytest.mark.parametrize(("place", "make"), HOOKED, ids=[place for place, _ in HOOKED])
def test_others_are_in_the_graph_alone(place, make):
    module, x = make(), torch.randn(B, I)
    told = re.escape(f"and {place} has the hook hooked.<locals>.<lambda>, which")
    with pytest.raises(ValueError, match=told):
        from_torch(module)
    same(from_torch(module, x), module, x)


def test_of_layers_in_a_sequential():
    module = hooked(nn.Sequential(nn.Linear(I, H), nn.GRU(H, H)), at=0, before=True)
    model, x = from_torch(module), torch.randn(T, B, I)
    expected = module[1](module[0](x))[0].detach().numpy()
    assert_allclose(model(x.numpy())[0], expected, rtol=0, atol=1e-6)


def test_of_all_modules_and_a_forward_of_its_own():
    module = nn.Linear(I, H)
    handle = nn.modules.module.register_module_forward_hook(lambda m, args, y: 2 * y)
    try:
        with pytest.raises(ValueError, match=r"module \(Linear\) has the hook"):
            from_torch(module)
    finally:
        handle.remove()
    inner, x = nn.Sequential(nn.Linear(I, H)), torch.randn(B, I)
    inner.forward = lambda x: 3 * inner[0](x)
    module = nn.Sequential(inner)
    with pytest.raises(ValueError, match=r"0 \(Sequential\) has a forward of its own"):
        from_torch(module)
    same(from_torch(module, x), module, x)
