"""Files of ONNX run, by onnxruntime or else by onnx itself, to compare what was made of them."""

import importlib.util
import sys

import numpy as np
import pytest

import rnncore as rc
from rnncore.convert.recording import recorded_of

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
needs_onnxruntime = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)


def mixed(batch_first=False):
    return rc.Sequential(
        rnn=rc.LSTM(3, 5, batch_first=batch_first, rng=0), head=rc.Linear(5, 2, rng=0)
    )


@pytest.fixture
def exported(tmp_path):
    """Writes a model as a file of ONNX; gives the path."""

    def export(model, **options):
        from rnncore.onnx import export as write

        write(model, tmp_path / "m.onnx", **options)
        return tmp_path / "m.onnx"

    return export


@needs_onnxruntime
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("options", [{}, {"state": True}, {"lengths": True}, {"opset": 14}])
def test_onnxruntime(options, batch_first, exported):
    model = mixed(batch_first)
    found = recorded_of(exported(model, **options), model)
    assert found.source.startswith("m.onnx, run by onnxruntime ")
    assert len(found.cases) == 3 if "lengths" in options else 2
    assert found.check(model) < 1e-5
    model.params["rnn.bias_ih_l0"][0] += 0.5
    with pytest.raises(ValueError, match="off by"):
        found.check(model)


def test_the_evaluator_of_onnx_where_there_is_no_onnxruntime(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = rc.Sequential(rc.Embedding(9, 3, rng=0), rc.LSTM(3, 5, rng=0))
    found = recorded_of(exported(model, lengths=True), model)
    assert found.source.startswith("m.onnx, run by the evaluator of onnx ")
    assert [case.lengths for case in found.cases] == [None, None]  # of which it knows nothing
    assert found.check(model) < 1e-5


def test_half_precision_is_not_compared(exported):
    model = mixed()
    path = exported(model)
    file = onnx.load(path)
    half = np.zeros(1, np.float16)
    file.graph.initializer.append(onnx.numpy_helper.from_array(half, "half"))
    onnx.save(file, path)
    found = recorded_of(path, model)
    assert found.cases == ()
    assert "half precision" in found.source


def test_sizes_that_a_file_has_fixed_are_kept(exported):
    model = mixed()
    path = exported(model, state=True)
    file = onnx.load(path)
    for port in file.graph.input:
        for dim in port.type.tensor_type.shape.dim:
            if dim.dim_param == "B":
                dim.dim_value = 4
    onnx.save(file, path)
    found = recorded_of(path, model)
    assert [case.x.shape for case in found.cases] == [(17, 4, 3), (1, 4, 3)]
    assert found.check(model) < 1e-5


def test_ids_of_any_width(exported):
    model = rc.Sequential(rc.Embedding(9, 3, rng=0), rc.GRU(3, 5, rng=0), rc.Pool("last"))
    path = exported(model)
    file = onnx.load(path)
    file.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    onnx.save(file, path)
    found = recorded_of(path, model)
    assert len(found.cases) == 2
    assert found.check(model) < 1e-5


def test_a_file_whose_inputs_are_not_known(exported):
    model = mixed()
    path = exported(model)
    file = onnx.load(path)
    for name in "ab":
        file.graph.input.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["B"])
        )
    onnx.save(file, path)
    found = recorded_of(path, model)
    assert found.cases == ()
    assert "inputs of which it is not known what they are" in found.source
