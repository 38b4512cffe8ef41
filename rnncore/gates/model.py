"""What reads the sentences: embedding, one recurrent layer, and two logits before each verb."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from rnncore.agreement import VERBS, VOCABULARY, Batch
from rnncore.layers import GRU, LSTM, RNN
from rnncore.models.embedding import Embedding
from rnncore.models.linear import Linear
from rnncore.train.clipping import clip_grad_norm
from rnncore.train.losses import softmax_cross_entropy
from rnncore.train.optim import Adam

CHRONO = ("chrono", 50)  # the longest distance, whatever a network is trained on
CELLS: dict[str, Callable[..., Any]] = {
    "RNN": RNN,
    "GRU": GRU,
    "LSTM": LSTM,
    "LSTM with peepholes": partial(LSTM, peephole="current"),
    "GRU, chrono": partial(GRU, bias_init=CHRONO),
    "LSTM, chrono": partial(LSTM, bias_init=CHRONO),
}

TIMED = ("GRU, chrono", "LSTM, chrono")  # those that start with time scales

CLIP = 1.0  # the longest gradient, for every cell
LAST = 20  # losses whose mean tells what a training has reached


class Reader:
    """``logits = Linear(h)``, h the state after the word before a verb: was or were?"""

    def __init__(
        self,
        cell: str,
        hidden: int,
        embedding: int,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ):
        self.embedding = Embedding(len(VOCABULARY), embedding, dtype=dtype, rng=rng)
        self.recurrent = CELLS[cell](embedding, hidden, dtype=dtype, rng=rng)
        self.head = Linear(hidden, len(VERBS), dtype=dtype, rng=rng)

    @property
    def params(self) -> list[dict[str, np.ndarray]]:
        return [self.embedding.params, self.recurrent.params, self.head.params]

    def __call__(self, batch: Batch) -> np.ndarray:
        """The logits of was and were for each verb of each row, (K, B, 2)."""
        y, _ = self.recurrent(self.embedding(batch.words))
        return self.head(y[batch.before_verb])

    def loss(self, batch: Batch) -> float:
        """The mean loss in nats."""
        return softmax_cross_entropy(self(batch), batch.number)[0]

    def accuracy(self, batch: Batch) -> float:
        """The fraction of verbs that get the larger logit."""
        return float((self(batch).argmax(axis=-1) == batch.number).mean())

    def gradients(self, batch: Batch) -> tuple[float, list[dict[str, np.ndarray]]]:
        """The loss, and its gradients in the form of `params`."""
        vectors, embedding_trace = self.embedding.forward(batch.words)
        y, _, recurrent_trace = self.recurrent.forward(vectors)
        logits, head_trace = self.head.forward(y[batch.before_verb])
        loss, dlogits = softmax_cross_entropy(logits, batch.number)
        head = self.head.backward(head_trace, dlogits)
        dy = np.zeros_like(y)
        dy[batch.before_verb] = head.x
        recurrent = self.recurrent.backward(recurrent_trace, dy)
        embedding = self.embedding.backward(embedding_trace, recurrent.x)
        return loss, [embedding.params, recurrent.params, head.params]


def train(reader: Reader, batches: Iterable[Batch], lr: float, enough: float = 0.0) -> list[float]:
    """One step of Adam for each batch, the gradient clipped to `CLIP`; gives the losses.

    The training ends before its batches do where the mean of the last `LAST` losses is below
    `enough`.
    """
    optimizer = Adam(reader.params, lr=lr)
    losses = []
    for batch in batches:
        loss, grads = reader.gradients(batch)
        clip_grad_norm(grads, CLIP)
        optimizer.step(grads)
        losses.append(loss)
        if enough and len(losses) >= LAST and sum(losses[-LAST:]) < LAST * enough:
            break
    return losses
