"""`replace` and `restore`: whole models, random ones too, with one call added."""

import copy
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from in_torch import CELLS, LAYERS, I, assert_same, flat, values  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

import rnncore.torch as rt  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


class Stage(nn.Module):
    """A layer, a norm of what it gives, and cells in a loop over it."""

    def __init__(self, layer, cell):
        super().__init__()
        self.layers = nn.ModuleList([layer])
        self.inner = nn.ModuleDict({"cell": cell, "norm": nn.LayerNorm(cell.hidden_size)})

    def forward(self, x, hx=None):
        y, _ = self.layers[0](x)
        y = y.transpose(0, 1) if self.layers[0].batch_first else y
        hx, outputs = None, []
        for y_t in y:
            hx = self.inner["cell"](y_t, hx)
            outputs.append(self.inner["norm"](hx[0] if isinstance(hx, tuple) else hx))
        z = torch.stack(outputs)
        return z.transpose(0, 1) if self.layers[0].batch_first else z


def random_model(seed):
    rng = np.random.default_rng(seed)
    width, stages = I, []
    for _ in range(rng.integers(1, 4)):
        hidden, name = int(rng.integers(2, 20)), rng.choice(LAYERS)
        options = {
            "num_layers": int(rng.integers(1, 4)),
            "bias": bool(rng.integers(2)),
            "bidirectional": bool(rng.integers(2)),
            "batch_first": bool(rng.integers(2)),
        }
        if name == "RNN":
            options["nonlinearity"] = str(rng.choice(["tanh", "relu"]))
        if name == "LSTM" and rng.integers(2):
            options["proj_size"] = 1
        layer = getattr(nn, name)(width, hidden, **options)
        width = (options.get("proj_size") or hidden) * (2 if options["bidirectional"] else 1)
        cell = getattr(nn, rng.choice(CELLS))(width, int(rng.integers(2, 20)))
        width = cell.hidden_size
        stages.append(Stage(layer, cell))
    return nn.Sequential(*stages).double()


