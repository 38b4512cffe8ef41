"""Layers of models as objects: options, text, copies, files, parameters and buffers."""

import copy
import io
import json
import pickle

import numpy as np
import pytest
from parts import LENGTHS, OVER_TIME, PARTS, B, T

import rnncore as rc
from rnncore.layers import storage
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.reverse import Reverse

KINDS = {
    kind.__name__: kind
    for kind in (
        Activation, BatchNorm, Conv1d, Dropout, Embedding, LayerNorm, Linear, Pool, Reverse
    )
}  # fmt: skip
FLOATS = [np.float32, np.float64]
C_OTHER = 11


def same(one, other):
    assert type(one) is type(other)
    assert one.options == other.options
    for what in ("params", "buffers"):
        assert getattr(one, what).keys() == getattr(other, what).keys()
        for name, value in getattr(one, what).items():
            again = getattr(other, what)[name]
            assert again.dtype == value.dtype
            np.testing.assert_array_equal(again, value)


def test_the_table_has_every_kind():
    assert {case.kind for case in PARTS.values()} == set(KINDS.values())
    for name, kind in KINDS.items():
        assert storage.kind_of(name) is kind


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", PARTS)
def test_options_make_another_and_the_text_too(name, dtype):
    part = PARTS[name].part(dtype)
    options = json.loads(json.dumps(part.options))
    assert repr(type(part)(**options)) == repr(part)
    assert type(part)(**options).options == part.options
    assert repr(eval(repr(part), KINDS | {"float64": np.float64})) == repr(part)
    assert part.dtype == (dtype if "dtype" in options else None)


def test_text_forms():
    assert repr(Linear(3, 2)) == "Linear(3, 2)"
    assert repr(Linear(3, 2, bias=False, dtype=float)) == "Linear(3, 2, bias=False, dtype=float64)"
    assert repr(Embedding(3, 2)) == "Embedding(3, 2)"
    assert repr(Pool("max")) == "Pool('max')"
    assert repr(Pool("max", 2, stride=1)) == "Pool('max', 2, stride=1)"
    assert repr(Conv1d(3, 2, 5, padding=1)) == "Conv1d(3, 2, 5, padding=(1, 1))"
    assert repr(Conv1d(3, 2, 5, padding="same")) == "Conv1d(3, 2, 5, padding='same')"
    assert repr(BatchNorm(3, momentum=0.01)) == "BatchNorm(3, momentum=0.01)"
    assert repr(Reverse(batch_first=True)) == "Reverse(batch_first=True)"
    assert repr(Dropout(0.5)) == "Dropout(0.5)"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
@pytest.mark.parametrize("name", PARTS)
def test_copies_are_whole_and_apart(name, again, rng):
    case = PARTS[name]
    part = case.part()
    other = again(part)
    same(part, other)
    x = case.x(rng, T, B)
    np.testing.assert_array_equal(other.forward(x)[0], part.forward(x)[0])  # the generator too
    for value in (*other.params.values(), *other.buffers.values()):
        value += 1
    for what in ("params", "buffers"):
        for key, value in getattr(part, what).items():
            assert not np.shares_memory(value, getattr(other, what)[key])
    with pytest.raises(AttributeError, match="has no attribute"):
        other.wieght = 1


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", PARTS)
def test_a_file(name, dtype, suffix, tmp_path, rng):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    case = PARTS[name]
    part = case.part(dtype)
    part.save(tmp_path / f"part{suffix}")
    again = rc.load(tmp_path / f"part{suffix}")
    same(part, again)
    x = case.x(rng, T, B, dtype=dtype)
    np.testing.assert_array_equal(again(x, lengths=LENGTHS[0]), part(x, lengths=LENGTHS[0]))
    again.load_params(part.params)  # what was read can be written to


def test_a_file_of_something_else_is_refused():
    part, file = PARTS["BatchNorm"].part(), io.BytesIO()
    arrays = {**part.params, "running_mean": part.buffers["running_mean"]}
    storage.save_arrays(file, "BatchNorm", part.options, arrays)
    file.seek(0)
    with pytest.raises(ValueError, match=r"holds no BatchNorm .* missing: running_var"):
        rc.load(file)
    file = io.BytesIO()
    storage.save_arrays(file, "Conv1d", {"in_channels": 3}, {})
    file.seek(0)
    with pytest.raises(ValueError, match="holds no Conv1d that can be made here"):
        rc.load(file)
    file = io.BytesIO()
    storage.save_arrays(file, "LayerNorm", {"size": 1 << 60}, {})
    file.seek(0)
    with pytest.raises(ValueError, match="size is 1152921504606846976, expected less"):
        rc.load(file)


@pytest.mark.parametrize("name", [name for name, case in PARTS.items() if case.part().params])
def test_parameters_are_loaded_and_checked(name):
    case = PARTS[name]
    part, given = case.part(), {k: v + 1 for k, v in case.part().params.items()}
    arrays = dict(part.params)
    part.load_params(given)
    for key, value in given.items():
        assert part.params[key] is arrays[key]
        np.testing.assert_array_equal(part.params[key], value)
    before = {key: value.copy() for key, value in part.params.items()}
    first = next(iter(given))
    for wrong, error, message in (
        ({}, ValueError, f"^params has missing: {first}"),
        (given | {"more": given[first]}, ValueError, "^params has unknown: more"),
        (given | {first: given[first].astype(np.float32)}, TypeError, f"^{first} has dtype"),
        (given | {first: given[first][:1, ...][:0]}, ValueError, f"^{first} has shape"),
        ([], TypeError, "^params is of type list, expected a mapping"),
    ):
        with pytest.raises(error, match=message):
            part.load_params(wrong)
    for key, value in before.items():
        np.testing.assert_array_equal(part.params[key], value)
    part.params[first] = part.params[first][:0]
    with pytest.raises(ValueError, match=f"^{first} has shape"):
        part(case.x(np.random.default_rng(0), T, B))


