"""What runs here: versions, instruction set, threads."""

import platform
from typing import Literal, overload

import numpy as np

from rnncore import _core
from rnncore._core import _machine
from rnncore._engine.threads import get_num_threads
from rnncore._version import __version__

__all__ = ["show_config"]


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, str]: ...
def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, str] | None:
    """Print what runs here: versions, instruction set in use, threads.

    Parameters
    ----------
    mode : "stdout" prints it and returns None, "dicts" returns it, as in `numpy.show_config`

    Returns
    -------
    None, or a dict of strings.

    Examples
    --------
    >>> import rnncore
    >>> show_config("dicts")["rnncore"] == rnncore.__version__
    True
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode is {mode!r}, expected 'stdout' or 'dicts'")
    config = {
        "rnncore": __version__,
        "numpy": np.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "compiler": _machine.COMPILER,
        "instruction set": _core.isa,
        "dot products": ", ".join(_core.dot_units) or "none",
        "available": ", ".join(_core.available()),
        "threads": str(get_num_threads()),
    }
    if mode == "dicts":
        return config
    width = max(map(len, config))
    for name, value in config.items():
        print(f"{name:<{width}}  {value}")
    return None
