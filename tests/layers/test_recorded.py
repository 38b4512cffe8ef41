"""Layers against outputs and gradients of PyTorch, recorded by record_torch.py."""

import json
from pathlib import Path

import numpy as np
import pytest
from problems import Problem, gaps, run_layer

FILE = Path(__file__).parents[1] / "data" / "torch.npz"
BOUND = {"float32": 2e-6, "float64": 1e-13}

with np.load(FILE, allow_pickle=False) as archive:
    RECORD = dict(archive)
CASES = sorted(key.removesuffix("/problem") for key in RECORD if key.endswith("/problem"))


def part(case: str, kind: str) -> dict[str, np.ndarray]:
    prefix = f"{case}/{kind}/"
    return {k.removeprefix(prefix): v for k, v in RECORD.items() if k.startswith(prefix)}


def test_the_record_is_whole():
    kinds = {case.partition("-")[2] for case in CASES}
    assert kinds == {"RNN", "GRU", "LSTM"}
    assert len(CASES) == 20


@pytest.mark.parametrize("case", CASES)
def test_layer_equals_the_record(case):
    described = json.loads(str(RECORD[f"{case}/problem"]))
    problem = Problem(**described, params=part(case, "params"), inputs=part(case, "inputs"))
    worst = gaps(run_layer(problem), part(case, "results"))
    assert max(worst.values()) < BOUND[described["options"]["dtype"]], worst
