"""The functional core against PyTorch: projections, packed sequences, the flow of gradients."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

T, B, I, H, P = 9, 7, 4, 6, 3
KINDS = {
    "rnn": ("RNN", 0, {}),
    "rnn-relu": ("RNN", 0, {"nonlinearity": "relu"}),
    "gru": ("GRU", 0, {}),
    "lstm": ("LSTM", 0, {}),
    "lstm-projection": ("LSTM", P, {}),
}
LENGTHS = {
    "falling": [9, 8, 7, 5, 3, 2, 1],
    "rising": [1, 2, 3, 5, 7, 8, 9],
    "mixed": [4, 9, 1, 7, 7, 2, 9],
    "short": [2, 5, 1, 3, 3, 4, 1],  # no row takes all steps
    "some empty": [0, 9, 0, 4, 7, 1, 0],
    "all": None,
}


class Case:
    """torch.nn's layer in both directions, and the arrays of each direction by our names."""

    def __init__(self, kind, rng):
        name, proj_size, options = KINDS[kind]
        self.kind, self.options = name.lower(), options
        more = {"proj_size": proj_size} if proj_size else {}
        module = getattr(torch.nn, name)
        self.module = module(I, H, bidirectional=True, **more, **options, dtype=torch.float64)
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.copy_(torch.from_numpy(rng.uniform(-0.6, 0.6, parameter.shape)))
        self.widths = {"h": proj_size or H} | ({"c": H} if name == "LSTM" else {})
        self.x = rng.standard_normal((T, B, I))
        self.first = {s: rng.standard_normal((2, B, width)) for s, width in self.widths.items()}
        self.dlast = {s: rng.standard_normal((2, B, width)) for s, width in self.widths.items()}
        self.dy = rng.standard_normal((T, B, 2 * self.widths["h"]))

    def weights(self, direction):
        """Our argument name -> torch's names of what is summed to it."""
        end = ("_l0", "_l0_reverse")[direction]
        names = {"w_ih": ["weight_ih"], "w_hh": ["weight_hh"]}
        if self.kind == "gru":
            names |= {"b_ih": ["bias_ih"], "b_hh": ["bias_hh"]}
        else:
            names |= {"b": ["bias_ih", "bias_hh"]}
        names |= {"w_hr": ["weight_hr"]} if self.module.proj_size else {}
        return {ours: [name + end for name in theirs] for ours, theirs in names.items()}

    def run_torch(self, lengths):
        """Outputs and gradients of the rows that are not empty, which torch refuses."""
        rows = slice(None) if lengths is None else np.flatnonzero(lengths)
        x = torch.tensor(self.x[:, rows], requires_grad=True)
        first = {s: torch.tensor(a[:, rows], requires_grad=True) for s, a in self.first.items()}
        state = tuple(first.values()) if len(first) > 1 else first["h"]
        if lengths is None:
            y, last = self.module(x, state)
        else:
            lengths = torch.tensor(lengths)[rows]
            packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            y, last = self.module(packed, state)
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=T)
        last = dict(zip(first, last if isinstance(last, tuple) else (last,), strict=True))
        loss = (y * torch.from_numpy(self.dy[:, rows])).sum()
        for s, a in last.items():
            loss = loss + (a * torch.from_numpy(self.dlast[s][:, rows])).sum()
        loss.backward()
        grads = {name: p.grad.numpy() for name, p in self.module.named_parameters()}
        found = {"y": y, "dx": x.grad} | {f"{s}_n": a for s, a in last.items()}
        found |= {f"d{s}0": a.grad for s, a in first.items()}
        return rows, {name: a.detach().numpy() for name, a in found.items()}, grads

    def run(self, module, direction, lengths, flow=None, **options):
        """Trace and gradients of one direction of ours."""
        params = dict(self.module.named_parameters())
        weights = {
            ours: sum(params[name].detach().numpy() for name in theirs)
            for ours, theirs in self.weights(direction).items()
        }
        first = {f"{s}0": a[direction] for s, a in self.first.items()}
        options |= {**self.options, "lengths": lengths, "reverse": bool(direction)}
        trace = getattr(module, f"{self.kind}_forward")(self.x, **weights, **first, **options)
        dy = np.split(self.dy, 2, axis=-1)[direction]
        dlast = {f"d{s}": a[direction] for s, a in self.dlast.items()}
        matrices = {name: w for name, w in weights.items() if name.startswith("w_")}
        backward = getattr(module, f"{self.kind}_backward")
        return trace, backward(trace, **matrices, dy=dy, **dlast, flow=flow)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_in_both_directions(implementation, kind, lengths, rng):
    case = Case(kind, rng)
    rows, expected, expected_grads = case.run_torch(lengths)
    dx = 0
    for direction in (0, 1):
        trace, grads = case.run(implementation, direction, lengths)
        y = np.split(expected["y"], 2, axis=-1)[direction]
        assert_allclose(trace.y[:, rows], y, rtol=0, atol=1e-13)
        for s in case.first:
            last, dfirst = getattr(trace, f"{s}_n"), getattr(grads, f"{s}0")
            assert_allclose(last[rows], expected[f"{s}_n"][direction], rtol=0, atol=1e-13)
            assert_allclose(dfirst[rows], expected[f"d{s}0"][direction], rtol=0, atol=1e-12)
            if lengths is not None:  # what is empty keeps its state, and passes its gradient on
                empty = np.equal(lengths, 0)
                assert_allclose(last[empty], case.first[s][direction][empty], rtol=0)
                assert_allclose(dfirst[empty], case.dlast[s][direction][empty], rtol=0)
        for ours, theirs in case.weights(direction).items():
            for name in theirs:
                assert_allclose(getattr(grads, ours), expected_grads[name], rtol=0, atol=1e-12)
        dx = dx + grads.x
    assert_allclose(dx[:, rows], expected["dx"], rtol=0, atol=1e-12)


