"""Files that are damaged or want to do harm: a clear error at once, memory within bounds."""

import contextlib

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

import onnx
from onnx import TensorProto, helper
from onnx_replay import models_of
from work import little_work

import rnncore as rc
from rnncore import _check
from rnncore._check import options
from rnncore.convert.from_onnx import from_onnx
from rnncore.onnx import Session, export

READERS = {"session": Session, "chain": from_onnx}
F = TensorProto.FLOAT


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


def model(nodes, constants=(), inputs=(("x", F, ["N"]),), outputs=("y",), opset=17):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(name, F, None) for name in outputs],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def refused(read, source, message="."):
    with little_work(), pytest.raises(ValueError, match=message):
        read(source)


def claiming(shape, kind=F, **fields):
    """A tensor that says it is larger than it is."""
    tensor = TensorProto(name="w", data_type=kind, dims=shape)
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return tensor


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"not a model", b"\x08\x08", b"PK\3\4" + bytes(90)]
)
def test_no_model(read, content, tmp_path):
    refused(read, content)
    (tmp_path / "m.onnx").write_bytes(content)
    refused(read, tmp_path / "m.onnx", r"m\.onnx")


def test_random_bytes_and_damage(read, rng):
    whole = export(models_of(rng)["tagger"]).SerializeToString()
    for k in range(150):
        data = bytearray(whole)
        if k % 3 == 0:
            data = data[: int(rng.integers(len(data)))]
        elif k % 3 == 1:
            for place in rng.integers(0, min(len(data), 3000), 1 + k % 7):
                data[place] = int(rng.integers(256))
        else:
            data = bytearray(rng.bytes(int(rng.integers(1, 400))))
        with little_work(), contextlib.suppress(ValueError):  # some damage leaves a model
            read(bytes(data))


@pytest.mark.parametrize(
    "tensor",
    [
        claiming([1 << 40]),
        claiming([1 << 40], raw_data=b"1234"),
        claiming([1 << 20, 1 << 20], float_data=[1.0]),
        claiming([-1], raw_data=b""),
        claiming([1 << 62, 1 << 62], raw_data=b""),
        claiming([2] * 70, raw_data=b""),
        claiming([2], kind=99, raw_data=b"12345678"),
        claiming([2], kind=0, raw_data=b"12345678"),
        claiming([1 << 34], kind=TensorProto.INT4, int32_data=[1]),
        claiming([1 << 30], kind=TensorProto.STRING),
    ],
    ids=lambda tensor: f"{tensor.data_type}-{tuple(tensor.dims)[:2]}-{len(tensor.raw_data)}",
)
def test_claims_of_tensors(read, tensor):
    refused(read, model([node("Add", "x w", "y")], [tensor]), "tensor|data type")


def test_a_circle(read):
    nodes = [node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "a", "y")]
    refused(read, model(nodes), r"\(Add of x, b\) waits for its own outputs: nodes form a circle")


def test_nodes_may_come_in_any_order():
    nodes = [node("Neg", "b", "y"), node("Add", "a a", "b"), node("Neg", "x", "a")]
    (y,) = Session(model(nodes)).run(None, {"x": np.ones(2, np.float32)})
    np.testing.assert_array_equal(y, [2, 2])


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Neg", "nothing", "y")], "nothing makes the value 'nothing'"),
        ([node("Neg", "x", "z")], "nothing makes the value 'y', which is read by an output"),
        ([node("Neg", "x", "y"), node("Abs", "x", "y")], "value 'y' is made more than once"),
        ([node("Neg", "x", "x")], "value 'x' is made more than once"),
        ([node("NoSuchOp", "x", "y")], "NoSuchOp of x"),
        ([], "nothing makes the value 'y'"),
    ],
)
def test_graphs_that_cannot_be(read, nodes, message):
    refused(read, model(nodes), message)


def test_an_operator_of_elsewhere(read):
    made = model([helper.make_node("Magic", ["x"], ["y"], domain="who.knows", name="trick")])
    made.opset_import.append(helper.make_opsetid("who.knows", 1))
    refused(read, made, r"node 'trick' \(who\.knows\.Magic of x\)")


def chain_of_graphs(depth, kind):
    """Graphs in each other, one in each: as deep as protobuf lets them be, or deeper."""
    graph = helper.make_graph([node("Identity", "x", "z")], "b", [], [])
    for _ in range(depth):
        graph = _around(graph, kind)
    return model([helper.make_node(kind, ["x"], ["y"], body=graph)])


def _around(graph, kind):
    outer = onnx.GraphProto(name="b")
    inner = outer.node.add(op_type=kind, input=["x"], output=["z"])
    attribute = inner.attribute.add(name="body", type=onnx.AttributeProto.GRAPH)
    attribute.g.CopyFrom(graph)
    return outer


@pytest.mark.parametrize("kind", ["Loop", "If", "Scan"])
@pytest.mark.parametrize("depth", [5, 26, 30])
def test_deep_graphs(read, depth, kind):
    made = chain_of_graphs(depth, kind)
    refused(read, made)
    refused(read, made.SerializeToString())


def test_messages_too_deep_for_protobuf(read):
    """Written by hand: graphs within attributes of nodes, fields 1, 5 and 6, in a model's 7."""

    def field(number, content):
        size, length = len(content), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    content = b""
    for _ in range(3000):
        content = field(1, field(5, field(6, content)))
    refused(read, field(7, content), "is damaged or no model of ONNX")


