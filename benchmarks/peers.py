"""rnncore and the libraries that it is compared with, each at its best on one thread.

A `Library` is made for a `Problem` and gives two calls to time, `inference` and `training`. What
they return stays in the library's own form; `arrays` turns it into NumPy arrays under the names
y, dx and d<parameter>, in rnncore's layout, by which the libraries are checked against each other.
"""

import importlib
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from agreement import assert_agree
from workloads import GATES, Workload

import rnncore

PASSES = ("inference", "training")


@dataclass(frozen=True, eq=False)
class Problem:
    """The same weights, inputs and output gradients for all; parameters as torch names them."""

    cell: str
    dtype: str
    sizes: Workload

    @cached_property
    def params(self) -> dict[str, np.ndarray]:
        G, (_, _, I, H) = GATES[self.cell], self.sizes
        shapes = {"weight_ih": (G * H, I), "weight_hh": (G * H, H)}
        shapes |= dict.fromkeys(("bias_ih", "bias_hh"), (G * H,))
        # Unit scale makes the cells chaotic: two right programs would differ by more than rounding.
        return {f"{k}_l0": self._draw(k, size, 1 / np.sqrt(H)) for k, size in shapes.items()}

    @cached_property
    def x(self) -> np.ndarray:
        return self._draw("x", (self.sizes.T, self.sizes.B, self.sizes.I))

    @cached_property
    def dy(self) -> np.ndarray:
        return self._draw("dy", (self.sizes.T, self.sizes.B, self.sizes.H))

    def _draw(self, name: str, size: tuple[int, ...], bound: float = 1.0) -> np.ndarray:
        rng = np.random.default_rng(list(name.encode()))
        return rng.uniform(-bound, bound, size).astype(self.dtype)


class Library:
    """One library on one problem. `needs` are the modules without which it is left out."""

    name: str
    needs: tuple[str, ...] = ()
    passes = PASSES
    dtypes = ("float32", "float64")

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def inference(self):
        """Compute y and keep nothing."""
        raise NotImplementedError

    def training(self):
        """Compute y, then from dy the gradients of x and of all parameters."""
        raise NotImplementedError

    def arrays(self, result, passed: str) -> dict[str, np.ndarray]:
        """What either call returned, by name."""
        raise NotImplementedError


class RNNCore(Library):
    name = "rnncore"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        _, _, I, H = problem.sizes
        self.layer = getattr(rnncore, problem.cell.upper())(I, H, dtype=problem.dtype)
        self.layer.load_params(problem.params)
        self.frozen = self.layer.freeze() if hasattr(self.layer, "freeze") else self.layer

    def inference(self):
        return self.frozen(self.problem.x)

    def training(self):
        y, _, trace = self.layer.forward(self.problem.x)
        return y, self.layer.backward(trace, self.problem.dy)

    def arrays(self, result, passed):
        y, rest = result
        if passed == "inference":
            return {"y": y}
        return {"y": y, "dx": rest.x} | {f"d{name}": grad for name, grad in rest.params.items()}


class Torch(Library):
    name = "torch"
    needs = ("torch",)

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

    def inference(self):
        with self.torch.inference_mode():
            return self.module(self.x)[0]

    def training(self):
        y, _ = self.module(self.x_leaf)
        return y, self.torch.autograd.grad(y, list(self.leaves.values()), self.dy)

    def arrays(self, result, passed):
        y, grads = (result, ()) if passed == "inference" else result
        named = zip(self.leaves, grads, strict=passed == "training")
        return {"y": y.detach().numpy()} | {f"d{name}": grad.numpy() for name, grad in named}


def onnx_model(problem: Problem):
    """The layer as the operator of the same name, with its gate orders: LSTM i o f g, GRU z r n."""
    from onnx import TensorProto, helper, numpy_helper

    cell, (T, B, I, H) = problem.cell, problem.sizes
    order = {"rnn": [0], "gru": [1, 0, 2], "lstm": [0, 3, 1, 2]}[cell]

    def reordered(name):
        value = problem.params[f"{name}_l0"]
        return value.reshape(GATES[cell], H, -1)[order].reshape(1, *value.shape)

    biases = np.concatenate((reordered("bias_ih"), reordered("bias_hh")), axis=1)
    weights = {"W": reordered("weight_ih"), "R": reordered("weight_hh"), "B": biases}
    options = {"linear_before_reset": 1} if cell == "gru" else {}
    node = helper.make_node(cell.upper(), ["x", *weights], ["y"], hidden_size=H, **options)
    graph = helper.make_graph(
        [node],
        cell,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (T, B, I))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (T, 1, B, H))],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    # Versions that every release of the last years reads; the operators have not changed since.
    opset = helper.make_opsetid("", 14)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


