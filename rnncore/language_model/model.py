"""A character language model.

A character is a byte: the vocabulary is all 256 of them, whatever the text, so that no text is out
of range and the bits per character are those that a compressor of the same file would need.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnncore import _check
from rnncore._common.sealed import Sealed
from rnncore.language_model import files, reading
from rnncore.language_model.files import CELLS, VOCABULARY, Options
from rnncore.language_model.reading import Advance
from rnncore.layers import storage
from rnncore.layers.frozen import Frozen
from rnncore.layers.parameters import LATER
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.layers.results import State
from rnncore.models.embedding import Embedding
from rnncore.models.linear import Linear
from rnncore.models.sequential import Sequential
from rnncore.train.losses import softmax_cross_entropy

KIND = "LanguageModel"

_EVALUATION_STREAMS, _EVALUATION_WINDOW = 16, 256


class Reader:
    """What reads a text, and tells how likely every character is to come next."""

    embedding: Embedding
    recurrent: Any  # a recurrent layer, frozen or not
    head: Linear

    def __call__(
        self, text: NDArray[np.uint8], state: State | None = None
    ) -> tuple[np.ndarray, State]:
        """Logits for the character after each of `text`, (T, B) -> (T, B, 256); the final state."""
        y, state = self.recurrent(self.embedding(text), state)
        return self.head(y), state

    def bits_per_character(
        self, text: NDArray[np.uint8], *, advance: Advance | None = None
    ) -> float:
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
        total, count = 0.0, 0
        state: State | None = None
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


class FrozenModel(Reader):
    """A language model that does not learn, made by `LanguageModel.freeze`."""

    def __init__(self, embedding: Embedding, recurrent: Frozen[Any], head: Linear) -> None:
        self.embedding, self.recurrent, self.head = embedding, recurrent, head


class LanguageModel(Reader, Sealed):
    """``logits = Linear(recurrent layers(Embedding(bytes)))``, time first.

    Parameters
    ----------
    cell : "lstm", "gru", "rnn", "indrnn" or "layer_norm_lstm"
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
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ):
        self.cell = _check.choice("cell", cell, tuple(CELLS))
        self.dtype = _check.float_dtype("dtype", dtype)
        for name, size in (("layers", layers), ("hidden", hidden), ("embedding", embedding)):
            _check.size(name, size)
        if rng is not LATER:
            rng = _check.generator("rng", rng)
        self.embedding = Embedding(VOCABULARY, embedding, dtype=dtype, rng=rng)
        layer = CELLS[cell]
        self.recurrent: RecurrentLayer[Any] = layer(embedding, hidden, layers, dtype=dtype, rng=rng)
        self.head = Linear(hidden, VOCABULARY, dtype=dtype, rng=rng)

    @property
    def options(self) -> Options:
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

    def expect(self, text: NDArray[np.uint8]) -> None:
        """Let the head begin with how often each character comes in `text`.

        That is what can be told without memory, and a training begins with what memory adds: for a
        character that comes n times in N, ``bias = log((n + 1) / (N + 256))``.

        Parameters
        ----------
        text : (N,) array of bytes

        Raises
        ------
        ValueError, TypeError
            If `text` is not what is described above; nothing has been changed.
        """
        text = _check.array("text", text, ("N",), dtype=np.dtype(np.uint8))
        counts = np.bincount(text, minlength=VOCABULARY) + 1.0
        self.head.params["bias"][...] = np.log(counts / counts.sum())

    def gradients(
        self, text: NDArray[np.uint8], following: NDArray[np.uint8], state: State | None = None
    ) -> tuple[float, list[dict[str, np.ndarray]], State]:
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

    def freeze(self, precision: str | None = None) -> FrozenModel:
        """What reads and writes as this model does now, with recurrent layers of this precision.

        Raises
        ------
        ValueError as `freeze` of a layer.
        """
        embedding, head = copy.copy(self.embedding), copy.copy(self.head)
        for part in (embedding, head):
            part.params = {name: value.copy() for name, value in part.params.items()}
        return FrozenModel(embedding, self.recurrent.freeze(precision), head)

    def sequential(self) -> Sequential:
        """The same layers, with the same arrays, as a model that every converter takes."""
        return Sequential(embedding=self.embedding, recurrent=self.recurrent, head=self.head)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a .npz file; see `rnncore.layers.storage.save_arrays`."""
        storage.save_arrays(path, KIND, {"model": self.options}, self.arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LanguageModel:
        """Read what `save` or `Trainer.save` wrote, of that the best parameters.

        Raises
        ------
        OSError, ValueError
            If there is no such file, or it holds something else or a part of it is missing or
            wrong, that of the training included; the message names the path.
        """
        options, arrays, _ = files.read(path, KIND)
        return cls._of_arrays(options["model"], files.of_reader(arrays))

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters as ``"part.name"``."""
        return {
            f"{part}.{name}": array
            for part, layer in self._parts.items()
            for name, array in layer.params.items()
        }

    @classmethod
    def _of_arrays(cls, options: Options, arrays: Mapping[str, np.ndarray]) -> LanguageModel:
        """Undo `options` and `arrays`, which `files.check` has found to be right."""
        model = cls(**options, rng=LATER)
        for part, layer in model._parts.items():
            layer.params = files.below(part, arrays)
        return model

    @property
    def _parts(self) -> dict[str, Embedding | RecurrentLayer[Any] | Linear]:
        return {"embedding": self.embedding, "recurrent": self.recurrent, "head": self.head}