# How much gradient arrives at every state: a loop over torch's cells, whose states keep theirs


def flow_of_torch(case, lengths, reverse, keep):
    """The squared norms of dL/dh and dL/dc after every x[t], (states, T, B), by autograd."""
    direction = int(reverse)
    end = ("_l0", "_l0_reverse")[direction]
    w = {k.removesuffix(end): p for k, p in case.module.named_parameters() if k.endswith(end)}
    dy = np.split(case.dy, 2, axis=-1)[direction]
    flow = np.zeros((len(case.first), T, B))
    for row in range(B):
        n = T if lengths is None else lengths[row]
        state = [torch.tensor(a[direction, row], requires_grad=True) for a in case.first.values()]
        loss, met = 0, {}
        for t in reversed(range(n)) if reverse else range(n):
            made = _step(case, w, torch.from_numpy(case.x[t, row]), state)
            if keep is not None:
                parts = [torch.from_numpy(k[t, row]) for k in keep]
                made = [
                    k * old + (1 - k) * new for k, old, new in zip(parts, state, made, strict=True)
                ]
            state = made
            for s in state:
                s.retain_grad()
            met[t] = state
            loss = loss + state[0] @ torch.from_numpy(dy[t, row])
        for s, a in zip(state, case.dlast.values(), strict=True):
            loss = loss + s @ torch.from_numpy(a[direction, row])
        loss.backward()
        for t, states in met.items():
            flow[:, t, row] = [s.grad.square().sum().item() for s in states]
    return flow


def _step(case, w, x, state):
    h = state[0]
    if case.kind == "gru":
        cell = torch.nn.GRUCell(I, H, dtype=torch.float64)
        return [torch.func.functional_call(cell, dict(w), (x, h))]
    sums = w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]
    if case.kind == "rnn":
        return [torch.relu(sums) if case.options else torch.tanh(sums)]
    i, f, g, o = sums.chunk(4)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return [w["weight_hr"] @ h if "weight_hr" in w else h, c]


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
@pytest.mark.parametrize("zoneout", [False, True], ids=["", "zoneout"])
@pytest.mark.parametrize("lengths", [None, LENGTHS["some empty"]], ids=["all", "lengths"])
@pytest.mark.parametrize("kind", KINDS)
def test_flow(implementation, kind, lengths, zoneout, reverse, rng):
    case = Case(kind, rng)
    keep = [rng.random((T, B, width)) for width in case.widths.values()] if zoneout else None
    expected = flow_of_torch(case, lengths, reverse, keep)
    options = dict(zip(("keep_h", "keep_c"), keep or (), strict=False))
    flow = np.full(expected.shape, np.nan)
    case.run(implementation, int(reverse), lengths, flow=flow, **options)
    assert_allclose(flow, expected, rtol=1e-11, atol=1e-13)
