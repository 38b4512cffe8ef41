"""What more threads gain, and torch with as many: ``python benchmarks/scaling.py --threads 2``.

One thread and more take turns; torch comes after them, for its threads spin for a while once they
have worked. The results are compared before anything is timed.
"""

import argparse
import sys
import time
from statistics import median

import numpy as np

import rnncore
from rnncore._bench.workloads import Workload

# Workload, layers, directions
CASES = {
    "16 x 128": (Workload(100, 16, 128, 128), 1, 1),
    "256 x 64": (Workload(24, 256, 8, 64), 1, 1),
    "64 x 512": (Workload(25, 64, 512, 512), 1, 1),
    "128 x 1024": (Workload(10, 128, 1024, 1024), 1, 1),
    "row-512": (Workload(100, 1, 512, 512), 1, 1),
    "both ways": (Workload(100, 1, 128, 128), 1, 2),
    "stack": (Workload(100, 1, 256, 256), 2, 1),
    "stack, both ways": (Workload(100, 1, 128, 128), 2, 2),
}
SAMPLE = 0.02  # seconds


def sample(call, count):
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def rounds_of(calls, seconds):
    """The times of some calls in turns, a list a round."""
    count = max(1, int(SAMPLE / sample(calls[0], 2)))
    found, end = [], time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        found.append([sample(call, count) for call in calls])
    return found


class Ours:
    def __init__(self, sizes, layers, directions):
        T, B, I, H = sizes
        self.layer = rnncore.LSTM(I, H, layers, bidirectional=directions == 2, rng=0)
        self.frozen = self.layer.freeze()
        self.x = np.random.default_rng(0).standard_normal((T, B, I), np.float32)
        self.dy = np.ones((T, B, directions * H), np.float32)

    def inference(self):
        return self.frozen(self.x)[0]

    def training(self):
        _, _, trace = self.layer.forward(self.x)
        return self.layer.backward(trace, self.dy).x

    def with_threads(self, passed, count):
        def call():
            with rnncore.num_threads(count):
                return getattr(self, passed)()

        return call


class Torchs:
    def __init__(self, ours, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, layer = torch, ours.layer
        both = layer.bidirectional
        self.layer = torch.nn.LSTM(
            layer.input_size, layer.hidden_size, layer.num_layers, bidirectional=both
        )
        self.layer.load_state_dict({k: torch.tensor(v) for k, v in layer.params.items()})
        self.x, self.dy = torch.tensor(ours.x, requires_grad=True), torch.tensor(ours.dy)

    def inference(self):
        with self.torch.inference_mode():
            return self.layer(self.x)[0].numpy()

    def training(self):
        self.layer.zero_grad()
        self.x.grad = None
        self.layer(self.x)[0].backward(self.dy)
        return self.x.grad.numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seconds", type=float, default=2.0, help="for each library of a line")
    given = parser.parse_args()
    print(f"{rnncore.__name__} {rnncore.__version__}, LSTM, float32, {given.threads} threads")
    for name in given.cases:
        sizes, layers, directions = CASES[name]
        ours = Ours(sizes, layers, directions)
        for passed in ("inference", "training"):
            calls = [ours.with_threads(passed, count) for count in (1, given.threads)]
            rounds = rounds_of(calls, given.seconds)
            one, more = (median(times) for times in zip(*rounds, strict=True))
            gain = median(a / b for a, b in rounds)
            line = f"{name:17s} {passed:10s} {1e6 * one:9.0f} {1e6 * more:9.0f} us, gain {gain:.2f}"
            try:
                torchs = Torchs(ours, given.threads)
            except ImportError:
                print(line)
                continue
            found, expected = getattr(torchs, passed)(), calls[1]()
            if not np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max()):
                sys.exit(f"{name}: torch computes something else")
            times = [each for (each,) in rounds_of([getattr(torchs, passed)], given.seconds)]
            print(f"{line}, torch / ours {median(times) / more:.2f}", flush=True)
            time.sleep(0.5)  # until its threads sleep


if __name__ == "__main__":
    main()
