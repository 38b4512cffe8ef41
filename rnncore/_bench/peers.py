"""The libraries that rnncore is compared with, each at its best on one thread.

Each is imported when it is made for a problem: none has to be installed.
"""

import importlib
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from rnncore._bench.library import Library
from rnncore._bench.problem import Problem
from rnncore._bench.workloads import KINDS

_State: TypeAlias = tuple[Any, ...]  # arrays of JAX

# Names of the states that the ONNX operators read and give.
ONNX_STATES = {
    "rnn": (("h0",), ("h_n",)),
    "gru": (("h0",), ("h_n",)),
    "lstm": (("h0", "c0"), ("h_n", "c_n")),
}


class Torch(Library):
    name = "torch"
    needs: tuple[str, ...] = ("torch",)

    def __init__(self, problem: Problem) -> None:
        import torch

        super().__init__(problem)
        torch.set_num_threads(1)
        self.torch = torch
        _, _, I, H = problem.sizes
        dtype = getattr(torch, problem.dtype)
        self.module = getattr(torch.nn, problem.cell.upper())(I, H, dtype=dtype)
        self.module.load_state_dict({k: torch.tensor(v) for k, v in problem.params.items()})
        self.x, self.dy = torch.tensor(problem.x), torch.tensor(problem.dy)
        self.x_leaf = torch.tensor(problem.x, requires_grad=True)
        self.leaves = {"x": self.x_leaf, **dict(self.module.named_parameters())}

    def inference(self) -> Any:
        with self.torch.inference_mode():
            return self.module(self.x)[0]

    def training(self) -> Any:
        y, _ = self.module(self.x_leaf)
        return y, self.torch.autograd.grad(y, list(self.leaves.values()), self.dy)

    def arrays(self, result: Any, passed: str) -> dict[str, np.ndarray]:
        y, grads = (result, ()) if passed == "inference" else result
        named = zip(self.leaves, grads, strict=passed == "training")
        return {"y": y.detach().numpy()} | {f"d{name}": grad.numpy() for name, grad in named}


def onnx_model(problem: Problem, stateful: bool = False) -> bytes:
    """The layer as the operator of the same name, with its gate orders: LSTM i o f g, GRU z r n.

    It reads x and gives y. A stateful one also reads and gives the state: h0 and h_n, c0 and c_n.
    """
    from onnx import TensorProto, helper, numpy_helper

    cell, (T, B, I, H) = problem.cell, problem.sizes
    order = {"rnn": [0], "gru": [1, 0, 2], "lstm": [0, 3, 1, 2]}[cell]

    def reordered(name: str) -> np.ndarray:
        value = problem.params[f"{name}_l0"]
        return value.reshape(len(KINDS[cell].gates), H, -1)[order].reshape(1, *value.shape)

    def described(names: Iterable[str], shape: tuple[int, ...]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]

    biases = np.concatenate((reordered("bias_ih"), reordered("bias_hh")), axis=1)
    weights = {"W": reordered("weight_ih"), "R": reordered("weight_hh"), "B": biases}
    starts, ends = ONNX_STATES[cell] if stateful else ((), ())
    no_lengths = [""] if stateful else []
    options = {"linear_before_reset": 1} if cell == "gru" else {}
    node = helper.make_node(
        cell.upper(),
        ["x", *weights, *no_lengths, *starts],
        ["y", *ends],
        hidden_size=H,
        **options,
    )
    graph = helper.make_graph(
        [node],
        cell,
        described(["x"], (T, B, I)) + described(starts, (1, B, H)),
        described(["y"], (T, 1, B, H)) + described(ends, (1, B, H)),
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    # Versions that every release of the last years reads; the operators have not changed since.
    opset = helper.make_opsetid("", 14)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())


def onnx_session(model: bytes) -> Any:
    """onnxruntime's session of a model, on the thread that calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class ONNXRuntime(Library):
    name = "onnxruntime"
    needs = ("onnx", "onnxruntime")
    passes = ("inference",)
    dtypes = ("float32",)  # its recurrent operators have no other

    def __init__(self, problem: Problem) -> None:
        import onnxruntime

        super().__init__(problem)
        model = self.model(problem)
        self.nbytes, self.session = len(model), onnx_session(model)
        T, B, _, H = problem.sizes
        self.y = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty((T, 1, B, H), problem.dtype))
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(problem.x))
        self.binding.bind_ortvalue_output("y", self.y)

    def model(self, problem: Problem) -> bytes:
        return onnx_model(problem)

    def inference(self) -> Any:
        self.session.run_with_iobinding(self.binding)
        return self.y

    def arrays(self, result: Any, passed: str) -> dict[str, np.ndarray]:
        return {"y": result.numpy()[:, 0]}


def openvino_compiled(model: bytes, precision: str) -> Any:
    """OpenVINO's form of an ONNX model, on one thread; `precision` is a name of its own."""
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # it stays on the core that it was started on
    }
    return core.compile_model(core.read_model(model), "CPU", options)


