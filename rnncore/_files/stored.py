"""What the forms of a file share: the text beside the arrays, and how much there may be."""

from typing import NamedTuple

import numpy as np

TEXT = "rnncore"  # the name under which the text lies
MOST_TEXT = 1 << 16  # characters
MOST_ARRAYS = 10_000  # a stack of 800 layers in two directions has so many


class Description(NamedTuple):
    """What is known of an array before it is read."""

    dtype: np.dtype
    shape: tuple[int, ...]


def most_layers(options: object) -> int:
    """The largest ``num_layers`` in what a file says.

    Each layer has arrays: to make many, only to find that these are not there, would take long.
    """
    most, left = 0, [options]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            layers = one.get("num_layers")
            most = max(most, layers) if type(layers) is int else most
            left += one.values()
        elif isinstance(one, list):
            left += one
    return most
