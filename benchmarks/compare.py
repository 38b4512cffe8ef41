"""A table of rnncore beside each library that is installed, on one thread.

    taskset -c 1 python benchmarks/compare.py --pass training --cell lstm

"us" is rnncore's median; under a library stands how many times as long it takes. All run in turns
in one process, on the same weights, after their results were compared. GFLOP/s counts the products
alone; "of peak" is the part of what this core's multiply-adds reach, measured in the same run.
"""

import one_thread  # noqa: F401  # isort: skip

import argparse
from statistics import geometric_mean, median
from typing import NamedTuple

from peers import PASSES, PEERS, Library, Problem, RNNCore, check, missing
from timing import interleave, ratio
from workloads import GATES, WORKLOADS, workloads_of

from rnncore import _core


class Row(NamedTuple):
    workload: str
    seconds: float  # rnncore's median
    gflops: float
    ratios: dict[str, float]  # library -> how many times as long


def peers_for(passed: str, dtype: str) -> list[type[Library]]:
    """The installed libraries that have this pass in this dtype."""
    able = [peer for peer in PEERS if passed in peer.passes and dtype in peer.dtypes]
    return [peer for peer in able if not missing(peer)]


def compare(passed: str, cell: str, dtype: str, workload: str, seconds: float) -> Row:
    """Check rnncore and its peers against each other on one workload, then time them."""
    problem = Problem(cell, dtype, workloads_of(cell)[workload])
    libraries = [kind(problem) for kind in (RNNCore, *peers_for(passed, dtype))]
    check(libraries, passed)
    times = interleave({one.name: getattr(one, passed) for one in libraries}, seconds)
    ours = times.pop(RNNCore.name)
    flops = problem.sizes.flops(cell) * (3 if passed == "training" else 1)
    ratios = {name: ratio(theirs, ours) for name, theirs in times.items()}
    return Row(workload, median(ours), flops / median(ours) / 1e9, ratios)


class Table:
    """Text, line by line, so that each row is printed as soon as it is known."""

    def __init__(self, passed: str, cell: str, dtype: str) -> None:
        self.sizes = workloads_of(cell)
        self.peers = [peer.name for peer in peers_for(passed, dtype)]
        self.peak = _core.core.peak_gflops(dtype)
        self.best: dict[str, float] = {}
        peak = f"peak {self.peak:.0f} GFLOP/s"
        self.title = f"{cell} {passed} {dtype}, {_core.isa}, one thread, {peak}"

    def header(self) -> str:
        return self._line("workload", "T,B,I,H", "us", self.peers, "GFLOP/s", "of peak")

    def line(self, row: Row) -> str:
        if self.peers:
            self.best[row.workload] = min(row.ratios.values())
        return self._line(
            row.workload,
            ",".join(map(str, self.sizes[row.workload])),
            f"{row.seconds * 1e6:,.1f}",
            [f"{row.ratios[name]:.2f}" for name in self.peers],
            f"{row.gflops:.0f}",
            f"{row.gflops / self.peak:.0%}",
        )

    def summary(self) -> str:
        """How the best library does on each workload: the geometric mean, and the worst for us."""
        if not self.best:
            return "no library to compare with"
        worst = min(self.best, key=self.best.get)
        mean = geometric_mean(self.best.values())
        return f"best library: geometric mean {mean:.2f}, worst {self.best[worst]:.2f} ({worst})"

    @staticmethod
    def _line(workload, sizes, us, ratios, gflops, of_peak) -> str:
        ratios = "".join(f"{ratio:>12}" for ratio in ratios)
        return f"{workload:<22} {sizes:<16} {us:>11}{ratios} {gflops:>8} {of_peak:>8}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pass", dest="passed", choices=PASSES, default="inference")
    parser.add_argument("--cell", choices=GATES, default="lstm")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--workloads", nargs="+", metavar="NAME", default=list(WORKLOADS))
    parser.add_argument("--seconds", type=float, default=2.0, help="per workload")
    args = parser.parse_args()
    known = workloads_of(args.cell)
    if unknown := [name for name in args.workloads if name not in known]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(known)}")
    for message in filter(None, map(missing, PEERS)):
        print(message)
    table = Table(args.passed, args.cell, args.dtype)
    print(table.title, table.header(), sep="\n", flush=True)
    for workload in args.workloads:
        row = compare(args.passed, args.cell, args.dtype, workload, args.seconds)
        print(table.line(row), flush=True)
    print(table.summary())


if __name__ == "__main__":
    main()
