"""Modules of PyTorch and of rnncore.torch with the same parameters, and what they give."""

import torch
from torch.nn.utils.rnn import PackedSequence

import rnncore.torch as rt

LAYERS = ("RNN", "GRU", "LSTM")
CELLS = ("RNNCell", "GRUCell", "LSTMCell")
# Of every sort of option some; a layer each.
OPTIONS = {
    "plain": {},
    "deep": {"num_layers": 3},
    "both": {"bidirectional": True},
    "rows-first": {"batch_first": True, "num_layers": 2, "bidirectional": True},
    "no-bias": {"bias": False, "num_layers": 2},
}
VARIANTS = [
    *[(name, options) for name in LAYERS for options in OPTIONS.values()],
    ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {"proj_size": 3}),
    ("LSTM", {"proj_size": 3, "num_layers": 2, "bidirectional": True, "batch_first": True}),
]
BOUND = {torch.float32: 2e-5, torch.float64: 1e-12}
T, B, I, H = 6, 4, 5, 7


def pair(name, *sizes, dtype=torch.float64, **options):
    """PyTorch's own module and ours, with the same parameters."""
    torch.manual_seed(0)
    stock = getattr(torch.nn, name)(*(sizes or (I, H)), dtype=dtype, **options)
    ours = getattr(rt, name)(*(sizes or (I, H)), dtype=dtype, **options)
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def state_of(module, rows=B, dtype=torch.float64):
    """A state for it, or for a module that is one of a name with Cell in it."""
    generator = torch.Generator().manual_seed(1)
    lead = (rows,)
    if hasattr(module, "num_layers"):
        lead = (module.num_layers * (2 if module.bidirectional else 1), *lead)
    widths = [getattr(module, "proj_size", 0) or module.hidden_size]
    if "LSTM" in type(module).__name__:
        widths.append(module.hidden_size)
    parts = [torch.randn(*lead, width, generator=generator, dtype=dtype) for width in widths]
    return tuple(parts) if len(parts) > 1 else parts[0]


def flat(found):
    """All tensors of what a module gives."""
    if isinstance(found, PackedSequence):
        return [found.data]
    if isinstance(found, torch.Tensor):
        return [found]
    return [tensor for each in found for tensor in flat(each)]


def loss_of(found):
    """A number that every output has a part of its own in."""
    total = 0
    for k, each in enumerate(flat(found)):
        weights = torch.cos(torch.arange(each.numel(), dtype=each.dtype) + k)
        total = total + (each * weights.view(each.shape)).sum()
    return total


def values(module, x, hx=None, **options):
    """Outputs, and the gradients of x, of the state and of all parameters, by names."""
    x = x.detach().requires_grad_() if isinstance(x, torch.Tensor) else x
    parts = [] if hx is None else [part.detach().requires_grad_() for part in flat(hx)]
    hx = None if hx is None else tuple(parts) if isinstance(hx, tuple) else parts[0]
    found = module(x, hx, **options)
    module.zero_grad()
    loss_of(found).backward()
    named = {f"output {k}": each.detach() for k, each in enumerate(flat(found))}
    if isinstance(x, torch.Tensor):
        named["x"] = x.grad
    named |= {f"state {k}": part.grad for k, part in enumerate(parts)}
    return named | {name: parameter.grad for name, parameter in module.named_parameters()}


def assert_same(ours, stock, dtype=torch.float64):
    """Both dicts of values agree to rounding."""
    assert ours.keys() == stock.keys()
    for name, expected in stock.items():
        bound = BOUND[dtype] * max(1, *expected.abs().flatten().tolist(), 0)
        torch.testing.assert_close(ours[name], expected, rtol=0, atol=bound, msg=name)
