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
