"""Things put where they do not belong: said by name, before anything is read or changed."""

import dataclasses
import io
import os
import pickle
import stat

import numpy as np
import pytest
from problems import LAYERS

import rnncore as rc
from rnncore import agreement, functional, tasks
from rnncore._engine.cells import cell_of
from rnncore.language_model import LanguageModel, Trainer
from rnncore.layers import storage

TEXT = np.frombuffer(b"the cat was full. " * 20, np.uint8)


# Parameters of the heads, which users may replace

WRONG = {
    "narrow": np.ones((4, 2), np.float32),
    "wide": np.ones((4, 99), np.float32),
    "few rows": np.ones((2, 3), np.float32),
    "float64": np.ones((4, 3)),
    "a list": [[1.0] * 3] * 4,
    "text": "weight",
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("kind", [rc.Linear, rc.Embedding])
def test_a_wrong_parameter_of_a_head_is_refused_at_every_call(kind, wrong):
    sizes, x = ((3, 4), np.ones((2, 3), np.float32))
    if kind is rc.Embedding:
        sizes, x = (4, 3), np.array([1, 3])
    head = kind(*sizes, rng=0)
    y, trace = head.forward(x)
    head.params["weight"] = WRONG[wrong]
    for run in (lambda: head(x), lambda: head.forward(x), lambda: head.backward(trace, y)):
        with pytest.raises((ValueError, TypeError), match=r"^weight "):
            run()


def test_missing_and_unknown_parameters_of_a_head():
    head = rc.Linear(3, 4, rng=0)
    bias = head.params.pop("bias")
    with pytest.raises(ValueError, match=r"^params has missing: bias"):
        head(np.ones((2, 3), np.float32))
    head.params |= {"bias": bias, "more": bias}
    with pytest.raises(ValueError, match=r"^params has unknown: more"):
        head(np.ones((2, 3), np.float32))
    head.params = {"weight": head.params["weight"], "bias": bias[:2]}
    with pytest.raises(ValueError, match=r"^bias has shape \(2,\)"):
        head(np.ones((2, 3), np.float32))


def test_loading_into_a_head_changes_all_or_nothing():
    head = rc.Linear(4, 4, rng=0)
    before = head.params["weight"].copy()
    head.params["bias"].flags.writeable = False
    with pytest.raises(ValueError, match=r"^params\['bias'\] is read-only"):
        head.load_params({name: value + 1 for name, value in head.params.items()})
    np.testing.assert_array_equal(head.params["weight"], before)
    head = rc.Linear(4, 4, rng=0)
    before = head.params["weight"].copy()
    head.load_params({"weight": head.params["weight"].T, "bias": head.params["weight"][0]})
    np.testing.assert_array_equal(head.params["weight"], before.T)
    np.testing.assert_array_equal(head.params["bias"], before[0])


def masked(values):
    return np.ma.masked_array(values, [False, True])


@pytest.mark.parametrize(
    "run",
    [
        lambda: rc.Embedding(5, 3)(masked([1, -1])),
        lambda: rc.softmax_cross_entropy(np.zeros((2, 3)), masked([1, -1])),
        lambda: rc.GRU(2, 3).freeze().stream()(masked(np.ones(2, np.float32))[np.newaxis]),
        lambda: (
            rc.GRU(2, 2)
            .freeze()
            .stream()(np.ones((1, 2), np.float32), out=masked(np.ones(2, np.float32))[np.newaxis])
        ),
    ],
)
def test_arrays_that_mean_more_than_their_numbers_are_refused(run):
    with pytest.raises(TypeError, match="is of type MaskedArray, expected a numpy array"):
        run()


def test_rows_of_out_that_overlap_are_refused():
    stream = rc.GRU(3, 4, rng=0).freeze().stream(3)
    room = np.zeros(99, np.float32)
    out = np.lib.stride_tricks.as_strided(room, (3, 4), (4, 4))
    with pytest.raises(ValueError, match=r"^out is misaligned, or its rows are not .* or overlap"):
        stream(np.ones((3, 3), np.float32), out=out)


# Traces that were put together by hand


def lstm_trace(**options):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 3, 4)).astype(np.float32)
    weights = [rng.standard_normal(size).astype(np.float32) for size in ((76, 4), (76, 19))]
    return functional.lstm_forward(x, *weights, **options), weights


F32 = np.dtype(np.float32)


def huge_table(trace):
    table = trace.ragged.table.copy()
    table[:3] = 10**8
    return {"ragged": trace.ragged._replace(table=table)}


