"""The other libraries below float32: whole sequences, and one step after another.

Each library is at its best on one thread, with weights of the problem that it makes narrow itself.
"""

import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rnncore._bench.library import Library
from rnncore._bench.peers import (
    ONNX_STATES,
    ONNXRuntime,
    OpenVINO,
    Torch,
    onnx_model,
    openvino_compiled,
)
from rnncore._bench.problem import Problem
from rnncore._bench.steps import ONNXRuntimeStep, Stepper


class Narrow(Library):
    """A library below float32."""

    weights: str  # "int8" or "bfloat16"
    nbytes: int
    counted: str  # what those bytes are
    leaving = False  # whether its makers take it away: then nobody is told that it is not there

    def steps(self) -> Stepper:
        """The same for one step after another."""
        raise NotImplementedError


def int8_model(model: bytes) -> bytes:
    """An ONNX model with the weights of its products in int8, as onnxruntime quantises them."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it says at every call that the model was not prepared
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, narrow = Path(folder) / "plain.onnx", Path(folder) / "narrow.onnx"
            plain.write_bytes(model)
            quantize_dynamic(plain, narrow, weight_type=QuantType.QInt8)
            return narrow.read_bytes()
    finally:
        logging.disable(logging.NOTSET)


class Int8ONNXRuntimeStep(ONNXRuntimeStep):
    def model(self, problem: Problem) -> bytes:
        return int8_model(super().model(problem))


class Int8ONNXRuntime(ONNXRuntime, Narrow):
    name, weights, counted = "onnxruntime int8", "int8", "the model"
    cells = ("lstm",)  # it leaves the others as they are

    def model(self, problem: Problem) -> bytes:
        return int8_model(super().model(problem))

    def steps(self) -> Stepper:
        return Int8ONNXRuntimeStep(self.problem)


class Bfloat16OpenVINOStep:
    """Two requests in turn: each writes the state where the other reads it."""

    def __init__(self, problem: Problem) -> None:
        import openvino

        compiled = openvino_compiled(onnx_model(problem, stateful=True), Bfloat16OpenVINO.precision)
        self.requests = [compiled.create_infer_request() for _ in range(2)]
        _, B, I, _ = problem.sizes
        self.x = np.zeros((1, B, I), problem.dtype)
        states = list(zip(*ONNX_STATES[problem.cell], strict=True))
        for request, before in (self.requests, self.requests[::-1]):
            request.set_tensor("x", openvino.Tensor(self.x, shared_memory=True))
            for start, end in states:
                written = before.get_tensor(end)
                written.data[:] = 0
                request.set_tensor(start, written)

    def step(self, x_t: np.ndarray) -> Any:
        self.x[0] = x_t
        self.requests[0].infer(share_outputs=True)
        self.requests.reverse()
        return self.requests[1]

    def array(self, y_t: Any) -> np.ndarray:
        shown: np.ndarray = y_t.get_tensor("y").data[0, 0]
        return shown.copy()


class Bfloat16OpenVINO(OpenVINO, Narrow):
    """What it holds it does not tell, and its file is one of float32."""

    name, weights, counted = "openvino bf16", "bfloat16", "the parameters, at 2 bytes each"
    precision = "bf16"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.nbytes = 2 * sum(value.size for value in problem.params.values())

    def steps(self) -> Stepper:
        return Bfloat16OpenVINOStep(self.problem)


class TorchStep:
    """The state that a module gives goes to its next call."""

    def __init__(self, library: Torch) -> None:
        self.torch, self.module, self.dtype = library.torch, library.module, library.x.dtype
        self.state: Any = None

    def step(self, x_t: np.ndarray) -> Any:
        with self.torch.inference_mode():
            x = self.torch.from_numpy(x_t[np.newaxis]).to(self.dtype)
            y, self.state = self.module(x, self.state)
        return y

    def array(self, y_t: Any) -> np.ndarray:
        shown: np.ndarray = y_t[0].float().numpy()
        return shown.copy()


class Bfloat16Torch(Torch, Narrow):
    name, weights, counted = "torch bf16", "bfloat16", "the parameters"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.module, self.x = self.module.bfloat16(), self.x.bfloat16()
        self.nbytes = sum(value.nbytes for value in self.module.parameters())

    def arrays(self, result: Any, passed: str) -> dict[str, np.ndarray]:
        return super().arrays(result.float(), passed)

    def steps(self) -> Stepper:
        return TorchStep(self)


class Int8Torch(Torch, Narrow):
    name, weights, counted = "torch int8", "int8", "the saved state"
    needs = ("torch", "torch.ao.quantization")
    cells = ("gru", "lstm")
    leaving = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        kinds = {type(self.module)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # all of it is deprecated
            self.module = self.torch.ao.quantization.quantize_dynamic(
                self.torch.nn.Sequential(self.module), kinds, dtype=self.torch.qint8
            )[0]
            file = io.BytesIO()
            self.torch.save(self.module.state_dict(), file)
        self.nbytes = len(file.getvalue())

    def steps(self) -> Stepper:
        return TorchStep(self)


OTHERS: tuple[type[Narrow], ...] = (Int8ONNXRuntime, Int8Torch, Bfloat16OpenVINO, Bfloat16Torch)
