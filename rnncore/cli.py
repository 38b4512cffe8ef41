"""The command `rnncore`: train a language model, tell why gates matter, measure, and more.

Exit status: 0 done, also when Ctrl-C ended a training early; 1 the training diverged, or a library
that was to be measured computes something else; 2 bad input, or nothing can be written, told in one
line; 130 interrupted; 143 ended by `kill`, 129 by a terminal that closed.
"""

import argparse
import codecs
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rnncore._bench import command as bench
from rnncore._bench import one_core
from rnncore._bench import precision_command as below
from rnncore._bench.agreement import DisagreementError
from rnncore._commands.arguments import Command, parse
from rnncore._commands.convert import convert
from rnncore._commands.info import info
from rnncore._commands.learning import MODEL
from rnncore._commands.train import train
from rnncore._console import report, signals, streams
from rnncore._console.command import (
    InputError,
    bad_input,
    described,
    model_file,
    options_named,
    prepare,
    require_extra,
)
from rnncore._console.streams import printable, tell
from rnncore.language_model import LanguageModel
from rnncore.language_model.files import check_parameters


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (by default that of the process); gives the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    streams.prepare()
    name = " ".join(["rnncore", *(command for command in given[:1] if command in _COMMANDS)])
    try:
        with signals.raised():
            status = _run(given)
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # the reader has gone (`| head`)
        return 0
    except InputError as error:
        problem = str(error)
    except OSError as error:
        problem = f"cannot {'use' if error.filename else 'write to stdout'}{described(error)}"
    except MemoryError as error:
        problem = f"not enough memory: {error}"
    except ImportError as error:
        problem = str(error)
    except KeyboardInterrupt:
        tell(f"{name}: interrupted")
        return signals.INTERRUPTED
    except signals.Ended as end:
        tell(f"{name}: {end}")
        return end.status
    finally:
        streams.finish()
    tell(f"{name}: {problem}")
    return 2


def _run(given: list[str]) -> int:
    try:
        arguments = parse(given, _COMMANDS)
    except SystemExit as end:  # argparse has told what there is to tell
        return int(end.code or 0)
    run: Command = arguments.run
    return run(arguments)


def _sample(arguments: argparse.Namespace) -> int:
    path = Path(arguments.model)
    with bad_input(), options_named():
        if not path.exists():
            raise ValueError(f"no such file or folder: {path}")
        path = model_file(path / MODEL if path.is_dir() else path)
        model = LanguageModel.load(path)
        check_parameters(path, model.arrays())
        prompt = arguments.prompt.encode("utf-8", errors="surrogateescape")
        characters = model.freeze(arguments.precision).sample(
            arguments.length,
            prompt=prompt or b"\n",
            temperature=arguments.temperature,
            rng=arguments.seed,
        )
    # A character of several bytes is printed when its last has come
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    sys.stdout.write(printable(decoder.decode(prompt)))
    for character in _drawn(path, characters):
        sys.stdout.write(printable(decoder.decode(bytes([character]))))
        sys.stdout.flush()
    sys.stdout.write(printable(decoder.decode(b"", final=True)) + "\n")
    return 0


def _drawn(path: Path, characters: Iterator[int]) -> Iterator[int]:
    with bad_input(f"{path}:"):  # not around the printing, whose errors are others
        yield from characters


def _bench(arguments: argparse.Namespace) -> int:
    require_extra("rich", "matplotlib")
    out = Path(arguments.out)
    wanted = (arguments.cell, arguments.passed, arguments.dtype, arguments.seconds)
    run: Callable[[Any, Any, Path], None] = bench.run
    selection: Any
    with bad_input():
        if arguments.precision is None:
            selection = bench.select(*wanted, arguments.workloads)
        else:
            selection = below.select(*wanted, arguments.workloads, arguments.precision)
            run = below.run
    with bad_input("cannot write to"):
        prepare(out, bench.PICTURE, bench.NUMBERS)
    if not one_core.is_set():
        return one_core.run_command(arguments.given)
    try:
        run(report.new_console(), selection, out)
    except DisagreementError as error:
        tell(f"rnncore bench: {error}")
        return 1
    return 0


def _gates(arguments: argparse.Namespace) -> int:
    require_extra("rich", "matplotlib")
    from rnncore.gates import command
    from rnncore.gates.settings import Settings, quick

    out = Path(arguments.out)
    with bad_input("cannot write to"):
        prepare(out, *command.PICTURES, command.NUMBERS)
    command.run(
        quick(arguments.seed) if arguments.quick else Settings(seed=arguments.seed),
        out,
        report.new_console(),
    )
    return 0


_COMMANDS = {
    "train": train,
    "sample": _sample,
    "bench": _bench,
    "gates": _gates,
    "convert": convert,
    "info": info,
}