FORGED = {
    "fewer steps": lambda trace: {"x": trace.x[:1].copy()},
    "more inputs": lambda trace: {"x": np.zeros((5, 3, 400), np.float32)},
    "a later start": lambda trace: {"first": 10**7},
    "an earlier start": lambda trace: {"first": -(10**7)},
    "more of them": lambda trace: {"steps": 10**7},
    "more units": lambda trace: {
        "cell": cell_of(trace.kind, trace.options, 4, 40_000, 40_000, F32)
    },
    "a table of rows elsewhere": huge_table,
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_trace_is_refused_before_it_is_read(forged):
    trace, weights = lstm_trace(lengths=[5, 0, 3])
    trace = dataclasses.replace(trace, **FORGED[forged](trace))
    with pytest.raises(ValueError, match=r"expected|do not fit|other sizes|cannot reshape"):
        functional.lstm_backward(trace, *weights, np.ones((5, 3, 19), np.float32))


@pytest.mark.parametrize(
    "other", [rc.LSTM(4, 400), rc.LSTM(400, 19), rc.GRU(4, 19), rc.LSTM(4, 19, dtype=np.float64)]
)
def test_a_trace_with_the_insides_of_another_is_refused(other):
    layer = rc.LSTM(4, 19, rng=0)
    y, _, trace = layer.forward(np.ones((5, 3, 4), np.float32))
    inside = other.forward(np.ones((5, 3, other.input_size), other.dtype))[2]
    with pytest.raises((ValueError, TypeError)):
        layer.backward(dataclasses.replace(trace, cells=inside.cells), y)


@pytest.mark.parametrize("shape", [(5, 0, 3), (0, 2, 3), (0, 0, 3)], ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_trace_of_nothing_travels_too(kind, shape):
    layer = kind(3, 4, zoneout=0.2, rng=0)
    y, _, trace = layer.forward(np.zeros(shape, np.float32))
    again = pickle.loads(pickle.dumps(trace))
    assert again.cells[0].gates.shape == trace.cells[0].gates.shape
    assert layer.backward(again, y).x.shape == shape


# Layers in the place of gradients, and what else optimisers are given


def test_a_layer_is_no_gradient():
    layer = rc.LSTM(3, 4, rng=0)
    before = {name: value.copy() for name, value in layer.params.items()}
    adam = rc.Adam(layer)
    for run in (
        lambda: rc.clip_grad_norm(layer, 0.1),
        lambda: rc.clip_grad_value([layer], 0.1),
        lambda: adam.step(layer),
        lambda: rc.SGD([layer], 1.0).step([layer]),
    ):
        with pytest.raises(TypeError, match=r"^grads(\[0\])? is of type LSTM, expected what its b"):
            run()
    for name, value in before.items():
        np.testing.assert_array_equal(layer.params[name], value)


def test_a_model_in_a_list():
    model, layer = LanguageModel(hidden=4, embedding=3, rng=0), rc.GRU(3, 4, rng=0)
    names = list(rc.Adam([model, layer]).state)
    assert "mean.0.0.weight" in names
    assert "mean.1.weight_ih_l0" in names


def test_a_step_without_memory_changes_nothing(monkeypatch):
    params = {"a": np.ones(5), "b": np.asfortranarray(np.ones((4, 3)))}
    optimizer, require = rc.SGD(params, 1.0), np.require

    def no_memory(array, *given, **options):
        if array.shape == (4, 3):
            raise MemoryError
        return require(array, *given, **options)

    monkeypatch.setattr(np, "require", no_memory)  # which copies the second parameter
    with pytest.raises(MemoryError):
        optimizer.step({name: np.ones(value.shape) for name, value in params.items()})
    assert optimizer.steps == 0
    for value in params.values():
        np.testing.assert_array_equal(value, 1)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (10**400, ValueError),
        (-(10**5000), ValueError),
        (np.longdouble("1e4000"), ValueError),
        (np.complex64(1 + 2j), TypeError),
        (np.timedelta64(1, "s"), TypeError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else "huge",
)
def test_numbers_that_are_none(value, error):
    params, grads = {"w": np.ones(3)}, {"w": np.ones(3)}
    for name, run in {
        "lr": lambda: rc.SGD(params, value),
        "eps": lambda: rc.Adam(params, eps=value),
        "weight_decay": lambda: rc.Adam(params, weight_decay=value),
        "zoneout": lambda: rc.GRU(3, 4, zoneout=value),
    }.items():
        with pytest.raises(error, match=f"^{name} is "):
            run()
    if error is TypeError:  # infinity only measures
        with pytest.raises(error, match=r"^max_norm is "):
            rc.clip_grad_norm(grads, value)


def test_a_share_that_rounds_to_one():
    almost = 1 - np.longdouble(1e-18)
    if almost == 1:
        pytest.skip("no longdouble beyond float64 here")
    with pytest.raises(ValueError, match=r"^zoneout is"):
        rc.GRU(3, 4, zoneout=almost)
    with pytest.raises(ValueError, match=r"^betas\[1\] is"):
        rc.Adam({"w": np.ones(3)}, betas=(0.9, almost))


@pytest.mark.parametrize("size", [10**10, 2**62, 10**30])
def test_batches_that_no_memory_holds(size):
    for name, run in {
        "steps": lambda: tasks.adding(size, 2),
        "size": lambda: tasks.adding(5, size),
        "delay": lambda: tasks.copy_memory(size, 2),
        "distance": lambda: agreement.batch(size, 2),
        "directions": lambda: rc.gradcheck(
            rc.RNN(1, 1, dtype=float), np.ones((2, 1, 1)), directions=size
        ),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} is {size}, expected"):
            run()


# Models and trainings


def test_what_a_language_model_was_made_with_is_fixed():
    model = LanguageModel(hidden=4, embedding=3, rng=0)
    trainer = Trainer(model, TEXT, batch=2, window=9, clip=1.0)
    for thing, names in (
        (model, ("cell", "dtype", "recurrent", "head")),
        (trainer, ("batch", "window", "clip", "model", "optimizer")),
    ):
        for name in names:
            with pytest.raises(AttributeError, match=f"^{name} is fixed once the"):
                setattr(thing, name, getattr(thing, name))
        with pytest.raises(AttributeError, match="has no attribute 'wieght'"):
            thing.wieght = 1


def test_a_training_of_tied_weights_is_refused_before_it_begins():
    model = LanguageModel(hidden=4, embedding=4, rng=0)
    model.head.params["weight"] = model.embedding.params["weight"]
    message = "^head.weight and embedding.weight of the model are one array"
    with pytest.raises(ValueError, match=message):
        Trainer(model, TEXT, batch=2, window=9, clip=1.0)


# Files


def test_a_file_that_takes_little_at_a_time_gets_all():
    class Little(io.RawIOBase):
        content = b""

        def write(self, data):
            self.content += bytes(data[:1000])
            return min(1000, len(data))

    layer, file = rc.GRU(9, 33, rng=0), Little()
    layer.save(file)
    assert repr(rc.load(io.BytesIO(file.content))) == repr(layer)


@pytest.mark.parametrize("taken", [0, None])
def test_a_file_that_takes_no_more_is_told(taken):
    class Full:
        def write(self, data):
            return taken

    with pytest.raises(BlockingIOError, match="takes no more bytes"):
        rc.GRU(3, 4).save(Full())


def test_two_layers_in_one_file_are_not_taken_for_one():
    file = io.BytesIO()
    rc.GRU(3, 4, rng=0).save(file)
    rc.LSTM(2, 2, rng=0).save(file)
    file.seek(0)
    with pytest.raises(ValueError, match="something else stands before it"):
        rc.load(file)


def test_a_file_at_its_end():
    file = io.BytesIO()
    rc.GRU(3, 4, rng=0).save(file)
    with pytest.raises(ValueError, match=r"was read to its end: seek\(0\)"):
        rc.load(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="other systems have no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "layer.npz"
    os.mkfifo(path)
    for load in (rc.load, LanguageModel.load):
        with pytest.raises(ValueError, match=r"is no file$"):
            load(path)


@pytest.mark.skipif(os.name != "posix", reason="links and permissions as POSIX has them")
def test_saving_through_a_link_and_over_a_private_file(tmp_path):
    target, link = tmp_path / "first.npz", tmp_path / "latest.npz"
    rc.GRU(3, 4, rng=0).save(target)
    target.chmod(0o600)
    link.symlink_to(target)
    rc.LSTM(2, 2, rng=0).save(link)
    assert link.is_symlink()
    assert repr(rc.load(target)) == "LSTM(2, 2)"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_save_that_fails_names_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "nowhere" / "layer.npz"
    with pytest.raises(FileNotFoundError, match=r"layer\.npz") as error:
        rc.GRU(3, 4).save(path)
    assert error.value.filename == str(path)


@pytest.mark.parametrize(
    ("kind", "arrays", "message"),
    [
        ("Model", {"a\0b": np.zeros(1)}, "arrays has the key"),
        ("Model", {3: np.zeros(1)}, "arrays has the key 3"),
        ("Model", {"a" * 101: np.zeros(1)}, "arrays has the key"),
        ("Model", {"a": np.zeros(1, "V8")}, "dtype"),
        ("a b", {}, "kind is 'a b'"),
        ("", {}, "kind is ''"),
        (None, {}, "kind is None"),
    ],
)
def test_what_would_not_come_back_as_it_is_is_not_saved(kind, arrays, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        storage.save_arrays(tmp_path / "file.npz", kind, {}, arrays)
    assert not list(tmp_path.iterdir())


def test_only_what_fits_is_suggested_and_all_of_it():
    layer = rc.Embedding(4, 5, rng=0)
    given = {"head.weight": np.zeros((3, 8)), "emb.weight": layer.params["weight"]}
    with pytest.raises(ValueError, match=r"with the prefix 'emb\.' all are there"):
        layer.load_params(given)
    with pytest.raises(ValueError, match=r"with the prefixes 'emb\.', 'other\.' all are there"):
        layer.load_params(given | {"other.weight": given["emb.weight"]})


def test_modules_are_there_without_an_import_of_their_own():
    for name in ("functional", "reference", "tasks", "agreement", "course"):
        assert getattr(rc, name).__name__ == f"rnncore.{name}"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        rc.nothing  # noqa: B018
