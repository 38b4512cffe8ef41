"""Inference and training step beside every library that is installed, in turns, in float32.

`compare.py` prints the same tables one at a time, and those of float64.
"""

import pytest
from compare import compare, peers_for
from peers import PASSES, PEERS, missing
from workloads import GATES, workloads_of

SECONDS = 1.0  # per workload, for all libraries together

# What the libraries warn of while they are imported is not rnncore's.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize(
    ("cell", "workload"), [(cell, name) for cell in GATES for name in workloads_of(cell)]
)
@pytest.mark.parametrize("passed", PASSES)
def bench_peers(passed, cell, workload, add_row):
    if not peers_for(passed, "float32"):
        pytest.skip("; ".join(filter(None, map(missing, PEERS))))
    add_row((passed, cell, "float32"), compare(passed, cell, "float32", workload, SECONDS))
