"""What sees operators: the compiler, the exporter, PyTorch's checks of operators."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from in_torch import CELLS, B, I, T, flat, pair, values  # noqa: E402
from torch._dynamo.utils import counters  # noqa: E402
from torch.library import opcheck  # noqa: E402

import rnncore  # noqa: E402
import rnncore.torch as rt  # noqa: E402
from rnncore.torch.kernel import kernel_of  # noqa: E402

pytestmark = [
    # The compiler and the exporter warn of their own ways.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
KINDS = {
    "RNN": (rt.RNN, {"num_layers": 2}),
    "GRU": (rt.GRU, {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    "LSTM": (rt.LSTM, {}),
    "LSTM-own": (rt.LSTM, {"peephole": "current", "proj_size": 3}),
    "IndRNN": (rt.IndRNN, {"bidirectional": True}),
    "LayerNormLSTM": (rt.LayerNormLSTM, {"batch_first": True}),
}
SHAPES = ((4, 3), (6, 2), (9, 5), (7, 8))


class Net(torch.nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.rnn = kind(I, 7, **options)

    def forward(self, x, hx=None, lengths=None):
        y, state = self.rnn(x.tanh(), hx, lengths=lengths)
        return y * 2, state


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    torch.manual_seed(0)


def assert_close(a, b):
    assert a.keys() == b.keys()
    for key, value in b.items():
        torch.testing.assert_close(a[key], value, msg=key)


@pytest.mark.parametrize("name", KINDS)
def test_whole_graphs_for_any_steps_and_rows(name):
    kind, options = KINDS[name]
    net = Net(kind, **options)
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend="aot_eager")
    before = counters["stats"]["unique_graphs"]
    for shape in SHAPES:
        x = torch.randn(*shape, I)
        assert_close(values(compiled, x), values_of(net, x))
        with torch.no_grad():
            for a, b in zip(flat(compiled(x)), flat(net(x)), strict=True):
                torch.testing.assert_close(a, b)
    assert counters["stats"]["unique_graphs"] - before == 2  # with gradients, and without


def values_of(net, x, **options):
    """Of the model itself, by the names that a compiled one gives its parameters."""
    found = values(net, x, **options)
    names = {name for name, _ in net.named_parameters()}
    return {f"_orig_mod.{k}" if k in names else k: v for k, v in found.items()}


def test_a_whole_graph_with_lengths_and_a_state():
    net = Net(rt.GRU)
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend="aot_eager")
    for steps, rows in SHAPES:
        x, hx = torch.randn(steps, rows, I), torch.randn(1, rows, 7)
        lengths = torch.randint(0, steps + 1, (rows,))
        found = values(compiled, x, hx, lengths=lengths)
        assert_close(found, values_of(net, x, hx=hx, lengths=lengths))


def test_inductor_compiles_it_too():
    net = Net(rt.LSTM)
    x = torch.randn(4, 3, I)
    assert_close(values(torch.compile(net, fullgraph=True), x), values_of(net, x))


def test_dropout_is_drawn_anew_at_every_compiled_call():
    net = Net(rt.GRU, num_layers=2, dropout=0.5, zoneout=0.2, recurrent_dropout=0.1)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 3, I)
    first, second = compiled(x)[0], compiled(x)[0]
    assert not torch.equal(first, second)
    first.sum().backward()
    assert net.rnn.weight_ih_l0.grad is not None


@pytest.mark.parametrize("kind", [rt.RNNCell, rt.GRUCell, rt.LSTMCell])
def test_a_loop_of_cells_is_one_graph(kind):
    cell = kind(I, 7)

    def loop(x):
        hx = None
        for x_t in x:
            hx = cell(x_t, hx)
        return flat(hx)

    x = torch.randn(3, 2, I)
    for a, b in zip(torch.compile(loop, fullgraph=True, backend="aot_eager")(x), loop(x),
                    strict=True):  # fmt: skip
        torch.testing.assert_close(a, b)


# The exporter


def exported(net, *args, dynamic):
    return torch.export.export(net, args, dynamic_shapes=dynamic)


@pytest.mark.parametrize("name", KINDS)
def test_an_exported_model_for_any_steps_and_rows(name):
    kind, options = KINDS[name]
    net = Net(kind, **options)
    dims = torch.export.Dim("a", min=2, max=99), torch.export.Dim("b", min=2, max=99)
    program = exported(net, torch.randn(4, 6, I), dynamic={"x": dict(enumerate(dims))})
    (node,) = [n for n in program.graph.nodes if "rnncore" in str(n.target)]
    assert node.target is torch.ops.rnncore.infer.default
    for shape in SHAPES:
        x = torch.randn(*shape, I)
        for a, b in zip(flat(program.module()(x)), flat(net(x)), strict=True):
            torch.testing.assert_close(a, b)


def test_an_exported_model_is_trained():
    net = Net(rt.LSTM, num_layers=2)
    x = torch.randn(4, 3, I)
    assert_close(values(AsNet(exported(net, x, dynamic=None).module()), x), values(net, x))


class AsNet(torch.nn.Module):
    """With the names of a `Net`'s parameters."""

    def __init__(self, module):
        super().__init__()
        self.call, self.rnn = [module], module.rnn

    def forward(self, x, hx):
        assert hx is None
        return self.call[0](x)


