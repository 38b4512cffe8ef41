"""How a call is refused, word by word."""

import re

import numpy as np
import pytest


def f32(*shape):
    return np.zeros(shape, np.float32)


def refused(error, message, call):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()
