"""The operators RNN, GRU and LSTM of ONNX: the tests that ship with `onnx`, and onnxruntime.

The node tests ask for no clip, no lengths but full ones, no activations and no coupled gates, and
the reference evaluator of `onnx` ignores all four in silence. They are compared with onnxruntime.
"""

import numpy as np
import pytest
from onnx_adapter import FUNCTIONS, run_node

onnx = pytest.importorskip("onnx", reason="onnx is not installed")


def node_tests():
    """The cases of the operators, as name -> TestCase."""
    # Importing the cases makes them. (The loader of all operators takes ten seconds.)
    from onnx.backend.test.case import node
    from onnx.backend.test.case.node import gru, lstm, rnn  # noqa: F401

    cases = {case.name: case for case in node._NodeTestCases}
    return {name: c for name, c in cases.items() if c.model.graph.node[0].op_type in FUNCTIONS}


CASES = node_tests()


def attributes_of(node):
    def value(attribute):
        found = onnx.helper.get_attribute_value(attribute)
        if isinstance(found, bytes):
            return found.decode()
        return (
            [v.decode() if isinstance(v, bytes) else v for v in found]
            if isinstance(found, list)
            else found
        )

    return {attribute.name: value(attribute) for attribute in node.attribute}


def test_all_of_them_are_here():
    assert len(CASES) == 18


@pytest.mark.parametrize("name", CASES)
def test_node(implementation, name):
    case = CASES[name]
    (node,) = case.model.graph.node
    for inputs, outputs in case.data_sets:
        given = dict(zip(filter(None, node.input), inputs, strict=True))
        found = run_node(implementation, node.op_type, attributes_of(node), given)
        expected = dict(zip(filter(None, node.output), outputs, strict=True))
        assert expected
        for output, array in expected.items():
            assert found[output].shape == array.shape
            assert found[output].dtype == array.dtype
            # Closer than the 1e-3 that the tests ask for.
            np.testing.assert_allclose(found[output], array, rtol=1e-5, atol=1e-6, err_msg=output)


# Against onnxruntime

T, B, I, H = 7, 5, 3, 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
LENGTHS = [4, 7, 0, 1, 7]
COMBINATIONS = {
    "plain": {},
    "reverse": {"direction": "reverse"},
    "bidirectional": {"direction": "bidirectional"},
    "clip": {"clip": 0.4},
    "lengths": {"lengths": True},
    "lengths reverse": {"lengths": True, "direction": "reverse"},
    "lengths bidirectional clip": {"lengths": True, "direction": "bidirectional", "clip": 0.4},
}
OF_OP = {
    "RNN": {"": {}},
    "GRU": {"": {}, "linear": {"linear_before_reset": 1}},
    "LSTM": {
        "": {},
        "peepholes": {"peepholes": True},
        "coupled": {"input_forget": 1},
        "peepholes coupled": {"peepholes": True, "input_forget": 1},
    },
}
# (name, alpha, beta). onnxruntime has no default where it should be 1 (ThresholdedRelu) or where
# ONNX gives none (Affine, ScaledTanh): it computes with 0.
ACTIVATIONS = [
    ("Relu", None, None), ("Tanh", None, None), ("Sigmoid", None, None), ("Affine", 0.6, 0.2),
    ("LeakyRelu", 0.3, None), ("LeakyRelu", None, None), ("ThresholdedRelu", 0.1, None),
    ("ScaledTanh", 1.5, 0.7), ("HardSigmoid", 0.3, 0.4),
    ("HardSigmoid", None, None), ("Elu", 0.7, None), ("Elu", None, None),
    ("Softsign", None, None), ("Softplus", None, None),
]  # fmt: skip


def draw(op, rng, attributes, lengths=False, peepholes=False, scale=1.0):
    """Random inputs of an operator, all that it takes."""
    D, G = 2 if attributes.get("direction") == "bidirectional" else 1, GATES[op]
    shapes = {"X": (T, B, I), "W": (D, G * H, I), "R": (D, G * H, H), "B": (D, 2 * G * H)}
    shapes |= {"initial_h": (D, B, H)} | ({"initial_c": (D, B, H)} if op == "LSTM" else {})
    shapes |= {"P": (D, 3 * H)} if peepholes else {}
    inputs = {k: rng.uniform(-scale, scale, s).astype(np.float32) for k, s in shapes.items()}
    return inputs | ({"sequence_lens": np.array(LENGTHS, np.int32)} if lengths else {})


def run_onnxruntime(op, attributes, inputs):
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    order += ["initial_c", "P"] if op == "LSTM" else []
    outputs = ["Y", "Y_h"] + (["Y_c"] if op == "LSTM" else [])
    node = onnx.helper.make_node(
        op, [name if name in inputs else "" for name in order], outputs, **attributes
    )
    types = {
        name: onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape
        )
        for name, a in inputs.items()
    }
    graph = onnx.helper.make_graph(
        [node],
        "one",
        list(types.values()),
        [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in outputs
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))


def compare(module, op, attributes, inputs):
    attributes = {"hidden_size": H, **attributes}
    expected = run_onnxruntime(op, attributes, inputs)
    found = run_node(module, op, attributes, inputs)
    assert found.keys() == expected.keys()
    # Its final state of an empty row is 0, here it is the initial one.
    empty = np.equal(inputs.get("sequence_lens", T), 0)
    for name in found.keys() - {"Y"} if empty.any() else ():
        expected[name][:, empty] = inputs[f"initial_{name[-1]}"][:, empty]
    for name, array in expected.items():
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize(("op", "variant"), [(op, v) for op, vs in OF_OP.items() for v in vs])
def test_onnxruntime(implementation, op, variant, combination, rng):
    attributes = COMBINATIONS[combination] | OF_OP[op][variant]
    lengths, peepholes = attributes.pop("lengths", False), attributes.pop("peepholes", False)
    compare(implementation, op, attributes, draw(op, rng, attributes, lengths, peepholes))


@pytest.mark.parametrize("clip", [None, 0.4], ids=["", "clip"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize(
    ("op", "place"), [(op, k) for op, n in FUNCTIONS.items() for k in range(n)]
)
def test_activations_of_onnxruntime(implementation, op, place, activation, direction, clip, rng):
    name, alpha, beta = activation
    own = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[op]
    own[place] = name
    D = 2 if direction == "bidirectional" else 1
    attributes = {"direction": direction, "activations": own * D}
    attributes |= {"clip": clip} if clip else {}
    attributes |= {"activation_alpha": [alpha] * D} if alpha else {}
    attributes |= {"activation_beta": [beta] * D} if beta else {}
    # Gates without bounds are chaotic: with weights of 1, rounding grows by a thousand in 7 steps.
    compare(implementation, op, attributes, draw(op, rng, attributes, scale=0.5))
