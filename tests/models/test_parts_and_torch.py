"""The layers of models beside PyTorch's, in float64: values, gradients and buffers."""

import numpy as np
import pytest
from parts import FUNCTIONS, LENGTHS, PARTS, B, T

from rnncore.models.activation import Activation

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

CLOSE = {"rtol": 1e-9, "atol": 1e-12}

OF_TORCH = {
    "identity": lambda x: x.clone(),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "affine": lambda x, alpha, beta: alpha * x + beta,
    # F.hardsigmoid has the same 1/6 and 1/2, but 1/6 of float32 in its gradient.
    "hard_sigmoid": lambda x, alpha, beta: torch.clamp(alpha * x + beta, 0, 1),
    "softsign": F.softsign,
    "softplus": F.softplus,
    "leaky_relu": F.leaky_relu,
    "thresholded_relu": lambda x, alpha: F.threshold(x, alpha, 0.0),
    "scaled_tanh": lambda x, alpha, beta: alpha * torch.tanh(beta * x),
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "relu6": F.relu6,
    "hard_tanh": F.hardtanh,
    "hard_swish": F.hardswish,
    "log_sigmoid": F.logsigmoid,
    "exponential": torch.exp,
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
}


def split(function):
    return (function, ()) if isinstance(function, str) else (function[0], function[1:])


