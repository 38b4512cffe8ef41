"""What every layer of a model is, but for the recurrent ones: a part.

A part is called as the recurrent layers are: ``y = part(x)`` keeps nothing for later,
``y, trace = part.forward(x)`` keeps what ``part.backward(trace, dy)`` reads. See
`rnncore.models.by_row` and `rnncore.models.over_time` for the two kinds there are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from rnncore import _check
from rnncore._common.groups import ParamGrads
from rnncore._common.sealed import Sealed
from rnncore.layers import foreign, storage
from rnncore.layers.parameters import LATER, copied_into

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PartType = TypeVar("PartType", bound="type[Part]")


class HeadGrads(NamedTuple):
    """Gradients of a loss: for the input (None where that is integers) and for each parameter."""

    x: np.ndarray | None
    params: dict[str, np.ndarray]


class PartTrace(NamedTuple):
    """What `Part.backward` reads; read-only, of no one layer, and good for any number of calls."""

    kind: str  # the name of the part's class
    options: tuple[tuple[str, Any], ...]  # of the part
    shape: tuple[int, ...]  # of x
    dtype: np.dtype[Any]  # of x
    batch_first: bool  # whether x is (B, T, ...); tells something with lengths, or of parts in time
    lengths: NDArray[np.intp] | None
    kept: tuple[np.ndarray | None, ...] | None  # copies; None where it was made without training

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, tuple(self)


def _restored(*fields: Any) -> PartTrace:
    """A trace that was pickled or copied, read-only again."""
    return sealed_trace(PartTrace(*fields))


def sealed_trace(trace: PartTrace) -> PartTrace:
    """`trace`, once nobody can write to its arrays."""
    for array in (trace.lengths, *(trace.kept or ())):
        if array is not None:
            array.flags.writeable = False
    return trace


class Part(Sealed):
    """A layer of a model that has no state; such as `Linear`.

    Attributes
    ----------
    params : dict of str to array
        The parameters, which may be changed in place or replaced.
    buffers : dict of str to array
        What belongs to the part and has no gradient; empty for all but `BatchNorm`.
    dtype : numpy.dtype or None
        Of the parameters, of what comes in and of what goes out; None where there are no
        parameters: what goes out then is as what came in, float32 or float64.
    """

    params: dict[str, np.ndarray]
    buffers: dict[str, np.ndarray]
    dtype: np.dtype[Any] | None
    _shapes: dict[str, tuple[int, ...]]  # of the parameters
    _buffer_shapes: dict[str, tuple[int, ...]]
    _options: tuple[tuple[str, Any], ...]  # in the order of the constructor
    _draws: ClassVar[bool] = False  # whether the constructor draws parameters, from an rng

    def __init__(self, **options: Any) -> None:
        for name, value in options.items():
            setattr(self, name, value)
        self._options = tuple(options.items())
        self._fixed = tuple(options)
        self.dtype = options.get("dtype")
        self.params, self.buffers = {}, {}
        self._shapes, self._buffer_shapes = {}, {}

    # What every part does in its own way

    def __call__(self, x: np.ndarray, *, lengths: ArrayLike | None = None) -> np.ndarray:
        """The output for `x`, as at inference; nothing is kept.

        Parameters
        ----------
        x : array
        lengths : (B,) integers from 0 to T, optional
            Past its length nothing of a row is read, and its y is 0.

        Raises
        ------
        ValueError for a wrong shape or length, and for lengths of an x without a batch; TypeError
        for another dtype than the layer's.
        """
        raise NotImplementedError

    def forward(
        self, x: np.ndarray, *, lengths: ArrayLike | None = None, training: bool = True
    ) -> tuple[np.ndarray, PartTrace]:
        """The output for `x`, and the trace that `backward` reads.

        With ``training=False`` the output is that of a call, and the trace is empty.
        """
        raise NotImplementedError

    def backward(self, trace: PartTrace, dy: np.ndarray) -> HeadGrads:
        """The gradients of a loss whose gradient for the y of `forward` is `dy`.

        With lengths, what dy holds past a row's end is not read, and dx is 0 there.

        Raises
        ------
        ValueError for a wrong shape, for a trace of another layer or without training; TypeError
        for another dtype than the layer's.
        """
        raise NotImplementedError

    def lengths_after(self, lengths: ArrayLike | None) -> NDArray[np.intp] | None:
        """The lengths of the rows of y, from those of x; None for none."""
        return own_lengths(lengths)

    # What they share

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, but for `rng`, that make a layer like this one; JSON can hold them."""
        return {name: _plain(value) for name, value in self._options}

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copy the arrays of `mapping` into `params`; a PyTorch module's ``state_dict()`` will do.

        `mapping` may have all `buffers` too.

        Raises
        ------
        ValueError for a missing, unknown or misshapen key, TypeError for what is no array or has
        another dtype than the layer. Each names the key, and nothing has been changed then.
        """
        own, shapes = self._checked_params(), dict(self._shapes)
        if isinstance(mapping, Mapping) and self._buffer_shapes.keys() & mapping.keys():
            own |= self._checked_buffers()
            shapes |= self._buffer_shapes
        copied_into(own, _check.parameters(mapping, shapes, dtype=self._own_dtype))

    def save(self, path: storage.Place) -> None:
        """Save the layer to a .npz, .safetensors or .onnx file; `rnncore.load` makes it anew.

        Parameters and buffers are saved, a random generator is not. See
        `rnncore.layers.storage.save_arrays` for the errors.
        """
        storage.check_kind(self)
        arrays = {**self._checked_params(), **self._checked_buffers()}
        if foreign.written(self, path):
            return
        storage.save_arrays(path, type(self).__name__, self.options, arrays)

    def __repr__(self) -> str:
        usual = inspect.signature(type(self)).parameters
        shown = []
        for name, value in self._options:
            text = value.name if isinstance(value, np.dtype) else repr(value)
            default = usual[name].default
            if usual[name].kind is not inspect.Parameter.KEYWORD_ONLY:
                if default is inspect.Parameter.empty or value != default:
                    shown.append(text)
            elif value != default:  # a dtype equals the type that it is of
                shown.append(f"{name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def _own_dtype(self) -> np.dtype[Any]:
        return self.dtype if self.dtype is not None else _check.FLOATS[0]

    def _checked_params(self) -> dict[str, np.ndarray]:
        """`params`, if it still is what it has to be: users may put anything there."""
        return _check.parameters(self.params, self._shapes, dtype=self._own_dtype)

    def _checked_buffers(self) -> dict[str, np.ndarray]:
        """`buffers`, likewise."""
        return _check.parameters(self.buffers, self._buffer_shapes, dtype=self._own_dtype)

    def _trace(
        self,
        x: np.ndarray,
        lengths: NDArray[np.intp] | None,
        kept: tuple[np.ndarray | None, ...] | None,
        *,
        batch_first: bool,
    ) -> PartTrace:
        return sealed_trace(
            PartTrace(
                type(self).__name__, self._options, x.shape, x.dtype, batch_first, lengths, kept
            )
        )

    def _checked_kept(self, trace: PartTrace) -> tuple[np.ndarray | None, ...]:
        """What `trace` holds, if it is of a layer with these options, and was made in training."""
        _check.instance("trace", trace, PartTrace)
        if trace.kind != type(self).__name__ or trace.options != self._options:
            options = ", ".join(f"{name}={_plain(value)!r}" for name, value in trace.options)
            raise ValueError(f"trace is of {trace.kind}({options}), expected one of {self!r}")
        if trace.kept is None:
            raise ValueError("trace was made with training=False, expected training=True")
        return trace.kept

    def _grads(self, dx: np.ndarray | None, grads: dict[str, np.ndarray]) -> HeadGrads:
        return HeadGrads(dx, ParamGrads(grads, dict(self.params)))


def saved(kind: PartType) -> PartType:
    """Let `rnncore.load` make parts of this class: a decorator."""
    storage.savable(kind)
    storage.loads(kind.__name__)(partial(_loaded, kind))
    return kind


def without_values(kind: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """A part of this class and these options, whose parameters come later where it would draw."""
    later = {"rng": LATER} if getattr(kind, "_draws", False) else {}
    return kind(**options, **later)


def _loaded(kind: type[Part], stored: storage.Stored) -> Part:
    with stored.made_of(stored.kind):
        part: Part = without_values(kind, stored.options)
    shapes = {**part._shapes, **part._buffer_shapes}
    stored.check({name: (shape, part._own_dtype) for name, shape in shapes.items()})
    arrays = stored.read()
    part.params = {name: arrays[name] for name in part._shapes}
    part.buffers = {name: arrays[name] for name in part._buffer_shapes}
    return part


def own_lengths(lengths: ArrayLike | None) -> NDArray[np.intp] | None:
    """A copy of `lengths`, if they are lengths of rows of any number of steps."""
    return (
        None if lengths is None else _check.lengths(lengths, np.iinfo(np.intp).max, _rows(lengths))
    )


def _rows(lengths: Any) -> int:
    return (
        len(lengths) if isinstance(lengths, tuple | list | np.ndarray) and np.ndim(lengths) else 0
    )


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, np.dtype):
        return value.name
    return list(value) if isinstance(value, tuple) else value
