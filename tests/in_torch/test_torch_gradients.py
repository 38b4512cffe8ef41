"""What autograd asks of a module: exact gradients, those that are needed, and errors otherwise."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from in_torch import CELLS, LAYERS, B, H, I, T, flat, pair, state_of  # noqa: E402
from torch.autograd import forward_ad, gradcheck, gradgradcheck  # noqa: E402

import rnncore.torch as rt  # noqa: E402
from rnncore.torch import eager  # noqa: E402
from rnncore.torch.kernel import Kernel  # noqa: E402

DEEP = {"num_layers": 2, "bidirectional": True}


def x_of(*rows, grad=True):
    return torch.randn(*rows, I, dtype=torch.float64, requires_grad=grad)


@pytest.mark.parametrize("name", LAYERS)
def test_gradcheck(name):
    _, ours = pair(name, **DEEP)
    states = [part.requires_grad_() for part in flat(state_of(ours))]

    def function(x, *others):
        hx = others[: len(states)]
        return flat(ours(x, hx if len(hx) > 1 else hx[0]))

    assert gradcheck(function, (x_of(3, 2), *[s[:, :2].detach().requires_grad_() for s in states],
                                *ours.parameters()))  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_gradcheck_of_cells(name):
    _, ours = pair(name)
    states = [part.requires_grad_() for part in flat(state_of(ours))]

    def function(x, *others):
        hx = others[: len(states)]
        return flat(ours(x, hx if len(hx) > 1 else hx[0]))

    assert gradcheck(function, (x_of(B), *states, *ours.parameters()))


@pytest.mark.parametrize("frozen", ["x", "first layer", "hidden weights", "biases", "all but one"])
@pytest.mark.parametrize("name", ["GRU", "LSTM", "LayerNormLSTM", "IndRNN"])
def test_only_what_is_needed_is_computed(name, frozen, monkeypatch):
    torch.manual_seed(0)
    ours = getattr(rt, name)(I, H, dtype=torch.float64, **DEEP)
    x = x_of(T, B)

    def gradients():
        ours.zero_grad()
        x.grad = None
        ours(x)[0].square().sum().backward()
        return {"x": x.grad, **{name: p.grad for name, p in ours.named_parameters()}}

    whole, asked = gradients(), []
    x.requires_grad_(frozen != "x")
    for key, parameter in ours.named_parameters():
        parameter.requires_grad_(
            not {
                "x": False,
                "first layer": "_l0" in key,
                "hidden weights": "weight_hh" in key,
                "biases": "bias" in key,
                "all but one": key != "weight_hh_l1",
            }[frozen]
        )
    zeros = Kernel._zeros
    monkeypatch.setattr(
        Kernel, "_zeros", lambda self, wanted: asked.append(zeros(self, wanted)) or asked[-1]
    )
    some = gradients()
    for key, expected in whole.items():
        wanted = x if key == "x" else ours.get_parameter(key)
        if wanted.requires_grad:
            torch.testing.assert_close(some[key], expected, rtol=0, atol=0)
        else:
            assert some[key] is None
    (dweights,) = asked
    count = sum(w is not None for cell in dweights for w in (*cell[:4], *cell.vectors, cell.w_hr))
    wanted = sum(parameter.requires_grad for parameter in ours.parameters())
    # Without frozen ones the core adds to both biases, given or not.
    assert count == wanted if frozen != "x" else count >= wanted


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
@pytest.mark.parametrize("name", ["LSTM", "LSTMCell"])
def test_of_x_and_the_states_those_that_are_needed(name, wanted):
    stock, ours = pair(name)
    inputs = [x_of(B, grad=False) if name in CELLS else x_of(T, B, grad=False), *state_of(ours)]
    for k in wanted:
        inputs[k].requires_grad_()
    found = []
    for module in (ours, stock):
        module.requires_grad_(False)
        loss = sum(each.square().sum() for each in flat(module(inputs[0], tuple(inputs[1:]))))
        found.append(torch.autograd.grad(loss, [inputs[k] for k in wanted]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_a_frozen_model_keeps_nothing(monkeypatch):
    _, ours = pair("GRU")
    ours.requires_grad_(False)
    monkeypatch.setattr(eager, "forward", None)  # would be called for a pass back
    assert not ours(x_of(T, B, grad=False))[0].requires_grad


@pytest.mark.parametrize("name", LAYERS)
def test_backward_twice(name):
    _, ours = pair(name, **DEEP)
    x = x_of(T, B)
    loss = ours(x)[0].square().sum()
    inputs = [x, *ours.parameters()]
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(loss, inputs), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l1", "bias_ih_l0", "x"])
def test_what_was_changed_in_place_is_an_error(name):
    _, ours = pair("LSTM", num_layers=2)
    leaf = x_of(T, B)
    x = leaf * 1
    loss = ours(x)[0].sum()
    with torch.no_grad():
        (x if name == "x" else ours.get_parameter(name)).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_outputs_may_be_changed_in_place():
    _, ours = pair("GRU")
    x = x_of(T, B)
    (expected,) = torch.autograd.grad((ours(x)[0] * 3).sum(), x)
    y, _ = ours(x)
    y.mul_(3)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], expected)


def test_one_module_twice_in_a_graph():
    stock, ours = pair("GRU", I, I)
    x = x_of(T, B)
    found = []
    for module in (stock, ours):
        module.zero_grad()
        y, h = module(x)
        module(y, h)[0].square().sum().backward()
        found.append([p.grad for p in module.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_a_part_of_the_outputs_alone():
    stock, ours = pair("LSTM", **DEEP)
    x = x_of(T, B)
    for choose in (lambda y, h, c: y, lambda y, h, c: h, lambda y, h, c: c):
        found = []
        for module in (stock, ours):
            y, (h, c) = module(x)
            loss = choose(y, h, c).square().sum()
            found.append(torch.autograd.grad(loss, [x, *module.parameters()], allow_unused=True))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(torch.zeros_like(b) if a is None else a, b)


# Second derivatives


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_second_derivatives_are_refused_with_a_hint(name):
    _, ours = pair(name)
    x = x_of(B) if name in CELLS else x_of(T, B)
    (d,) = torch.autograd.grad(flat(ours(x))[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double_backward=True"):
        d.sum().backward()


@pytest.mark.parametrize("lengths", [None, [2, 0, 3]], ids=str)
@pytest.mark.parametrize("rows_first", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives_where_they_are_wanted(name, rows_first, lengths):
    torch.manual_seed(0)
    ours = getattr(rt, name)(
        2, 3, **DEEP, dropout=0.4, batch_first=rows_first, dtype=torch.float64, double_backward=True
    )
    lengths = None if lengths is None else torch.tensor(lengths)

    def function(x, *_):
        torch.manual_seed(0)
        return flat(ours(x, lengths=lengths))

    x = torch.randn(*((3, 3)), 2, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(function, (x, *ours.parameters()), fast_mode=True)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_second_derivatives_are_torchs(name):
    stock, ours = pair(name)
    ours.double_backward = True
    x, hx = (x_of(B) if name in CELLS else x_of(T, B)), state_of(stock)
    found = []
    for module in (stock, ours):
        inputs = [x, *module.parameters()]
        loss = flat(module(x, hx))[0].square().sum()
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        second = torch.autograd.grad(sum(d.square().sum() for d in first), inputs)
        found.append([*first, *second])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_a_weight_that_x_depends_on_counts_once():
    """The gradients of the pass back are partial ones, whatever x has come from."""
    stock, ours = pair("GRU", I, I)
    ours.double_backward = True
    found = []
    for module in (stock, ours):
        x = torch.ones(T, B, I, dtype=torch.float64) @ module.weight_ih_l0[:I]
        loss = module(x)[0].square().sum()
        found.append(torch.autograd.grad(loss, [*module.parameters()], create_graph=True))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("name", "options"),
    [("GRU", {"reset": "before"}), ("LSTM", {"peephole": "current"}), ("IndRNN", {}),
     ("LayerNormLSTM", {}), ("GRU", {"zoneout": 0.5}), ("RNN", {"recurrent_dropout": 0.5})],
)  # fmt: skip
def test_second_derivatives_of_what_torch_does_not_have(name, options):
    ours = getattr(rt, name)(I, H, dtype=torch.float64, double_backward=True, **options)
    x = x_of(T, B)
    with pytest.raises(RuntimeError, match="operations, which have no"):
        torch.autograd.grad(ours(x)[0].sum(), x, create_graph=True)


# Forward mode


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch's own
def test_forward_mode_is_refused_and_never_zero():
    _, ours = pair("LSTM")
    x, v = x_of(T, B, grad=False), x_of(T, B, grad=False)
    for freeze in (False, True):
        ours.requires_grad_(not freeze)
        with pytest.raises(NotImplementedError, match="forward-mode"):
            torch.func.jvp(lambda x: ours(x)[0], (x,), (v,))
        for grad in (False, True):
            with (
                torch.set_grad_enabled(grad),
                forward_ad.dual_level(),
                pytest.raises(NotImplementedError, match="forward-mode"),
            ):
                ours(forward_ad.make_dual(x, v))
