"""Time and error of inference below float32: ``python benchmarks/precision.py``.

One thread on one core, in turns: rnncore in float32 and in each precision, onnxruntime with int8
weights, quantised dynamically, OpenVINO and torch in bfloat16; what is not installed is left out.
The error is the largest difference of y from that of a layer of float64 with the same weights,
which are uniform; x is normal.
"""

# isort: off
import one_thread  # noqa: F401

# isort: on
import argparse
import logging
import tempfile
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np

import rnncore
from rnncore._bench import peers, timing
from rnncore._bench.one_core import pinned
from rnncore._bench.problem import Problem
from rnncore._bench.workloads import workloads_named
from rnncore.layers.kinds import BY_PREFIX
from rnncore.reference.precision import PRECISIONS

SHAPES = (
    *("1x1x64x64", "100x1x128x128", "100x1x256x256", "100x1x512x512", "50x1x1024x1024"),
    *("100x16x128x128", "25x16x512x512", "50x64x512x512"),
)


class NormalProblem(Problem):
    @cached_property
    def x(self):
        T, B, I, _ = self.sizes
        return np.random.default_rng(7).standard_normal((T, B, I), np.float32)


class Int8ONNXRuntime(peers.ONNXRuntime):
    name = "onnxruntime int8"

    def model(self, problem):
        from onnxruntime.quantization import QuantType, quantize_dynamic

        logging.disable(logging.WARNING)  # it says at every call that a model was not prepared
        with tempfile.TemporaryDirectory() as folder:
            plain, narrow = Path(folder) / "plain.onnx", Path(folder) / "narrow.onnx"
            plain.write_bytes(peers.onnx_model(problem))
            quantize_dynamic(plain, narrow, weight_type=QuantType.QInt8)
            return narrow.read_bytes()


class Bfloat16OpenVINO(peers.OpenVINO):
    name, precision = "openvino bf16", "bf16"


class Bfloat16Torch(peers.Torch):
    name = "torch bf16"

    def __init__(self, problem):
        super().__init__(problem)
        self.module, self.x = self.module.bfloat16(), self.x.bfloat16()

    def arrays(self, result, passed):
        return super().arrays(result.float(), passed)


OTHERS = (Int8ONNXRuntime, Bfloat16OpenVINO, Bfloat16Torch)


def calls_of(problem):
    """By name a call, and what makes y of its result."""
    layer = BY_PREFIX[problem.cell](problem.sizes.I, problem.sizes.H)
    layer.load_params(problem.params)
    found = {}
    for precision in (None, *PRECISIONS):
        fast = layer.freeze(precision)
        found[precision or "float32"] = lambda fast=fast: fast(problem.x), lambda result: result[0]
    for other in OTHERS:
        int8 = other is Int8ONNXRuntime
        if peers.missing(other) or (int8 and problem.cell != "lstm"):  # it has no other in int8
            continue
        own = other(problem)
        found[own.name] = own.inference, lambda r, own=own: own.arrays(r, "inference")["y"]
    return found


def exact(problem):
    layer = BY_PREFIX[problem.cell](problem.sizes.I, problem.sizes.H, dtype="float64")
    layer.load_params({name: value.astype("f8") for name, value in problem.params.items()})
    return layer(problem.x.astype("f8"))[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=tuple(BY_PREFIX)[:3], default="lstm")
    parser.add_argument("--shapes", nargs="+", metavar="TxBxIxH", default=SHAPES)
    parser.add_argument("--seconds", type=float, default=4.0, help="for a shape (default: 4)")
    arguments = parser.parse_args()
    print(f"rnncore {rnncore.__version__}, {arguments.cell}: us (largest error of y)")
    with pinned():
        for name, sizes in workloads_named(arguments.shapes, arguments.cell).items():
            problem = NormalProblem(arguments.cell, "float32", sizes)
            calls, right = calls_of(problem), exact(problem)
            errors = {
                who: np.abs(y_of(call()) - right).max() for who, (call, y_of) in calls.items()
            }
            assert max(errors.values()) < 0.1, errors  # they compute the same
            times = timing.interleave(
                {who: call for who, (call, _) in calls.items()}, arguments.seconds
            )
            shown = [f"{who} {1e6 * median(times[who]):,.1f} ({errors[who]:.1e})" for who in calls]
            print(f"{name:16}", "  ".join(shown), flush=True)


if __name__ == "__main__":
    main()
