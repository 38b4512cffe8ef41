"""What came out of a training: measured, written to files, and told."""

import argparse
import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rnncore._commands.curve import draw_curve
from rnncore._commands.learning import Run
from rnncore._console import report
from rnncore._console.command import replacing
from rnncore._console.streams import printable
from rnncore._version import __version__
from rnncore.language_model import LanguageModel
from rnncore.language_model.text import Corpus, compressed_bits
from rnncore.reference.precision import PRECISIONS

METRICS, CURVE = "metrics.json", "curve.png"
_AS_IT_IS, _READING = "this model", "this model, learning on"
_CORE, _TWIN = "rnncore", "rnncore.reference (NumPy)"
_WHEN = {_CORE: f"{_CORE}, in this run", _TWIN: f"{_TWIN}, timed afterwards"}
_LENGTH, _TEMPERATURE = 500, 0.7  # of the sample
_SAMPLES, _STEPS = 3, 5  # that are timed
_READ = 100_000  # characters of the held-back text, by which precisions are compared


class Cost(NamedTuple):
    """What a precision costs, and what it gains."""

    bits: float  # per character of held-back text
    rate: float  # characters a second of generation


@dataclass
class Measured:
    """The figures of a trained model."""

    models: dict[str, float]  # bits per character, of the held-back text
    compressors: dict[str, float]
    step_seconds: dict[str, float]
    precisions: dict[str, Cost]
    read: int  # characters, for those
    sample: str
    precision: str | None  # of what wrote the sample


def measure(console: Any, corpus: Corpus, run: Run, seed: int, precision: str | None) -> Measured:
    """Measure on the held-back text, time a step of the NumPy twin, and draw a sample.

    Raises
    ------
    FloatingPointError if the model tells nothing of that text.
    """
    trainer, text = run.trainer, corpus.held_out
    with report.work(console, "Measuring on the held-back text", 2 * len(text)) as advance:
        models = {_AS_IT_IS: trainer.model.bits_per_character(text, advance=advance)}
        if not math.isfinite(models[_AS_IT_IS]):
            raise FloatingPointError(f"it needs {models[_AS_IT_IS]} bits for a held-back character")
        with contextlib.suppress(FloatingPointError):  # it may well diverge on other text
            models[_READING] = trainer.reading_bits(text, advance=advance)
        compressors = compressed_bits(text)
    step_seconds = {_CORE: float(np.median(run.step_seconds))}
    twin, rate = trainer.copy(reference=True), trainer.optimizer.lr
    timing = report.work(console, f"Timing a step of {_TWIN}", 1 + _STEPS)
    with timing as advance, contextlib.suppress(FloatingPointError):
        step_seconds[_TWIN] = step_time(lambda: twin.step(rate), advance)
    start = text[:_READ]
    precisions = _precisions(console, trainer.model, start, seed)
    writer = trainer.model.freeze(precision)
    drawn = bytes(writer.sample(_LENGTH, temperature=_TEMPERATURE, rng=seed))
    sample = drawn.decode("utf-8", errors="replace")
    return Measured(models, compressors, step_seconds, precisions, len(start), sample, precision)


def _precisions(console: Any, model: LanguageModel, text: Any, seed: int) -> dict[str, Cost]:
    """Of the model as it is, and with recurrent layers of less precision, where it is float32."""
    lower = PRECISIONS if model.dtype == np.float32 else ()
    found, work = {}, (1 + len(lower)) * (len(text) + _SAMPLES * _LENGTH)
    with report.work(console, "Measuring what each precision costs", work) as advance:
        for precision in (None, *lower):
            frozen = model.freeze(precision)
            seconds = []
            for _ in range(_SAMPLES):  # the least is what others disturbed least
                start = time.perf_counter()
                bytes(frozen.sample(_LENGTH, temperature=_TEMPERATURE, rng=seed))
                seconds.append(time.perf_counter() - start)
                advance(_LENGTH)
            bits = frozen.bits_per_character(text, advance=advance)
            found[precision or model.dtype.name] = Cost(bits, _LENGTH / min(seconds))
    return found


def write(arguments: argparse.Namespace, corpus: Corpus, run: Run, measured: Measured) -> None:
    """The numbers and the loss curve, to the folder of the model."""
    metrics = {
        "rnncore": __version__,
        "text": corpus.source,
        "files": corpus.files,
        "left_out": len(corpus.left_out),
        "characters": {
            "train": len(corpus.train),
            "validation": len(corpus.validation),
            "held_out": len(corpus.held_out),
        },
        "model": run.trainer.model.options,
        "training": _training(arguments, run),
        "bits_per_character": {
            "model": measured.models[_AS_IT_IS],
            "model_learning_on": measured.models.get(_READING),
            **measured.compressors,
        },
        "validation_bits_per_character": run.best_bits,
        # Of rnncore the median step of this run, of NumPy that of a few steps after it
        "seconds_per_step": measured.step_seconds,
        "precisions": {
            name: {"bits_per_character": cost.bits, "characters_per_second": cost.rate}
            for name, cost in measured.precisions.items()
        },
        "sample": measured.sample,
    }
    with replacing(run.out / METRICS) as path:
        path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    with replacing(run.out / CURVE) as path:
        draw_curve(path, run.arrays(), measured.models, measured.compressors)


def _training(arguments: argparse.Namespace, run: Run) -> dict[str, Any]:
    return {
        "batch": run.trainer.batch,
        "window": run.trainer.window,
        "lr": arguments.lr,
        "clip": arguments.clip,
        "seed": arguments.seed,
        "stopped_early": bool(run.signals),
        "this_run": {
            "seconds": run.seconds,
            "steps": len(run.step_seconds),
            "characters": run.characters,
            "characters_per_second": run.characters / run.seconds,
        },
        "all_runs": {
            "seconds": run.history["seconds"][-1],
            "characters": run.history["characters"][-1],
            "steps": run.trainer.steps,
        },
    }


def tell(console: Any, measured: Measured) -> None:
    """The tables and a sample."""
    report.print_bits(console, measured.models, measured.compressors)
    report.print_line(
        console,
        "The compressors learn from the held-back text as they read it. The model has learned from"
        " other text, and\nits own size is not counted; learning on, it predicts each window before"
        " it learns from it too.",
    )
    report.print_step_times(
        console, {_WHEN[name]: seconds for name, seconds in measured.step_seconds.items()}
    )
    report.print_precisions(console, measured.precisions, measured.read)
    of = "" if measured.precision is None else f", {measured.precision}"
    report.print_line(console, f"A sample at temperature {_TEMPERATURE}{of}:", style="bold")
    report.print_line(console, printable(measured.sample))


def step_time(
    step: Callable[[], object],
    advance: Callable[[], object] = lambda: None,
    *,
    repeats: int = _STEPS,
    seconds: float = 10.0,
) -> float:
    """The median time of a call, after one to warm up: of so many, or of those that fit in.

    `advance` is called after each.
    """
    step()
    advance()
    times: list[float] = []
    while len(times) < repeats and sum(times) < seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
        advance()
    return float(np.median(times))