def module_of(case):
    """A function of a tensor (T, B, C), and the tensors of its parameters by name."""
    part = case.part()
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in part.params.items()}
    weight, bias = tensors.get("weight"), tensors.get("bias")
    kind, options = case.kind.__name__, case.options

    def conv(x):
        (K, d, s), L = (part.kernel_size, part.dilation, part.stride), x.shape[0]
        reach, pads = d * (K - 1) + 1, part.padding
        if pads == "valid":
            pads = (0, 0)
        elif pads == "causal":
            pads = (reach - 1, 0)
        elif pads == "same":
            missing = max(0, (-(-L // s) - 1) * s + reach - L)
            pads = (missing // 2, missing - missing // 2)
        x = F.pad(x.permute(1, 2, 0), pads)
        if x.shape[-1] < reach:
            return torch.zeros((0, x.shape[0], part.out_channels), dtype=x.dtype)
        return F.conv1d(x, weight, bias, s, 0, d).permute(2, 0, 1)

    def pool(x):
        L, what, window = x.shape[0], case.sizes[0], part.window
        if window is None:
            if not L:
                return torch.zeros(x.shape[1:], dtype=x.dtype)
            whole = {"last": x[-1], "first": x[0], "mean": x.mean(0), "max": x.max(0)[0]}
            return whole[what]
        if window > L and (part.padding == "valid" or not L):
            return torch.zeros((0, *x.shape[1:]), dtype=x.dtype)
        x, there, s = x.permute(1, 2, 0), torch.ones_like(x).permute(1, 2, 0), part.stride or window
        if part.padding == "same":  # PyTorch has no such padding for windows of an even size
            missing = max(0, (-(-L // s) - 1) * s + window - L)
            pads = (missing // 2, missing - missing // 2)
            x = F.pad(x, pads, value=-np.inf if what == "max" else 0.0)
            there = F.pad(there, pads)
        if what == "max":
            return F.max_pool1d(x, window, s).permute(2, 0, 1)
        return (F.avg_pool1d(x, window, s) / F.avg_pool1d(there, window, s)).permute(2, 0, 1)

    call = {
        "Linear": lambda x: F.linear(x, weight, bias),
        "Embedding": lambda x: F.embedding(x, weight),
        "LayerNorm": lambda x: F.layer_norm(x, (case.width,), weight, bias, part.eps),
        "Conv1d": conv,
        "Pool": pool,
        "Reverse": lambda x: x.flip(0),
        "Dropout": lambda x: x.clone(),
    }
    if kind == "Activation":
        name, numbers = split(case.sizes[0])
        return (lambda x: OF_TORCH[name](x, *numbers)), tensors
    assert kind in call, options
    return call[kind], tensors


COMPARED = [n for n in PARTS if not n.startswith("BatchNorm") and n != "Dropout"]


@pytest.mark.parametrize("lengths", [None, *LENGTHS], ids=str)
@pytest.mark.parametrize("name", COMPARED)
def test_values_and_gradients_row_by_row(name, lengths, rng):
    """PyTorch has no lengths: every row goes alone, cut at its own."""
    case = PARTS[name]
    part, x, (call, tensors) = case.part(), case.x(rng, T, B), module_of(case)
    y, trace = part.forward(x, lengths=lengths)
    dy = rng.standard_normal(y.shape)
    grads = part.backward(trace, dy)
    given = torch.tensor(x, requires_grad=not case.of_ids)
    ends = case.over_time and y.ndim == 2
    for b, n in enumerate(lengths or [T] * B):
        row = call(given[:n, b : b + 1])
        own = y[b : b + 1] if ends else y[: len(row), b : b + 1]
        np.testing.assert_allclose(own, row.detach().numpy(), **CLOSE)
        down = dy[b : b + 1] if ends else dy[: len(row), b : b + 1]
        if row.requires_grad:
            row.backward(torch.tensor(down))
    if not case.of_ids:
        np.testing.assert_allclose(grads.x, given.grad.numpy(), **CLOSE)
    for key, tensor in tensors.items():
        expected = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
        np.testing.assert_allclose(grads.params[key], expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("lengths", [None, *LENGTHS], ids=str)
@pytest.mark.parametrize("name", [n for n in PARTS if n.startswith("BatchNorm")])
def test_batch_norm(name, lengths, rng):
    """PyTorch is given the positions within the lengths alone."""
    case = PARTS[name]
    part = case.part()
    module = torch.nn.BatchNorm1d(
        part.size, part.eps, part.momentum, affine=part.affine, dtype=torch.float64
    )
    state = {**part.params, **part.buffers, "num_batches_tracked": np.array(0)}
    module.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    within = np.arange(T)[:, np.newaxis] < np.array(lengths or [T] * B)
    for _ in range(3):
        x = rng.standard_normal((T, B, part.size)) + 1
        y, trace = part.forward(x, lengths=lengths)
        dy = rng.standard_normal(y.shape)
        grads = part.backward(trace, dy)
        rows = torch.tensor(x[within], requires_grad=True)
        module.zero_grad()
        expected = module(rows)
        expected.backward(torch.tensor(dy[within]))
        np.testing.assert_allclose(y[within], expected.detach().numpy(), **CLOSE)
        np.testing.assert_allclose(grads.x[within], rows.grad.numpy(), **CLOSE)
        assert not y[~within].any()
        assert not grads.x[~within].any()
        for key, tensor in module.named_parameters():
            np.testing.assert_allclose(grads.params[key], tensor.grad.numpy(), **CLOSE)
        for key, value in part.buffers.items():
            np.testing.assert_allclose(value, module.state_dict()[key].numpy(), **CLOSE)
    module.eval()
    x = rng.standard_normal((T, B, part.size))
    got = part(x, lengths=lengths)[within]
    np.testing.assert_allclose(got, module(torch.tensor(x[within])).detach().numpy(), **CLOSE)


def test_a_state_dict_goes_in_as_it_is(rng):
    part = PARTS["BatchNorm"].part()
    module = torch.nn.BatchNorm1d(part.size, dtype=torch.float64)
    module(torch.tensor(rng.standard_normal((9, part.size))))
    part.load_params(module.state_dict())
    x = rng.standard_normal((T, part.size))
    expected = module.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(part(x), expected, **CLOSE)
    conv = PARTS["Conv1d"].part()
    module = torch.nn.Conv1d(conv.in_channels, conv.out_channels, 3, dtype=torch.float64)
    conv.load_params(module.state_dict())
    expected = module(torch.tensor(x.T)).detach().numpy().T
    np.testing.assert_allclose(conv(x), expected, **CLOSE)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_functions_far_out(function):
    """Where a formula written naively would overflow, or lose all its digits."""
    name, numbers = split(function)
    around = np.array([0.0, 1e-12, 1e-3, 0.7, 2.9, 5.0, 9.0, 19.0, 40.0, 300.0, 800.0])
    x = np.concatenate((around, -around))[:, np.newaxis]
    if name in ("softmax", "log_softmax"):
        x = np.stack((x[:, 0], np.zeros(len(x)), x[::-1, 0]), 1)
    got = Activation(function)(x)
    expected = OF_TORCH[name](torch.tensor(x), *numbers).numpy()
    # PyTorch's softplus is x from 20 on, and its GELU 1 + erf, which loses the digits of its tail.
    close = {"rtol": 1e-8} if name in ("softplus", "mish", "gelu") else {"rtol": 1e-13}
    np.testing.assert_allclose(got, expected, atol=1e-15, **close)
