"""One step of one row from Python: a cell, a layer, a frozen one, a stream; and torch's cell."""

import numpy as np
import pytest
from rates import DTYPES, TIMING, layer_of

import rnncore
from rnncore._bench.workloads import KINDS, Workload


def cell(one, x):
    cell = getattr(rnncore, f"{type(one.layer).__name__}Cell")
    made = cell(x.shape[2], one.layer.hidden_size, dtype=one.layer.dtype)
    made.load_params({name.removesuffix("_l0"): w for name, w in one.layer.params.items()})
    return lambda: made(x[0])


def torch_cell(one, x):
    torch = pytest.importorskip("torch")
    if not hasattr(torch.nn, f"{type(one.layer).__name__}Cell"):
        pytest.skip("torch has no such cell")
    made = getattr(torch.nn, f"{type(one.layer).__name__}Cell")(x.shape[2], one.layer.hidden_size)
    weights = {name.removesuffix("_l0"): torch.tensor(w) for name, w in one.layer.params.items()}
    made.to(weights["weight_ih"].dtype).load_state_dict(weights)
    x = torch.tensor(x[0])

    def call():
        with torch.inference_mode():
            return made(x)

    return call


def stream(one, x):
    made = one.frozen.stream()
    return lambda: made(x[0])


def backward(one, x):
    y, _, trace = one.layer.forward(x)
    dy = np.ones_like(y)
    return lambda: one.layer.backward(trace, dy)


CALLED = {
    "cell": cell,
    "layer": lambda one, x: lambda: one.layer(x)[0][0],
    "frozen": lambda one, x: lambda: one.frozen(x)[0][0],
    "forward": lambda one, x: lambda: one.layer.forward(x)[0][0],
    "stream": stream,
    "torch-cell": torch_cell,
}


@TIMING
@pytest.mark.parametrize("units", [16, 64, 256])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("called", [*CALLED, "backward"])
def bench_step(benchmark, called, cell, dtype, units):
    benchmark.group = f"step {cell} {dtype} {units}"
    one = layer_of(cell, Workload(1, 1, units, units), dtype)
    x = one.problem.x
    if called == "backward":
        call = backward(one, x)
        before = call().x
        np.testing.assert_array_equal(benchmark(call).x, before)
        return
    call = CALLED[called](one, x)
    found = call()  # of a stream the first step, before its state goes on
    found = np.asarray(found[0] if isinstance(found, tuple) else found)
    np.testing.assert_allclose(found, one.layer(x)[0][0], rtol=1e-5, atol=1e-6)
    benchmark(call)
