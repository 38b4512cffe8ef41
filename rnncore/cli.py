"""The command `rnncore`: train a language model, tell why gates matter, measure, and more.

Exit status: 0 done, also when Ctrl-C ended a training early; 1 the training diverged, or a library
that was to be measured computes something else; 2 bad input, told in one line; 130 interrupted
before there was anything to keep.
"""

import argparse
import codecs
import contextlib
import itertools
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import rnncore
from rnncore import _report
from rnncore._bench import command as bench
from rnncore._bench import one_core
from rnncore._bench.agreement import DisagreementError
from rnncore._bench.library import PASSES
from rnncore.language_model import CELLS, LanguageModel, Trainer
from rnncore.text import Corpus, compressed_bits, read_corpus

_MODEL, _EARLIER, _METRICS, _CURVE = "model.npz", "model.earlier.npz", "metrics.json", "curve.png"
_DEFAULTS = {"cell": "lstm", "layers": 1, "hidden": 160, "embedding": 64, "dtype": "float32"}
_BATCH, _WINDOW = 8, 48
_AS_IT_IS, _READING = "this model", "this model, learning on"
_WARM_UP = 0.02  # of the time; then the learning rate falls to 0 in a straight line
_SAMPLE = {"length": 500, "temperature": 0.7}


class InputError(Exception):
    """What the user gave cannot be used; the message says why in one line."""


@contextlib.contextmanager
def _bad_input(what: str = "") -> Iterator[None]:
    """Tell the errors of reading, checking and writing what the user gave as `InputError`."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise InputError(f"{what or 'cannot use'}{where}: {error.strerror or error}") from error
    except (ValueError, ImportError) as error:
        raise InputError(f"{what} {error}".lstrip()) from error


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


# rnncore train


@dataclass
class _Run:
    """One training: the time that it had before this process, and what it did in it."""

    trainer: Trainer
    seconds_before: float = 0.0
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"seconds": [], "bits": [], "characters": []}
    )
    stopped_early: bool = False
    diverged: str = ""

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.array(values) for name, values in self.history.items()}


def _train(arguments: argparse.Namespace) -> int:
    _require_extra("rich", "matplotlib")
    from rich.console import Console

    console = Console()
    out = Path(arguments.out)
    with _bad_input():
        corpus = read_corpus(arguments.text)
        run = _resumed(arguments, corpus, out) if arguments.resume else _new(arguments, corpus)
    with _bad_input("cannot write to"):
        _prepare(out)
    _print_start(console, corpus, run.trainer)
    if not arguments.resume and (out / _MODEL).exists():
        os.replace(out / _MODEL, out / _EARLIER)
        _report.print_line(console, f"The earlier model in {out} is kept as {_EARLIER}.")

    before = sum(run.history["characters"][-1:])
    seconds = _learn(console, run, arguments.seconds, arguments.lr)
    with _bad_input("cannot write to"):
        run.trainer.save(out / _MODEL, run.arrays())
    characters = run.history["characters"][-1] - before if run.history["characters"] else 0
    ended = "Stopped early" if run.stopped_early else "Trained"
    _report.print_line(
        console,
        f"{ended} after {seconds:.1f} s, {run.trainer.steps:,} steps in all, "
        f"{characters / 1e6:.2f} M characters read; the model is saved.",
    )
    if run.diverged:
        message = (
            f"rnncore train: diverged, {run.diverged}; the last good model is in {out / _MODEL}"
        )
        print(f"{message}; try a lower --lr or --clip", file=sys.stderr)
        return 1
    _finish(console, arguments, corpus, run, out, seconds, characters)
    return 0


def _new(arguments: argparse.Namespace, corpus: Corpus) -> _Run:
    options = {
        name: default if getattr(arguments, name) is None else getattr(arguments, name)
        for name, default in _DEFAULTS.items()
    }
    model = LanguageModel(**options, rng=arguments.seed)
    trainer = Trainer(
        model,
        corpus.train,
        batch=arguments.batch or _BATCH,
        window=arguments.window or _WINDOW,
        clip=arguments.clip,
    )
    return _Run(trainer)


def _resumed(arguments: argparse.Namespace, corpus: Corpus, out: Path) -> _Run:
    trainer, history = Trainer.load(
        out / _MODEL,
        corpus.train,
        batch=arguments.batch,
        window=arguments.window,
        clip=arguments.clip,
    )
    for name, value in trainer.model.options.items():
        wanted = getattr(arguments, name)
        if wanted is not None and wanted != value:
            raise ValueError(f"{out / _MODEL} was trained with --{name} {value}, not {wanted}")
    run = _Run(trainer)
    run.history |= {name: values.tolist() for name, values in history.items()}
    run.seconds_before = sum(run.history["seconds"][-1:])
    return run


def _prepare(out: Path) -> None:
    """Find out that `out` can be written to before the training, not after."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}, which is a file: --out names a folder")
    out.mkdir(parents=True, exist_ok=True)
    probe = out / f".rnncore-{os.getpid()}"
    probe.touch()
    probe.unlink()


