"""Layers and models made elsewhere as those of rnncore, and the table of everybody's layouts."""

from typing import Any

# Parts that converted models alone have: `rnncore.load` knows the classes that were imported.
from rnncore.convert import axes as axes
from rnncore.models import ends as ends
from rnncore.models import unmasked as unmasked


def __getattr__(name: str) -> Any:
    """What is imported when it is used first: the table of layouts should not need it."""
    if name == "without_masked":
        from rnncore.convert.keras_masks import without_masked

        return without_masked
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
