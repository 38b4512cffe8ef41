"""`from_torch`: layers and models of PyTorch as those of rnncore."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.convert import torch_graph, torch_hooks, torch_modules
from rnncore.convert.state_dicts import of_state_dict
from rnncore.convert.tensor_files import Loaded, load_tensors
from rnncore.convert.torch_check import (
    Example,
    compare,
    example_of,
    others_like,
    run_layer,
    run_model,
    run_module,
    with_steps,
    within,
)
from rnncore.convert.torch_modules import marked_dropout
from rnncore.convert.torch_packed import unpacked
from rnncore.convert.widened import check_tensor
from rnncore.models.sequential import Sequential

__all__ = ["from_torch"]


def from_torch(module: Any, example: Any = None, *, batch_first: bool = False) -> Any:
    """A layer or model of rnncore with the parameters of one of PyTorch, or of a file of one.

    Parameters
    ----------
    module : torch.nn.Module, a mapping of names to arrays or tensors, or a path
        * A layer: `torch.nn.RNN`, `GRU`, `LSTM`, their cells, those of `rnncore.torch`, `Linear`,
          `Embedding`, `LayerNorm` of the last axis, `BatchNorm1d`, `Conv1d`, `Dropout`, a function.
          Alone, and without an example, the convolution and the norm read (B, T, C), not (B, C, T).
        * `torch.nn.Sequential`, also within each other. The first output of a recurrent layer goes
          on.
        * With an `example`, any module whose graph is a chain of such layers, as `torch.export`
          gives it: the last step or h may be taken, means and largest over time, views and
          transposes between layouts, ``x + f(x)``.
        * A `state_dict`, or the path to one, ``.pt`` (read with ``weights_only=True``) or
          ``.safetensors`` (for which no PyTorch is needed), whose names and sizes tell what it is.
    example : tensor or array, or a tuple of x and what else the module reads, optional
        At least two steps; T and B may be others later on. What comes after x are initial states,
        or the lengths by which a module packs its sequences, up to T: the model takes these as
        ``lengths=``, and gives 0 past them. The module and the model are run and have to agree.
    batch_first : bool
        Of the layers made of a `state_dict`, which does not tell.

    Returns
    -------
    A layer of a layer and of the parameters of one, or else a `Sequential`, which reads and gives
    what the module does: in its layout, arrays instead of tensors, and final states besides.
    Parameters are copies, float64 as they are and all others float32; what is one tensor is one
    array. Nothing is dropped or kept back in a call: the module is taken as it is in eval mode, and
    weights as its weight norm, spectral norm or pruning makes them then. Other hooks of a layer or
    a Sequential need an example.

    Of a `state_dict` alone there is no more than what has parameters: functions, dropout, pooling
    and the layout are not in it. An RNN is taken for one of tanh, norms for such with eps 1e-5, and
    for a LayerNorm where a name such as "norm" or "ln_1" says so.

    Raises
    ------
    ValueError, TypeError for what cannot be converted: the first layer or node that does not fit,
    its place and line; what is ambiguous; by how much outputs differ; a file that is damaged or
    holds more than arrays. OSError for one that cannot be read, ImportError without PyTorch.

    Examples
    --------
    >>> weights = {"rnn.weight_ih_l0": np.ones((3, 2)), "rnn.weight_hh_l0": np.ones((3, 1))}
    >>> from_torch(weights)
    GRU(2, 1, bias=False, dtype=float64)
    """
    batch_first = _check.flag("batch_first", batch_first)
    if isinstance(module, str | os.PathLike):
        loaded = load_tensors(module)
        _no_example(example)
        return of_state_dict(loaded, loaded.name, batch_first)
    if isinstance(module, Mapping) and not _is_module(module):
        _no_example(example)
        return of_state_dict(Loaded(module), "module", batch_first)
    if not _is_module(module):
        raise TypeError(
            f"module is of type {type(module).__name__}, expected a torch.nn.Module, a mapping of"
            " names to arrays, or a path"
        )
    if batch_first:
        raise ValueError("batch_first is True, expected False beside a module, which tells it")
    return _of_module(module, example)


def _no_example(example: Any) -> None:
    if example is not None:
        raise ValueError("example is given beside parameters alone, which cannot be run")


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _of_module(module: Any, example: Any) -> Any:
    import torch

    given = None if example is None else example_of(example)
    _check_tensors(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError("module is scripted, expected the module that it was made of")
    module, given = _widened(torch, module, given)
    with _evaluated(module), torch_hooks.renewed(module):
        hook = torch_hooks.hook_of(module)
        if hook and given is None:
            raise ValueError(
                f"example is None, and {hook}, which its graph alone tells: give an x that the"
                " module reads"
            )
        layer = None if hook else torch_modules.layer_of(module)
        simple = type(module).__name__ in ("Linear", "Embedding") or hasattr(layer, "hidden_size")
        if layer is not None and (given is None or simple):
            if given is not None:
                _compare_layer(module, layer, given)
            return layer
        if type(module) is torch.nn.Sequential and not hook:
            wrapped = torch_modules.first_outputs(module)
            return _of_graph(wrapped, given or _made_example(module), exact=given is not None)
        if given is None:
            raise ValueError(
                f"example is None, and {type(module).__name__} is neither a layer nor a Sequential"
                " of layers: give an x that the module reads"
            )
        return _of_graph(module, given, exact=True)


def _made_example(module: Any) -> Example:
    made = torch_modules.example_for(module)
    if made is None:
        raise ValueError("example is None, and no layer of the module tells what it reads")
    return example_of(made)


def _of_graph(module: Any, example: Example, *, exact: bool) -> Sequential:
    """The model that a module's graph is."""
    with marked_dropout(module), unpacked(module) as packing:
        chain = torch_graph.chain_of(module, example.args)
    if not chain.layers:
        raise ValueError("module gives x as it is, expected at least one layer")
    model = Sequential(**chain.layers)

    def check(example: Example, expected: np.ndarray, what: str) -> None:
        lengths = example.lengths if packing.used else None
        found = run_model(model, example, chain.states, lengths)
        if lengths is not None:
            found, expected = (within(y, chain.y_roles, lengths) for y in (found, expected))
        compare(found, expected, what)

    check(example, run_module(module, example), "the example" if exact else "an example")
    states = {k for own in chain.states for k in own or ()}
    more = others_like(example, chain.roles, states)
    for others in (more, None if exact else with_steps(example)):
        if others is None:
            continue
        try:
            expected = run_module(module, others)
        except Exception:  # the module reads this number of axes, rows and steps alone
            continue
        what = f"an x of shape {tuple(others.tensors[0].shape)}"
        check(others, expected, what if exact else f"{what} (example tells which one is meant)")
    return model


