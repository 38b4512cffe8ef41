"""The command `rnncore`: train a language model, tell why gates matter, measure, and more.

Exit status: 0 done, also when Ctrl-C ended a training early; 1 the training diverged, or a library
that was to be measured computes something else; 2 bad input, told in one line; 130 interrupted
before there was anything to keep.
"""

import argparse
import codecs
import contextlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import rnncore
from rnncore import _report
from rnncore._bench import command as bench
from rnncore._bench import one_core
from rnncore._bench.agreement import DisagreementError
from rnncore._bench.library import PASSES
from rnncore._command import InputError, bad_input, prepare, printable, require_extra
from rnncore._train import BATCH, DEFAULTS, MODEL, WINDOW, train
from rnncore.language_model import CELLS, LanguageModel


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (by default that of the process); gives the exit status."""
    given = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(given)
    arguments.given = given
    try:
        return arguments.run(arguments)
    except InputError as error:
        message = " ".join(str(error).split())
        print(f"rnncore {arguments.command}: {message}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"rnncore {arguments.command}: interrupted", file=sys.stderr)
        return 130


# rnncore sample, rnncore bench, rnncore info


def _sample(arguments: argparse.Namespace) -> int:
    path = Path(arguments.model)
    with bad_input():
        if not path.exists():
            raise ValueError(f"no such file or folder: {path}")
        model = LanguageModel.load(path / MODEL if path.is_dir() else path)
        prompt = arguments.prompt.encode("utf-8", errors="surrogateescape")
        characters = model.sample(
            arguments.length,
            prompt=prompt or b"\n",
            temperature=arguments.temperature,
            rng=arguments.seed,
        )
    # A character of several bytes is printed when its last has come
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    sys.stdout.write(printable(decoder.decode(prompt)))
    for character in characters:
        sys.stdout.write(printable(decoder.decode(bytes([character]))))
        sys.stdout.flush()
    sys.stdout.write(printable(decoder.decode(b"", final=True)) + "\n")
    sys.stdout.flush()
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    require_extra("rich", "matplotlib")
    out = Path(arguments.out)
    with bad_input():
        selection = bench.select(
            arguments.cell,
            arguments.passed,
            arguments.dtype,
            arguments.seconds,
            arguments.workloads,
        )
    with bad_input("cannot write to"):
        prepare(out)
    if not one_core.is_set():
        return one_core.run_command(arguments.given)
    from rich.console import Console

    try:
        with bad_input("cannot write to"):
            bench.run(Console(), selection, out)
    except DisagreementError as error:
        print(f"rnncore bench: {error}", file=sys.stderr)
        return 1
    return 0


def _info(arguments: argparse.Namespace) -> int:
    rnncore.show_config()
    return 0


def _gates(arguments: argparse.Namespace) -> int:
    require_extra("rich", "matplotlib")
    from rich.console import Console

    from rnncore.gates import command
    from rnncore.gates.settings import Settings, quick

    out = Path(arguments.out)
    with bad_input("cannot write to"):
        prepare(out)
    settings = quick(arguments.seed) if arguments.quick else Settings(seed=arguments.seed)
    console = Console()
    results = command.measure(settings, console)
    command.tell(settings, results, console)
    with bad_input("cannot write to"):
        command.write(settings, results, out)
    _report.print_line(
        console, f"{results.seconds:.0f} s. In {out}: the pictures; the numbers: {command.NUMBERS}"
    )
    return 0


# Arguments


class _Parser(argparse.ArgumentParser):
    """argparse, with one line for an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help tells more)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="rnncore", description=rnncore.__doc__)
    parser.add_argument("--version", action="version", version=f"rnncore {rnncore.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    learn = commands.add_parser(
        "train",
        help="train a character language model on a text",
        description="Train a character language model, compare it with gzip, bz2 and xz on text"
        " that was held back, and save it with its loss curve.",
    )
    add = learn.add_argument
    add(
        "text",
        nargs="*",
        metavar="FILE|FOLDER",
        help="the text (default: the source code of the Python standard library)",
    )
    add("--cell", choices=tuple(CELLS), help=f"kind of layer (default: {DEFAULTS['cell']})")
    for name, what in (
        ("layers", "recurrent layers"),
        ("hidden", "units of each layer"),
        ("embedding", "size of the vector for a character"),
    ):
        add(f"--{name}", type=_count, metavar="N", help=f"{what} (default: {DEFAULTS[name]})")
    add("--dtype", choices=("float32", "float64"), help=f"(default: {DEFAULTS['dtype']})")
    add("--batch", type=_count, metavar="N", help=f"streams side by side (default: {BATCH})")
    add("--window", type=_count, metavar="N", help=f"characters of a step (default: {WINDOW})")
    add("--lr", type=_positive, default=5e-3, help="highest learning rate (default: %(default)s)")
    add("--clip", type=_positive, default=1.0, help="longest gradient (default: %(default)s)")
    add("--seconds", type=_positive, default=60.0, help="time to train (default: %(default)s)")
    add("--seed", type=_seed, default=0, help="of all that is random (default: %(default)s)")
    add("--out", default="rnncore-out", metavar="FOLDER", help="(default: %(default)s)")
    add(
        "--resume",
        action="store_true",
        help="go on with the model in --out; its sizes, --batch and --window are the default",
    )
    learn.set_defaults(run=train)

    sample = commands.add_parser(
        "sample", help="let a trained model write", description="Let a trained model write."
    )
    add = sample.add_argument
    add("model", metavar="MODEL", help="what `rnncore train` saved: the folder, or its model.npz")
    add(
        "--temperature",
        type=_not_negative,
        default=0.7,
        help="below 1 likelier text, above 1 wilder, at 0 the likeliest (default: %(default)s)",
    )
    add("--prompt", default="", metavar="TEXT", help="what to go on from (default: a new line)")
    add("--length", type=_count, default=500, metavar="N", help="(default: %(default)s)")
    add("--seed", type=_seed, help="the same text each time (default: another one)")
    sample.set_defaults(run=_sample)

    measure = commands.add_parser(
        "bench",
        help="measure rnncore beside the libraries installed",
        description="Measure rnncore beside torch, onnxruntime, OpenVINO and JAX where they are"
        " installed: one thread on one core, in turns, on the same weights, after the results were"
        " compared. Prints a table, the times of the others as multiples of rnncore's, and draws"
        f" time against hidden size. --out gets {bench.PICTURE} and {bench.NUMBERS}.",
    )
    add = measure.add_argument
    add("--cell", choices=tuple(CELLS), default="lstm", help="(default: %(default)s)")
    add(
        "--pass",
        dest="passed",
        choices=PASSES,
        default="inference",
        help="training is a pass forward and one back (default: %(default)s)",
    )
    add("--dtype", choices=("float32", "float64"), default="float32", help="(default: %(default)s)")
    add(
        "--seconds",
        type=_positive,
        default=1.0,
        help="of each workload, for all libraries together (default: %(default)s)",
    )
    add(
        "--workloads",
        nargs="+",
        default=[],
        metavar="NAME",
        help="measure these alone, and draw nothing; all: every one there is",
    )
    add("--out", default="rnncore-out", metavar="FOLDER", help="(default: %(default)s)")
    measure.set_defaults(run=_bench)
    gates = commands.add_parser(
        "gates",
        help="why gates matter: gradients that vanish and explode, measured",
        description="Measure vanishing and exploding gradients and what gates do about them, on"
        " small tasks that are trained here, and write pictures and numbers to a folder.",
    )
    add = gates.add_argument
    add("--seed", type=_seed, default=0, help="of all that is random (default: %(default)s)")
    add("--out", default="rnncore-gates", metavar="FOLDER", help="(default: %(default)s)")
    add("--quick", action="store_true", help="seconds, with numbers that mean little")
    gates.set_defaults(run=_gates)

    info = commands.add_parser(
        "info", help="versions, instruction set, threads", description="How rnncore runs here."
    )
    info.set_defaults(run=_info)
    return parser


def _count(text: str) -> int:
    return _number(text, int, 1, "a whole number of at least 1")


def _seed(text: str) -> int:
    return _number(text, int, 0, "a whole number of at least 0")


def _not_negative(text: str) -> float:
    return _number(text, float, 0, "a number of at least 0")


def _positive(text: str) -> float:
    return _number(text, float, sys.float_info.min, "a number above 0")


def _number(text: str, kind: type, least: float, expected: str) -> Any:
    with contextlib.suppress(ValueError):
        value = kind(text)
        if least <= value < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
