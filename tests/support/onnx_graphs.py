"""Small graphs of ONNX, written by hand."""

import numpy as np
import onnx
from onnx import TensorProto, helper

F = TensorProto.FLOAT


def graph(nodes, constants, x=(F, ["T", "B", 3]), opset=17, more=()):
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", *x), *more],
        [helper.make_tensor_value_info("y", F, None)],
        [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def gru_nodes(rng, I=3, H=4, **attributes):
    """A GRU with its output y (T, B, H) as ``g``, and its weights."""
    constants = {
        "W": rng.uniform(-0.5, 0.5, (1, 3 * H, I)).astype(np.float32),
        "R": rng.uniform(-0.5, 0.5, (1, 3 * H, H)).astype(np.float32),
        "one": np.array([1]),
    }
    nodes = [node("GRU", "in W R", "Y", hidden_size=H, **attributes)]
    return [*nodes, node("Squeeze", "Y one", "g")], constants
