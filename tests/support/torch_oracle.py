"""PyTorch as oracle: the outputs of a layer and the gradients that autograd finds.

What torch.nn has is computed by torch.nn; other cells, the GRU with its reset before the product,
peepholes and coupled gates are written out here with tensors and differentiated by autograd.
"""

import numpy as np
import torch
from problems import STATES, Problem, pack, unpack
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

VARIANTS = ("reset", "peephole", "coupled")


def of_torch(cell: str) -> bool:
    """Whether torch.nn has this cell."""
    return hasattr(torch.nn, cell)


def run_torch(problem: Problem) -> dict[str, np.ndarray]:
    """The same results under the same names as `problems.run_layer`."""
    names = STATES[problem.cell]
    inputs = {k: torch.from_numpy(v.copy()) for k, v in problem.inputs.items()}
    params = {k: torch.from_numpy(v.copy()) for k, v in problem.params.items()}
    states = [inputs.get(f"{s}0", _zeros(problem, s)).requires_grad_() for s in names]
    x = inputs["x"].requires_grad_()
    if not of_torch(problem.cell) or any(option in problem.options for option in VARIANTS):
        params = {k: v.requires_grad_() for k, v in params.items()}
        y, last = _unrolled(problem, params, x, states, inputs.get("lengths"))
    else:
        module = _module(problem)
        module.load_state_dict(params)
        params = dict(module.named_parameters())
        y, last = _call(module, x, pack(states), inputs.get("lengths"))

    outputs = {"y": y} | {f"{s}n": value for s, value in zip(names, unpack(last), strict=True)}
    arrive = {"y": "dy"} | {f"{s}n": f"d{s}" for s in names}
    loss = sum(
        (value * inputs[arrive[name]]).sum()
        for name, value in outputs.items()
        if arrive[name] in inputs
    )
    leaves = {"x": x} | {f"{s}0": value for s, value in zip(names, states, strict=True)} | params
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    outputs |= {f"d{name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach().numpy() for name, value in outputs.items()}


def _module(problem: Problem) -> torch.nn.RNNBase:
    options = {**problem.options, "dtype": getattr(torch, problem.options["dtype"])}
    return getattr(torch.nn, problem.cell)(**options)


def _call(module: torch.nn.RNNBase, x: torch.Tensor, state, lengths: torch.Tensor | None):
    """Rows of different lengths are packed for torch, and its outputs padded again with zeros."""
    if lengths is None:
        return module(x, state)
    batch_first, steps = module.batch_first, x.shape[1 if module.batch_first else 0]
    packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    y, last = module(packed, state)
    return pad_packed_sequence(y, batch_first, total_length=steps)[0], last


def _zeros(problem: Problem, part: str) -> torch.Tensor:
    options, x = problem.options, problem.inputs["x"]
    D = 2 if options.get("bidirectional") else 1
    rows = () if x.ndim == 2 else (x.shape[0 if options.get("batch_first") else 1],)
    H = options["hidden_size"]
    width = options.get("proj_size") or H if part == "h" else H
    shape = (options.get("num_layers", 1) * D, *rows, width)
    return torch.zeros(shape, dtype=getattr(torch, options["dtype"]))


def _unrolled(problem: Problem, params: dict, x: torch.Tensor, states: list, lengths):
    """A stack of layers in one or both directions, step by step."""
    swapped = problem.options.get("batch_first") and x.ndim == 3
    x = x.transpose(0, 1) if swapped else x
    ends = None if lengths is None else lengths[:, None]
    suffixes = ("", "_reverse") if problem.options.get("bidirectional") else ("",)
    finals = []
    for layer in range(problem.options.get("num_layers", 1)):
        outputs = []
        for suffix in suffixes:
            end = f"_l{layer}{suffix}"
            weights = {k.removesuffix(end): v for k, v in params.items() if k.endswith(end)}
            state = tuple(s[len(finals)] for s in states)
            y = [None] * len(x)
            for t in reversed(range(len(x))) if suffix else range(len(x)):
                there = torch.tensor(True) if ends is None else t < ends
                made = STEPS[problem.cell](x[t], state, weights, problem.options)
                pairs = zip(made, state, strict=True)
                state = tuple(torch.where(there, new, old) for new, old in pairs)
                y[t] = torch.where(there, made[0], 0)
            outputs.append(torch.stack(y))
            finals.append(state)
        x = torch.cat(outputs, dim=-1)
    y = x.transpose(0, 1) if swapped else x
    return y, tuple(torch.stack(s) for s in zip(*finals, strict=True))


def _both_biases(w):
    return w.get("bias_ih", 0) + w.get("bias_hh", 0)


def _rnn_step(x, state, w, options):
    sums = x @ w["weight_ih"].T + state[0] @ w["weight_hh"].T + _both_biases(w)
    return (getattr(torch, options.get("nonlinearity", "tanh"))(sums),)


def _indrnn_step(x, state, w, options):
    sums = x @ w["weight_ih"].T + state[0] * w["weight_hh"] + _both_biases(w)
    return (getattr(torch, options.get("nonlinearity", "relu"))(sums),)


def _gru_step(x, state, w, options):
    (h,) = state
    r_x, z_x, n_x = (x @ w["weight_ih"].T + w.get("bias_ih", 0)).chunk(3, dim=-1)
    w_hr, w_hz, w_hn = w["weight_hh"].chunk(3)
    b_hr, b_hz, b_hn = w["bias_hh"].chunk(3) if "bias_hh" in w else (0, 0, 0)
    r = torch.sigmoid(r_x + h @ w_hr.T + b_hr)
    z = torch.sigmoid(z_x + h @ w_hz.T + b_hz)
    if options.get("reset") == "before":
        n = torch.tanh(n_x + (r * h) @ w_hn.T + b_hn)
    else:
        n = torch.tanh(n_x + r * (h @ w_hn.T + b_hn))
    return ((1 - z) * n + z * h,)


def _lstm_step(x, state, w, options):
    h, c_prev = state
    sums = x @ w["weight_ih"].T + h @ w["weight_hh"].T + _both_biases(w)
    i, f, g, o = sums.chunk(4, dim=-1)
    p_i, p_f, p_o = w["weight_ch"].chunk(3) if options.get("peephole") else (0, 0, 0)
    i = torch.sigmoid(i + p_i * c_prev)
    f = 1 - i if options.get("coupled") else torch.sigmoid(f + p_f * c_prev)
    c = f * c_prev + i * torch.tanh(g)
    o = torch.sigmoid(o + p_o * (c if options.get("peephole") == "current" else c_prev))
    h = o * torch.tanh(c)
    return h @ w["weight_hr"].T if "weight_hr" in w else h, c


def _layer_norm_lstm_step(x, state, w, options):
    def norm(a, of):
        gain, bias = w[f"norm_{of}_weight"], w.get(f"norm_{of}_bias")
        eps = options.get("eps", 1e-5)
        return torch.nn.functional.layer_norm(a, a.shape[-1:], gain, bias, eps)

    h, c = state
    sums = norm(x @ w["weight_ih"].T, "ih") + norm(h @ w["weight_hh"].T, "hh")
    i, f, g, o = sums.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(norm(c, "c")), c


# Cell -> a step of it: x, the states before, the weights by their stems, options.
STEPS = {
    "RNN": _rnn_step,
    "GRU": _gru_step,
    "LSTM": _lstm_step,
    "IndRNN": _indrnn_step,
    "LayerNormLSTM": _layer_norm_lstm_step,
}
