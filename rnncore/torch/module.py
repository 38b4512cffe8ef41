"""What every module of rnncore.torch shares: options, parameters, and calls that are right."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnncore.layers.parameters import initialise
from rnncore.torch.autograd import is_seen, run
from rnncore.torch.eager import Views, quick
from rnncore.torch.kernel import KINDS, describe, kernel_of
from rnncore.torch.signatures import shown

_FOR_ALL = ("recurrent_dropout", "zoneout", "activations", "clip", "double_backward")
_NO_RNG = np.random.default_rng(0)
_DTYPES = {torch.float32: "float32", torch.float64: "float64"}


# What follows from the options, and is neither copied nor saved.
FOLLOWS = ("_specs", "_specs_time_first", "_views", "_names", "_widths")


class Recurrent(nn.Module):
    """A module whose parameters are those of a layer of rnncore, by PyTorch's names.

    Attributes
    ----------
    double_backward : bool
        Whether gradients that are to be differentiated again are computed by PyTorch's own
        operations. Without it they refuse to be.
    """

    _stock: ClassVar[type[nn.Module]]  # that of PyTorch which takes the same x and states
    _kind: ClassVar[str]  # the name of that of rnncore which computes it
    _own: ClassVar[tuple[str, ...]] = ()  # options of the cell that PyTorch does not have
    _shared: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size", "bias")
    _defaults: ClassVar[tuple[tuple[str, Any], ...]] = ()  # that are not PyTorch's

    double_backward = False
    recurrent_dropout = 0.0
    zoneout = 0.0
    activations: Any = None
    clip: float | None = None
    input_size: int
    hidden_size: int
    bias: bool
    _specs: dict[torch.dtype, str]
    _specs_time_first: dict[torch.dtype, str]
    _views: Views

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "_stock" in vars(cls):  # else a user's class, of a kind that there is
            cls._kind = cls.__name__
            cls.__init__ = shown(cls, (*cls._own, *_FOR_ALL))  # type: ignore[method-assign]

    @property
    def _options(self) -> dict[str, Any]:
        names = (*self._shared, *self._own, "activations", "clip")
        found = {name: getattr(self, name) for name in names}
        return {**found, "bias": bool(self.bias)}  # which PyTorch's cells take as it comes

    def refresh(self) -> None:
        """Note what follows from the options, after one of them has been set."""
        self.__dict__.pop("_specs", None)
        options, kind = self._options, self._kind
        specs = _specs(kind, options)
        time_first = {**options, "batch_first": False} if "batch_first" in options else options
        self._specs_time_first = _specs(kind, time_first)
        kernel = kernel_of(specs[torch.float32])
        self._names, self._widths = kernel.names, kernel.widths
        self._views, self._specs = Views(), specs

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if "_specs" in self.__dict__ and name in self._options:
            self.refresh()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in FOLLOWS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.refresh()

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin as PyTorch's own module does, with its checks and its warnings.

        Of the cells that it has, the parameters are those that it draws for the same seed.
        """
        nn.Module.__init__(self)
        names = (*_FOR_ALL, *self._own)
        own = {name: options.pop(name) for name in names if name in options}
        factory = {name: options[name] for name in ("device", "dtype") if name in options}
        has_it = self._stock.__name__ == self._kind
        if not has_it:
            options = {**dict(self._defaults), **options, "device": "meta"}
        stock = self._stock(*args, **options)
        for name in ("_flat_weights", "_flat_weight_refs"):
            stock.__dict__.pop(name, None)
        self.__dict__.update(stock.__dict__)
        if not has_it:
            self._parameters.clear()
        for name, value in own.items():
            setattr(self, name, value)
        self._check_shares()
        self.refresh()
        for name, shape in self._shapes().items():
            if name not in self._parameters:
                self.register_parameter(name, nn.Parameter(torch.empty(shape, **factory)))
                self._start(name)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the parameters, by their names."""
        kernel = kernel_of(self._specs[torch.float32])
        return dict(zip(kernel.names, kernel.shapes, strict=True))

    def _check_shares(self) -> None:
        """Of what is dropped or kept, since the kernels get no more than masks."""
        for name in ("recurrent_dropout", "zoneout"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
                raise ValueError(f"{name} is {share!r}, expected a number from 0 to below 1")

    def _told(self, options: str) -> str:
        """PyTorch's own `options`, and those that it does not have where they are not as usual."""
        for name in (*_FOR_ALL, *self._own):
            if getattr(self, name) != getattr(type(self), name):
                options += f", {name}={getattr(self, name)!r}"
        return options

    def reset_parameters(self) -> None:
        """Draw all parameters anew: uniform in +-1 / sqrt(H), as in PyTorch; gains are 1."""
        for name in self._names:
            self._start(name)

    @torch.no_grad()
    def _start(self, name: str) -> None:
        """Draw a parameter."""
        kind, parameter = KINDS[self._kind]._kind, getattr(self, name)
        weight = next(each for each in kind.weights if name.startswith(each.stem))
        if weight.start == "uniform":  # the recurrent ones of an IndRNN
            nn.init.uniform_(parameter, 0, 1)
        elif weight.stem.startswith("norm_"):
            shapes = {name: tuple(parameter.shape)}
            suffix, options = name.removeprefix(weight.stem), self._options
            # Constants, of which nothing is drawn.
            start = initialise(kind, [suffix], shapes, options, _NO_RNG, np.dtype(np.float64))
            parameter.copy_(torch.from_numpy(start[name]))
        else:
            bound = 1 / math.sqrt(self.hidden_size)
            nn.init.uniform_(parameter, -bound, bound)

    def _state(self, hx: Any, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The parts of a state; empty for zeros."""
        if hx is None:
            return ()
        parts = tuple(hx) if len(self._widths) > 1 else (hx,)
        if all(part.dtype == dtype for part in parts):
            return parts
        return tuple([self._autocast(part, dtype) for part in parts])

    def _computes(self, x: Tensor, weight: Tensor) -> bool:
        """Whether there is a kernel for it here."""
        dtype = x.dtype
        return dtype == weight.dtype and dtype in self._specs and (x.is_cpu or x.is_meta)

    def _weights(self) -> list[Tensor]:
        """The parameters, or what parametrisations and `functional_call` have in their place."""
        own = self._parameters
        found = []
        for name in self._names:
            value = own.get(name)
            found.append(getattr(self, name) if value is None else value)
        return found

    def _quickly(self, x: Any, hx: Any, weights: list[Tensor]) -> Any:
        """What a call gives that nobody else has to know of, or None where it needs a look.

        The core looks at all that it reads: this way takes half the time of the other.
        """
        if is_seen(x) or (self.training and self._drops()):
            return None
        return quick(self._views, x, hx, weights)

    def _drops(self) -> bool:
        """Whether something is dropped or kept in training."""
        return bool(self.recurrent_dropout or self.zoneout)

    def _run(
        self,
        x: Tensor,
        lengths: Tensor | None,
        state: tuple[Tensor, ...],
        weights: list[Tensor],
        masks: Any = ((), (), ()),
        time_first: bool = False,
    ) -> Any:
        specs = self._specs_time_first if time_first else self._specs
        return run(
            specs[x.dtype], self._views, x, lengths, state, weights, masks,
            len(self._widths), self.double_backward,
        )  # fmt: skip

    def _autocast(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """`x`, in the parameters' dtype where autocast has made it narrower."""
        if x.dtype != dtype and torch.is_autocast_enabled(x.device.type):
            return x.to(dtype)
        return x

    def _refuse(self, x: Tensor, hx: Any, reason: str, given: Any = None) -> None:
        """Raise what PyTorch's own module raises for a call like this one, or else `reason`.

        `given` is what was called with, where that is no tensor.
        """
        name = f"torch.nn.{self._stock.__name__}"
        if x.device.type not in ("cpu", "meta"):
            raise RuntimeError(
                f"x is on {x.device}, expected the CPU, where rnncore computes: {name} is for "
                "other devices, and rnncore.torch.restore(model) goes back to it"
            )
        weight = self._weights()[0]
        if weight.dtype not in _DTYPES:
            raise TypeError(
                f"{self._names[0]} is {weight.dtype}, expected float32 or float64, in which "
                f"rnncore computes: {name} is for other dtypes, and rnncore.torch.restore(model) "
                "goes back to it"
            )
        with torch.no_grad():
            like = self._like(weight.dtype)
            if isinstance(given, PackedSequence):  # of which it does not look at everything
                like.check_input(_on_meta(x), given.batch_sizes)
                if hx is not None:
                    like.check_forward_args(_on_meta(x), _on_meta(hx), given.batch_sizes)
            like(_on_meta(x if given is None else given), _on_meta(hx))
        raise RuntimeError(reason)

    def _like(self, dtype: torch.dtype) -> nn.Module:
        """PyTorch's own module for the same x and states, without memory."""
        names = [name for name in self._shared if name != "nonlinearity"]
        options = {name: getattr(self, name) for name in names}
        return self._stock(**options, device="meta", dtype=dtype)


def _specs(kind: str, options: dict[str, Any]) -> dict[torch.dtype, str]:
    """The description of a layer in each dtype."""
    return {dtype: describe(kind, {**options, "dtype": name}) for dtype, name in _DTYPES.items()}


def _on_meta(given: Any) -> Any:
    """The same without numbers."""
    if isinstance(given, PackedSequence):
        data, sizes, *orders = given
        return PackedSequence(_on_meta(data), sizes, *[_on_meta(order) for order in orders])
    if isinstance(given, Tensor):
        return given.detach().to("meta")
    return None if given is None else tuple([_on_meta(each) for each in given])


def told(given: Any) -> str:
    """A tensor, or a tuple of tensors, in words."""
    if isinstance(given, Tensor):
        return f"{given.dtype} of shape {tuple(given.shape)}"
    return "None" if given is None else f"({', '.join(told(each) for each in given)})"
