"""One table of the layers of models that have no state: a new one is a new row."""

from typing import Any, NamedTuple

import numpy as np

from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.over_time import OverTime
from rnncore.models.pool import Pool
from rnncore.models.reverse import Reverse

T, B, C, IDS = 7, 4, 5, 6


class Case(NamedTuple):
    """A layer by its class and options, and how wide what it reads is."""

    kind: type
    sizes: tuple[Any, ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012  nobody writes to it
    width: int = C

    @property
    def over_time(self):
        return issubclass(self.kind, OverTime)

    @property
    def of_ids(self):
        return self.kind is Embedding

    def part(self, dtype=np.float64, batch_first=False):
        """The layer, with parameters and buffers that are not what they start with."""
        options, rng = dict(self.options), np.random.default_rng(7)
        if self.kind in (Linear, Embedding, LayerNorm, BatchNorm, Conv1d):
            options["dtype"] = dtype
        if self.kind in (Linear, Embedding, Conv1d, Dropout):
            options["rng"] = 0
        if self.over_time and batch_first:
            options["batch_first"] = True
        part = self.kind(*self.sizes, **options)
        for arrays in (part.params, part.buffers):
            for array in arrays.values():
                array += rng.uniform(0.1, 0.5, array.shape).astype(array.dtype)
        return part

    def layout(self, batch_first):
        """What a call is told of the layout; a layer over time has that as an option."""
        return {"batch_first": True} if batch_first and not self.over_time else {}

    def x(self, rng, *leading, dtype=np.float64):
        if self.of_ids:
            return rng.integers(0, IDS, leading)
        return rng.standard_normal((*leading, self.width)).astype(dtype)


FUNCTIONS = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    ("affine", 0.5, 0.25),
    ("hard_sigmoid", 1 / 6, 0.5),
    "softsign",
    "softplus",
    ("leaky_relu", 0.2),
    ("thresholded_relu", 0.3),
    ("scaled_tanh", 1.7159, 0.6667),
    ("elu", 0.7),
    ("celu", 1.5),
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "relu6",
    ("hard_tanh", -0.5, 0.8),
    "hard_swish",
    "log_sigmoid",
    "exponential",
    "softmax",
    "log_softmax",
)


def _name(function):
    return function if isinstance(function, str) else function[0]


PARTS = {
    "Linear": Case(Linear, (C, 3)),
    "Linear without bias": Case(Linear, (17, 33), {"bias": False}, 17),
    "Embedding": Case(Embedding, (IDS, 3)),
    **{f"Activation {_name(f)}": Case(Activation, (f,)) for f in FUNCTIONS},
    "Activation softmax of 33": Case(Activation, ("softmax",), {}, 33),
    "Dropout": Case(Dropout, (0.3,)),
    "Dropout of nothing": Case(Dropout, (0.0,)),
    "LayerNorm": Case(LayerNorm, (C,)),
    "LayerNorm of 33": Case(LayerNorm, (33,), {"eps": 0.1}, 33),
    "LayerNorm of 17, plain": Case(LayerNorm, (17,), {"affine": False}, 17),
    "BatchNorm": Case(BatchNorm, (C,)),
    "BatchNorm of 33": Case(BatchNorm, (33,), {"eps": 0.1, "momentum": 0.3}, 33),
    "BatchNorm, plain": Case(BatchNorm, (C,), {"affine": False}),
    "Conv1d": Case(Conv1d, (C, 3, 3)),
    "Conv1d of one step": Case(Conv1d, (17, 33, 1), {}, 17),
    "Conv1d same": Case(Conv1d, (C, 3, 4), {"padding": "same", "bias": False}),
    "Conv1d same, strided": Case(Conv1d, (C, 2, 3), {"padding": "same", "stride": 2}),
    "Conv1d same, dilated": Case(
        Conv1d, (C, 2, 2), {"padding": "same", "stride": 3, "dilation": 2}
    ),
    "Conv1d causal": Case(Conv1d, (C, 3, 3), {"padding": "causal"}),
    "Conv1d causal, dilated": Case(
        Conv1d, (33, 2, 2), {"padding": "causal", "stride": 2, "dilation": 3}, 33
    ),
    "Conv1d padded": Case(Conv1d, (C, 3, 3), {"padding": 1, "stride": 2}),
    "Conv1d padded unevenly": Case(Conv1d, (C, 3, 2), {"padding": (3, 0), "dilation": 2}),
    **{f"Pool {kind}": Case(Pool, (kind,)) for kind in ("last", "first", "mean", "max")},
    "Pool mean of windows": Case(Pool, ("mean", 2)),
    "Pool max of windows": Case(Pool, ("max", 2), {"stride": 2}),
    "Pool mean of windows that overlap": Case(Pool, ("mean", 3), {"stride": 2}),
    "Pool max of windows that overlap": Case(Pool, ("max", 3), {"stride": 1}),
    "Pool max of windows apart": Case(Pool, ("max", 2), {"stride": 3}, 17),
    "Pool mean of windows, same": Case(Pool, ("mean", 4), {"stride": 1, "padding": "same"}),
    "Pool max of windows, same": Case(Pool, ("max", 3), {"stride": 2, "padding": "same"}),
    "Pool max of windows apart, same": Case(Pool, ("max", 9), {"padding": "same"}, 17),
    "Pool mean of windows apart, same": Case(Pool, ("mean", 2), {"stride": 3, "padding": "same"}),
    "Reverse": Case(Reverse),
}
BY_ROW = [name for name, case in PARTS.items() if not case.over_time]
OVER_TIME = [name for name, case in PARTS.items() if case.over_time]
LENGTHS = [(7, 3, 0, 5), (1, 7, 2, 6), (4, 4, 4, 4)]