def _learn(console: Any, run: _Run, seconds: float, peak: float) -> float:
    """Train until the time is over or Ctrl-C is pressed; gives the time taken."""
    trainer, history = run.trainer, run.history
    read = sum(history["characters"][-1:])
    per_step = trainer.batch * trainer.window
    smoothed, elapsed = _report.RunningMean(), 0.0
    with _interruptible() as interrupted, _report.progress(console, seconds) as show:
        start = time.perf_counter()
        for step in itertools.count(1):
            try:
                bits = trainer.step(learning_rate(elapsed / seconds, peak)).bits
            except FloatingPointError as error:
                run.diverged = f"{error} at step {trainer.steps + 1}"
                break
            elapsed = time.perf_counter() - start
            history["seconds"].append(run.seconds_before + elapsed)
            history["characters"].append(read + step * per_step)
            history["bits"].append(bits)
            show(elapsed, smoothed.add(bits), step * per_step / elapsed)
            if elapsed >= seconds:
                break
            if interrupted:
                run.stopped_early = True
                break
    return elapsed


def learning_rate(done: float, peak: float) -> float:
    """The learning rate when a fraction `done` of the time is over.

    It rises to `peak` while Adam's means are still forming, then falls in a straight line, so that
    whatever time there is ends in the small steps that bring the loss down.

    >>> [round(learning_rate(done, 1.0), 2) for done in (0.0, 0.01, 0.02, 0.51, 1.0)]
    [0.05, 0.5, 1.0, 0.5, 0.01]
    """
    if done < _WARM_UP:
        return peak * max(0.05, done / _WARM_UP)
    return peak * max(0.01, (1 - done) / (1 - _WARM_UP))


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Let Ctrl-C fill the list instead of raising; a second one raises as usual."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)


def _print_start(console: Any, corpus: Corpus, trainer: Trainer) -> None:
    options = trainer.model.options
    count = sum(array.size for array in trainer.model.arrays().values())
    files = f"{corpus.files:,} file{'s' if corpus.files > 1 else ''}"
    for line in (
        f"Text: {corpus.source}",
        f"  {files}, {len(corpus.train):,} characters to learn from, {len(corpus.held_out):,}"
        " held back",
        f"Model: {options['cell']}, {options['layers']} x {options['hidden']} units, embedding of"
        f" {options['embedding']}, {count:,} parameters, {options['dtype']}",
        f"  {trainer.batch} streams, windows of {trainer.window} characters;"
        " Ctrl-C stops and keeps what was learned",
    ):
        _report.print_line(console, line)


