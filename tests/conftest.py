import importlib
import zlib

import numpy as np
import pytest


@pytest.fixture
def rng(request):
    """A generator seeded by the name of the test: a test draws the same whichever others run."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(params=["reference", "functional"])
def implementation(request):
    """The functional core, once in NumPy and once compiled."""
    return importlib.import_module(f"rnncore.{request.param}")