class OpenVINO(Library):
    name = "openvino"
    needs = ("onnx", "openvino")
    passes = ("inference",)
    dtypes = ("float32",)
    precision = "f32"

    def __init__(self, problem: Problem) -> None:
        import openvino

        super().__init__(problem)
        self.request = openvino_compiled(onnx_model(problem), self.precision).create_infer_request()
        self.request.set_input_tensor(openvino.Tensor(problem.x, shared_memory=True))

    def inference(self) -> Any:
        return self.request.infer(share_outputs=True)

    def arrays(self, result: Any, passed: str) -> dict[str, np.ndarray]:
        return {"y": result[0][:, 0]}


class JAX(Library):
    """A scan over the steps; the products with x are one, before it."""

    name = "jax"
    needs = ("jax",)

    def __init__(self, problem: Problem) -> None:
        import jax

        super().__init__(problem)
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)
        self.jax = jax
        self.params = {name: jax.numpy.asarray(value) for name, value in problem.params.items()}
        self.x, self.dy = jax.numpy.asarray(problem.x), jax.numpy.asarray(problem.dy)
        step = getattr(self, f"_{problem.cell}_step")
        H = problem.sizes.H

        def forward(params: dict[str, Any], x: Any, unroll: int = 1) -> Any:
            start = jax.numpy.zeros((2 if problem.cell == "lstm" else 1, x.shape[1], H), x.dtype)
            sums = x @ params["weight_ih_l0"].T + params["bias_ih_l0"]

            def advance(state: _State, sums_t: Any) -> tuple[_State, Any]:
                recurrent = state[0] @ params["weight_hh_l0"].T + params["bias_hh_l0"]
                state = step(sums_t, recurrent, state)
                return state, state[0]

            return jax.lax.scan(advance, tuple(start), sums, unroll=unroll)[1]

        def forward_and_back(params: dict[str, Any], x: Any, dy: Any) -> tuple[Any, ...]:
            y, pull = jax.vjp(forward, params, x)
            return y, *pull(dy)

        # Eight steps at once are up to 2.6 times as fast for one row, but only forward.
        unroll = 8 if problem.sizes.B == 1 else 1
        self.forward = jax.jit(partial(forward, unroll=unroll))
        self.forward_and_back = jax.jit(forward_and_back)

    def _rnn_step(self, x: Any, h: Any, state: _State) -> _State:
        return (self.jax.numpy.tanh(x + h),)

    def _gru_step(self, x: Any, h: Any, state: _State) -> _State:
        sigmoid, tanh, split = self.jax.nn.sigmoid, self.jax.numpy.tanh, self.jax.numpy.split
        (r_x, z_x, n_x), (r_h, z_h, n_h) = split(x, 3, axis=-1), split(h, 3, axis=-1)
        z = sigmoid(z_x + z_h)
        n = tanh(n_x + sigmoid(r_x + r_h) * n_h)
        return ((1 - z) * n + z * state[0],)

    def _lstm_step(self, x: Any, h: Any, state: _State) -> _State:
        sigmoid, tanh = self.jax.nn.sigmoid, self.jax.numpy.tanh
        i, f, g, o = self.jax.numpy.split(x + h, 4, axis=-1)
        c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    def inference(self) -> Any:
        return self.forward(self.params, self.x).block_until_ready()

    def training(self) -> Any:
        return self.jax.block_until_ready(self.forward_and_back(self.params, self.x, self.dy))

    def arrays(self, result: Any, passed: str) -> dict[str, np.ndarray]:
        if passed == "inference":
            return {"y": np.asarray(result)}
        y, dparams, dx = result
        named = {"y": y, "dx": dx} | {f"d{name}": grad for name, grad in dparams.items()}
        return {name: np.asarray(value) for name, value in named.items()}


PEERS = (Torch, ONNXRuntime, OpenVINO, JAX)


def missing(library: type[Library]) -> str:
    """Why `library` cannot be compared with here, or nothing."""
    for module in library.needs:
        try:
            importlib.import_module(module)
        except ImportError as error:
            return f"{library.name} is left out: {error}"
    return ""