def test_second_derivatives_of_an_exported_model_are_refused():
    net = Net(rt.GRU)
    x = torch.randn(4, 3, I, requires_grad=True)
    loss = exported(net, x.detach(), dynamic=None).module()(x)[0].square().sum()
    (d,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="double_backward=True"):
        d.sum().backward()


def test_an_exported_model_in_another_process(tmp_path):
    """Which imports rnncore.torch; one that does not is told that the operator is not there."""
    net = Net(rt.GRU, num_layers=2)
    x = torch.randn(4, 3, I)
    torch.export.save(exported(net, x, dynamic=None), tmp_path / "model.pt2")
    torch.save((x, net(x)[0].detach()), tmp_path / "call.pt")
    load = (
        "import sys, torch\n"
        "program = torch.export.load(sys.argv[1] + '/model.pt2').module()\n"
        "x, y = torch.load(sys.argv[1] + '/call.pt')\n"
        "torch.testing.assert_close(program(x)[0], y)\n"
    )
    done = in_a_process("import rnncore.torch\n" + load, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rnncore" in in_a_process(load, tmp_path).stderr


def in_a_process(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        cwd=Path(rnncore.__file__).parents[1], capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


# The operators


@pytest.mark.parametrize("lengths", [None, [4, 0, 2]], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_opcheck(name, lengths):
    kind, options = KINDS[name]
    module = kind(I, 7, **options)
    spec = module._specs[torch.float32]
    steps, rows = (3, 4) if module.batch_first else (4, 3)
    x = torch.randn(steps, rows, I, requires_grad=True)
    rows = 3
    lengths = None if lengths is None else torch.tensor(lengths)
    kernel = kernel_of(spec)
    state = [torch.randn(shape) for shape in kernel.states(x.shape)]
    drops = [torch.ones(4, rows, kernel.columns)] * (kernel.layers - 1)
    weights = module._weights()
    opcheck(torch.ops.rnncore.infer, (spec, x, lengths, state, weights))
    opcheck(torch.ops.rnncore.forward, (spec, x, lengths, state, weights, drops, [], []))
    x, weights = x.detach(), [weight.detach() for weight in weights]
    *outputs, reserve = torch.ops.rnncore.forward(spec, x, lengths, state, weights, drops, [], [])
    wanted = [True] * (1 + len(state) + len(weights))
    arriving = [torch.randn_like(outputs[0]), None, *outputs[2:]]
    for wanted[0] in (True, False):
        args = (spec, wanted, x, lengths, reserve, weights, arriving, drops, [], [])
        opcheck(torch.ops.rnncore.backward, args)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_the_reserve_has_room_for_all_that_is_kept(name, dtype, masked):
    kind, options = KINDS[name]
    kernel = kernel_of(kind(I, 7, dtype=dtype, **options)._specs[dtype])
    for steps, rows in ((1, 1), (1, 17), (5, 3), (16, 16), (33, 2)):
        shape = (rows, steps, I) if kernel.batch_first else (steps, rows, I)
        reserve = np.zeros(kernel.reserve(shape, masked, masked), kernel.dtype)
        zoned = (masked,) * len(kernel.widths)
        memories, inner = kernel._stack.cut(reserve, steps, rows, masked, zoned)
        sizes = [cell.shape.room(steps, rows, masked, zoned)[0] for cell in kernel._cells]
        assert [memory.size for memory in memories] == sizes
        assert [each.shape for each in inner] == [(steps, rows, kernel.columns)] * len(inner)
        assert reserve.size - sum(sizes) - sum(each.size for each in inner) < 2000


def test_an_operator_on_tensors_without_numbers():
    module = rt.GRU(I, 7, 2, device="meta")
    y, h = module(torch.randn(4, 3, I, device="meta"))
    assert y.shape == (4, 3, 7)
    assert h.shape == (2, 3, 7)
    assert y.is_meta


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", ["GRU", "LSTMCell"])
def test_a_traced_model_reads_what_it_is_given(name, grad, tmp_path):
    _, ours = pair(name)
    x, other = torch.randn(2, *((B, I) if name in CELLS else (T, B, I)), dtype=torch.float64)
    with torch.set_grad_enabled(grad):
        torch.jit.trace(ours, x).save(tmp_path / "traced.pt")
        traced = torch.jit.load(tmp_path / "traced.pt")
        torch.testing.assert_close(flat(traced(other)), flat(ours(other)))
        torch.testing.assert_close(flat(traced(x)), flat(ours(x)))
