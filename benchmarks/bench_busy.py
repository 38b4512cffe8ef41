"""One thread and more where others run too: ``python benchmarks/bench_busy.py``.

A pass on several threads should never take longer than on one: not on quiet cores, not beside busy
processes, of which this starts one for every core but one, and not in turns with products on the
threads of torch and of NumPy's BLAS, which spin for some milliseconds after their work.

Samples of one thread and of more alternate within a round, so that what disturbs the machine
disturbs both. Told is the ratio of the two sums of times, more threads over one: below 1 they gain,
and a stall counts as much as it took; and the median over the rounds. The results of any number of
threads are the same bits, which is checked first.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from statistics import median

import numpy as np

import rnncore
from rnncore._bench import one_core

LAYERS = {"rnn": rnncore.RNN, "gru": rnncore.GRU, "lstm": rnncore.LSTM}
LAYERS |= {"indrnn": rnncore.IndRNN, "norm": rnncore.LayerNormLSTM}

# (T, B, I, H), and options of the layer
CASES: dict[str, tuple[tuple[int, int, int, int], dict]] = {
    "row-16": ((100, 1, 16, 16), {}),
    "row-32": ((100, 1, 32, 32), {}),
    "row-64": ((100, 1, 64, 64), {}),
    "row-128": ((100, 1, 128, 128), {}),
    "row-512": ((100, 1, 512, 512), {}),
    "8 x 64": ((50, 8, 64, 64), {}),
    "16 x 128": ((100, 16, 128, 128), {}),
    "256 x 64": ((24, 256, 8, 64), {}),
    "32 x 256": ((100, 32, 256, 256), {}),
    "20 x 650": ((35, 20, 650, 650), {}),
    "64 x 512": ((50, 64, 512, 512), {}),
    "128 x 1024": ((25, 128, 1024, 1024), {}),
    "stack": ((100, 1, 64, 64), {"num_layers": 3}),
    "both ways": ((100, 1, 128, 128), {"bidirectional": True}),
    "stack, both ways": ((100, 1, 128, 128), {"bidirectional": True, "num_layers": 2}),
}
SAMPLE = 0.02  # seconds at least
BUSY = "while True: pass"
MATRIX = 400


@contextmanager
def busy(count: int):
    """Beside so many processes that never wait."""
    children = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    time.sleep(0.5)  # until they run
    try:
        yield
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def passes(cell: str, name: str) -> dict[str, Callable[[], object]]:
    """The passes of a layer."""
    (T, B, I, H), options = CASES[name]
    layer = LAYERS[cell](I, H, rng=0, **options)
    frozen, x = layer.freeze(), np.random.default_rng(0).standard_normal((T, B, I), np.float32)
    dy = np.ones_like(frozen(x)[0])

    def training():
        y, _, trace = layer.forward(x)
        return y, layer.backward(trace, dy)

    return {"inference": lambda: frozen(x), "training": training}


def arrays(result) -> list[np.ndarray]:
    y, rest = result
    grads = [rest.x, *rest.params.values()] if hasattr(rest, "params") else []
    return [y, *grads]


def check(call, threads: list[int]) -> None:
    with rnncore.num_threads(1):
        expected = arrays(call())
    for count in threads:
        with rnncore.num_threads(count):
            for found, array in zip(arrays(call()), expected, strict=True):
                np.testing.assert_array_equal(found, array)


def in_turns(beside: str) -> Callable[[], object] | None:
    """What runs before every call that is timed."""
    a = np.ones((MATRIX, MATRIX), np.float32)
    if beside == "blas":
        return lambda: a @ a
    if beside == "torch":
        import torch

        torch.set_num_threads(one_core.usable_cores())
        b = torch.ones(MATRIX, MATRIX)
        return lambda: b @ b
    return None


def sample(call, before, repeats: int) -> float:
    total = 0.0
    for _ in range(repeats):
        if before is not None:
            before()
        start = time.perf_counter()
        call()
        total += time.perf_counter() - start
    return total / repeats


def compare(call, before, threads: list[int], seconds: float) -> tuple[float, list[str]]:
    """Seconds of a call on one thread, and for each number of threads what is told of it."""
    counts = [1, *threads]
    repeats = max(1, round(SAMPLE / sample(call, before, 2)))
    times: dict[int, list[float]] = {count: [] for count in counts}
    end = time.perf_counter() + seconds * len(counts)
    while len(times[1]) < 5 or time.perf_counter() < end:
        for count in counts:
            with rnncore.num_threads(count):
                times[count].append(sample(call, before, repeats))
        counts.append(counts.pop(0))
    told = []
    for count in threads:
        ratios = [more / one for more, one in zip(times[count], times[1], strict=True)]
        told.append(f"{sum(times[count]) / sum(times[1]):5.2f} ({median(ratios):4.2f})")
    return median(times[1]), told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--threads", type=int, nargs="+", default=[one_core.usable_cores()])
    add("--beside", nargs="+", default=["nothing", "busy", "blas", "torch"])
    add("--cells", nargs="+", default=["lstm"], choices=LAYERS)
    add("--cases", nargs="+", default=list(CASES), choices=CASES)
    add("--seconds", type=float, default=0.3, help="for each number of threads of a case")
    options = parser.parse_args()
    others = os.cpu_count() - 1
    print(f"{one_core.usable_cores()} cores, instruction set {rnncore._core.isa}")
    print("time over that of one thread: of all rounds (median of the rounds)\n")
    columns = "  ".join(f"{count:>5} threads" for count in options.threads)
    worst: dict[str, float] = {}
    for beside in options.beside:
        before = in_turns(beside)
        with busy(others if beside == "busy" else 0):
            print(f"beside {beside}" + (f": {others}" if beside == "busy" else ""))
            print(f"{'':34}{'one thread':>12}  {columns}")
            for cell in options.cells:
                for name in options.cases:
                    for passed, call in passes(cell, name).items():
                        check(call, options.threads)
                        one, told = compare(call, before, options.threads, options.seconds)
                        line = f"{cell:7}{name:17}{passed:10}"
                        print(f"{line}{one * 1e6:9.0f} us  {'  '.join(told)}", flush=True)
                        ratios = [float(text.split("(")[0]) for text in told]
                        worst[beside] = max(worst.get(beside, 0.0), *ratios)
    print("\nworst:", ", ".join(f"{ratio:.2f} beside {beside}" for beside, ratio in worst.items()))


if __name__ == "__main__":
    main()
