"""`rnncore train`: a character language model, trained, compared with compressors, and saved."""

import argparse
import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from rnncore._commands import evaluation, sizes
from rnncore._commands.learning import EARLIER, MODEL, Run, learn
from rnncore._commands.written import check_kind, check_out, write
from rnncore._console import report
from rnncore._console.command import bad_input, model_file, options_named, prepare, require_extra
from rnncore._console.signals import INTERRUPTED, Ended
from rnncore._console.streams import one_line, tell
from rnncore.language_model import LanguageModel, Trainer
from rnncore.language_model.reading import check_length
from rnncore.language_model.text import Corpus, in_short, read_corpus

DEFAULTS: dict[str, Any] = {
    "cell": "lstm",
    "layers": 1,
    "hidden": 160,
    "embedding": 64,
    "dtype": "float32",
}
BATCH, WINDOW = 8, 48
_USUAL = {**DEFAULTS, "batch": BATCH, "window": WINDOW}
_ADVICE = "try a lower --lr or --clip"


def train(arguments: argparse.Namespace) -> int:
    require_extra("rich", "matplotlib")
    console = report.new_console()
    out = Path(arguments.out)
    with bad_input(), options_named():
        export = None if arguments.export is None else Path(arguments.export)
        if export is not None:
            if export.resolve() in [(out / own).resolve() for own in (MODEL, EARLIER)]:
                raise ValueError(f"--export is {export}, where the training has its own model")
            check_out("--export", export, arguments.precision, made=out)
        corpus = read_corpus(arguments.text)
        run = _resumed(arguments, corpus, out) if arguments.resume else _new(arguments, corpus, out)
        if arguments.precision is not None and run.trainer.model.dtype != np.float32:
            raise ValueError(f"--precision is {arguments.precision}, expected a model of float32")
        if export is not None:
            check_kind("--export", export, _exported(run.trainer.model, arguments))
    with bad_input("cannot write to"):
        prepare(out, MODEL, EARLIER, evaluation.METRICS, evaluation.CURVE)
    _print_start(console, corpus, run.trainer)
    try:
        learn(console, run, arguments.seconds, arguments.lr)
        if run.diverged:
            return _tell_diverged(run)
        run.end_if_asked()
        with contextlib.suppress(OSError):  # a console that fails is told of when all is written
            _print_end(console, run)
        _finish(console, arguments, corpus, run, export)
    except FloatingPointError as error:
        tell(f"rnncore train: diverged, {error}; the model is in {run.path}; {_ADVICE}")
        return 1
    except KeyboardInterrupt:
        return _tell_ended(run, "interrupted", INTERRUPTED)
    except Ended as end:
        return _tell_ended(run, str(end), end.status)
    return 0


def _new(arguments: argparse.Namespace, corpus: Corpus, out: Path) -> Run:
    options = {
        name: default if getattr(arguments, name) is None else getattr(arguments, name)
        for name, default in _USUAL.items()
    }
    batch, window = (options[name] for name in ("batch", "window"))
    check_length(corpus.train, batch, window)
    sizes.check(options, _USUAL)
    model = LanguageModel(**{name: options[name] for name in DEFAULTS}, rng=arguments.seed)
    model.expect(corpus.train)
    trainer = Trainer(model, corpus.train, batch=batch, window=window, clip=arguments.clip)
    return Run(trainer, out, corpus.validation)


def _resumed(arguments: argparse.Namespace, corpus: Corpus, out: Path) -> Run:
    path = model_file(out / MODEL)
    trainer, history = Trainer.load(
        path, corpus.train, batch=arguments.batch, window=arguments.window, clip=arguments.clip
    )
    options = trainer.model.options
    for name, value in options.items():
        wanted = getattr(arguments, name)
        if wanted is not None and wanted != value:
            raise ValueError(f"{path} was trained with --{name} {value}, not {wanted}")
    sizes.check({**options, "batch": trainer.batch, "window": trainer.window}, _USUAL)
    run = Run(trainer, out, corpus.validation, new=False)
    run.take_up(path, history)
    run.choose(LanguageModel.load(path))
    return run


def _print_start(console: Any, corpus: Corpus, trainer: Trainer) -> None:
    options = trainer.model.options
    count = sum(array.size for array in trainer.model.arrays().values())
    files = f"{corpus.files:,} file{'s' if corpus.files > 1 else ''}"
    left_out = [f"  {len(corpus.left_out):,} left out: {in_short(corpus.left_out)}"]
    for line in (
        f"Text: {corpus.source}",
        f"  {files}, {len(corpus.train):,} characters to learn from, {len(corpus.validation):,}"
        f" to choose the best model by, {len(corpus.held_out):,} held back",
        *(left_out if corpus.left_out else ()),
        f"Model: {options['cell']}, {options['layers']} x {options['hidden']} units, embedding of"
        f" {options['embedding']}, {count:,} parameters, {options['dtype']}",
        f"  {trainer.batch} streams, windows of {trainer.window} characters;"
        " Ctrl-C stops and keeps what was learned",
    ):
        report.print_line(console, one_line(line))


def _print_end(console: Any, run: Run) -> None:
    ended = "Stopped early" if run.signals else "Trained"
    report.print_line(
        console,
        f"{ended} after {run.seconds:.1f} s, {run.trainer.steps:,} steps in all, "
        f"{run.characters / 1e6:.2f} M characters read; the model is saved.",
    )
    report.print_line(
        console, f"Chosen with {run.best_bits:.3f} bits per character of the validation text."
    )
    if run.kept_earlier:
        report.print_line(
            console, one_line(f"The earlier model in {run.out} is kept as {EARLIER}.")
        )


def _finish(
    console: Any, arguments: argparse.Namespace, corpus: Corpus, run: Run, export: Path | None
) -> None:
    """Write, measure, and then show what came out of a training."""
    model = run.end()
    try:
        if export is not None:
            with bad_input("cannot write to"):
                write(_exported(model, arguments), export)
            report.print_line(console, one_line(f"For other programs: {export}"))
    finally:  # whatever becomes of that file
        _measure(console, arguments, corpus, run)


def _exported(model: LanguageModel, arguments: argparse.Namespace) -> Any:
    whole = model.sequential()
    return whole if arguments.precision is None else whole.freeze(arguments.precision)


def _measure(console: Any, arguments: argparse.Namespace, corpus: Corpus, run: Run) -> None:
    measured = evaluation.measure(console, corpus, run, arguments.seed, arguments.precision)
    try:
        with bad_input("cannot write to"):
            evaluation.write(arguments, corpus, run, measured)
    finally:  # a disk that is full shall not take the figures too
        evaluation.tell(console, measured)
    shown = one_line(str(run.out))
    report.print_line(console, f"In {shown}: {MODEL}, {evaluation.CURVE}, {evaluation.METRICS}")
    report.print_line(console, f"More text: rnncore sample {shown}    More training: --resume")


def _tell_ended(run: Run, what: str, status: int) -> int:
    tell(f"rnncore train: {what}; the model is saved in {run.path}")
    return status


def _tell_diverged(run: Run) -> int:
    where = "there was no model to save" if run.new else f"the last good model is in {run.path}"
    tell(f"rnncore train: diverged, {run.diverged}; {where}; {_ADVICE}")
    return 1
