"""Forms of files that are not rnncore's own, by their suffix: who writes them.

Who does stands on a higher floor, and needs a library of its own: so it is looked up when it is
needed.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

_WRITERS = {".onnx": "rnncore.onnx"}  # modules with a function export(layer, path)


def written(layer: Any, path: Any) -> bool:
    """Write a layer or a model, if a path has the suffix of such a form."""
    if not isinstance(path, str | os.PathLike):
        return False
    module = _WRITERS.get(Path(os.fsdecode(path)).suffix)
    if module is None:
        return False
    import_module(module).export(layer, path)
    return True
