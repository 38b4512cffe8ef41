"""Rows of different lengths: `lengths`, beside PyTorch's packed sequences and its padded batches.

Lengths are uniform in 1..T, so that half of a padded batch is padding. A padded run computes the
same outputs where there are any; it cannot give the states at the rows' ends. What each side
gives is checked against the first.
"""

from functools import cached_property

import numpy as np
import pytest
from rates import TIMING

import rnncore
from rnncore._bench.agreement import assert_agree
from rnncore._bench.library import PASSES
from rnncore._bench.problem import Problem
from rnncore._bench.workloads import Workload

ROWS, UNITS = 32, 128
STEPS = (10, 100, 1000, 4000)


class Ragged(Problem):
    """A problem whose rows end early: past there, x is zeros and no gradient arrives."""

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.random.default_rng(0).integers(1, self.sizes.T + 1, self.sizes.B)

    @cached_property
    def taken(self) -> np.ndarray:
        """(T, B, 1), whether a row has such a step."""
        return (np.arange(self.sizes.T)[:, None] < self.lengths)[..., None]

    def _draw(self, name, size, bound=1.0):
        drawn = super()._draw(name, size, bound)
        return drawn * self.taken if name in ("x", "dy") else drawn


class RNNCore:
    def __init__(self, problem: Ragged) -> None:
        self.problem, self.given = problem, problem.lengths
        self.layer = rnncore.LSTM(UNITS, UNITS)
        self.layer.load_params(problem.params)
        self.frozen = self.layer.freeze()

    def inference(self):
        return {"y": self.frozen(self.problem.x, lengths=self.given)[0]}

    def training(self):
        y, _, trace = self.layer.forward(self.problem.x, lengths=self.given)
        grads = self.layer.backward(trace, self.problem.dy)
        return {"y": y, "dx": grads.x} | {f"d{name}": d for name, d in grads.params.items()}


class RNNCorePadded(RNNCore):
    def __init__(self, problem: Ragged) -> None:
        super().__init__(problem)
        self.given = None


class TorchPadded:
    def __init__(self, problem: Ragged) -> None:
        self.torch = torch = pytest.importorskip("torch")
        torch.set_num_threads(1)
        self.problem = problem
        self.module = torch.nn.LSTM(UNITS, UNITS)
        self.module.load_state_dict({k: torch.tensor(v) for k, v in problem.params.items()})
        self.x = torch.tensor(problem.x, requires_grad=True)
        self.dy = torch.tensor(problem.dy)
        self.leaves = {"x": self.x, **dict(self.module.named_parameters())}

    def run(self, x):
        return self.module(x)[0]

    def inference(self):
        with self.torch.inference_mode():
            return {"y": self.run(self.x.detach()).numpy()}

    def training(self):
        y = self.run(self.x)
        grads = self.torch.autograd.grad(y, list(self.leaves.values()), self.dy)
        named = zip(self.leaves, grads, strict=True)
        return {"y": y.detach().numpy()} | {f"d{name}": grad.numpy() for name, grad in named}


class TorchPacked(TorchPadded):
    def __init__(self, problem: Ragged) -> None:
        super().__init__(problem)
        self.lengths = self.torch.tensor(problem.lengths)

    def run(self, x):
        rnn = self.torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, self.lengths, enforce_sorted=False)
        y, _ = self.module(packed)
        return rnn.pad_packed_sequence(y, total_length=self.problem.sizes.T)[0]


SIDES = {
    "lengths": RNNCore,
    "padded": RNNCorePadded,
    "torch-packed": TorchPacked,
    "torch-padded": TorchPadded,
}


@TIMING
@pytest.mark.filterwarnings("default")  # what torch warns of is not rnncore's
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "steps", [pytest.param(T, marks=pytest.mark.large if T > 1000 else ()) for T in STEPS]
)
@pytest.mark.parametrize("passed", PASSES)
def bench_lengths(benchmark, passed, steps, side):
    benchmark.group = f"lengths lstm {passed}, {steps} steps"
    problem = Ragged("lstm", "float32", Workload(steps, ROWS, UNITS, UNITS))
    run = getattr(SIDES[side](problem), passed)
    if side == "torch-packed" and passed == "training" and steps >= 1000:
        # Half a minute for 1000 steps, and with the square of the steps: a single round.
        found = benchmark.pedantic(run)
    else:
        found = benchmark(run)
    expected = getattr(RNNCore(problem), passed)()
    found["y"] = found["y"] * problem.taken
    assert_agree(found, expected, "float32", side)
