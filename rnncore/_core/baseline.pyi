"""The compiled core for type checkers: src_cython says what each of these is."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[np.floating]
_Table: TypeAlias = NDArray[np.intp] | None
_Arrays: TypeAlias = Sequence[_Array | None]
_Weights: TypeAlias = Sequence[_Array | tuple[_Array | None, ...] | None]
_Batch: TypeAlias = tuple[bool, _Table, int, int]
_Packed: TypeAlias = NDArray[np.uint8]
_Given: TypeAlias = Sequence[_Weights | _Packed]  # of every layer and direction
_Layers: TypeAlias = tuple[tuple[tuple[Shape, bool], ...], ...]
_Entries: TypeAlias = Sequence[tuple[str | None, tuple[int, ...], int]]
_Masks: TypeAlias = _Arrays | None
_Flow: TypeAlias = NDArray[np.float64] | None
_Gradients: TypeAlias = tuple[_Array, tuple[_Array, ...], _Weights]
_Cell: TypeAlias = tuple[int, int, NDArray[np.float64] | None, float]

KINDS: dict[str, int]
FLAGS: dict[str, int]
NARROW_TERMS: int
PRECISIONS: dict[str | None, int]
REGISTER_BYTES: int
SQUARES_PIECE: int
XLA_MAJOR: int
OWN_FUNCTIONS: dict[str, int]
POOLS: dict[str, int]

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
    precision: int
    def __init__(
        self, cell: _Cell, I: int, H: int, P: int, itemsize: int, precision: int = 0
    ) -> None: ...
    def room(
        self, steps: int, B: int, h_masked: bool, zoned: tuple[bool, ...]
    ) -> tuple[int, tuple[int, ...], int, tuple[int, ...], int]: ...
    def memory(
        self, steps: int, B: int, h_masked: bool, zoned: tuple[bool, ...]
    ) -> NDArray[Any]: ...

class Stack:
    layers: _Layers
    axes: str
    def __init__(self, layers: _Layers, axes: str = "TB") -> None: ...
    def infer(
        self, given: _Given, x: _Array, table: _Table, starts: _Arrays, y: _Array, ends: _Arrays
    ) -> None: ...
    def forward(
        self,
        given: _Given,
        sources: list[_Array],
        drops: list[_Array | None],
        table: _Table,
        starts: _Arrays,
        masks: list[Any],
        memories: list[_Array],
        y: _Array,
        ends: _Arrays,
    ) -> None: ...
    def backward(
        self,
        given: _Given,
        sources: list[_Array],
        drops: list[_Array | None],
        table: _Table,
        masks: list[Any],
        memories: list[_Array],
        dy: _Array | None,
        dends: _Arrays,
        flow: _Flow,
        dxs: list[list[_Array]],
        dweights: list[_Weights],
        dstarts: tuple[_Array, ...],
    ) -> None: ...
    def call(self, given: _Given, x: Any, state: Any) -> Any: ...
    def trace(
        self, given: _Given, x: Any, state: Any
    ) -> tuple[_Array, Any, list[_Array], list[_Array]] | None: ...
    def keep(self, given: _Given, x: Any, state: Any, memory: _Array) -> Any: ...
    def cut(
        self, memory: _Array, T: int, B: int, h_masked: bool, zoned: tuple[bool, ...]
    ) -> tuple[list[_Array], list[_Array]]: ...
    def back(
        self,
        given: _Given,
        sources: list[_Array],
        memories: list[_Array],
        dweights: list[_Weights],
        dy: Any,
        dstate: Any,
        wants_x: bool = True,
    ) -> tuple[list[Any], Any] | None: ...

class WeightPlaces:
    def __init__(
        self,
        entries: _Entries,
        itemsize: int,
        kind: type,
        fitted: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    ) -> None: ...
    def zeros(self) -> Any: ...

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

class RowStep:
    def __call__(self, x: _Array, y: _Array) -> None: ...

class LookupStep(RowStep):
    def __init__(self, weight: _Array) -> None: ...

class NormStep(RowStep):
    def __init__(
        self, itemsize: int, size: int, eps: float, w: _Array | None, b: _Array | None
    ) -> None: ...
    def with_scales(self, x: _Array, y: _Array, scales: _Array) -> None: ...

class ScaleStep(RowStep):
    def __init__(self, w: _Array, b: _Array) -> None: ...

class SoftmaxStep(RowStep):
    def __init__(self, itemsize: int, size: int, logarithm: bool) -> None: ...

class FunctionStep(RowStep):
    def __init__(self, itemsize: int, size: int, code: int, alpha: float, beta: float) -> None: ...

class LinearStep(RowStep):
    def __init__(self, w: _Array, b: _Array | None) -> None: ...

class LayerStep(RowStep):
    def __init__(self, stream: Stream) -> None: ...

class WindowStep(RowStep):
    phase: int
    def __init__(self, history: _Array, dilation: int) -> None: ...

class PoolStep(RowStep):
    phase: int
    def __init__(self, so_far: _Array, counts: NDArray[np.intp], kind: int, mean: bool) -> None: ...

class ChainStep(RowStep):
    def __init__(self, steps: list[RowStep], B: int, adds: bool) -> None: ...

class ModelStream:
    def __init__(
        self, chain: ChainStep, y: _Array, fitted: Callable[[str, Any], _Array]
    ) -> None: ...
    def __call__(self, x: _Array, out: _Array | None = None) -> np.ndarray: ...

def read_weights(places: list[WeightPlaces], params: Any, count: int) -> list[Any] | None: ...
def name_weights(
    places: list[WeightPlaces], cells: Sequence[_Weights], into: dict[str, Any]
) -> None: ...
def empty(count: int, itemsize: int) -> NDArray[Any]: ...
def begin_trace(
    shape: Shape, steps: int, B: int, h_masked: bool, zoned: tuple[bool, ...], memory: _Array
) -> None: ...
def forward(
    shape: Shape, given: _Weights, x: _Array, batch: _Batch, starts: _Arrays, masks: _Masks,
    memory: _Array, y: _Array | None, ends: _Arrays,
) -> None: ...  # fmt: skip
def backward(
    shape: Shape, given: _Weights, x: _Array, batch: _Batch, masks: _Masks, memory: _Array,
    arriving: _Arrays, flow: _Flow, gradients: _Gradients,
) -> None: ...  # fmt: skip
def pack(shape: Shape, given: _Weights, packed: _Packed) -> None: ...
def set_dot_units(int8: bool, bfloat16: bool, tiles: bool) -> None: ...
def set_thread_limit(n: int) -> None: ...
def asked(what: int, stack: Stack, ragged: bool, bias: bool) -> bytes: ...
def handler(minor: int) -> Any: ...
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
def read_gb_per_s(a: _Array, seconds: float) -> float: ...
def sum_of_squares(a: _Array) -> float: ...
def linear_forward(x: _Array, w: _Array, b: _Array | None, y: _Array) -> None: ...
def linear_backward(
    x: _Array, w: _Array, dy: _Array, dx: _Array, dw: _Array, db: _Array
) -> None: ...
def softmax_cross_entropy(logits: _Array, targets: NDArray[np.intp], dlogits: _Array) -> float: ...
def mse(y: _Array, wanted: _Array, dy: _Array) -> float: ...
def embedding_backward(ids: NDArray[np.intp], dy: _Array, dweight: _Array) -> None: ...
