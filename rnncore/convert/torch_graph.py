"""A chain of layers from a module's graph, as `torch.export` gives it for an example."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert import flow, torch_functions, torch_recurrent, torch_steps
from rnncore.convert.flow import Axis, Refusal, Source, Value
from rnncore.convert.torch_node import Call, Final, Given, flowing, is_flow
from rnncore.convert.torch_ops import READERS
from rnncore.convert.widened import check_tensor

__all__ = ["Chain", "chain_of"]

_READ = (torch_functions, torch_recurrent, torch_steps)  # imported for what they add to the table
_CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range")


class Chain(NamedTuple):
    """What a graph comes to.

    Attributes
    ----------
    layers : by their names, in order
    batch_first : of them
    states : which of the inputs, counted from 0 for x, are parts of each layer's initial state;
        None for a layer that starts from zeros
    roles : of the axes of x: "B", "T", "C" or ""
    y_roles : of the axes of y; "" where several are joined
    """

    layers: dict[str, Any]
    batch_first: bool
    states: list[tuple[int, ...] | None]
    roles: tuple[str, ...]
    y_roles: tuple[str, ...]


def chain_of(module: Any, inputs: Sequence[Any]) -> Chain:
    """The layers that a module is, if it is a chain of them.

    Parameters
    ----------
    module : torch.nn.Module in eval mode
    inputs : tensors, x and after it initial states

    Raises
    ------
    ValueError that names the first node that does not fit, with its place.
    """
    exported = _exported(module, tuple(inputs))
    walk = _Walk(exported)
    with _told("the module's output"):
        y, rest = walk.result()
    for node in exported.graph.nodes:
        if node.op == "output":
            walk.check_states(rest)
    with _told("the module's output"):
        layers, first = flow.chain(y, walk.source)
    roles = tuple([axis.role for axis in walk.source.axes])
    y_roles = tuple([entry[0].role if len(entry) == 1 else "" for entry in y.entries])
    return Chain(layers, first, _states(y, walk.inputs), roles, y_roles)


@contextmanager
def _told(place: str) -> Iterator[None]:
    try:
        yield
    except Refusal as error:
        raise ValueError(f"{place} cannot be a model of rnncore: {error}") from error


def _exported(module: Any, inputs: tuple[Any, ...]) -> Any:
    import torch

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            # Once more, so that nothing is changed in place any more.
            return torch.export.export(module, inputs).run_decompositions({})
    except Exception as error:  # of any kind, from the module itself too
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            "torch.export makes no graph of the module for this example, so it cannot be"
            f" converted ({type(error).__name__}: {lines[0][:300]})"
        ) from error


class _Walk:
    """A way through a graph: what every node gives."""

    def __init__(self, exported: Any) -> None:
        signature = exported.graph_signature
        tensors = {**exported.constants, **exported.state_dict}
        kinds = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        dtypes = [str(getattr(tensor, "dtype", "")) for tensor in tensors.values()]
        self._floats = any("float" in dtype for dtype in dtypes)
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        if "torch.float64" in dtypes:
            self._dtype = np.dtype(np.float64)
        self._found: dict[Any, Any] = {}
        self._output: Any = None
        self.inputs: list[str] = []
        for node in exported.graph.nodes:
            if node.op == "placeholder":
                self._start(node, tensors.get(kinds.get(node.name)), node.name in kinds)
            elif node.op == "output":
                self._output = node
            elif node.op == "call_function":
                self._take(node)

    def _start(self, node: Any, tensor: Any, is_own: bool) -> None:
        """A parameter, or an input."""
        import torch

        if is_own:
            if isinstance(tensor, torch.Tensor):
                check_tensor(node.name, tensor)
            self._found[node] = tensor
            return
        self.inputs.append(node.name)
        value = node.meta.get("val")
        if len(self.inputs) > 1 or not isinstance(value, torch.Tensor):
            self._found[node] = Given(node.name)
            return
        if str(value.dtype) == "torch.float64" and not self._floats:
            self._dtype = np.dtype(np.float64)
        axes = tuple([Axis(int(size)) for size in value.shape])
        self.source = Source(axes, self._dtype)
        self._found[node] = self.source.value()

    def _take(self, node: Any) -> None:
        """What a node gives; ValueError with its place where it does not fit."""
        op = _name_of(node.target)
        if op in _CHECKS:
            return
        try:
            self._found[node] = self._read(node, op)
        except Refusal as error:
            raise ValueError(f"{_place(node, op)} cannot be a layer of rnncore: {error}") from error

    def _read(self, node: Any, op: str) -> Any:
        args = _mapped(node.args, self._found)
        options = _mapped(node.kwargs, self._found)
        if node.target is operator.getitem:
            if isinstance(args[0], tuple) and args[0][args[1]] is None:
                return Given("a second result", whole=False)
            return args[0][args[1]]
        everything = [*args, *options.values()]
        if not _any(everything, lambda a: is_flow(a) or isinstance(a, Given)):
            return _constant(node.target, args, options)
        if not _any(everything, is_flow):
            # An initial state on its way, such as a copy, or lengths.
            same = op in ("to", "_to_copy", "contiguous", "clone", "detach")
            return args[0] if same else Given(f"{op} of an input", whole=False)
        if op not in READERS:
            raise Refusal("no layer of rnncore is like it")
        value = node.meta.get("val")
        _check_dtype(node, value)
        shape = tuple([int(size) for size in value.shape]) if hasattr(value, "shape") else None
        return READERS[op](Call(op, args, options, shape, _layer_name(node), self.source))

    def result(self) -> tuple[Value, list[Any]]:
        """The first output, and all others."""
        outputs = _mapped(self._output.args[0], self._found)
        if not outputs or not is_flow(outputs[0]):
            raise Refusal("its first output does not depend on x")
        return flowing(outputs[0], self.source), list(outputs[1:])

    def check_states(self, rest: Sequence[Any]) -> None:
        """Refuse outputs besides the first that are no final states as they are."""
        for k, output in enumerate(rest):
            if output is None or (isinstance(output, Final) and not output.at):
                continue
            raise ValueError(
                f"output {k + 1} of the module is neither its first nor a final state of a layer,"
                " and a model of rnncore gives no others"
            )


def _states(y: Value, inputs: Sequence[str]) -> list[tuple[int, ...] | None]:
    """The inputs that are initial states, of every recurrent layer in its order."""
    found: list[tuple[int, ...] | None] = []
    links, link = [], y.link
    while link is not None:
        links.append(link)
        link = link.before  # type: ignore[assignment]
    for one in reversed(links):
        for recurrence in one.owns:
            initial = recurrence.initial
            found.append(None if initial is None else tuple(inputs.index(g.name) for g in initial))
    return found


def _constant(target: Any, args: Any, options: Any) -> Any:
    """What a node gives that depends on no input: it is computed."""
    import torch

    tags = getattr(target, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags:
        raise Refusal("it draws random numbers")
    with torch.no_grad():
        return target(*args, **options)


def _mapped(value: Any, found: Mapping[Any, Any]) -> Any:
    """Arguments with what the nodes among them have given."""
    if isinstance(value, list | tuple):
        return type(value)(_mapped(one, found) for one in value)
    if isinstance(value, dict):
        return {name: _mapped(one, found) for name, one in value.items()}
    if type(value).__module__.startswith("torch.fx"):
        if isinstance(value, Mapping):
            return {name: _mapped(one, found) for name, one in value.items()}
        if isinstance(value, Sequence):
            return [_mapped(one, found) for one in value]
        return found.get(value)
    return value


def _any(values: Any, test: Any) -> bool:
    for value in values:
        if isinstance(value, list | tuple):
            if _any(value, test):
                return True
        elif test(value):
            return True
    return False


def _check_dtype(node: Any, value: Any) -> None:
    """Refuse numbers that become others on the way."""
    import torch

    one = value[0] if isinstance(value, list | tuple) and value else value
    if isinstance(one, torch.Tensor) and one.dtype in (torch.float16, torch.bfloat16):
        raise Refusal(f"it computes in {one.dtype}, expected float32 or float64")


def _name_of(target: Any) -> str:
    """Of an operator, without its library and overload."""
    name = getattr(target, "_opname", None) or getattr(target, "__name__", str(target))
    return str(name).split(".")[0]


def _layer_name(node: Any) -> str:
    """The module that a node belongs to, if that is one of PyTorch's or of rnncore's own."""
    path, kind = _module_of(node)
    own = any(word in kind for word in ("torch.nn.", "rnncore.torch", "Parametrized"))
    return path if own else ""


def _module_of(node: Any) -> tuple[str, str]:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", ""
    path, kind = stack[-1][:2]
    return str(path), kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__name__}"


def _place(node: Any, op: str) -> str:
    """Of a node, for messages: its operator, module and line."""
    path, kind = _module_of(node)
    where = f" in {kind.rsplit('.', 1)[-1]}" if kind else ""
    where += f" {path!r}" if path else ""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    files = [k for k, line in enumerate(lines) if line.startswith("File ")]
    own = [k for k in files if "/torch/" not in lines[k].replace("\\", "/")] or files
    if own:
        where += f", {lines[own[-1]]}: {' '.join(lines[own[-1] + 1 : own[-1] + 2])}"
    return f"{op}{where}"
