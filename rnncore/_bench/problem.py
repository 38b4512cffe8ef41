"""What is computed: the same weights, inputs and output gradients for every library."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnncore._bench.workloads import KINDS, Workload, shapes_of


@dataclass(frozen=True, eq=False)
class Problem:
    """One layer in one direction and what it reads; parameters as torch names them."""

    cell: str
    dtype: str
    sizes: Workload

    @cached_property
    def params(self) -> dict[str, np.ndarray]:
        _, _, I, H = self.sizes
        shapes = shapes_of(KINDS[self.cell], I, H)
        # Unit scale makes the cells chaotic: two right programs would differ by more than rounding.
        return {f"{k}_l0": self._draw(k, size, 1 / np.sqrt(H)) for k, size in shapes.items()}

    @cached_property
    def x(self) -> np.ndarray:
        return self._draw("x", (self.sizes.T, self.sizes.B, self.sizes.I))

    @cached_property
    def dy(self) -> np.ndarray:
        return self._draw("dy", (self.sizes.T, self.sizes.B, self.sizes.H))

    def in_float64(self) -> "Problem":
        """The same numbers, for a result that rounding hardly touches."""
        same = type(self)(self.cell, "float64", self.sizes)
        params = {name: value.astype(same.dtype) for name, value in self.params.items()}
        same.__dict__.update(params=params, x=self.x.astype(same.dtype))  # as if computed
        return same

    def _draw(self, name: str, size: tuple[int, ...], bound: float = 1.0) -> np.ndarray:
        rng = np.random.default_rng(list(name.encode()))
        return rng.uniform(-bound, bound, size).astype(self.dtype)


class NormalProblem(Problem):
    """With x as data has it more often: a few values of a row are far larger than the others."""

    @cached_property
    def x(self) -> np.ndarray:
        T, B, I, _ = self.sizes
        return np.random.default_rng(7).standard_normal((T, B, I)).astype(self.dtype)
