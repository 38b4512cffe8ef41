"""The compiled core for type checkers: src_cython says what each of these is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

_F = TypeVar("_F", bound=Callable[..., Any])
_Array: TypeAlias = NDArray[np.floating]
_Table: TypeAlias = NDArray[np.intp] | None
_Arrays: TypeAlias = Sequence[_Array | None]
_Weights: TypeAlias = Sequence[_Array | tuple[_Array | None, ...] | None]
_Batch: TypeAlias = tuple[bool, _Table, int, int]
_Packed: TypeAlias = NDArray[np.uint8]
_Stack: TypeAlias = tuple[tuple[tuple[Shape, bool, _Packed], ...], ...]
_Masks: TypeAlias = _Arrays | None
_Flow: TypeAlias = NDArray[np.float64] | None
_Gradients: TypeAlias = tuple[_Array, tuple[_Array, ...], _Weights]
_Cell: TypeAlias = tuple[int, int, NDArray[np.float64] | None, float]

# A function for each of the two types of real_t.
_Fused: TypeAlias = Mapping[Literal["float", "double"], _F]

KINDS: dict[str, int]
FLAGS: dict[str, int]
REGISTER_BYTES: int
SQUARES_PIECE: int

class Shape:
    cell: _Cell
    I: int
    H: int
    P: int
    itemsize: int
    packed_size: int
    slots: int
    shows: tuple[int, ...]
    widths: tuple[int, ...]
    vectors: tuple[int, ...]
    def __init__(self, cell: _Cell, I: int, H: int, P: int, itemsize: int) -> None: ...
    def room(
        self, steps: int, B: int, h_masked: bool, zoned: tuple[bool, ...]
    ) -> tuple[int, tuple[int, ...], int, tuple[int, ...], int]: ...

class Arrays:
    layout: bytes
    def __init__(self, arrays: list[Any], writable: bool) -> None: ...
    def like(self, other: Arrays) -> bool: ...
    def apart(self) -> bool: ...
    def meets(self, other: Arrays) -> bool: ...

class Stream:
    phase: int
    def __init__(
        self,
        layers: Sequence[tuple[Shape, _Packed, tuple[_Array, ...], _Arrays, _Array]],
        y: _Array,
        fitted: Callable[[str, Any, tuple[int, ...]], np.ndarray],
    ) -> None: ...
    def __call__(self, x: _Array, out: _Array | None = None) -> np.ndarray: ...

def pack(shape: Shape, given: _Weights, packed: _Packed) -> None: ...
def set_thread_limit(n: int) -> None: ...
def chunk_begins(T: int, B: int, units: int, alive: _Table) -> list[int]: ...
def gather(
    groups: object, of: list[Any] | None, with_parameters: type
) -> tuple[list[Any], list[Any]]: ...
def squares_of(arrays: Arrays) -> float: ...
def scale(arrays: Arrays, factor: float) -> None: ...
def bound(arrays: Arrays, limit: float) -> None: ...
def adam(
    param: Arrays,
    grad: Arrays,
    mean: Arrays,
    square: Arrays,
    decay: float,
    beta1: float,
    beta2: float,
    unbias: float,
    eps: float,
    rate: float,
) -> None: ...
def sgd(param: Arrays, grad: Arrays, velocity: Arrays, momentum: float, lr: float) -> None: ...
def peak_gflops(dtype: str, seconds: float = 0.1) -> float: ...
def gate_seconds(shape: Shape, seconds: float) -> tuple[float, float]: ...

address: Mapping[Literal["float", "double", "unsigned char"], Callable[[NDArray[Any]], int]]
read_gb_per_s: _Fused[Callable[[_Array, float], float]]
sum_of_squares: _Fused[Callable[[_Array], float]]
linear_forward: _Fused[Callable[[_Array, _Array, _Array | None, _Array], None]]
linear_backward: _Fused[Callable[[_Array, _Array, _Array, _Array, _Array, _Array], None]]
softmax_cross_entropy: _Fused[Callable[[_Array, NDArray[np.intp], _Array], float]]
mse: _Fused[Callable[[_Array, _Array, _Array], float]]
embedding_backward: _Fused[Callable[[NDArray[np.intp], _Array, _Array], None]]
begin_trace: _Fused[Callable[[Shape, int, int, tuple[bool, ...], _Array], None]]
infer: _Fused[Callable[[_Stack, _Array, _Table, _Arrays, _Array, _Arrays], None]]
forward: _Fused[
    Callable[
        [Shape, _Weights, _Array, _Batch, _Arrays, _Masks, _Array, _Array | None, _Arrays], None
    ]
]
backward: _Fused[
    Callable[[Shape, _Weights, _Array, _Batch, _Masks, _Array, _Arrays, _Flow, _Gradients], None]
]