class Called(nn.Module):
    """A model that is called with a state, which is None."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, hx):
        return self.model(x)


@pytest.mark.parametrize("seed", range(12))
def test_random_models(seed):
    torch.manual_seed(seed)
    stock = Called(random_model(seed))
    ours = copy.deepcopy(stock)
    report = rt.replace(ours)
    assert len(report.replaced) == 2 * len(stock.model)
    assert not report.left
    x = torch.randn(5, 4, I, dtype=torch.float64)
    expected = values(stock, x)
    assert_same(values(ours, x), expected)
    assert rt.restore(ours).replaced == report.replaced
    assert_same(values(ours, x), expected)
    assert [type(m) for m in ours.modules()] == [type(m) for m in stock.modules()]
    torch.testing.assert_close(copy.deepcopy(ours)(x, None), stock(x, None))


def test_the_same_objects_go_on():
    """An optimiser made before, an average of parameters, hooks, flags, names."""
    model = nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 5), nn.Identity())
    other = copy.deepcopy(model)
    adams = [torch.optim.Adam(m.parameters(), lr=0.1) for m in (model, other)]
    seen = []
    for m in (model, other):
        m[1].register_forward_hook(lambda module, args, output: seen.append(type(module)))
        m[1].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        m[1].register_full_backward_hook(lambda module, dx, dy: (dx[0] * 3,))
        m[1].mine = "kept"
    module, parameters = model[1], [*model.named_parameters()]
    model.eval()
    rt.replace(model)
    assert model[1] is module
    assert type(module) is rt.GRU
    assert not module.training
    assert module.mine == "kept"
    for (name, before), (same, after) in zip(parameters, model.named_parameters(), strict=True):
        assert name == same
        assert before is after
    model.train()
    x = torch.randn(2, 3, 3)
    for _ in range(3):
        for m, adam in zip((model, other), adams, strict=True):
            adam.zero_grad()
            m(x)[0].square().sum().backward()
            adam.step()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert set(seen) == {rt.GRU, nn.GRU}


def test_shared_modules_and_the_root():
    shared = nn.LSTM(3, 3)
    model = nn.ModuleDict({"a": shared, "b": nn.ModuleList([shared, nn.RNN(3, 3)])})
    report = rt.replace(model)
    assert report.replaced == ["a", "b.1"]
    assert model["a"] is model["b"][0] is shared
    assert type(shared) is rt.LSTM
    root = nn.GRUCell(3, 4)
    assert rt.replace(root).replaced == [""]
    assert type(root) is rt.GRUCell
    assert str(rt.replace(root)) == "replaced: nothing"


class Mine(nn.LSTM):
    pass


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
def test_what_is_left_alone_and_why():
    quantised = torch.ao.nn.quantized.dynamic.LSTM(3, 4)
    weight_norm = parametrizations.weight_norm(nn.GRU(3, 4), "weight_hh_l0")
    model = nn.ModuleDict(
        {
            "int8": quantised,
            "normed": weight_norm,
            "narrow": nn.GRU(3, 4).bfloat16(),
            "mine": Mine(3, 4),
            "fine": nn.GRU(3, 4),
            "linear": nn.Linear(3, 4),
        }
    )
    report = rt.replace(model)
    assert report.replaced == ["fine"]
    assert report.left == {
        "int8": "it is quantised",
        "normed": "it is parametrised: replace the model before the parametrisation",
        "narrow": "weight_ih_l0 is torch.bfloat16, and rnncore computes in float32 and float64",
        "mine": "it is of a class of its own, Mine",
    }
    assert "left: 'mine', it is of a class of its own, Mine" in str(report)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_modules_are_left_alone():
    model = nn.Sequential(torch.jit.script(nn.GRU(3, 4)))
    assert rt.replace(model).left == {"0": "it is scripted"}


def test_another_device_is_a_reason():
    from torch._subclasses import FakeTensorMode

    model = nn.GRU(3, 4, device="meta")
    with FakeTensorMode():  # in which there are devices that there are not
        for name, parameter in [*model.named_parameters()]:
            setattr(model, name, nn.Parameter(torch.empty(parameter.shape, device="cuda")))
        report = rt.replace(model)
    assert report.left == {"": "weight_ih_l0 is on cuda:0, and rnncore computes on the CPU"}
    assert type(model) is nn.GRU


def test_only_torchs_own_can_be_restored():
    model = nn.ModuleList([rt.LSTM(3, 4), rt.GRU(3, 4, reset="before"), rt.IndRNN(3, 4)])
    report = rt.restore(model)
    assert report.replaced == ["0"]
    assert report.left == {"1": "torch.nn has no reset", "2": "torch.nn has no IndRNN"}
    x = torch.randn(2, 1, 3)
    assert type(model[0]) is nn.LSTM
    again = nn.LSTM(3, 4)
    again.load_state_dict(model[0].state_dict())
    assert torch.equal(model[0](x)[0], again(x)[0])
    model[0].double()(x.double())


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_pickles_of_either_become_the_other(name):
    torch.manual_seed(0)
    stock = getattr(nn, name)(3, 4)
    x = torch.randn(2, 3) if name in CELLS else torch.randn(2, 2, 3)
    expected = flat(stock(x))
    file = io.BytesIO()
    torch.save(stock, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    rt.replace(loaded)
    file = io.BytesIO()
    torch.save(loaded, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert type(loaded) is getattr(rt, name)
    for found in (loaded(x), (rt.restore(loaded), loaded(x))[1]):
        for a, b in zip(flat(found), expected, strict=True):
            torch.testing.assert_close(a, b)


def test_a_pickle_of_before_projections():
    """PyTorch 1.7 knew no proj_size; its modules come back with one, and are replaced as well."""
    stock = nn.LSTM(3, 4)
    state = stock.__getstate__()
    del state["proj_size"]
    old = nn.LSTM.__new__(nn.LSTM)
    old.__setstate__(state)
    rt.replace(old)
    x = torch.randn(2, 2, 3)
    torch.testing.assert_close(old(x)[0], stock(x)[0])


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_a_forward_of_an_objects_own_is_left_alone(name):
    """It calls that of the class that the object had."""
    x = torch.randn(*((2, 3) if name in CELLS else (2, 4, 3)))
    for make, swap in ((getattr(nn, name), rt.replace), (getattr(rt, name), rt.restore)):
        module = make(3, 4)
        before, module.forward = flat(module(x)), (lambda own: lambda *a: own(*a))(module.forward)
        report = swap(module)
        assert not report.replaced
        assert "forward of its own" in report.left[""]
        torch.testing.assert_close(flat(module(x)), before)


def test_parametrised_modules_are_restored_afterwards():
    module = nn.GRU(3, 4)
    rt.replace(module)
    parametrizations.weight_norm(module, "weight_hh_l0")
    assert rt.restore(module).left == {"": "it is parametrised: remove the parametrisation first"}
    nn.utils.parametrize.remove_parametrizations(module, "weight_hh_l0")
    assert rt.restore(module).replaced == [""]
    assert type(module) is nn.GRU


def test_classes_of_users():
    class Own(rt.LSTM):
        def forward(self, x):
            return super().forward(x)[0]

    class Base(nn.RNNBase):
        pass

    own, x = Own(3, 4), torch.randn(2, 4, 3)
    stock = nn.LSTM(3, 4)
    stock.load_state_dict(own.state_dict())
    torch.testing.assert_close(own(x), stock(x)[0])
    assert "a class of its own, Own" in rt.restore(own).left[""]
    assert "a class of its own" in rt.replace(Base("LSTM", 3, 4)).left[""]
