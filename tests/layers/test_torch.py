"""Random layers against PyTorch: outputs, final states, and every gradient that autograd finds."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; test_recorded.py replays it")

from problems import KINDS, STATES, draw, gaps, make_layer, pack, run_layer  # noqa: E402
from torch_oracle import of_torch, run_torch  # noqa: E402

# torch says once that its fast path has no projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

BOUND = {"float32": 2e-4, "float64": 1e-10}
DTYPES = list(BOUND)


def check(problem):
    worst = gaps(run_layer(problem), run_torch(problem))
    assert max(worst.values()) < BOUND[problem.options["dtype"]], (problem.options, worst)


def random_problem(seed: int, cell: str, dtype: str):
    """A layer and a batch of which everything but cell and dtype is drawn."""
    rng = np.random.default_rng(seed)
    options = {
        "input_size": int(rng.integers(1, 40)),
        "hidden_size": int(rng.integers(1, 40)),
        "num_layers": int(rng.integers(1, 4)),
        "bias": bool(rng.integers(2)),
        "bidirectional": bool(rng.integers(2)),
        "batch_first": bool(rng.integers(2)),
        "dtype": dtype,
    }
    own = [own for name, own in KINDS.values() if name == cell]
    options |= own[rng.integers(len(own))]
    options["hidden_size"] += options.get("proj_size", 0)  # a projection makes h narrower
    initial = [f"{s}0" for s in STATES[cell]] if rng.integers(2) else []
    arriving = ["dy", *(f"d{s}" for s in STATES[cell])]
    missing = rng.choice([None, *arriving])
    given = (*initial, *(name for name in arriving if name != missing))
    batch = None if rng.random() < 0.2 else int(rng.integers(1, 9))
    return draw(cell, options, steps=int(rng.integers(1, 30)), batch=batch, given=given, rng=rng)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", STATES)
def test_random_layer(cell, dtype, seed):
    check(random_problem(seed, cell, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("cell", "variant"),
    [
        *KINDS.values(),
        ("GRU", {"reset": "after"}),
        ("LSTM", {"coupled": True, "peephole": "previous"}),
        ("LSTM", {"coupled": True, "peephole": "current"}),
        ("LayerNormLSTM", {"eps": 1e-12}),
        ("LayerNormLSTM", {"eps": 1e-3}),
        ("LayerNormLSTM", {"eps": 30.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("bias", [False, True])
def test_variant(cell, variant, bias, bidirectional, dtype):
    options = {"input_size": 17, "hidden_size": 9, "num_layers": 2, "bias": bias}
    options |= {"bidirectional": bidirectional, **variant, "dtype": dtype}
    given = [f"{s}0" for s in STATES[cell]] + ["dy"] + [f"d{s}" for s in STATES[cell]]
    check(draw(cell, options, steps=11, batch=3, given=given, rng=np.random.default_rng(3)))


@pytest.mark.parametrize("cell", STATES)
def test_inference_equals_torch_too(cell):
    problem = random_problem(4, cell, "float64")
    layer = make_layer(cell, problem.options)
    layer.load_params(problem.params)
    state = pack([problem.inputs.get(f"{s}0") for s in STATES[cell]])
    y, _ = layer(problem.inputs["x"], state)
    assert gaps({"y": y}, {"y": run_torch(problem)["y"]})["y"] < BOUND["float64"]


@pytest.mark.parametrize("cell", [cell for cell in STATES if of_torch(cell)])
def test_state_dict_of_torch_is_taken_as_it_is(cell):
    module = getattr(torch.nn, cell)(3, 4, num_layers=2, bidirectional=True)
    layer = make_layer(cell, {"input_size": 3, "hidden_size": 4, "num_layers": 2,
                              "bidirectional": True, "dtype": "float32"})  # fmt: skip
    layer.load_params({name: value.numpy() for name, value in module.state_dict().items()})
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(layer.params[name], value.numpy())