class ONNXRuntime(Library):
    name = "onnxruntime"
    needs = ("onnx", "onnxruntime")
    passes = ("inference",)
    dtypes = ("float32",)  # its recurrent operators have no other

    def __init__(self, problem: Problem) -> None:
        import onnxruntime

        super().__init__(problem)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            onnx_model(problem), options, providers=["CPUExecutionProvider"]
        )
        T, B, _, H = problem.sizes
        self.y = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty((T, 1, B, H), problem.dtype))
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(problem.x))
        self.binding.bind_ortvalue_output("y", self.y)

    def inference(self):
        self.session.run_with_iobinding(self.binding)
        return self.y

    def arrays(self, result, passed):
        return {"y": result.numpy()[:, 0]}


class OpenVINO(Library):
    name = "openvino"
    needs = ("onnx", "openvino")
    passes = ("inference",)
    dtypes = ("float32",)

    def __init__(self, problem: Problem) -> None:
        import openvino

        super().__init__(problem)
        core = openvino.Core()
        compiled = core.compile_model(
            core.read_model(onnx_model(problem)),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": 1,
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,  # it stays on the core that it was started on
            },
        )
        self.request = compiled.create_infer_request()
        self.request.set_input_tensor(openvino.Tensor(problem.x, shared_memory=True))

    def inference(self):
        return self.request.infer(share_outputs=True)

    def arrays(self, result, passed):
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

        def forward(params, x, unroll=1):
            start = jax.numpy.zeros((2 if problem.cell == "lstm" else 1, x.shape[1], H), x.dtype)
            sums = x @ params["weight_ih_l0"].T + params["bias_ih_l0"]

            def advance(state, sums_t):
                recurrent = state[0] @ params["weight_hh_l0"].T + params["bias_hh_l0"]
                state = step(sums_t, recurrent, state)
                return state, state[0]

            return jax.lax.scan(advance, tuple(start), sums, unroll=unroll)[1]

        def forward_and_back(params, x, dy):
            y, pull = jax.vjp(forward, params, x)
            return y, *pull(dy)

        # Eight steps at once are up to 2.6 times as fast for one row, but only forward.
        unroll = 8 if problem.sizes.B == 1 else 1
        self.forward = jax.jit(partial(forward, unroll=unroll))
        self.forward_and_back = jax.jit(forward_and_back)

    def _rnn_step(self, x, h, state):
        return (self.jax.numpy.tanh(x + h),)

    def _gru_step(self, x, h, state):
        sigmoid, tanh, split = self.jax.nn.sigmoid, self.jax.numpy.tanh, self.jax.numpy.split
        (r_x, z_x, n_x), (r_h, z_h, n_h) = split(x, 3, axis=-1), split(h, 3, axis=-1)
        z = sigmoid(z_x + z_h)
        n = tanh(n_x + sigmoid(r_x + r_h) * n_h)
        return ((1 - z) * n + z * state[0],)

    def _lstm_step(self, x, h, state):
        sigmoid, tanh = self.jax.nn.sigmoid, self.jax.numpy.tanh
        i, f, g, o = self.jax.numpy.split(x + h, 4, axis=-1)
        c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    def inference(self):
        return self.forward(self.params, self.x).block_until_ready()

    def training(self):
        return self.jax.block_until_ready(self.forward_and_back(self.params, self.x, self.dy))

    def arrays(self, result, passed):
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


def check(libraries: list[Library], passed: str) -> None:
    """Raise an AssertionError unless all give the results of the first."""
    first, *others = libraries
    expected = first.arrays(getattr(first, passed)(), passed)
    for library in others:
        found = library.arrays(getattr(library, passed)(), passed)
        assert_agree(found, expected, first.problem.dtype, library.name)
