"""Arrays of NumPy from what other libraries keep numbers in; what is narrower becomes float32."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rnncore._check.texts import kind_text, shown

FLOATS = ("float32", "float64")
_NARROW = ("float16", "bfloat16")


def of_bfloat16(bits: np.ndarray) -> np.ndarray:
    """float32 numbers of the same value as the bfloat16 ones with these bits (uint16).

    A bfloat16 is the upper half of a float32.

    >>> of_bfloat16(np.array([0x3F80, 0xC000], np.uint16))
    array([ 1., -2.], dtype=float32)
    """
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def floats(name: str, value: Any) -> np.ndarray:
    """A copy of a tensor or an array of floats: float64 as it is, all others as float32.

    Raises
    ------
    TypeError for what is neither, and for numbers that are no floats or are quantised; ValueError
    for a tensor whose numbers are not in this process's main memory.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_tensor(torch, name, value)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is {kind_text(value)}, expected an array or a tensor")
    if value.dtype.name == "bfloat16":  # of the package ml_dtypes
        return of_bfloat16(np.ascontiguousarray(value).view(np.uint16))
    if value.dtype.name in _NARROW:
        return value.astype(np.float32)
    if value.dtype.name not in FLOATS:
        raise TypeError(
            f"{name} has dtype {value.dtype}, expected float32, float64, float16 or bfloat16"
        )
    native = value.dtype.newbyteorder("=")
    return np.array(value, native, order="C")


class Copies:
    """Copies as `floats` makes them: one of what is one in memory, such as weights that are tied.

    >>> copies, a = Copies(), np.ones(2)
    >>> copies("a", a) is copies("b", a[:]), copies("c", a[:1]) is copies("d", a)
    (True, False)
    """

    def __init__(self) -> None:
        self._found: dict[Any, tuple[Any, np.ndarray]] = {}

    def __call__(self, name: str, value: Any) -> np.ndarray:
        copy = floats(name, value)
        if isinstance(value, np.ndarray):
            at, steps = value.__array_interface__["data"][0], value.strides
        else:
            at, steps = value.data_ptr(), (value.stride(), value.is_neg())
        key = (at, tuple(value.shape), steps, str(value.dtype)) if copy.size else id(value)
        # With the value: as long as it is there, its memory is not another's.
        return self._found.setdefault(key, (value, copy))[1]


def _of_tensor(torch: Any, name: str, tensor: Any) -> np.ndarray:
    check_tensor(name, tensor)
    value = tensor.detach()
    if value.dtype in (torch.float16, torch.bfloat16):
        value = value.to(torch.float32)
    elif value.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name} has dtype {value.dtype}, expected float32, float64, float16 or bfloat16"
        )
    return np.array(value.resolve_neg().numpy(), order="C")


def check_tensor(name: str, tensor: Any) -> None:
    """Raise for a tensor of PyTorch that is no plain array in main memory."""
    from torch.nn.parameter import is_lazy

    if is_lazy(tensor):
        raise ValueError(f"{name} has no shape yet: the module has to run once before")
    if tensor.is_quantized:
        raise TypeError(f"{name} is quantised ({tensor.dtype}), expected float32 or float64")
    if tensor.device.type != "cpu":
        raise ValueError(
            f"{name} is on the device {shown(str(tensor.device))}, expected the CPU: .cpu() makes a"
            " copy there"
        )
    if str(tensor.layout) != "torch.strided":
        raise TypeError(f"{name} has the layout {tensor.layout}, expected a dense tensor")
