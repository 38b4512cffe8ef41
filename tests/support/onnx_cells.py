"""Bodies of Loop and Scan that are recurrent cells, in the ways in which converters write them."""

import numpy as np
import onnx
from onnx import TensorProto, helper

F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name, kind=F, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def tensors(arrays):
    return [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def lstm_cell(rng, I, H):
    """One product of x and h side by side, gates i j f o, forget bias 1: TensorFlow's LSTMCell."""
    arrays = {
        "kernel": rng.uniform(-0.5, 0.5, (I + H, 4 * H)).astype(np.float32),
        "bias": rng.uniform(-0.5, 0.5, 4 * H).astype(np.float32),
        "one": np.float32(1),
    }
    nodes = [
        node("Concat", "x_t h", "xh", axis=1),
        node("MatMul", "xh kernel", "sums"),
        node("Add", "sums bias", "biased"),
        node("Split", "biased", "i_ j_ f_ o_", axis=1),
        node("Add", "f_ one", "f_1"),
        node("Sigmoid", "i_", "i"),
        node("Tanh", "j_", "j"),
        node("Sigmoid", "f_1", "f"),
        node("Sigmoid", "o_", "o"),
        node("Mul", "c f", "kept"),
        node("Mul", "i j", "written"),
        node("Add", "kept written", "c_new"),
        node("Tanh", "c_new", "seen"),
        node("Mul", "seen o", "h_new"),
    ]
    return arrays, nodes, ["h", "c"]


def lstm_products(rng, I, H):
    """Products of their own for x and h, sliced: Keras's implementation 2."""
    arrays = {
        "kernel": rng.uniform(-0.5, 0.5, (I, 4 * H)).astype(np.float32),
        "recurrent": rng.uniform(-0.5, 0.5, (H, 4 * H)).astype(np.float32),
        "bias": rng.uniform(-0.5, 0.5, 4 * H).astype(np.float32),
        "axis": np.array([1]),
    }
    arrays |= {f"at{k}": np.array([k * H]) for k in range(5)}
    nodes = [
        node("MatMul", "x_t kernel", "xk"),
        node("MatMul", "h recurrent", "hr"),
        node("Add", "xk hr", "sums"),
        node("Add", "sums bias", "biased"),
        *(node("Slice", f"biased at{k} at{k + 1} axis", f"{g}_") for k, g in enumerate("ifgo")),
        *(node("Tanh" if g == "g" else "Sigmoid", f"{g}_", g) for g in "ifgo"),
        node("Mul", "f c", "kept"),
        node("Mul", "i g", "written"),
        node("Add", "written kept", "c_new"),
        node("Tanh", "c_new", "seen"),
        node("Mul", "o seen", "h_new"),
    ]
    return arrays, nodes, ["h", "c"]


def gru_after(rng, I, H):
    """Keras's GRU with reset_after: gates z r h, two biases."""
    arrays = {
        "kernel": rng.uniform(-0.5, 0.5, (I, 3 * H)).astype(np.float32),
        "recurrent": rng.uniform(-0.5, 0.5, (H, 3 * H)).astype(np.float32),
        "bias": rng.uniform(-0.5, 0.5, 3 * H).astype(np.float32),
        "bias_r": rng.uniform(-0.5, 0.5, 3 * H).astype(np.float32),
        "one": np.float32(1),
    }
    nodes = [
        node("MatMul", "x_t kernel", "xk"),
        node("Add", "xk bias", "xb"),
        node("MatMul", "h recurrent", "hr"),
        node("Add", "hr bias_r", "hb"),
        node("Split", "xb", "xz xr xh", axis=-1),
        node("Split", "hb", "hz hr_ hh", axis=-1),
        node("Add", "xz hz", "z_"),
        node("Sigmoid", "z_", "z"),
        node("Add", "xr hr_", "r_"),
        node("Sigmoid", "r_", "r"),
        node("Mul", "r hh", "rh"),
        node("Add", "xh rh", "n_"),
        node("Tanh", "n_", "n"),
        node("Mul", "z h", "kept"),
        node("Sub", "one z", "rest"),
        node("Mul", "rest n", "written"),
        node("Add", "kept written", "h_new"),
    ]
    return arrays, nodes, ["h"]


def gru_before(rng, I, H):
    """TensorFlow's GRUCell: r and u in one product, then the candidate of x and r * h."""
    arrays = {
        "gates": rng.uniform(-0.5, 0.5, (I, 2 * H)).astype(np.float32),
        "gates_h": rng.uniform(-0.5, 0.5, (H, 2 * H)).astype(np.float32),
        "gates_b": rng.uniform(-0.5, 0.5, 2 * H).astype(np.float32),
        "candidate": rng.uniform(-0.5, 0.5, (I, H)).astype(np.float32),
        "candidate_h": rng.uniform(-0.5, 0.5, (H, H)).astype(np.float32),
        "candidate_b": rng.uniform(-0.5, 0.5, H).astype(np.float32),
        "one": np.float32(1),
    }
    nodes = [
        node("MatMul", "x_t gates", "xg"),
        node("MatMul", "h gates_h", "hg"),
        node("Add", "xg hg", "sums"),
        node("Add", "sums gates_b", "biased"),
        node("Split", "biased", "r_ u_", axis=1),
        node("Sigmoid", "r_", "r"),
        node("Sigmoid", "u_", "u"),
        node("Mul", "r h", "rh"),
        node("MatMul", "x_t candidate", "xc"),
        node("MatMul", "rh candidate_h", "hc"),
        node("Add", "xc hc", "both"),
        node("Add", "both candidate_b", "n_"),
        node("Tanh", "n_", "n"),
        node("Mul", "u h", "kept"),
        node("Sub", "one u", "rest"),
        node("Mul", "rest n", "written"),
        node("Add", "written kept", "h_new"),
    ]
    return arrays, nodes, ["h"]


def rnn(rng, I, H):
    arrays = {
        "kernel": rng.uniform(-0.5, 0.5, (I, H)).astype(np.float32),
        "recurrent": rng.uniform(-0.5, 0.5, (H, H)).astype(np.float32),
        "bias": rng.uniform(-0.5, 0.5, H).astype(np.float32),
    }
    nodes = [
        node("Gemm", "x_t kernel bias", "xk"),
        node("MatMul", "h recurrent", "hr"),
        node("Add", "hr xk", "sums"),
        node("Relu", "sums", "h_new"),
    ]
    return arrays, nodes, ["h"]


def no_cell(rng, I, H):
    """A cell that no layer has: h' = tanh(x K + h) * h."""
    arrays = {"kernel": rng.uniform(-0.5, 0.5, (I, H)).astype(np.float32)}
    nodes = [
        node("MatMul", "x_t kernel", "xk"),
        node("Add", "xk h", "sums"),
        node("Tanh", "sums", "g"),
        node("Mul", "g h", "h_new"),
    ]
    return arrays, nodes, ["h"]


CELLS = {
    "lstm cell": lstm_cell, "lstm products": lstm_products, "gru after": gru_after,
    "gru before": gru_before, "rnn": rnn,
}  # fmt: skip


def states_of(states, H):
    return [info(name, F, ["B", H]) for name in states]


def model(nodes, states, outputs, inner, arrays, I, H):
    inputs = [info("x", F, ["T", "B", I]), *(info(f"{s}0", F, ["B", H]) for s in states)]
    graph = helper.make_graph(
        nodes,
        "loop",
        inputs,
        [info(n, I64 if n == "time_n" else F) for n in outputs],
        tensors(arrays),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def scan(cell, rng, I, H, *, reverse=False):
    """Scan over x, with outputs h, perhaps c, and all h."""
    arrays, nodes, states = cell(rng, I, H)
    copies = [node("Identity", "h_new", "row")]
    body = helper.make_graph(
        nodes + copies,
        "body",
        [*states_of(states, H), info("x_t", F, ["B", I])],
        [info(f"{s}_new", F, ["B", H]) for s in states] + [info("row", F, ["B", H])],
        tensors(arrays),
    )
    starts = " ".join(f"{s}0" for s in states)
    ends = [f"{s}n" for s in states]
    outer = node("Scan", f"{starts} x", " ".join([*ends, "y"]), body=body, num_scan_inputs=1)
    if reverse:
        for name in ("scan_input_directions", "scan_output_directions"):
            outer.attribute.append(helper.make_attribute(name, [1]))
    return model([outer], states, [*ends, "y"], body, {}, I, H)


def loop(cell, rng, I, H, *, counter=False):
    """Loop with Gather of step t, weights around it; with a counter and a condition on it."""
    arrays, nodes, states = cell(rng, I, H)
    index = "time" if counter else "t"
    body = [node("Gather", f"x {index}", "x_t", axis=0), *nodes, node("Identity", "h_new", "row")]
    ports = [info("t", I64, []), info("go", BOOL, []), *states_of(states, H)]
    ends = [info("more", BOOL, []), *(info(f"{s}_new", F, ["B", H]) for s in states)]
    if counter:
        body += [node("Add", "time step", "time_new"), node("Less", "time_new T", "less")]
        body += [node("And", "less go", "more")]
        ports.append(info("time", I64, []))
        ends.append(info("time_new", I64, []))
        arrays |= {"step": np.array(1), "start": np.array(0)}
    else:
        body.append(node("Identity", "go", "more"))
    ends.append(info("row", F, ["B", H]))
    graph = helper.make_graph(body, "body", ports, ends)
    starts = [f"{s}0" for s in states] + (["start"] if counter else [])
    outs = [f"{s}n" for s in states] + (["time_n"] if counter else []) + ["y"]
    arrays |= {"zero": np.array([0]), "first": np.array([1]), "yes": np.array(True)}
    before = [node("Shape", "x", "shape"), node("Slice", "shape zero first", "T_"),
              node("Squeeze", "T_", "T")]  # fmt: skip
    outer = node("Loop", " ".join(["T", "yes", *starts]), " ".join(outs), body=graph)
    return model([*before, outer], states, outs, graph, arrays, I, H)
