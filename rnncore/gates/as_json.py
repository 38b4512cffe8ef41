"""What was measured, as JSON can hold it."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore.gates.exploding import CLIP, GAIN, LR, Training
from rnncore.gates.learning import Runs
from rnncore.gates.results import Results, last_loss, steps_to_learn
from rnncore.gates.vanishing import geometric_mean
from rnncore.tasks import ADDING_BASELINE


def numbers(results: Results) -> dict[str, Any]:
    """All that was measured, as JSON can hold it."""
    exploded = results.exploding
    return {
        "vanishing": {
            when: {
                cell: {
                    "dh": _plain(geometric_mean(norms.dh)),
                    "dc": None if norms.dc is None else _plain(geometric_mean(norms.dc)),
                }
                for cell, norms in by_cell.items()
            }
            for when, by_cell in results.vanishing.items()
        },
        "exploding": {
            "dh_by_gain": {str(gain): _plain(norms) for gain, norms in exploded.norms.items()},
            "trained": {"gain": GAIN, "rate": LR, "clip": CLIP, "baseline": ADDING_BASELINE},
            "unclipped": _training_numbers(exploded.unclipped),
            "clipped": _training_numbers(exploded.clipped),
        },
        "agreement": {
            "one_distance": {
                cell: {str(distance): _run_numbers(runs) for distance, runs in found.items()}
                for cell, found in results.by_distance.items()
            },
            "passages": {cell: _run_numbers(runs) for cell, runs in results.on_passages.items()},
        },
        "memory": {
            cell: {
                "passage": " ".join(found.words),
                "before_verb": found.before_verb.tolist(),
                "told": list(found.told),
                "right": list(found.right),
                "units": found.units.tolist(),
                "least_correlation": _plain(found.carried),
                "gates_at_subject": {k: _plain(v) for k, v in found.at_subject.items()},
                "gates_between": {k: _plain(v) for k, v in found.between.items()},
                "update_below_0.1_between": _plain(found.shut_between),
                "gates": {name: _plain(values) for name, values in found.gates.items()},
                "memory": _plain(found.memory),
            }
            for cell, found in results.memory.items()
        },
    }


def _training_numbers(training: Training) -> dict[str, Any]:
    return {
        "diverged_at": training.diverged,
        "updates": len(training.losses),
        "first_losses": _plain(training.losses[:5]),
        "last_loss": last_loss(training),
        "first_norms": _plain(training.norms[:5]),
        "largest_norm": float(training.norms.max(initial=0.0)),
    }


def _run_numbers(runs: Runs) -> dict[str, Any]:
    return {
        "validation_loss_by_rate": _plain(runs.validation),
        "rate": runs.rate,
        "steps": [len(losses) for losses in runs.losses],
        "steps_to_learn": [steps_to_learn(losses) for losses in runs.losses],
        "accuracy": runs.accuracy.tolist(),
        "mean": float(runs.accuracy.mean()),
        "standard_deviation": float(runs.accuracy.std(ddof=1)),
    }


def _plain(values: np.ndarray) -> list[Any]:
    """Lists of floats, with the digits that mean something."""
    return [_plain(value) if np.ndim(value) else float(f"{value:.6g}") for value in values]
