"""A character language model, and its training by truncated backpropagation through time.

A character is a byte: the vocabulary is all 256 of them, whatever the text, so that no text is out
of range and the bits per character are those that a compressor of the same file would need.
"""

import copy
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._common.groups import flatten
from rnncore._common.places import first_names
from rnncore._common.sealed import Sealed
from rnncore.language_model import files, reading
from rnncore.language_model.files import CELLS, VOCABULARY
from rnncore.language_model.reading import Advance, streams_for
from rnncore.language_model.text import as_streams
from rnncore.layers import storage
from rnncore.layers.on_reference import on_reference
from rnncore.layers.parameters import LATER
from rnncore.train.clipping import clip_grad_norm
from rnncore.train.heads import Embedding, Linear, softmax_cross_entropy
from rnncore.train.optim import Adam

__all__ = ["CELLS", "KIND", "LanguageModel", "Step", "Trainer", "as_streams"]

KIND = "LanguageModel"

_EVALUATION_STREAMS = 16
_EVALUATION_WINDOW = 256
# Of reading_bits: few streams and short windows, so that what is learned helps soon
_READING_STREAMS, _READING_WINDOW, _READING_RATE = 4, 32, 2e-3


class LanguageModel(Sealed):
    """``logits = Linear(recurrent layers(Embedding(bytes)))``, time first.

    Parameters
    ----------
    cell : "lstm", "gru" or "rnn"
    layers, hidden, embedding : int
        Recurrent layers, their units, and the length of the vector that stands for a character.
    dtype : float32 or float64
    rng : None, int or numpy.random.Generator
        The initial parameters come from it.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.
    """

    _fixed = ("cell", "dtype", "embedding", "recurrent", "head")

    def __init__(
        self,
        cell: str = "lstm",
        *,
        layers: int = 1,
        hidden: int = 160,
        embedding: int = 64,
        dtype: Any = np.float32,
        rng: int | np.random.Generator | None = None,
    ):
        self.cell = _check.choice("cell", cell, tuple(CELLS))
        self.dtype = _check.float_dtype("dtype", dtype)
        for name, size in (("layers", layers), ("hidden", hidden), ("embedding", embedding)):
            _check.size(name, size)
        if rng is not LATER:
            rng = _check.generator("rng", rng)
        self.embedding = Embedding(VOCABULARY, embedding, dtype=dtype, rng=rng)
        self.recurrent = CELLS[cell](embedding, hidden, layers, dtype=dtype, rng=rng)
        self.head = Linear(hidden, VOCABULARY, dtype=dtype, rng=rng)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, but for `rng`, that make a model like this one."""
        return {
            "cell": self.cell,
            "layers": self.recurrent.num_layers,
            "hidden": self.recurrent.hidden_size,
            "embedding": self.embedding.embedding_dim,
            "dtype": self.dtype.name,
        }

    @property
    def params(self) -> list[dict[str, np.ndarray]]:
        """The parameters of the three parts, for an optimiser."""
        return [part.params for part in self._parts.values()]

    def __call__(self, text: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        """Logits for the character after each of `text`, (T, B) -> (T, B, 256); the final state."""
        y, state = self.recurrent(self.embedding(text), state)
        return self.head(y), state

    def gradients(
        self, text: np.ndarray, following: np.ndarray, state: Any = None
    ) -> tuple[float, list[dict[str, np.ndarray]], Any]:
        """The loss on a window, its gradients, and the state to start the next window with.

        Parameters
        ----------
        text, following : (T, B) arrays of bytes
            The characters to read, and for each the one to predict.
        state : of the recurrent layers, zeros by default
            A constant: the gradient goes back to the start of the window and no further.

        Returns
        -------
        The mean loss in nats, gradients in the form of `params`, and the final state.
        """
        vectors, embedding_trace = self.embedding.forward(text)
        y, state, recurrent_trace = self.recurrent.forward(vectors, state)
        logits, head_trace = self.head.forward(y)
        loss, dlogits = softmax_cross_entropy(logits, following)
        head = self.head.backward(head_trace, dlogits)
        recurrent = self.recurrent.backward(recurrent_trace, head.x)
        embedding = self.embedding.backward(embedding_trace, recurrent.x)
        return loss, [embedding.params, recurrent.params, head.params], state

    def bits_per_character(self, text: np.ndarray, *, advance: Advance | None = None) -> float:
        """What the model needs to tell each character of `text` from what came before it.

        The text is read as up to 16 parallel streams, each from a state of zeros and from the
        character before its first. Fewer than 16 characters at the end may be left over.

        Parameters
        ----------
        text : array of bytes, at least two
        advance : callable, optional
            Called after each window with the number of characters that were told.

        Raises
        ------
        ValueError, TypeError
            If `text` is not what is described above.
        """
        total, state, count = 0.0, None, 0
        for ids, targets in reading.windows(text, _EVALUATION_STREAMS, _EVALUATION_WINDOW):
            logits, state = self(ids, state)
            total += softmax_cross_entropy(logits, targets)[0] * ids.size
            count += ids.size
            if advance:
                advance(ids.size)
        return total / count / math.log(2)

    def sample(
        self,
        length: int,
        *,
        prompt: bytes = b"\n",
        temperature: float = 1.0,
        rng: int | np.random.Generator | None = None,
    ) -> Iterator[int]:
        """Draw `length` characters after `prompt`, one by one as they are asked for.

        Each is drawn from ``softmax(logits / temperature)`` and read as the next input. Below 1 the
        likely ones become likelier; at 0 the likeliest is always taken. A temperature above 0 is at
        least 1e-6.

        Raises
        ------
        ValueError, TypeError
            If an argument is out of range, or the prompt is empty; and while drawing, if the model
            tells nothing: a logit is NaN or infinity. Minus infinity is no chance at all.
        """
        length = _check.size("length", length, minimum=0)
        if not _check.instance("prompt", prompt, bytes):
            raise ValueError("prompt is empty, expected at least one character")
        temperature = reading.temperature(temperature)
        rng = _check.generator("rng", rng)
        return reading.written(self, length, np.frombuffer(prompt, np.uint8), temperature, rng)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a .npz file; see `rnncore.layers.storage.save_arrays`."""
        storage.save_arrays(path, KIND, {"model": self.options}, self.arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "LanguageModel":
        """Read what `save` or `Trainer.save` wrote.

        Raises
        ------
        OSError, ValueError
            If there is no such file, or it holds something else or a part of it is missing or
            wrong, that of the training included; the message names the path.
        """
        options, arrays, _ = files.read(path, KIND)
        return cls._of_arrays(options["model"], arrays)

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters as ``"part.name"``."""
        return {
            f"{part}.{name}": array
            for part, layer in self._parts.items()
            for name, array in layer.params.items()
        }

    @classmethod
    def _of_arrays(
        cls, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "LanguageModel":
        """Undo `options` and `arrays`, which `files.check` has found to be right."""
        model = cls(**options, rng=LATER)
        for part, layer in model._parts.items():
            layer.params = files.below(part, arrays)
        return model

    @property
    def _parts(self) -> dict[str, Any]:
        return {"embedding": self.embedding, "recurrent": self.recurrent, "head": self.head}


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
        self, model: LanguageModel, text: np.ndarray, *, batch: int, window: int, clip: float
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
        self._text = zlib.crc32(np.ascontiguousarray(text))
        self._position = 0
        self._state: Any = None
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

    def reading_bits(self, text: np.ndarray, *, advance: Advance | None = None) -> float:
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

    def _learn(self, ids: np.ndarray, targets: np.ndarray, lr: float) -> Step:
        self.optimizer.lr = lr
        loss, grads, state = self.model.gradients(ids, targets, self._state)
        norm = clip_grad_norm(grads, self.clip)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}")
        self.optimizer.step(grads)
        self._state = state
        return Step(loss / math.log(2), norm)

    def copy(self, *, reference: bool = False) -> "Trainer":
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
        self, path: str | os.PathLike[str], history: dict[str, np.ndarray] | None = None
    ) -> None:
        """Write the model and all that `load` needs to go on; `history` comes back as it is.

        Parameters
        ----------
        path : ends in .npz or .safetensors
        history : dict of arrays, optional
            Finite numbers, (steps,), all of one length.

        Raises
        ------
        OSError, ValueError, TypeError
            As `rnncore.layers.storage.save_arrays`, and if `history` is not what is described
            above.
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
        arrays |= files.training_arrays(self.optimizer.state, self._state, history)
        storage.save_arrays(path, KIND, options, arrays)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        text: np.ndarray,
        *,
        clip: float,
        batch: int | None = None,
        window: int | None = None,
    ) -> tuple["Trainer", dict[str, np.ndarray]]:
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
