"""Loop, Scan and If: bodies that are cells run as layers, all others step by step."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import helper
from onnx_cells import BOOL, CELLS, I64, info, loop, no_cell, node, scan, tensors
from onnx_replay import replay

from rnncore.onnx import Session, cell_loops

T, B, I, H = 7, 3, 5, 17


def feeds_for(model, rng, steps=T):
    shapes = {"x": (steps, B, I), "h0": (B, H), "c0": (B, H)}
    names = [port.name for port in model.graph.input]
    return {name: rng.uniform(-1, 1, shapes[name]).astype(np.float32) for name in names}


@pytest.fixture
def layers_made(monkeypatch):
    """How often a body was found to be a cell, and how often that was run."""
    made, run = [], cell_loops._Runner.__call__

    def counted(self, *arguments):
        found = run(self, *arguments)
        made.append(found is not None)
        return found

    monkeypatch.setattr(cell_loops._Runner, "__call__", counted)
    return made


def compare(model, feeds):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    found, expected = Session(model).run(None, feeds), replay(model, feeds)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [1, T])
@pytest.mark.parametrize("form", ["scan", "reverse", "loop", "counter"])
@pytest.mark.parametrize("cell", CELLS)
def test_cells_run_as_layers(cell, form, steps, rng, layers_made):
    make = {
        "scan": lambda: scan(CELLS[cell], rng, I, H),
        "reverse": lambda: scan(CELLS[cell], rng, I, H, reverse=True),
        "loop": lambda: loop(CELLS[cell], rng, I, H),
        "counter": lambda: loop(CELLS[cell], rng, I, H, counter=True),
    }
    model = make[form]()
    compare(model, feeds_for(model, rng, steps))
    assert layers_made == [True]


@pytest.mark.parametrize("make", [scan, loop])
def test_another_body_runs_step_by_step(make, rng, layers_made):
    model = make(no_cell, rng, I, H)
    compare(model, feeds_for(model, rng))
    assert layers_made == []


def changed(model, op, place, name):
    """The model with another input for the first node of this operator in its body."""
    (outer,) = [n for n in model.graph.node if n.op_type in ("Loop", "Scan")]
    body = next(a.g for a in outer.attribute if a.name == "body")
    next(n for n in body.node if n.op_type == op).input[place] = name
    return model


@pytest.mark.parametrize(
    ("cell", "op", "place", "name"),
    [
        ("lstm cell", "Mul", 1, "i"),  # c * i + i * j
        ("lstm products", "Sigmoid", 0, "o_"),
        ("gru after", "Sub", 1, "r"),  # z * h + (1 - r) * n
        ("gru before", "Mul", 0, "u"),
        ("rnn", "Add", 0, "h"),
    ],
)
def test_what_is_nearly_a_cell(cell, op, place, name, rng):
    """It may run as a layer where it is one after all; the numbers are those of the graph."""
    if op == "Mul" and cell == "gru before":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model = changed(scan(CELLS[cell], rng, I, H), op, place, name)
    compare(model, feeds_for(model, rng))


def test_a_loop_that_ends_early_runs_its_body(rng, layers_made):
    model = loop(CELLS["rnn"], rng, I, H)
    model.graph.node[0].input[0] = "short"
    model.graph.initializer.extend(tensors({"short": np.zeros((T - 2, 1), np.float32)}))
    compare(model, feeds_for(model, rng))
    assert layers_made == [False]


def test_if_sees_values_around_it(rng):
    """With a graph in a graph, constants of all three, and a branch that passes a value on."""

    def branch(name, nodes, arrays=None):
        return helper.make_graph(nodes, name, [], [info(f"{name}_y")], tensors(arrays or {}))

    inner = node(
        "If", "flag", "yes_y",
        then_branch=branch("a", [node("Mul", "x two", "a_y")]),
        else_branch=branch("b", [node("Identity", "x", "b_y")]),
    )  # fmt: skip
    outer = node(
        "If", "go", "y",
        then_branch=branch("yes", [inner], {"two": np.float32(2)}),
        else_branch=branch("no", [node("Neg", "shifted", "no_y")]),
    )  # fmt: skip
    graph = helper.make_graph(
        [node("Add", "x one", "shifted"), outer],
        "g",
        [info("x", shape=["N"]), info("go", BOOL, []), info("flag", BOOL, [1])],
        [info("y")],
        tensors({"one": np.float32(1)}),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    session, x = Session(model), rng.standard_normal(4).astype(np.float32)
    for go, flag, expected in ((1, 1, 2 * x), (1, 0, x), (0, 0, -(x + 1))):
        feeds = {"x": x, "go": np.array(bool(go)), "flag": np.array([bool(flag)])}
        (found,) = session.run(None, feeds)
        np.testing.assert_array_equal(found, expected)
        assert not np.shares_memory(found, x)


def test_a_loop_without_end_is_refused(monkeypatch):
    from rnncore.onnx import loops

    monkeypatch.setattr(loops, "_MOST_STEPS", 50)
    body = helper.make_graph(
        [node("Identity", "go", "more"), node("Identity", "a", "b")],
        "body",
        [info("t", I64, []), info("go", BOOL, []), info("a", shape=[1])],
        [info("more", BOOL, []), info("b", shape=[1])],
    )
    outer = helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)
    graph = helper.make_graph(
        [outer], "g", [info("x", shape=[1])], [info("y")], tensors({"yes": np.array(True)})
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    with pytest.raises(ValueError, match="goes on after 50 steps, expected it to end"):
        Session(model).run(None, {"x": np.zeros(1, np.float32)})
