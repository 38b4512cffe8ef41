"""Numbers brought to mean 0 and deviation 1: measured and done in float64, rounded once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rnncore._common.quiet import quiet
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.linear import Linear

_BLOCK = 2**18  # numbers that are worked on at a time


class Scaling(NamedTuple):
    """The mean and the deviation of columns, (F,) arrays of float64."""

    mean: np.ndarray
    deviation: np.ndarray

    @quiet
    def scaled(self, rows: list[np.ndarray], dtype: Any) -> list[np.ndarray]:
        """Of arrays (T_i, F); views of one array in `dtype`."""
        whole = np.empty((sum(map(len, rows)), len(self.mean)), dtype)
        for at, block in _blocks(rows):
            whole[at] = (block - self.mean) / self.deviation
        return np.split(whole, np.cumsum([len(row) for row in rows[:-1]]))

    @quiet
    def undone(self, y: np.ndarray) -> np.ndarray:
        """What was scaled to y (..., F), in float64."""
        found: np.ndarray = y.astype(np.float64) * self.deviation + self.mean
        return found

    @quiet
    def layers(self, dtype: Any) -> dict[str, BatchNorm]:
        """The same as layers, which lose no more than a few digits of the last place.

        One that takes the mean away comes first: x and a large mean are close, and their difference
        is exact. What the mean itself lost when it was rounded to `dtype` is in the second's bias.
        """
        eps = float(np.finfo(np.float32).tiny)  # nothing beside the variance, which is 1
        centre = BatchNorm(len(self.mean), eps=eps, affine=False, dtype=dtype)
        centre.buffers["running_mean"][...] = self.mean
        scale = BatchNorm(len(self.mean), eps=eps, dtype=dtype)
        scale.params["weight"][...] = 1 / self.deviation
        scale.params["bias"][...] = (centre.buffers["running_mean"] - self.mean) / self.deviation
        return {"centre": centre, "scale": scale}

    @quiet
    def undone_in(self, head: Linear) -> Linear:
        """A layer that gives what was scaled to the outputs of `head`."""
        whole = Linear(head.in_features, head.out_features, dtype=head.dtype, rng=0)
        own = head.params
        whole.params["weight"][...] = own["weight"] * self.deviation[:, np.newaxis]
        whole.params["bias"][...] = own["bias"] * self.deviation + self.mean
        return whole


@quiet
def scaling_of(rows: list[np.ndarray], weights: np.ndarray | None, dtype: Any) -> Scaling:
    """That of arrays (T_i, F), each with its weight.

    What is the same at all steps keeps its size: by the rule of scikit-learn's `StandardScaler`,
    where rounding in float64 alone would differ as much, and below what `dtype` holds.
    """
    steps = np.array([len(row) for row in rows])
    of_step = None if weights is None else np.repeat(weights.astype(np.float64), steps)
    mass = float(steps.sum() if of_step is None else of_step.sum())
    # In parts of the largest number, whose squares neither overflow nor vanish.
    peak = np.max([abs(block).max(axis=0) for _, block in _blocks(rows)], axis=0)
    peak[peak == 0] = 1.0

    def mean_of(shift: Any, power: int) -> np.ndarray:
        found = np.zeros(len(peak))
        for at, block in _blocks(rows):
            each = (block / peak - shift) ** power
            found += (each if of_step is None else each * of_step[at, np.newaxis]).sum(axis=0)
        return found / mass

    mean = mean_of(0.0, 1)
    mean += mean_of(mean, 1)  # what was lost in the first sum
    var = mean_of(mean, 2)
    eps = float(np.finfo(np.float64).eps)
    deviation = np.sqrt(var) * peak
    least = float(np.finfo(dtype).tiny)
    N = steps.sum()
    same = var <= N * eps * var + (N * mean * eps) ** 2
    deviation[same | (deviation < least)] = 1.0
    return Scaling(mean * peak, deviation)


def _blocks(rows: list[np.ndarray]) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows at a time in float64, and where their steps are among all."""
    some: list[np.ndarray] = []
    begin = end = 0
    for k, row in enumerate(rows, 1):
        some.append(row)
        end += len(row)
        if (end - begin) * row.shape[1] >= _BLOCK or k == len(rows):
            yield slice(begin, end), np.concatenate(some, dtype=np.float64)
            some, begin = [], end
