"""Layers in JAX beside cells in `jax.lax.scan`: ``python benchmarks/bench_jax.py``, or by pytest.

One thread, in turns, results compared. "scan" is the cell as Flax has it, both products in the
step; "scan, x first" has the product with x before the scan, and unrolls a single row's steps
where nothing is differentiated. "layer" is the same layer called from Python, and "nothing" a
jitted function of the same arguments and results that adds 1 to them: what JAX itself takes.
"""

import one_thread  # noqa: F401  # isort: skip

import argparse
from statistics import median

import pytest

from rnncore._bench import peers, timing
from rnncore._bench.library import PASSES, RNNCore, check
from rnncore._bench.one_core import pinned
from rnncore._bench.problem import Problem
from rnncore._bench.workloads import WORKLOADS, Workload

CELLS = ("rnn", "gru", "lstm")
CHOSEN = ("step-64", "online-32", "online-128", "small-batch-64", "batch-128", "batch-256")
STEPS = 500  # of a loop in one jit
SECONDS = 2.0

# What JAX warns of while it is imported is not rnncore's.
pytestmark = pytest.mark.filterwarnings("default")


class HoistedScan(peers.JAX):
    name = "scan, x first"


class Scan(peers.JAX):
    name = "scan"

    def __init__(self, problem):
        super().__init__(problem)
        jax, jnp = self.jax, self.jax.numpy
        step = getattr(self, f"_{problem.cell}_step")

        def forward(p, x):
            def advance(state, x_t):
                of_x = x_t @ p["weight_ih_l0"].T + p["bias_ih_l0"]
                state = step(of_x, state[0] @ p["weight_hh_l0"].T + p["bias_hh_l0"], state)
                return state, state[0]

            states = 2 if problem.cell == "lstm" else 1
            start = jnp.zeros((states, x.shape[1], problem.sizes.H), x.dtype)
            return jax.lax.scan(advance, tuple(start), x)[1]

        self.set(forward)

    def set(self, forward):
        def forward_and_back(params, x, dy):
            y, pull = self.jax.vjp(forward, params, x)
            return y, *pull(dy)

        self.forward, self.forward_and_back = map(self.jax.jit, (forward, forward_and_back))


class InJAX(Scan):
    name = "rnncore.jax"

    def __init__(self, problem):
        super().__init__(problem)
        import rnncore.jax

        call = getattr(rnncore.jax, problem.cell)
        self.set(lambda params, x: call(params, x)[0])


class Nothing(Scan):
    """It computes nothing, and is not compared."""

    name = "nothing"

    def __init__(self, problem):
        super().__init__(problem)
        jax, jnp = self.jax, self.jax.numpy
        y = jnp.asarray(problem.dy)
        self.forward = jax.jit(lambda params, x: (x[0, 0, 0] + y, params["weight_ih_l0"][0])[0])
        self.forward_and_back = jax.jit(
            lambda params, x, dy: (dy + 1, jax.tree.map(lambda p: p + 1, params), x + 1)
        )


class Layer(RNNCore):
    name = "layer"

    def inference(self):
        return self.layer(self.problem.x)


def measured(passed, cell, sizes, dtype="float32", seconds=SECONDS):
    """Seconds of each, in turns, after they were found to agree."""
    problem = Problem(cell, dtype, sizes)
    libraries = [kind(problem) for kind in (Layer, InJAX, Scan, HoistedScan)]
    check(libraries, passed)
    calls = {one.name: getattr(one, passed) for one in (*libraries, Nothing(problem))}
    return timing.interleave(calls, seconds)


def loops(cell, seconds=SECONDS):
    """Seconds of a step of a loop: in one jit, in a scan, and of Python calls of the layer."""
    sizes = Workload(1, 1, 64, 64)
    problem = Problem(cell, "float32", sizes)
    layer, in_jax, scan = Layer(problem), InJAX(problem), HoistedScan(problem)
    jax, jnp = in_jax.jax, in_jax.jax.numpy

    def own():
        state = None
        for _ in range(STEPS):
            state = layer.layer(problem.x, state)[1]

    def looped(call):
        def step(h, _):
            return call(in_jax.params, h)[-1:], None

        loop = jax.jit(lambda h: jax.lax.scan(step, h, None, length=STEPS)[0])
        return lambda: loop(jnp.asarray(problem.x)).block_until_ready()

    calls = {"layer": own, "rnncore.jax": looped(in_jax.forward), "scan": looped(scan.forward)}
    times = timing.interleave(calls, seconds)
    return {name: [each / STEPS for each in values] for name, values in times.items()}


def told(times):
    ours = times["rnncore.jax"]
    shown = [f"rnncore.jax {1e6 * median(ours):10,.1f} us"]
    for name, theirs in times.items():
        if name.startswith("scan"):
            shown.append(f"{name} {timing.ratio(theirs, ours):.2f}")
        elif name != "rnncore.jax":
            shown.append(f"{name} {1e6 * median(theirs):,.1f} us")
    return "  ".join(shown)


@pytest.mark.parametrize("workload", CHOSEN)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("passed", PASSES)
def bench_jax(passed, cell, workload, record_property):
    pytest.importorskip("jax")
    times = measured(passed, cell, WORKLOADS[workload], seconds=0.5)
    record_property("told", told(times))


@pytest.mark.parametrize("cell", CELLS)
def bench_loop_in_jax(cell, record_property):
    pytest.importorskip("jax")
    record_property("told", told(loops(cell, seconds=0.5)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--workloads", nargs="+", choices=tuple(WORKLOADS), default=CHOSEN)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each (default: 2)")
    arguments = parser.parse_args()
    with pinned():
        for cell in arguments.cells:
            for passed in PASSES:
                for name in arguments.workloads:
                    sizes = WORKLOADS[name]
                    times = measured(passed, cell, sizes, arguments.dtype, arguments.seconds)
                    print(f"{cell:4} {passed:9} {name:14}", told(times), flush=True)
            line = told(loops(cell, arguments.seconds))
            print(f"{cell:4} {STEPS} steps of 1x64 in a loop, each:", line, flush=True)


if __name__ == "__main__":
    main()
