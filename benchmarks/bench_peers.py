"""Inference and training step beside every library that is installed, in turns, in float32.

The tables are those of ``rnncore bench --workloads all``, which has float64 too.
"""

import pytest
from rates import LARGE_FLOPS

from rnncore._bench.library import PASSES
from rnncore._bench.measure import compare, peers_for
from rnncore._bench.peers import PEERS, missing
from rnncore._bench.steps import ONNXRuntimeStep, compare_steps
from rnncore._bench.workloads import KINDS, workloads_of

SECONDS = 0.5  # per workload, for all libraries together

# What the libraries warn of while they are imported is not rnncore's.
pytestmark = pytest.mark.filterwarnings("default")

CASES = [
    pytest.param(cell, name, marks=pytest.mark.large if sizes.flops(cell) > LARGE_FLOPS else ())
    for cell in KINDS
    for name, sizes in workloads_of(cell).items()
]


@pytest.mark.parametrize(("cell", "workload"), CASES)
@pytest.mark.parametrize("passed", PASSES)
def bench_peers(passed, cell, workload, add_row):
    peers = tuple(peer.name for peer in peers_for(cell, passed, "float32"))
    if not peers:
        pytest.skip("; ".join(filter(None, map(missing, PEERS))))
    sizes = workloads_of(cell)[workload]
    title = f"{cell} {passed} float32, one thread"
    add_row((title, peers), compare(passed, cell, "float32", sizes, SECONDS))


@pytest.mark.parametrize("cell", KINDS)
def bench_step_beside_onnxruntime(cell, record_property):
    times = compare_steps(cell, "float32", SECONDS)
    if ONNXRuntimeStep.name not in times.ratios:
        pytest.skip("onnxruntime is not installed")
    record_property("ratio", times.ratios[ONNXRuntimeStep.name])