def test_names_that_are_no_text(read):
    content = export(rc.GRU(3, 4, rng=0)).SerializeToString()
    refused(read, content.replace(b"0/Y_0", b"\xff\xfe_0\x80"))


def function(name, calls):
    nodes = [helper.make_node(call, ["a"], [f"b{k}"], domain="own") for k, call in enumerate(calls)]
    nodes.append(helper.make_node("Identity", ["b0" if calls else "a"], ["c"]))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["c"], nodes, opsets)


def with_functions(functions):
    made = model([helper.make_node("f0", ["x"], ["y"], domain="own")])
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.functions.extend(functions)
    return made


def test_functions_that_call_themselves(read):
    refused(read, with_functions([function("f0", ["f0"])]), "in a circle")
    refused(read, with_functions([function("f0", ["f1"]), function("f1", ["f0"])]), "in a circle")


def test_functions_that_double(read):
    many = [function(f"f{k}", [f"f{k + 1}"] * 4) for k in range(20)] + [function("f20", [])]
    refused(read, with_functions(many), "nodes once its functions are written out")


def test_constants_that_would_take_all_memory(read, small_memory):
    size = onnx.numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "w")
    refused_in_run(read, [node("ConstantOfShape", "w", "z"), node("ReduceMax", "z", "m"),
                          node("Add", "x m", "y")], [size])  # fmt: skip


def test_constants_that_double(read, small_memory):
    start = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "z0")
    nodes = [node("Concat", f"z{k} z{k}", f"z{k + 1}", axis=0) for k in range(40)]
    nodes += [node("ReduceMax", "z40", "m"), node("Add", "x m", "y")]
    refused_in_run(read, nodes, [start])


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(options, "memory", lambda: 1 << 30)
    monkeypatch.setattr(_check, "memory", lambda: 1 << 30)


def refused_in_run(read, nodes, constants):
    made = model(nodes, constants)

    def run():
        read(made).run(None, {"x": np.zeros(2, np.float32)})

    with little_work(), pytest.raises(ValueError, match=r"does not fit a chain|would take"):
        run()


# External data


def external(location, shape=(2,), **entries):
    tensor = TensorProto(name="w", data_type=F, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return model([node("Add", "x w", "y")], [tensor], inputs=[("x", F, [2])])


def test_data_beside_the_model(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "w.bin").write_bytes(bytes(8) + np.array([1, 2], np.float32).tobytes())
    made = external("more/w.bin", offset=8, length=8)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    (y,) = Session(tmp_path / "m.onnx").run(None, {"x": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(y, [1, 2])
    with pytest.raises(ValueError, match="expected the path of the model"):
        Session(made)


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../w.bin", {}, "expected a file in the folder of the model"),
        ("/etc/hostname", {}, "expected a file in the folder of the model"),
        ("link.bin", {}, "expected a file in the folder of the model"),
        ("", {}, "expected a file in the folder of the model"),
        ("nowhere.bin", {}, "there is no such file"),
        (".", {}, "there is no such file"),
        ("w.bin", {"offset": 4}, "which has 8"),
        ("w.bin", {"offset": -8}, "which has 8"),
        ("w.bin", {"length": 1 << 40}, "takes 8 bytes, and says"),
        ("w.bin", {"offset": "x"}, "no numbers for offset and length"),
        ("w.bin", {"shape": (1 << 40,)}, "which has 8"),
    ],
)
def test_data_elsewhere(read, location, entries, message, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (tmp_path / "w.bin", folder / "w.bin"):
        place.write_bytes(bytes(8))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "m.onnx").write_bytes(external(location, **entries).SerializeToString())
    refused(read, folder / "m.onnx", message)


# Other sources


def test_sources(read, tmp_path):
    with pytest.raises(TypeError, match="path is of type int, expected a path, bytes or"):
        read(5)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.onnx")
    refused(read, tmp_path, "is no file")
    with open(tmp_path / "large.onnx", "wb") as file:
        file.truncate(1 << 31)
    refused(read, tmp_path / "large.onnx", "2,147,483,648 bytes, expected at most")


def test_a_newer_opset(read):
    refused(read, model([node("Neg", "x", "y")], opset=999), "opset 999, expected 1 to")


@pytest.mark.parametrize("attribute", [
    {"direction": "sideways"}, {"layout": 7}, {"activations": ["Boom", "Tanh", "Tanh"]},
    {"activations": ["Tanh"]}, {"hidden_size": 9}, {"magic": 1},
])  # fmt: skip
def test_attributes_that_cannot_be(read, attribute):
    file = export(rc.LSTM(3, 4, rng=0))
    lstm = next(n for n in file.graph.node if n.op_type == "LSTM")
    kept = [a for a in lstm.attribute if a.name not in attribute]
    del lstm.attribute[:]
    lstm.attribute.extend(kept)
    lstm.attribute.extend(helper.make_attribute(k, v) for k, v in attribute.items())
    refused(read, file, "node '0/l0/LSTM'")


@pytest.mark.parametrize("name", ["W", "R", "B"])
def test_weights_that_do_not_fit(read, name):
    file = export(rc.LSTM(3, 4, rng=0))
    tensor = next(t for t in file.graph.initializer if t.name == f"0.{name}_l0")
    wrong = np.zeros((1, 5, 7)[: len(tensor.dims)], np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(wrong, tensor.name))
    refused(read, file, "node '0/l0/LSTM'")
