"""Print what training gives that is to have the same bits on every instruction set, as digests.

With an argument, what is to have them wherever the processor has a fused multiply-add.
"""

import hashlib
import sys

import numpy as np

import rnncore as rc

SIZES = (1, 7, 15, 16, 17, 33, 1000, 40_000)


def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def drawn(rng, dtype):
    return {f"{n}": rng.standard_normal(n).astype(dtype) for n in SIZES}


def optimizers():
    for dtype in (np.float32, np.float64):
        for make in (
            lambda p: rc.SGD(p, 0.1),
            lambda p: rc.SGD(p, 0.1, 0.9),
            rc.Adam,
            lambda p: rc.Adam(p, 0.01, (0.7, 0.9), 1e-4, 0.3),
        ):
            rng = np.random.default_rng(0)
            params = drawn(rng, dtype)
            optimizer = make(params)
            for _ in range(3):
                optimizer.step(drawn(rng, dtype))
            yield digest(*params.values(), *optimizer.state.values())


def gradients():
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        for factor in (0.5, 1e-41):
            grads = drawn(rng, dtype)
            rc.clip_grad_norm({"one": grads["1000"]}, factor * float(np.abs(grads["1000"]).max()))
            rc.clip_grad_value(grads, 0.7)
            # the norm of float64 may differ in its last bits
            yield digest(*(a for name, a in grads.items() if dtype is np.float32 or name != "1000"))
        layer = rc.Embedding(9, 33, dtype=dtype, rng=0)
        y, trace = layer.forward(rng.integers(0, 9, 100))
        yield digest(
            layer.backward(trace, rng.standard_normal(y.shape).astype(dtype)).params["weight"]
        )
    for n in SIZES:
        y, target = rng.standard_normal((2, n)).astype(np.float32)
        loss, dy = rc.mse(y, target)
        yield digest(np.array(loss), dy)


def softmax():
    rng = np.random.default_rng(2)
    for dtype in (np.float32, np.float64):
        for K in SIZES:
            logits = (5 * rng.standard_normal((3, K))).astype(dtype)
            loss, dlogits = rc.softmax_cross_entropy(logits, rng.integers(0, K, 3))
            yield digest(np.array(loss), dlogits)


if __name__ == "__main__":
    for line in softmax() if sys.argv[1:] else (*optimizers(), *gradients()):
        print(line)