def _finish(
    console: Any,
    arguments: argparse.Namespace,
    corpus: Corpus,
    run: _Run,
    out: Path,
    seconds: float,
    characters: float,
) -> None:
    """Measure, show and write what came out of a training."""
    trainer, history = run.trainer, run.arrays()
    bits = trainer.model.bits_per_character(corpus.held_out)
    compressors = compressed_bits(corpus.held_out)
    reading = trainer.reading_bits(corpus.held_out)
    _report.print_bits(console, {_AS_IT_IS: bits, _READING: reading}, compressors)
    _report.print_line(
        console,
        "The compressors learn from the held-back text as they read it. The model has learned from"
        " other text, and\nits own size is not counted; learning on, it predicts each window before"
        " it learns from it too.",
    )

    compiled, numpy = trainer.copy(), trainer.copy(reference=True)
    rate = trainer.optimizer.lr
    step_times = _report.median_time(
        {
            "rnncore": lambda: compiled.step(rate),
            "rnncore.reference (NumPy)": lambda: numpy.step(rate),
        },
    )
    _report.print_step_times(console, step_times)

    drawn = trainer.model.sample(
        _SAMPLE["length"], temperature=_SAMPLE["temperature"], rng=arguments.seed
    )
    sample = bytes(drawn).decode("utf-8", errors="replace")
    _report.print_line(console, f"A sample at temperature {_SAMPLE['temperature']}:", style="bold")
    _report.print_line(console, printable(sample))

    metrics = {
        "rnncore": rnncore.__version__,
        "text": corpus.source,
        "files": corpus.files,
        "characters": {"train": len(corpus.train), "held_out": len(corpus.held_out)},
        "model": trainer.model.options,
        "training": {
            "batch": trainer.batch,
            "window": trainer.window,
            "lr": arguments.lr,
            "clip": arguments.clip,
            "seed": arguments.seed,
            "stopped_early": run.stopped_early,
            "this_run": {
                "seconds": seconds,
                "characters": characters,
                "characters_per_second": characters / seconds,
            },
            "all_runs": {
                "seconds": run.history["seconds"][-1],
                "characters": run.history["characters"][-1],
                "steps": trainer.steps,
            },
        },
        "bits_per_character": {"model": bits, "model_learning_on": reading, **compressors},
        "seconds_per_step": step_times,
        "sample": sample,
    }
    with _bad_input("cannot write to"):
        (out / _METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        models = {_AS_IT_IS: bits, _READING: reading}
        _report.draw_curve(out / _CURVE, history, models, compressors)
    _report.print_line(console, f"In {out}: {_MODEL}, {_CURVE}, {_METRICS}")
    _report.print_line(console, f"More text: rnncore sample {out}    More training: --resume")


# rnncore sample, rnncore bench, rnncore info


def _sample(arguments: argparse.Namespace) -> int:
    path = Path(arguments.model)
    with _bad_input():
        if not path.exists():
            raise ValueError(f"no such file or folder: {path}")
        model = LanguageModel.load(path / _MODEL if path.is_dir() else path)
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


def printable(text: str) -> str:
    """`text` with control characters replaced: a model may have learned to move the cursor.

    >>> printable("a\\tb\\n\\x1b[2J")
    'a\\tb\\n\ufffd[2J'
    """
    return "".join(c if c.isprintable() or c in "\t\n" else "\ufffd" for c in text)


def _bench(arguments: argparse.Namespace) -> int:
    _require_extra("rich", "matplotlib")
    out = Path(arguments.out)
    with _bad_input():
        selection = bench.select(
            arguments.cell,
            arguments.passed,
            arguments.dtype,
            arguments.seconds,
            arguments.workloads,
        )
    with _bad_input("cannot write to"):
        _prepare(out)
    if not one_core.is_set():
        return one_core.run_command(arguments.given)
    from rich.console import Console

    try:
        with _bad_input("cannot write to"):
            bench.run(Console(), selection, out)
    except DisagreementError as error:
        print(f"rnncore bench: {error}", file=sys.stderr)
        return 1
    return 0


def _info(arguments: argparse.Namespace) -> int:
    rnncore.show_config()
    return 0


def _gates(arguments: argparse.Namespace) -> int:
    _require_extra("rich", "matplotlib")
    from rich.console import Console

    from rnncore.gates import command
    from rnncore.gates.settings import Settings, quick

    out = Path(arguments.out)
    with _bad_input("cannot write to"):
        _prepare(out)
    settings = quick(arguments.seed) if arguments.quick else Settings(seed=arguments.seed)
    console = Console()
    results = command.measure(settings, console)
    command.tell(settings, results, console)
    with _bad_input("cannot write to"):
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

    train = commands.add_parser(
        "train",
        help="train a character language model on a text",
        description="Train a character language model, compare it with gzip, bz2 and xz on text"
        " that was held back, and save it with its loss curve.",
    )
    add = train.add_argument
    add(
        "text",
        nargs="*",
        metavar="FILE|FOLDER",
        help="the text (default: the source code of the Python standard library)",
    )
    add("--cell", choices=tuple(CELLS), help=f"kind of layer (default: {_DEFAULTS['cell']})")
    for name, what in (
        ("layers", "recurrent layers"),
        ("hidden", "units of each layer"),
        ("embedding", "size of the vector for a character"),
    ):
        add(f"--{name}", type=_count, metavar="N", help=f"{what} (default: {_DEFAULTS[name]})")
    add("--dtype", choices=("float32", "float64"), help=f"(default: {_DEFAULTS['dtype']})")
    add("--batch", type=_count, metavar="N", help=f"streams side by side (default: {_BATCH})")
    add("--window", type=_count, metavar="N", help=f"characters of a step (default: {_WINDOW})")
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
    train.set_defaults(run=_train)

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


def _require_extra(*modules: str) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise InputError(f"{' and '.join(missing)} not found: pip install 'rnncore[cli]'")
