"""A frozen model goes to another machine: made on one instruction set, run on another."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnncore as rc
from rnncore import _core
from rnncore.reference.precision import PRECISIONS

pytestmark = pytest.mark.skipif(
    not {"x86_64_v2", "x86_64_v3"} <= set(_core.available()), reason="another kind of processor"
)
TASK = """
import pickle, sys
import numpy as np
import rnncore as rc
from rnncore import _core

def model():
    return rc.Sequential(
        rc.Conv1d(3, 6, 3, padding="causal", rng=0), rc.GRU(6, 19, num_layers=2, rng=1),
        rc.BatchNorm(19), rc.LSTM(19, 33, rng=2), rc.Pool("last"), rc.Linear(33, 4, rng=3),
    )

rng = np.random.default_rng(5)
X = [rng.standard_normal((T, 3), np.float32) for T in (9, 1, 4, 12)]
if sys.argv[1] == "make":
    made = {p: model().freeze(p) for p in sys.argv[2:]} | {"None": model().freeze()}
else:
    made = pickle.load(sys.stdin.buffer)[1]
found = {name: rc.predict(frozen, X) for name, frozen in made.items()}
sys.stdout.buffer.write(pickle.dumps((_core.isa, made, found)))
"""


def run_on(isa, folder, *task, given=None):
    done = subprocess.run(
        [sys.executable, "-c", TASK, *task], input=given, capture_output=True, timeout=120,
        check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(rc.__file__).parents[1]), "RNNCORE_ISA": isa},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_frozen_models_run_where_another_instruction_set_is(tmp_path):
    there = run_on("v3", tmp_path, "make", *PRECISIONS)
    here = run_on("v2", tmp_path, "use", given=there)
    (made_on, _, before), (used_on, _, after) = pickle.loads(there), pickle.loads(here)
    assert (made_on, used_on) == ("x86_64_v3", "x86_64_v2")
    assert before.keys() == {*PRECISIONS, "None"}
    exact = before["None"]
    for name, y in before.items():
        np.testing.assert_allclose(after[name], y, rtol=0, atol=1e-6, err_msg=name)
        if name != "None":
            assert abs(y - exact).max() > 1e-4  # a precision below, not float32 under its name
