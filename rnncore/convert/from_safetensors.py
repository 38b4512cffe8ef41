"""`from_safetensors`: the parameters of one layer out of a file of many."""

from __future__ import annotations

import os
from typing import TypeVar

from rnncore import _check
from rnncore.convert.named_groups import groups
from rnncore.convert.tensor_files import load_tensors

__all__ = ["from_safetensors"]

LayerType = TypeVar("LayerType")


def from_safetensors(path: str | os.PathLike[str], layer: LayerType, prefix: str = "") -> LayerType:
    """Copy parameters of a .safetensors file, by PyTorch's names, into a layer.

    Neither PyTorch nor the library safetensors is needed. Numbers of half precision are widened,
    weight norms folded.

    Parameters
    ----------
    path : of a .safetensors file
    layer : a layer or model with `params` and `load_params`
    prefix : what the names of its parameters begin with in the file, such as ``"encoder.rnn."``

    Returns
    -------
    `layer` itself.

    Raises
    ------
    ValueError that names the file if it is damaged or has no such names, and for names and shapes
    that are not the layer's; TypeError for another dtype than the layer's; OSError if the file
    cannot be read.

    Examples
    --------
    >>> from rnncore.layers import GRU
    >>> from_safetensors("missing.safetensors", GRU(2, 3), prefix="rnn.")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'missing.safetensors'
    """
    _check.instance("prefix", prefix, str)
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path is of type {type(path).__name__}, expected a path")
    if not hasattr(layer, "load_params"):
        raise TypeError(f"layer is of type {type(layer).__name__}, expected a layer of rnncore")
    if not os.fspath(path).endswith(".safetensors"):
        raise ValueError(f"{os.fspath(path)} does not end in '.safetensors'")
    loaded = load_tensors(path)
    names = [name for name in loaded if name.startswith(prefix)]
    if not names:
        first = ", ".join(list(loaded)[:5])
        raise ValueError(f"{loaded.name} has no names that begin with {prefix!r}, but {first}")
    own = {name.removeprefix(prefix): loaded[name] for name in names}
    params = {p + k: a for p, arrays in groups(own, loaded.name).items() for k, a in arrays.items()}
    dtype = getattr(layer, "dtype", None)
    if dtype is not None:
        for name, a in params.items():
            if a.dtype != dtype:
                raise TypeError(
                    f"{loaded.name} has {prefix + name!r} of dtype {a.dtype}, expected {dtype}"
                )
    layer.load_params(params)
    return layer
