"""`rnncore train`: a character language model, trained, compared with compressors, and saved."""

import argparse
import contextlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import rnncore
from rnncore import _report
from rnncore._command import bad_input, prepare, printable, require_extra
from rnncore.language_model import LanguageModel, Trainer
from rnncore.text import Corpus, compressed_bits, read_corpus

MODEL, _EARLIER, _METRICS, _CURVE = "model.npz", "model.earlier.npz", "metrics.json", "curve.png"
DEFAULTS = {"cell": "lstm", "layers": 1, "hidden": 160, "embedding": 64, "dtype": "float32"}
BATCH, WINDOW = 8, 48
_AS_IT_IS, _READING = "this model", "this model, learning on"
_WARM_UP = 0.02  # of the time; then the learning rate falls to 0 in a straight line
_SAMPLE = {"length": 500, "temperature": 0.7}


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


def train(arguments: argparse.Namespace) -> int:
    require_extra("rich", "matplotlib")
    from rich.console import Console

    console = Console()
    out = Path(arguments.out)
    with bad_input():
        corpus = read_corpus(arguments.text)
        run = _resumed(arguments, corpus, out) if arguments.resume else _new(arguments, corpus)
    with bad_input("cannot write to"):
        prepare(out)
    _print_start(console, corpus, run.trainer)
    if not arguments.resume and (out / MODEL).exists():
        os.replace(out / MODEL, out / _EARLIER)
        _report.print_line(console, f"The earlier model in {out} is kept as {_EARLIER}.")

    before = sum(run.history["characters"][-1:])
    seconds = _learn(console, run, arguments.seconds, arguments.lr)
    with bad_input("cannot write to"):
        run.trainer.save(out / MODEL, run.arrays())
    characters = run.history["characters"][-1] - before if run.history["characters"] else 0
    ended = "Stopped early" if run.stopped_early else "Trained"
    _report.print_line(
        console,
        f"{ended} after {seconds:.1f} s, {run.trainer.steps:,} steps in all, "
        f"{characters / 1e6:.2f} M characters read; the model is saved.",
    )
    if run.diverged:
        message = (
            f"rnncore train: diverged, {run.diverged}; the last good model is in {out / MODEL}"
        )
        print(f"{message}; try a lower --lr or --clip", file=sys.stderr)
        return 1
    _finish(console, arguments, corpus, run, out, seconds, characters)
    return 0


def _new(arguments: argparse.Namespace, corpus: Corpus) -> _Run:
    options = {
        name: default if getattr(arguments, name) is None else getattr(arguments, name)
        for name, default in DEFAULTS.items()
    }
    model = LanguageModel(**options, rng=arguments.seed)
    trainer = Trainer(
        model,
        corpus.train,
        batch=arguments.batch or BATCH,
        window=arguments.window or WINDOW,
        clip=arguments.clip,
    )
    return _Run(trainer)


def _resumed(arguments: argparse.Namespace, corpus: Corpus, out: Path) -> _Run:
    trainer, history = Trainer.load(
        out / MODEL,
        corpus.train,
        batch=arguments.batch,
        window=arguments.window,
        clip=arguments.clip,
    )
    for name, value in trainer.model.options.items():
        wanted = getattr(arguments, name)
        if wanted is not None and wanted != value:
            raise ValueError(f"{out / MODEL} was trained with --{name} {value}, not {wanted}")
    run = _Run(trainer)
    run.history |= {name: values.tolist() for name, values in history.items()}
    run.seconds_before = sum(run.history["seconds"][-1:])
    return run


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
    with bad_input("cannot write to"):
        (out / _METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        models = {_AS_IT_IS: bits, _READING: reading}
        _report.draw_curve(out / _CURVE, history, models, compressors)
    _report.print_line(console, f"In {out}: {MODEL}, {_CURVE}, {_METRICS}")
    _report.print_line(console, f"More text: rnncore sample {out}    More training: --resume")
