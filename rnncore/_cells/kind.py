"""A cell, described once: layers, the twin, the compiled core and the tests read it here.

Sizes in shapes are letters: I inputs, H hidden units, P numbers in a state h, which are H but with
a projection; ``"4H"`` is four times H.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from rnncore._cells.activations import Activation, resolve

Sizes = Mapping[str, int]  # by their letters


class State(NamedTuple):
    """What a cell carries from step to step. The first is the output too."""

    name: str  # of "h" the first value is h0, the last h_n, the gradient dh, the zoneout keep_h
    width: str  # the letter of a size


class Weight(NamedTuple):
    """A parameter of a cell."""

    stem: str  # of its name in `params`: "weight_ih" of "weight_ih_l0"
    argument: str  # of the functional core; that of two biases may be their sum
    shape: tuple[str, ...]
    # What it is to the compiled core: the weights of a product, a bias, or one number a unit.
    place: Literal["w_ih", "w_hh", "b_ih", "b_hh", "vector", "w_hr"]
    start: Start  # what a layer has at first
    needs: str = ""  # the option without which it is not there
    read_back: bool = True  # whether the backward pass reads it


# How it is drawn, or a constant, or by the options the gates whose constant is not 0.
Start = Literal["glorot", "orthonormal", "uniform"] | float | Callable[[Any], Mapping[str, float]]


def _no_flag(value: Any) -> str:
    return ""


class Option(NamedTuple):
    """An option of one cell alone, after those of all cells."""

    name: str
    default: Any
    check: Callable[[str, Any], Any]  # of a name and a value: what to work with, or an error
    flag: Callable[[Any], str] = _no_flag  # of a value: that of the compiled core, or none


@dataclass(frozen=True, eq=False)
class CellKind:
    """One cell, whoever computes it.

    Attributes
    ----------
    name : of its layer, and of its number in the compiled core
    prefix : of its functions: ``lstm_forward``
    gates : a letter each, in the order of the blocks of rows of its weights
    states, weights, options : see there; the weights in the order of the functions' arguments
    functions : the names of its activations, of the gates, of the candidate, of a memory; what is
        the name of an option stands for that option's value
    grads : the class of the gradients that a backward pass of the functional core returns
    keeping : what the bias of a gate does to the memory, 1: keeps it, -1: writes to it; of gates
        alone whose bias may set a time scale, see `rnncore.layers.parameters`
    """

    name: str
    prefix: str
    gates: str
    states: tuple[State, ...]
    weights: tuple[Weight, ...]
    options: tuple[Option, ...]
    functions: tuple[str, ...]
    grads: Callable[..., Any] = field(repr=False)
    keeping: Mapping[str, int] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return named, (self.name,)

    def __post_init__(self) -> None:
        _KINDS[self.name] = self

    @property
    def defaults(self) -> dict[str, Any]:
        return {option.name: option.default for option in self.options}

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the states."""
        return tuple(state.name for state in self.states)

    def widths(self, H: int, P: int) -> tuple[int, ...]:
        """How many numbers a row of each state has."""
        return tuple(P if state.width == "P" else H for state in self.states)

    def weights_with(self, options: Mapping[str, Any]) -> list[Weight]:
        """The parameters that there are with these options."""
        return [weight for weight in self.weights if not weight.needs or options[weight.needs]]

    def projected(self, options: Mapping[str, Any], H: int) -> int:
        """P: H, unless an option says how many numbers a projection leaves of an h."""
        for weight in self.weights:
            if weight.place == "w_hr":
                return options[weight.needs] or H
        return H

    def shapes(self, options: Mapping[str, Any], I: int, H: int) -> dict[str, tuple[int, ...]]:
        """Of these parameters, by their stems."""
        sizes = {"I": I, "H": H, "P": self.projected(options, H)}
        return {weight.stem: sized(weight.shape, sizes) for weight in self.weights_with(options)}

    def own_functions(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of its activations with these options."""
        return tuple([options.get(name, name).title() for name in self.functions])

    def activations(self, options: Mapping[str, Any]) -> tuple[Activation, ...] | None:
        """Those that are given in ``options["activations"]``; None: the cell's own.

        Raises
        ------
        TypeError or ValueError that names what is wrong.
        """
        given = options["activations"]
        if given is None:
            return None
        for name in self.functions:
            if name in options and options[name] != self.defaults[name]:
                raise ValueError(
                    f"activations is given beside {name} {options[name]!r}, expected one of them"
                )
        return resolve(given, self.own_functions(self.defaults))


_KINDS: dict[str, CellKind] = {}


def named(name: str) -> CellKind:
    """The kind of this name; so pickles hold a name, and no description."""
    return _KINDS[name]


def sized(shape: tuple[str, ...], sizes: Sizes) -> tuple[int, ...]:
    """A shape in numbers.

    >>> sized(("4H", "I"), {"H": 3, "I": 5})
    (12, 5)
    """
    return tuple([int(size[:-1] or 1) * sizes[size[-1]] for size in shape])
