"""Write data/torch.npz: what PyTorch gives for some layers, for machines without PyTorch.

Run it as ``python tests/support/record_torch.py`` where torch is installed; test_recorded.py
replays it.
The file holds, for every case, ``<case>/problem`` (JSON), ``<case>/params/<name>``,
``<case>/inputs/<name>`` and ``<case>/results/<name>``.
"""

import json
from pathlib import Path

import numpy as np
import torch
from problems import draw, everything
from torch_oracle import run_torch

FILE = Path(__file__).parents[1] / "data" / "torch.npz"

STACK = {"num_layers": 2, "bidirectional": True}
CASES = [
    ("RNN", {}, "float64"),
    ("RNN", {"nonlinearity": "relu"}, "float32"),
    ("RNN", {"nonlinearity": "relu", "bias": False, **STACK}, "float64"),
    ("RNN", {"batch_first": True, "bidirectional": True}, "float32"),
    ("GRU", {}, "float64"),
    ("GRU", {"bias": False}, "float32"),
    ("GRU", STACK, "float64"),
    ("GRU", {"batch_first": True, "bidirectional": True}, "float32"),
    ("LSTM", {}, "float64"),
    ("LSTM", {"bias": False}, "float32"),
    ("LSTM", STACK, "float64"),
    ("LSTM", {"batch_first": True, "bidirectional": True}, "float32"),
    ("GRU", {"reset": "before"}, "float64"),
    ("LSTM", {"peephole": "previous"}, "float64"),
    ("LSTM", {"peephole": "current"}, "float64"),
    ("LSTM", {"coupled": True, "peephole": "current"}, "float32"),
    ("LSTM", {"proj_size": 2, **STACK}, "float64"),
    ("RNN", {"bidirectional": True}, "float64", (4, 7)),
    ("GRU", STACK, "float64", (7, 1)),
    ("LSTM", {"batch_first": True, "proj_size": 3, **STACK}, "float32", (3, 5)),
]


def record() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(20)
    arrays = {"torch": np.array(torch.__version__)}
    for number, (cell, extra, dtype, *lengths) in enumerate(CASES):
        options = {"input_size": 3, "hidden_size": 5, **extra, "dtype": dtype}
        problem = draw(cell, options, 7, 2, everything(cell), rng, *lengths)
        case = f"{number:02}-{cell}"
        arrays[f"{case}/problem"] = np.array(json.dumps({"cell": cell, "options": options}))
        for part, values in (
            ("params", problem.params),
            ("inputs", problem.inputs),
            ("results", run_torch(problem)),
        ):
            arrays |= {f"{case}/{part}/{name}": value for name, value in values.items()}
    return arrays


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **record())
    print(f"{FILE}: {FILE.stat().st_size} bytes")