def test_buffers_are_loaded_and_checked(rng):
    part, other = PARTS["BatchNorm"].part(), PARTS["BatchNorm"].part()
    other.forward(rng.standard_normal((9, part.size)))
    part.load_params(other.params)
    assert (part.buffers["running_mean"] != other.buffers["running_mean"]).all()
    part.load_params({**other.params, **other.buffers, "num_batches_tracked": np.array(1)})
    same(part, other)
    with pytest.raises(ValueError, match=r"^params has missing: running_var"):
        part.load_params({**other.params, "running_mean": other.buffers["running_mean"]})
    x = rng.standard_normal((9, part.size))
    part.buffers["running_mean"].flags.writeable = False
    with pytest.raises(ValueError, match=r"^buffers\['running_mean'\] is read-only"):
        part.forward(x)
    part(x)  # at inference they are only read
    part.buffers = {}
    with pytest.raises(ValueError, match=r"^params has missing: running_mean"):
        part(x)


@pytest.mark.parametrize("name", PARTS)
def test_what_it_was_made_with_is_fixed(name):
    part = PARTS[name].part()
    for option in part.options:
        with pytest.raises(AttributeError, match=f"^{option} is fixed once the"):
            setattr(part, option, getattr(part, option))


@pytest.mark.parametrize("name", PARTS)
def test_another_dtype_or_shape_is_refused(name, rng):
    case = PARTS[name]
    part, x = case.part(np.float32), case.x(rng, T, B, dtype=np.float32)
    y, trace = part.forward(x)
    wrong = x * 1.5 if case.of_ids else x.astype(float if part.dtype else int)
    for run in (part, part.forward):
        with pytest.raises(TypeError, match=rf"^x has dtype {wrong.dtype}, expected"):
            run(wrong)
        with pytest.raises(TypeError, match=r"^x is of type list, expected a numpy array"):
            run(x.tolist())
        with pytest.raises(ValueError, match=r"^lengths\[1\] is 8, expected 0 to 7"):
            run(x, lengths=[1, 8, 2, 3])
        with pytest.raises(ValueError, match=r"^lengths has shape \(2,\), expected \(4,\)"):
            run(x, lengths=[1, 2])
        if part.dtype and not case.of_ids:
            with pytest.raises(ValueError, match=r"^x has shape \(7, 4, 1\), expected"):
                run(x[..., :1])
    with pytest.raises(TypeError, match=r"^dy has dtype float64, expected float32"):
        part.backward(trace, y.astype(float))
    with pytest.raises(ValueError, match=r"^dy has shape"):
        part.backward(trace, y[:-1])
    with pytest.raises(TypeError, match=r"^trace is of type tuple, expected PartTrace"):
        part.backward((x,), y)
    with pytest.raises(TypeError, match="training is 1, expected True or False"):
        part.forward(x, training=1)


@pytest.mark.parametrize("name", PARTS)
def test_a_trace_of_another_layer_is_refused(name, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, T, B)
    y, trace = part.forward(x)
    other = Linear(C_OTHER, 3, dtype=np.float64)
    strange = other.forward(rng.standard_normal((T, B, C_OTHER)))[1]
    with pytest.raises(ValueError, match=r"^trace is of Linear\(in_features=11, .*, expected one"):
        part.backward(strange, y)
    if trace.kept:
        with pytest.raises((ValueError, TypeError)):  # put together by hand
            part.backward(trace._replace(kept=(np.zeros((1, 1, 1)),) * len(trace.kept)), y)


@pytest.mark.parametrize("name", PARTS)
def test_lengths_of_what_comes_out(name):
    part = PARTS[name].part()
    assert part.lengths_after(None) is None
    for wrong, error in (([-1], ValueError), ([1.5], TypeError), (3, ValueError)):
        with pytest.raises(error, match=r"^lengths"):
            part.lengths_after(wrong)
    after = part.lengths_after([3, 7])
    if name not in OVER_TIME or name == "Reverse":
        assert after.tolist() == [3, 7]
    assert (after is None) == (name in ("Pool last", "Pool first", "Pool mean", "Pool max"))


def test_a_seed_decides_what_is_drawn():
    for make in (
        lambda rng: Linear(4, 3, rng=rng),
        lambda rng: Embedding(4, 3, rng=rng),
        lambda rng: Conv1d(4, 3, 2, rng=rng),
    ):
        one, again, other = make(5), make(np.random.default_rng(5)), make(6)
        for name, value in one.params.items():
            np.testing.assert_array_equal(value, again.params[name])
            assert (value != other.params[name]).any()
    weights = Conv1d(4, 50, 4, rng=0).params.values()
    assert 0.2 < max(np.abs(value).max() for value in weights) <= 0.25


@pytest.mark.parametrize("dtype", FLOATS)
def test_dropout_keeps_its_share_and_the_mean(dtype, rng):
    layer, x = Dropout(0.25, rng=3), np.ones((100, 100), dtype)
    y, trace = layer.forward(x)
    assert y.dtype == dtype
    assert set(np.unique(y)) == {dtype(0), dtype(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(layer.backward(trace, x).x, y)
    assert (layer.forward(x)[0] != y).any()
    np.testing.assert_array_equal(Dropout(0.25, rng=3).forward(x)[0], y)
