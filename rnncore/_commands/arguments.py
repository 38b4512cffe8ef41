"""What the command `rnncore` may be given."""

import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias, TypeVar

import rnncore
from rnncore._bench import command as bench
from rnncore._bench.library import PASSES
from rnncore._commands.train import BATCH, DEFAULTS, WINDOW
from rnncore._commands.written import WRITTEN
from rnncore._console.streams import tell
from rnncore._version import __version__
from rnncore.convert.by_suffix import SUFFIXES
from rnncore.language_model import CELLS
from rnncore.reference.precision import PRECISIONS

Command = Callable[[argparse.Namespace], int]
_Parsers: TypeAlias = "argparse._SubParsersAction[_Parser]"
Number = TypeVar("Number", int, float)


def parse(given: Sequence[str], commands: Mapping[str, Command]) -> argparse.Namespace:
    """The arguments by name, `given` among them, and as `run` the function of the command.

    Raises
    ------
    SystemExit, as argparse has it, after help was printed or an error was told.
    """
    parser = _Parser(prog="rnncore", description=rnncore.__doc__)
    parser.add_argument("--version", action="version", version=f"rnncore {__version__}")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, describe in _DESCRIBED.items():
        describe(parsers).set_defaults(run=commands[name])
    arguments = parser.parse_args(given)
    arguments.given = given
    return arguments


def _train(parsers: _Parsers) -> argparse.ArgumentParser:
    parser = parsers.add_parser(
        "train",
        help="train a character language model on a text",
        description="Train a character language model, compare it with gzip, bz2 and xz on text"
        " that was held back, and save it with its loss curve.",
    )
    add = parser.add_argument
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
    add(
        "--precision",
        choices=PRECISIONS,
        help="of the recurrent layers in the sample and in --export (default: as they are trained)",
    )
    add(
        "--export",
        type=_name,
        metavar="FILE",
        help=f"the model for other programs, too: {', '.join(WRITTEN)}",
    )
    _add_out(parser, "rnncore-out")
    add(
        "--resume",
        action="store_true",
        help="go on with the model in --out; its sizes, --batch and --window are the default",
    )
    return parser


def _sample(parsers: _Parsers) -> argparse.ArgumentParser:
    parser = parsers.add_parser(
        "sample", help="let a trained model write", description="Let a trained model write."
    )
    add = parser.add_argument
    add(
        "model",
        type=_name,
        metavar="MODEL",
        help="what `rnncore train` saved: the folder, or its model.npz",
    )
    add(
        "--temperature",
        type=_not_negative,
        default=0.7,
        help="below 1 likelier text, above 1 wilder, at 0 the likeliest (default: %(default)s)",
    )
    add("--prompt", default="", metavar="TEXT", help="what to go on from (default: a new line)")
    add("--length", type=_count, default=500, metavar="N", help="(default: %(default)s)")
    add("--seed", type=_seed, help="the same text each time (default: another one)")
    add(
        "--precision",
        choices=PRECISIONS,
        help="of the weights of the recurrent layers (default: as they were trained)",
    )
    return parser


def _bench(parsers: _Parsers) -> argparse.ArgumentParser:
    parser = parsers.add_parser(
        "bench",
        help="measure rnncore beside the libraries installed",
        description="Measure rnncore beside torch, onnxruntime, OpenVINO and JAX where they are"
        " installed: one thread on one core, in turns, on the same weights, after the results were"
        " compared. Prints a table, the times of the others as multiples of rnncore's, and draws"
        f" time against hidden size. --out gets {bench.PICTURE} and {bench.NUMBERS}. With"
        " --precision: inference below float32, beside int8 of onnxruntime and torch and bfloat16"
        " of OpenVINO and torch, with errors and bytes; draws error against time.",
    )
    add = parser.add_argument
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
        help="measure these alone, sizes TxBxIxH among them, and draw nothing but errors; all: "
        "every one there is",
    )
    add(
        "--precision",
        nargs="*",
        choices=PRECISIONS,
        help="inference with weights of these precisions, none named: of all; a workload of one "
        "step is a step of a stream",
    )
    _add_out(parser, "rnncore-out")
    return parser


