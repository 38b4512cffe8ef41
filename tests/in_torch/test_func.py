"""Transforms of `torch.func`."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from in_torch import CELLS, LAYERS, B, I, T, flat, pair  # noqa: E402
from torch.func import functional_call, grad, jacrev, vmap  # noqa: E402


def models():
    return [*LAYERS, *CELLS]


def function_of(name):
    """A loss of parameters and one example, and its parameters."""
    _, ours = pair(name, **({"num_layers": 2, "bidirectional": True} if name in LAYERS else {}))
    shape = (T, I) if name in LAYERS else (I,)

    def loss(params, x):
        return sum(each.square().sum() for each in flat(functional_call(ours, params, (x,))))

    return ours, dict(ours.named_parameters()), loss, torch.randn(B, *shape, dtype=torch.float64)


@pytest.mark.parametrize("name", models())
def test_grad_of_a_functional_call(name):
    ours, params, loss, x = function_of(name)
    found = grad(loss)(params, x[0])
    loss(params, x[0]).backward()
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(found[key], parameter.grad)
    other = {key: value * 2 for key, value in params.items()}
    assert not torch.equal(loss(other, x[0]), loss(params, x[0]))


@pytest.mark.parametrize("name", models())
def test_gradients_of_single_examples_are_those_of_a_loop(name):
    _, params, loss, x = function_of(name)
    found = vmap(grad(loss), in_dims=(None, 0))(params, x)
    for k in range(B):
        for key, expected in grad(loss)(params, x[k]).items():
            torch.testing.assert_close(found[key][k], expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", models())
def test_vmap_over_inputs_and_over_parameters(name):
    _, params, loss, x = function_of(name)
    expected = torch.stack([loss(params, each) for each in x])
    for enabled in (False, True):
        with torch.set_grad_enabled(enabled):
            torch.testing.assert_close(vmap(loss, in_dims=(None, 0))(params, x), expected)
    ensemble = {key: torch.stack([p, p * 0.5]) for key, p in params.items()}
    both = vmap(loss, in_dims=(0, None))(ensemble, x[0])
    half = {key: p * 0.5 for key, p in params.items()}
    torch.testing.assert_close(both, torch.stack([loss(params, x[0]), loss(half, x[0])]))


@pytest.mark.parametrize("name", LAYERS)
def test_jacobians(name):
    stock, ours = pair(name)
    x = torch.randn(3, 2, I, dtype=torch.float64)
    found = jacrev(lambda x: ours(x)[0].sum((0, 1)))(x)
    expected = torch.autograd.functional.jacobian(lambda x: stock(x)[0].sum((0, 1)), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives_by_transforms_are_refused(name):
    _, params, loss, x = function_of(name)

    def norm(x):
        return grad(lambda x: loss(params, x))(x).square().sum()

    with pytest.raises(RuntimeError, match="double_backward=True"):
        grad(norm)(x[0])


# Of the compiler, about its own ways.
of_the_compiler = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@of_the_compiler
def test_transforms_within_a_compiled_function_are_those_without():
    """The compiler leaves them to Python; a whole graph of them is refused."""
    _, ours = pair("GRU")
    x = torch.randn(T, B, I, dtype=torch.float64)

    def gradient(x):
        return grad(lambda x: ours(x)[0].square().sum())(x)

    torch._dynamo.reset()
    compiled = torch.compile(gradient, backend="aot_eager")
    torch.testing.assert_close(compiled(x), gradient(x))
    assert gradient(x).abs().max() > 0.1
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(gradient, backend="aot_eager", fullgraph=True)(x)
    torch._dynamo.reset()


@of_the_compiler
@pytest.mark.parametrize("frozen", [False, True])
def test_forward_mode_within_a_compiled_function_is_never_zero(frozen):
    _, ours = pair("GRU")
    ours.requires_grad_(not frozen)
    x = torch.randn(T, B, I, dtype=torch.float64)

    def tangent(x):
        return torch.func.jvp(lambda x: ours(x)[0].sum(), (x,), (torch.ones_like(x),))[1]

    torch._dynamo.reset()
    with pytest.raises((NotImplementedError, RuntimeError)), torch.no_grad():
        torch.compile(tangent, backend="aot_eager")(x)
    torch._dynamo.reset()
