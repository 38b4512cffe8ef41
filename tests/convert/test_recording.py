"""Golden vectors: what the source of a model gives is recorded, and the model is held to it."""

import sys

import pytest
from numpy.testing import assert_array_equal

import rnncore as rc
from rnncore.convert.recording import recorded_of
from rnncore.convert.recording_inputs import Inputs, NotRecordedError, Run, inputs_of, record
from rnncore.layers import storage


def as_itself(model, inputs=None):
    """A source that is the model itself, without lengths of its own."""
    return Run("rnncore", inputs or inputs_of(model), lambda x, lengths: model(x)[0])


def mixed(batch_first=False):
    return rc.Sequential(
        rnn=rc.LSTM(3, 5, batch_first=batch_first, rng=0), head=rc.Linear(5, 2, rng=0)
    )


@pytest.mark.parametrize("batch_first", [False, True])
def test_inputs_are_of_odd_sizes_the_shortest_and_one_with_lengths(batch_first):
    model = mixed(batch_first)
    wide, short, ragged = record(as_itself(model), model, "a file").cases
    assert [case.x.shape[:2] for case in (wide, short, ragged)] == (
        [(3, 17), (1, 1), (2, 33)] if batch_first else [(17, 3), (1, 1), (33, 2)]
    )
    assert wide.lengths is None
    assert short.lengths is None
    first, last = ragged.lengths
    assert 1 <= first < last == 33
    y = ragged.y if batch_first else ragged.y.swapaxes(0, 1)
    assert not y[0, first:].any()  # where the source has the bias of the head
    assert y[0, :first].all()


def test_the_same_inputs_each_time():
    model = mixed()
    one, other = (record(as_itself(model), model, "a file") for _ in range(2))
    for a, b in zip(one.cases, other.cases, strict=True):
        assert_array_equal(a.x, b.x)
    assert one.source == "a file, run by rnncore"


def test_sizes_that_are_fixed_are_kept():
    model = mixed()
    inputs = Inputs(("T", "B", "F"), {"T": 6, "B": 4}, False)
    (case,) = record(as_itself(model, inputs), model, "a file").cases
    assert case.x.shape == (6, 4, 3)
    half = Inputs(("T", "B", "F"), {"B": 4}, False)
    cases = record(as_itself(model, half), model, "a file").cases
    assert [case.x.shape for case in cases] == [(17, 4, 3), (1, 4, 3)]


def test_the_shortest_x_is_one_that_the_model_reads():
    model = rc.Sequential(rc.Conv1d(3, 4, 5, rng=0), rc.GRU(4, 4, rng=0))
    cases = record(as_itself(model), model, "a file").cases
    assert [len(case.x) for case in cases] == [24, 8, 40]
    assert min(cases[2].lengths) >= 8


def test_what_is_kept_is_small():
    model = rc.Sequential(rc.Embedding(50, 2, rng=0), rc.Linear(2, 30_000, rng=0))
    cases = record(as_itself(model), model, "a file").cases
    assert all(case.y.size <= 1 << 17 for case in cases)
    assert len(cases) == 3


def test_ids_are_those_that_there_are_and_none_is_masked():
    model = rc.Sequential(rc.Embedding(3, 2, rng=0))
    cases = record(as_itself(model), model, "a file").cases
    assert set(cases[0].x.ravel()) == {0, 1, 2}


def test_a_source_that_refuses_some_inputs_is_named_with_them():
    model = mixed()

    def call(x, lengths):
        if len(x) > 20:
            raise RuntimeError("no more than 20\nsteps")
        return model(x)[0]

    found = record(Run("it", inputs_of(model), call), model, "a file")
    assert [len(case.x) for case in found.cases] == [17, 1]
    assert found.source == (
        "a file, run by it, which cannot run x of shape (33, 2, 3): no more than 20"
    )

    def refuse(x, lengths):
        raise KeyError

    with pytest.raises(NotRecordedError, match=r"it cannot run x of shape \(17, 3, 3\): KeyError"):
        record(Run("it", inputs_of(model), refuse), model, "a file")


# Nothing


@pytest.mark.parametrize(
    ("name", "missing", "why"),
    [
        ("weights.safetensors", "torch", "PyTorch is not installed"),
        ("weights.pt", "torch", "PyTorch is not installed"),
        ("model.keras", "keras", "Keras is not installed"),
    ],
)
def test_without_the_framework_nothing_is_recorded_and_the_file_says_so(
    name, missing, why, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, missing, None)
    model = mixed()
    model.recorded = recorded_of(tmp_path / name, model)
    assert model.recorded == (f"{name}; nothing was recorded: {why}", ())
    model.save(tmp_path / "m.npz")
    assert rc.load(tmp_path / "m.npz").recorded == model.recorded


def test_a_file_with_what_was_recorded_is_refused_where_it_is_not_given(tmp_path):
    model = mixed()
    model.recorded = record(as_itself(model), model, "a file")
    model.save(tmp_path / "m.npz")
    assert rc.load(tmp_path / "m.npz").recorded.source == "a file, run by rnncore"
    kind, options, arrays = storage.load_arrays(tmp_path / "m.npz")
    arrays["head.bias"] += 0.1  # as where it is computed otherwise
    storage.save_arrays(tmp_path / "m.npz", kind, options, arrays)
    with pytest.raises(ValueError, match=r"off by .* a file, run by rnncore gave"):
        rc.load(tmp_path / "m.npz")
    assert rc.load(tmp_path / "m.npz", verify=False).recorded is not None
