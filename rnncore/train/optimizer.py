"""What all optimisers are: they change parameters in place, and can be saved and go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._check.texts import shown
from rnncore._common.groups import Groups, added, flatten, flatten_writable
from rnncore._common.places import first_names, near, place
from rnncore._common.quiet import quiet
from rnncore._common.sealed import Sealed
from rnncore._engine.arrays import (
    Arrays,
    copied_in,
    copied_out,
    gathered,
    in_place,
)
from rnncore.layers import storage

_KIND = "Optimizer"  # of a file that holds the state of one


class _Seen(NamedTuple):
    """What a step compares with, instead of checking its arrays by name."""

    names: list[Any]  # as `gathered` gives them
    layout: bytes  # where the parameters lay
    slots: list[Arrays]


class Optimizer(Sealed):
    """What all optimisers share: named parameters, their slots, and what is checked at every step.

    A subclass names its `_slots` (arrays of the parameter's shape that it keeps from step to step,
    zero at first) and gives `_update`, the step of some arrays in the compiled core.
    """

    _slots: tuple[str, ...] = ()

    def __init__(self, params: Groups, lr: float):
        self._params = params
        self.lr = lr
        named = flatten_writable("params", self._params)
        if not named:
            raise ValueError("params is empty, expected at least one array")
        self._layout = {name: (array.shape, array.dtype) for name, array in named.items()}
        self._first = first_names("params", named)
        self._steps = 0
        # Of each array, under its first name, the positions of all its names.
        self._one: dict[str, list[int]] = {}
        for k, first in enumerate(self._first.values()):
            self._one.setdefault(first, []).append(k)
        self._kept = {
            slot: {name: np.zeros(*self._layout[name]) for name in self._one}
            for slot in self._slots
        }
        self._seen: _Seen | None = None  # at the last step whose arrays were checked by name

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_seen": None}  # a copy has arrays of its own

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({options})"

    @property
    def lr(self) -> float:
        """The learning rate; may be set between steps."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = _check.not_negative("lr", value)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self._steps

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, but for `params`, that make an optimiser like this one."""
        return {name: getattr(self, name) for name in ("lr", *self._fixed)}

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Copies of the arrays that a later run needs: ``"steps"`` and ``"slot.parameter"``.

        A tied array has its first name. The options are not among them: `state_dict` has all.
        """
        state = {"steps": np.array(self._steps, np.int64)}
        for slot, arrays in self._kept.items():
            state.update((f"{slot}.{name}", array.copy()) for name, array in arrays.items())
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` gave. Nothing is changed when a key or shape does not fit.

        Raises
        ------
        ValueError, TypeError
            If a key is missing or unknown, or an array has another shape or dtype.
        """
        state = dict(_check.instance("state", state, Mapping))
        own = {
            f"{slot}.{name}": array
            for slot, arrays in self._kept.items()
            for name, array in arrays.items()
        }
        _same_keys("state", state, ("steps", *own))
        steps = np.asarray(state.pop("steps"))
        if steps.shape != () or steps.dtype.kind not in "iu" or not 0 <= steps < 2**62:
            raise ValueError(f"state['steps'] is {shown(steps)}, expected a whole number of steps")
        for name, array in state.items():
            _check.array(f"state[{name!r}]", array, own[name].shape, dtype=own[name].dtype)
        for name, array in state.items():
            np.copyto(own[name], array)
        self._steps = int(steps)

    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to go on, of plain numbers and copies of arrays.

        Returns
        -------
        ``"optimizer"``, the name of the class; ``"options"``, such as ``"lr"``; ``"steps"``; and
        ``"slots"``, the arrays by ``"slot.parameter"``, where a tied array has its first name.
        """
        options = {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}
        slots = self.state
        del slots["steps"]
        return {
            "optimizer": type(self).__name__,
            "options": options,
            "steps": self._steps,
            "slots": slots,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, with its options in place of the present ones.

        Parameters
        ----------
        state : of an optimiser of this class whose parameters have the same names and shapes
            What `rnncore.load` reads from the file that `save` wrote, too.

        Raises
        ------
        ValueError, TypeError
            If a key is missing or unknown, an option out of its range, or an array of another shape
            or dtype than its parameter. Nothing has been changed then.
        """
        given = dict(_check.instance("state", state, Mapping))
        _same_keys("state", given, ("optimizer", "options", "steps", "slots"))
        own = type(self).__name__
        if given["optimizer"] != own:
            raise ValueError(f"state is of {shown(given['optimizer'])}, expected {own!r}")
        options = dict(_check.instance("state['options']", given["options"], Mapping))
        slots = dict(_check.instance("state['slots']", given["slots"], Mapping))
        _same_keys("state['options']", options, self.options)
        other = type(self)(self._params, **options)
        other.load_state({**slots, "steps": given["steps"]})
        self.__dict__.update(other.__dict__)

    def save(self, path: storage.Place) -> None:
        """Save what `state_dict` gives to a .npz or .safetensors file; not the parameters.

        See `rnncore.layers.storage.save_arrays` for the errors.

        Examples
        --------
        >>> from rnncore import SGD, load
        >>> params, ones = {"w": np.zeros(2)}, {"w": np.ones(2)}
        >>> first = SGD(params, lr=1.0, momentum=0.5)
        >>> first.step(ones)
        >>> first.save("optimizer.npz")
        >>> again = SGD(params, lr=0.1)
        >>> again.load_state_dict(load("optimizer.npz"))
        >>> again.step(ones)
        >>> again, params["w"]
        (SGD(lr=1.0, momentum=0.5), array([-2.5, -2.5]))
        """
        state = self.state_dict()
        storage.save_arrays(path, _KIND, state, state.pop("slots"))

    def step(self, grads: Groups) -> None:
        """Change the parameters by one step down their gradients.

        Parameters
        ----------
        grads : what `backward` returns, a dict of arrays, or a list of these
            The form of `params`: the same names, shapes and dtypes. They are only read. Infinities
            and NaN go into the parameters like any number; `clip_grad_norm` stops them before.
            Subnormal numbers count as 0, as in the layers.

        Raises
        ------
        ValueError, TypeError
            If a gradient is missing or unknown, or has another shape or dtype than its parameter;
            if a parameter cannot be changed in place any more, or is tied to others than at first.
            No parameter has been changed then.
        """
        found = self._as_before(grads)
        if found is None:
            self._step_by_name(grads)
        else:
            self._steps += 1
            self._update(*found)

    def _as_before(self, grads: Groups) -> list[Arrays] | None:
        """What a step works on, if all that was checked by name still holds; else None.

        The names, shapes and dtypes of the parameters, which of them are one array, and that the
        others lie apart, all follow from the names and from where the parameters lie.
        """
        seen = self._seen
        if seen is None:
            return None
        names, values = gathered(self._params)
        names_of_grads, grads_by_name = gathered(grads, [])
        if names != seen.names or names_of_grads != names:
            return None
        params, given = in_place(values, True), in_place(grads_by_name, False)
        if params is None or given is None or params.layout != seen.layout:
            return None
        if not given.like(params) or given.meets(params):
            return None
        if len(self._one) < len(self._first):  # tied
            params = Arrays([values[k[0]] for k in self._one.values()], True)
            given = Arrays(self._totals(grads_by_name), False)
        return [params, given, *seen.slots]

    @quiet
    def _totals(self, grads: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The gradient of each parameter, from those of all names."""
        return [added([grads[k] for k in names]) for names in self._one.values()]

    def _step_by_name(self, grads: Groups) -> None:
        """A step with arrays that lie anywhere, all of them checked."""
        named_grads = flatten("grads", grads)
        named = flatten_writable("params", self._params)
        _same_keys("params", named, self._layout)
        _same_keys("grads", named_grads, self._layout)
        for name, (shape, dtype) in self._layout.items():
            _check.array(f"params[{name!r}]", named[name], shape, dtype=dtype)
            _check.array(
                f"grads[{name!r}]", named_grads[name], shape, dtype=dtype, owner="the parameter"
            )
        seen = self._to_see(named)
        named = {name: named[name] for name in self._layout}
        self._still_tied(named)
        self._seen = seen
        totals = self._totals(list(_unaliased(named_grads, named).values()))
        params = [named[name] for name in self._one]
        # All copies are made before anything is changed: there may be no memory for them.
        in_core, flat = copied_in(params, True)
        given, _ = copied_in(totals, False)
        slots = self._slots_in_place()
        self._steps += 1
        self._update(in_core, given, *slots)
        copied_out(flat, params)

    def _slots_in_place(self) -> list[Arrays]:
        return [Arrays(list(kept.values()), True) for kept in self._kept.values()]

    def _to_see(self, named: dict[str, np.ndarray]) -> _Seen | None:
        """What `_as_before` compares with; None where parameters do not lie for the core."""
        names, values = gathered(self._params)
        if list(named) != list(self._layout) or [*map(id, values)] != [*map(id, named.values())]:
            return None
        arrays = in_place(values, True)
        if arrays is None:
            return None
        return _Seen(names, arrays.layout, self._slots_in_place())

    def _still_tied(self, named: dict[str, np.ndarray]) -> None:
        """Check that the same parameters are one array as when the optimiser was made."""
        first = first_names("params", named)
        if first == self._first:
            return
        name = next(name for name in first if first[name] != self._first[name])
        now, then = (
            "an array of its own" if of == name else f"the array of params[{of!r}]"
            for of in (first[name], self._first[name])
        )
        raise ValueError(
            f"params[{name!r}] is {now}, expected {then}, as when the optimiser was made"
        )

    def _update(self, param: Arrays, grad: Arrays, *slots: Arrays) -> None:
        raise NotImplementedError


@storage.loads(_KIND)
def _stored_state(stored: storage.Stored) -> dict[str, Any]:
    """What was saved, for `load_state_dict`, which looks at all of it."""
    return {**stored.options, "slots": stored.read()}


def _unaliased(
    grads: dict[str, np.ndarray], params: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The gradients in the order of `params`; copies, where a step may write to their memory."""
    written = dict.fromkeys(place(array) for array in params.values())
    read = {name: place(grads[name]) for name in params}
    places = list(written | dict.fromkeys(read.values()))
    beside = {places[k] for j, k in near(places) if j < len(written)}
    return {
        name: grads[name].copy() if at in written or at in beside else grads[name]
        for name, at in read.items()
    }


def _same_keys(
    what: str, given: Mapping[str, object], expected: Mapping[str, object] | tuple[str, ...]
) -> None:
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        parts = [f"misses {_check.some(list(map(repr, missing)))}"] if missing else []
        parts += [f"has unknown {_check.some(list(map(repr, unknown)))}"] if unknown else []
        raise ValueError(f"{what} {' and '.join(parts)}")
