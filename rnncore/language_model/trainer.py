"""The training of a language model, by truncated backpropagation through time."""

from __future__ import annotations

import copy
import math
import os
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore import _check
from rnncore._common.groups import flatten
from rnncore._common.places import first_names
from rnncore._common.sealed import Sealed
from rnncore.language_model import files, reading
from rnncore.language_model.model import KIND, LanguageModel
from rnncore.language_model.reading import Advance, streams_for
from rnncore.layers import storage
from rnncore.layers.on_reference import on_reference
from rnncore.layers.results import State
from rnncore.train.clipping import clip_grad_norm
from rnncore.train.optim import Adam

# Of reading_bits: few streams and short windows, so that what is learned helps soon
_READING_STREAMS, _READING_WINDOW, _READING_RATE = 4, 32, 2e-3


class Step(NamedTuple):
    """What one training step tells."""

    bits: float  # per character, of the window before the step
    grad_norm: float  # before clipping


class Trainer(Sealed):
    """Adam over windows of a text, whose state is carried from window to window.

    The text is cut into `batch` streams that are read side by side. A step reads the next `window`
    characters of each, starts from the state that the last step ended with, and goes back through
    the window only (truncated backpropagation through time). At the end of the streams it starts
    again at their beginning, from a state of zeros.

    Parameters
    ----------
    model : LanguageModel
        Changed in place.
    text : array of bytes
    batch, window : int
    clip : float
        The longest gradient norm to allow, see `clip_grad_norm`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above, or the text is too short for one window of
        each stream.
    """

    _fixed = ("model", "batch", "window", "clip", "optimizer")

    def __init__(
        self, model: LanguageModel, text: NDArray[np.uint8], *, batch: int, window: int, clip: float
    ):
        self.model = _check.instance("model", model, LanguageModel)
        self.batch = _check.size("batch", batch)
        self.window = _check.size("window", window)
        self.clip = _check.positive("clip", clip)
        names = first_names("model", flatten("model", {**model.arrays()}))
        if tied := [name for name, first in names.items() if name != first]:
            raise ValueError(
                f"{tied[0]} and {names[tied[0]]} of the model are one array, expected two: the file"
                " of a training does not tell"
            )
        self._ids, self._targets = streams_for(text, self.batch, self.window)
        self._text = zlib.crc32(np.ascontiguousarray(text).data)
        self._position = 0
        self._state: State | None = None
        self.optimizer = Adam(model.params, betas=(0.9, 0.99))

    @property
    def steps(self) -> int:
        """Steps taken, those of the runs before this one included."""
        return self.optimizer.steps

    def step(self, lr: float) -> Step:
        """Learn from the next window.

        Raises
        ------
        FloatingPointError
            If the loss or a gradient is not finite; the parameters are as they were.
        ValueError, TypeError
            If `lr` is no learning rate; nothing has been changed.
        """
        if self._position + self.window > len(self._ids):
            self._position, self._state = 0, None
        window = slice(self._position, self._position + self.window)
        step = self._learn(self._ids[window], self._targets[window], lr)
        self._position += self.window
        return step

    def reading_bits(self, text: NDArray[np.uint8], *, advance: Advance | None = None) -> float:
        """Bits per character of `text` for a copy of the model that learns on as it reads.

        Each window is predicted first and learned from afterwards, so a decoder could follow: this
        is what an adaptive compressor such as xz does, and is known as dynamic evaluation (Krause,
        Kahembwe, Murray and Renals 2018). The text is read as up to 4 parallel streams.

        Parameters
        ----------
        text, advance : as `LanguageModel.bits_per_character` has them

        Raises
        ------
        FloatingPointError
            If the loss or a gradient is not finite.
        ValueError, TypeError
            If `text` is no array of at least two bytes.
        """
        reader = self.copy()
        reader._state = None
        total, count = 0.0, 0
        for ids, targets in reading.windows(text, _READING_STREAMS, _READING_WINDOW):
            total += reader._learn(ids, targets, _READING_RATE).bits * ids.size
            count += ids.size
            if advance:
                advance(ids.size)
        return total / count

    def _learn(self, ids: NDArray[np.uint8], targets: NDArray[np.uint8], lr: float) -> Step:
        self.optimizer.lr = lr
        loss, grads, state = self.model.gradients(ids, targets, self._state)
        norm = clip_grad_norm(grads, self.clip)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}")
        self.optimizer.step(grads)
        self._state = state
        return Step(loss / math.log(2), norm)

    def copy(self, *, reference: bool = False) -> Trainer:
        """A trainer that goes its own way from here, and computes on the NumPy reference if so."""
        model = copy.deepcopy(self.model)
        if _check.flag("reference", reference):
            vars(model)["recurrent"] = on_reference(model.recurrent)
        optimizer = Adam(model.params, betas=self.optimizer.betas)
        optimizer.load_state(self.optimizer.state)
        twin = copy.copy(self)
        vars(twin).update(model=model, optimizer=optimizer)
        return twin

    def save(
        self,
        path: str | os.PathLike[str],
        history: dict[str, np.ndarray] | None = None,
        best: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write the model and all that `load` needs to go on; `history` comes back as it is.

        Parameters
        ----------
        path : ends in .npz or .safetensors
        history : dict of arrays, optional
            Finite numbers, (steps,), all of one length.
        best : dict of arrays as `LanguageModel.arrays` gives them, optional
            Parameters that `LanguageModel.load` takes instead of those that training goes on with,
            such as an earlier copy of them.

        Raises
        ------
        OSError, ValueError, TypeError
            As `rnncore.layers.storage.save_arrays`, and if `history` or `best` is not what is
            described above.
        """
        history = dict(_check.instance("history", history or {}, Mapping))
        files.check_history(history)
        options = {
            "model": self.model.options,
            "training": files.Training(
                self.batch, self.window, self._position, self._text
            )._asdict(),
        }
        arrays = self.model.arrays()
        best = dict(_check.instance("best", best or {}, Mapping))
        files.check_best(best, {name: a.shape for name, a in arrays.items()}, self.model.dtype)
        arrays |= files.training_arrays(self.optimizer.state, self._state, history, best)
        storage.save_arrays(path, KIND, options, arrays)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        text: NDArray[np.uint8],
        *,
        clip: float,
        batch: int | None = None,
        window: int | None = None,
    ) -> tuple[Trainer, dict[str, np.ndarray]]:
        """Go on from what `save` wrote; also gives back the history.

        `batch` and `window` are the saved ones by default. With the same text and batch, the next
        step is the one that would have come, bit for bit; otherwise the streams are read from their
        beginning.

        Raises
        ------
        OSError, ValueError
            As `LanguageModel.load`, if the model was saved without what training needs, if its
            parameters are not finite, and if the text is too short.
        """
        options, arrays, saved = files.read(path, KIND)
        if saved is None:
            raise ValueError(f"{path} holds a model without the state of its training")
        model = LanguageModel._of_arrays(options["model"], arrays)
        files.check_parameters(path, model.arrays())
        batch = saved.batch if batch is None else batch
        window = saved.window if window is None else window
        try:
            trainer = cls(model, text, batch=batch, window=window, clip=clip)
        except ValueError as error:
            raise ValueError(f"{path} cannot go on: {error}") from error
        trainer.optimizer.load_state(files.below("optimizer", arrays))
        if saved.text == trainer._text and saved.batch == trainer.batch:
            trainer._position = saved.position_in(path, len(trainer._ids))
            trainer._state = files.carried_state(arrays)
        return trainer, files.below("history", arrays)
