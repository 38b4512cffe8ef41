"""What a recurrent layer is made of: options, parameters, and how it is written down and saved."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rnncore import _check
from rnncore._cells.kind import CellKind
from rnncore._common.sealed import Sealed
from rnncore._engine.cells import CellStack, CoreCell
from rnncore._engine.runner import CORE, Runner
from rnncore._engine.weights import Plan
from rnncore.layers import foreign, parameters, storage
from rnncore.layers import options as options_
from rnncore.layers.results import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Parametrized(Sealed):
    """Options and parameters, by the description of a cell; see `RecurrentLayer`."""

    _kind: ClassVar[CellKind]
    _runner: Runner
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    recurrent_dropout: float
    zoneout: float
    activations: Any
    clip: float | None
    bidirectional: bool
    dtype: np.dtype[Any]

    if TYPE_CHECKING:  # the stack's

        @property
        def num_directions(self) -> int: ...

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            show_options(cls.__init__, Parametrized.__init__)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        own: Mapping[str, Any],
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        activations: Sequence[str | tuple[Any, ...]] | None = None,
        clip: float | None = None,
        bidirectional: bool = False,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        kind, later = self._kind, rng is parameters.LATER
        options = options_.checked(kind, {**locals(), **own})
        for name, value in options.items():
            setattr(self, name, value)
        self._options = tuple(options.items())
        self._fixed = tuple(options)
        if options["dropout"] and options["num_layers"] == 1 and not later:
            warnings.warn(
                f"dropout is {dropout} and does nothing: it is between layers, and num_layers is 1",
                UserWarning,
                stacklevel=5,  # beyond the constructors of the cell, each with what seals it
            )
        self._rng = _check.generator("rng", None if later else rng)
        self._runner = CORE
        P = kind.projected(options, self.hidden_size)
        self._widths, self._no_states = kind.widths(self.hidden_size, P), (None,) * len(kind.states)
        resolved = {**options, "activations": kind.activations(options)}
        D, inputs = 2 if self.bidirectional else 1, [self.input_size]
        inputs += [D * P] * (self.num_layers - 1)  # of every layer
        self._check_sizes(D, inputs)
        cells = {I: CoreCell(kind, resolved, I, self.hidden_size, P, self.dtype) for I in inputs}
        self._cells = tuple([cells[I] for I in inputs for _ in range(D)])
        self._stack = CellStack(self._cells, D, "BT" if self.batch_first else "TB")
        self._shapes = {
            stem + suffix: shape
            for suffix, cell in zip(self._suffixes(), self._cells, strict=True)
            for stem, shape in self._cell_shapes(cell.shape.I).items()
        }
        self._plan = Plan(kind, self._suffixes(), self._shapes, self.dtype)
        self.params: dict[str, Array] = {}
        if not later:
            self.params = parameters.initialise(
                kind, self._suffixes(), self._shapes, options, self._rng, self.dtype
            )

    def _cell_shapes(self, I: int) -> dict[str, tuple[int, ...]]:
        """Of the parameters of a layer and direction of so many inputs, by their stems."""
        return self._kind.shapes(dict(self._options), I, self.hidden_size)

    def _suffixes(self) -> list[str]:
        """Of the names of the parameters, for every layer and direction."""
        return list(parameters.suffixes(self.num_layers, 2 if self.bidirectional else 1))

    def _check_sizes(self, D: int, inputs: list[int]) -> None:
        """Refuse sizes that no memory holds, before anything is made of them."""
        numbers = D * sum(
            inputs.count(I) * parameters.count(self._cell_shapes(I)) for I in set(inputs)
        )
        sizes = {name: getattr(self, name) for name in options_.SIZES}
        _check.affordable(sizes, numbers * self.dtype.itemsize, "the parameters")

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, but for `rng`, that make a layer like this one; JSON can hold them."""
        return {**dict(self._options), "dtype": self.dtype.name}

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copy the arrays of `mapping` into `params`; a PyTorch module's ``state_dict()`` will do.

        Raises
        ------
        ValueError for a missing, unknown or misshapen key, and for unequal values of parameters
        that are one array; TypeError for what is no array or has another dtype than the layer. Each
        names the key, and nothing has been changed then.
        """
        given = _check.parameters(mapping, self._shapes, dtype=self.dtype)
        parameters.copied_into(self._plan.checked(self.params), given)

    def save(self, path: storage.Place) -> None:
        """Save the layer to a .npz, .safetensors or .onnx file; `rnncore.load` makes it anew.

        Under a path, either the whole file is there in the end or what was there before; what is
        open for writing bytes will do too. See `rnncore.layers.storage.save_arrays` for the errors.
        """
        self._plan.checked(self.params)
        if not foreign.written(self, path):
            storage.save(self, path)

    def __repr__(self) -> str:
        return options_.signature(self._kind, type(self).__name__, self._options)


def show_options(init: Any, common: Any, without: Sequence[str] = ()) -> None:
    """Let `help` and editors see the options one by one that a constructor hands on.

    They are those of `common` that can be given by name alone, but for some, and stand in place of
    what takes any.
    """
    own = inspect.signature(init)
    free = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    if len(free) == len(own.parameters):
        return
    handed = [
        p
        for p in inspect.signature(common).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in without
    ]
    names = {p.name for p in free}
    handed = [p for p in handed if p.name not in names]
    init.__signature__ = own.replace(parameters=[*free, *handed])
