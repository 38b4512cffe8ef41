"""What a training pass drops and keeps, drawn from the generator of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore._engine.batch import Masks
from rnncore.layers.results import Array


@dataclass(frozen=True)
class Dropout:
    """The shares that a layer drops: between layers, of the h that is read, and by zoneout."""

    dropout: float
    recurrent_dropout: float
    zoneout: float
    dtype: np.dtype[Any]
    rng: np.random.Generator

    def drawn(
        self, layers: int, directions: int, T: int, B: int, widths: tuple[int, ...]
    ) -> tuple[list[Array | None], list[Masks | None]]:
        """For all layers but the first what their inputs are multiplied with; and all masks.

        They are drawn before anything is computed, layer by layer and direction by direction.
        """
        drops, masks = [], []
        for layer in range(layers):
            if layer > 0:
                drops.append(self.between((T, B, directions * widths[0])))
            for _ in range(directions):
                masks.append(self.masks(T, B, widths))
        return drops, masks

    def between(self, shape: tuple[int, ...]) -> Array | None:
        """What to multiply the inputs of the next layer with."""
        if not self.dropout:
            return None
        return self._drawn(1 - self.dropout, shape, 1 / (1 - self.dropout))

    def masks(self, T: int, B: int, widths: tuple[int, ...]) -> Masks | None:
        """Of one layer and direction and one batch of sequences."""
        if not self.recurrent_dropout and not self.zoneout:
            return None
        h_mask = None
        keeps: tuple[Array | None, ...] = (None,) * len(widths)
        if self.recurrent_dropout:
            kept = 1 - self.recurrent_dropout
            h_mask = self._drawn(kept, (B, widths[0]), 1 / kept)
        if self.zoneout:
            keeps = tuple([self._drawn(self.zoneout, (T, B, width)) for width in widths])
        return Masks(h_mask, keeps)

    def like_masks(self, T: int, B: int, widths: tuple[int, ...]) -> Masks:
        """Arrays without memory of the shapes of such masks: nothing is drawn."""
        zero = np.zeros((), self.dtype)
        h_mask = np.broadcast_to(zero, (B, widths[0])) if self.recurrent_dropout else None
        keeps = [np.broadcast_to(zero, (T, B, width)) if self.zoneout else None for width in widths]
        return Masks(h_mask, tuple(keeps))

    def _drawn(self, share: float, shape: tuple[int, ...], scale: float = 1.0) -> Array:
        """`scale` where what happens to `share` of all happens, else 0."""
        drawn = np.where(self.rng.random(shape, np.float32) < share, scale, 0).astype(self.dtype)
        drawn.flags.writeable = False
        return drawn
