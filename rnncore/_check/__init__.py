"""The one place that raises on wrong shapes, dtypes and options.

Every function takes the name of an argument and what came, and returns what to work with, or raises
a `TypeError` or `ValueError` of one form: *name*, what came, what was expected. The accepted path
compares and returns; messages are put together only on failure.
"""

from rnncore._check.ndarrays import (
    FLOATS,
    array,
    arrays,
    converted,
    ids,
    instance,
    optional_array,
    parameters,
    plain,
    same_names,
    writable,
)
from rnncore._check.options import (
    affordable,
    choice,
    clip,
    flag,
    float_dtype,
    fraction,
    generator,
    memory,
    normal,
    not_negative,
    padding,
    positive,
    real,
    share,
    size,
)
from rnncore._check.sequences import lengths, some_gradient
from rnncore._check.texts import Size, kind_text, some

__all__ = [
    "FLOATS",
    "Size",
    "affordable",
    "array",
    "arrays",
    "choice",
    "clip",
    "converted",
    "flag",
    "float_dtype",
    "fraction",
    "generator",
    "ids",
    "instance",
    "kind_text",
    "lengths",
    "memory",
    "normal",
    "not_negative",
    "optional_array",
    "padding",
    "parameters",
    "plain",
    "positive",
    "real",
    "same_names",
    "share",
    "size",
    "some",
    "some_gradient",
    "writable",
]