def _compare_layer(module: Any, layer: Any, example: Example) -> None:
    states: list[tuple[int, ...] | None] = []
    if len(example.tensors) > 1:
        states = [tuple(range(1, len(example.tensors)))]
    compare(run_layer(layer, example, states), run_module(module, example), "the example")


def _check_tensors(module: Any) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        check_tensor(name, tensor)
    norms = sys.modules["torch"].nn.modules.batchnorm._BatchNorm
    for name, member in module.named_modules():
        if "quantized" in type(member).__module__:
            raise TypeError(f"{name or 'module'} is quantised, expected float32 or float64")
        if isinstance(member, norms) and member.running_mean is not None:
            torch_modules.check_momentum(name or "module", member)
        if getattr(member, "max_norm", None) is not None:
            torch_modules.check_embedding(name or "module", member)


def _widened(torch: Any, module: Any, example: Example | None) -> tuple[Any, Example | None]:
    """A module of float32 in place of one of half precision, and its example."""
    half = (torch.float16, torch.bfloat16)
    if any(getattr(one, "dtype", None) in half for one in module.state_dict().values()):
        with _evaluated(module), torch_hooks.renewed(module):  # or its weights have a history
            module = copy.deepcopy(module).float()
    return module, None if example is None else example.widened()


@contextmanager
def _evaluated(module: Any) -> Iterator[None]:
    """A module in eval mode, and as it was afterwards."""
    training = [member for member in module.modules() if member.training]
    module.eval()
    try:
        yield
    finally:
        for member in training:
            member.training = True
