"""Two commits in turns: ``python benchmarks/compare.py BEFORE AFTER``, two built checkouts.

Each has a process of its own; both are kept on one core with one thread, and never work at the same
time. They take samples of a few milliseconds in turns, so that what disturbs the machine disturbs
both: the ratio within a round counts, and times of one run are not compared with those of another.
Only what a user may call is used, so commits that are far apart can be compared.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

PASSES = ("inference", "training")
CELLS = ("rnn", "gru", "lstm")
SAMPLE = 5e-3  # seconds at least


class Checkout:
    """A process that measures what is built in one folder."""

    def __init__(self, folder: str, core: int) -> None:
        from rnncore._bench.one_core import ONE_THREAD

        self.process = subprocess.Popen(
            [sys.executable, __file__, "--measure", str(core)],
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = Path(self.ask("file")).resolve()
        if Path(folder).resolve() not in found.parents:
            sys.exit(f"{folder} has no rnncore: {found} was imported")

    def ask(self, what: object):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def measure(core: int) -> None:
    """Answer requests, a line each: a problem to prepare, or a sample of it in seconds a call."""
    import numpy as np

    import rnncore

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    call, repeats = None, 1

    def sample() -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) / repeats

    for line in sys.stdin:
        request = json.loads(line)
        if request == "file":
            answer = rnncore.__file__
        elif request == "sample":
            answer = sample()
        else:
            call, repeats = prepared(rnncore, np, *request), 1
            call()
            while sample() * repeats < SAMPLE:
                repeats *= 2
            answer = repeats
        print(json.dumps(answer), flush=True)


def prepared(rnncore, np, cell, passed, dtype, sizes):
    """A pass of a layer, with weights and inputs that are the same in both checkouts."""
    T, B, I, H = sizes
    rng = np.random.default_rng(0)
    layer = getattr(rnncore, cell.upper())(I, H, dtype=dtype, rng=0)
    x, dy = (rng.standard_normal((T, B, width)).astype(dtype) for width in (I, H))
    frozen = layer.freeze()

    def training():
        *_, trace = layer.forward(x)
        return layer.backward(trace, dy)

    return training if passed == "training" else lambda: frozen(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs=2, metavar="FOLDER")
    parser.add_argument("--cell", choices=CELLS, default="lstm")
    parser.add_argument("--pass", dest="passed", choices=PASSES, default="inference")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--workloads", nargs="+", metavar="NAME", help="(default: all)")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()

    sys.path.insert(0, arguments.folders[1])
    from rnncore._bench.workloads import workloads_named

    try:
        workloads = workloads_named(arguments.workloads or ["all"], arguments.cell)
    except ValueError as error:
        parser.error(str(error))
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    checkouts = [Checkout(folder, core) for folder in arguments.folders]
    print(
        f"{arguments.cell} {arguments.passed} {arguments.dtype}; before / after: above 1 is faster"
    )
    for name, sizes in workloads.items():
        for checkout in checkouts:
            checkout.ask((arguments.cell, arguments.passed, arguments.dtype, sizes))
        ratios = []
        for k in range(arguments.rounds):
            order = (0, 1) if k % 2 else (1, 0)
            seconds = {which: checkouts[which].ask("sample") for which in order}
            ratios.append(seconds[0] / seconds[1])
        low, _, high = quantiles(ratios, n=4)
        print(f"{name:22} {median(ratios):.3f}   half of the rounds {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(int(sys.argv[2]))
    else:
        main()