def _gates(parsers: _Parsers) -> argparse.ArgumentParser:
    parser = parsers.add_parser(
        "gates",
        help="why gates matter: gradients that vanish and explode, measured",
        description="Measure vanishing and exploding gradients and what gates do about them, on"
        " small tasks that are trained here, and write pictures and numbers to a folder.",
    )
    add = parser.add_argument
    add("--seed", type=_seed, default=0, help="of all that is random (default: %(default)s)")
    _add_out(parser, "rnncore-gates")
    add("--quick", action="store_true", help="seconds, with numbers that mean little")
    return parser


def _convert(parsers: _Parsers) -> argparse.ArgumentParser:
    parser = parsers.add_parser(
        "convert",
        help="a model of PyTorch, Keras or ONNX as a file of rnncore",
        description="Make a file that needs NumPy and rnncore alone of a model of PyTorch (a"
        f" state_dict), Keras or ONNX. The suffixes tell what is what: {', '.join(SUFFIXES)}; and"
        f" {', '.join(WRITTEN)} of OUT. Where the library that IN is from is installed, it runs IN"
        " on a few inputs, and OUT carries what it gave: rnncore.load computes that again and"
        " refuses what differs.",
    )
    add = parser.add_argument
    add("model", type=_name, metavar="IN", help="the file to read")
    add("out", type=_name, metavar="OUT", help="the file to write; one that is there is replaced")
    add(
        "--precision",
        choices=PRECISIONS,
        help="freeze the model with weights of this precision in its recurrent layers",
    )
    add(
        "--batch-first",
        action="store_true",
        help="x is (batch, steps, ..), which a state_dict of PyTorch does not tell",
    )
    add(
        "--config",
        type=_name,
        metavar="FILE",
        help="what model.to_json() gave, for a file of Keras with weights alone",
    )
    add("--no-record", action="store_true", help="do not run IN where it is from, nor compare")
    return parser


def _info(parsers: _Parsers) -> argparse.ArgumentParser:
    parser = parsers.add_parser(
        "info",
        help="what a file of a model holds; or versions, instruction set, threads",
        description="What a file of a model holds: its layers, sizes, precision, and what it was"
        " made from. Without one: how rnncore runs here.",
    )
    parser.add_argument(
        "model", nargs="?", type=_name, metavar="MODEL", help=f"a file, {', '.join(SUFFIXES)}"
    )
    return parser


_DESCRIBED = {
    "train": _train,
    "sample": _sample,
    "bench": _bench,
    "gates": _gates,
    "convert": _convert,
    "info": _info,
}


class _Parser(argparse.ArgumentParser):
    """argparse, with one line for an error."""

    def error(self, message: str) -> NoReturn:
        tell(f"{self.prog}: {message} ({self.prog} --help tells more)")
        self.exit(2)

    def _print_message(self, message: str, file: Any = None) -> None:
        """argparse's own is silent where nothing can be written."""
        print(message, end="", file=file)


def _add_out(parser: argparse.ArgumentParser, usual: str) -> None:
    parser.add_argument(
        "--out", type=_name, default=usual, metavar="FOLDER", help="(default: %(default)s)"
    )


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'' names no file or folder")
    return text


def _count(text: str) -> int:
    return _number(text, int, 1, "a whole number of at least 1")


def _seed(text: str) -> int:
    return _number(text, int, 0, "a whole number of at least 0")


def _not_negative(text: str) -> float:
    return _number(text, float, 0, "a number of at least 0")


def _positive(text: str) -> float:
    return _number(text, float, sys.float_info.min, "a number above 0")


def _number(text: str, kind: Callable[[str], Number], least: float, expected: str) -> Number:
    with contextlib.suppress(ValueError):
        value = kind(text)
        if least <= value < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
