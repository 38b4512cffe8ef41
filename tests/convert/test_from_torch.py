"""`from_torch`: single layers, Sequentials, and what it refuses."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import rnncore as rc  # noqa: E402
import rnncore.torch as rt  # noqa: E402
from rnncore.convert.from_torch import from_torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
T, B, I, H = 7, 3, 5, 4


def floats(*shape):
    return torch.randn(shape)


def same(found, expected):
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# Layers


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
@pytest.mark.parametrize("home", [nn, rt], ids=["torch", "rnncore.torch"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RNN", {"nonlinearity": "relu", "bias": False}),
        ("GRU", {"batch_first": True, "bidirectional": True, "num_layers": 2, "dropout": 0.5}),
        ("LSTM", {"proj_size": 2, "num_layers": 2}),
    ],
    ids=str,
)
def test_recurrent_layers(home, kind, options):
    module = getattr(home, kind)(I, H, **options)
    x = floats(T, B, I)
    layer = from_torch(module, x)
    assert type(layer) is getattr(rc, kind)
    assert layer.dropout == options.get("dropout", 0)
    module.eval()
    y, state = layer(x.numpy())
    expected, final = module(x)
    same(y, expected)
    for own, other in zip(
        state if kind == "LSTM" else [state], final if kind == "LSTM" else [final], strict=True
    ):
        same(own, other)
    assert_array_equal(from_torch(module)(x.numpy())[0], y)


def test_options_that_torch_has_not():
    module = rt.GRU(I, H, reset="before", activations=[("hardsigmoid", 0.3), "tanh"], clip=1.5)
    layer, x = from_torch(module), floats(T, B, I)
    assert (layer.reset, layer.clip) == ("before", 1.5)
    same(layer(x.numpy())[0], module(x)[0])


def test_such_options_in_a_graph():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = rt.LSTM(I, H, peephole="current", batch_first=True, bidirectional=True)
            self.other = rt.LayerNormLSTM(2 * H, H, batch_first=True)

        def forward(self, x):
            return torch.tanh(self.other(self.rnn(x)[0])[0])[:, -1]

    module, x = Model(), floats(B, T, I)
    model = from_torch(module, x)
    x = floats(2, 11, I)
    same(model(x.numpy())[0], module(x))


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_cells(kind):
    module = getattr(nn, kind)(I, H)
    cell, x = from_torch(module), floats(B, I)
    found, expected = cell(x.numpy()), module(x)
    same(*((found[1], expected[1]) if kind == "LSTMCell" else (found, expected)))


OTHERS = [
    nn.Linear(I, H), nn.Linear(I, H, bias=False), nn.LayerNorm(I), nn.LayerNorm(I, bias=False),
    nn.LayerNorm(I, elementwise_affine=False), nn.Dropout(0.5), nn.Identity(), nn.ReLU(),
    nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.SELU(),
    nn.ELU(0.5), nn.CELU(2.0), nn.LeakyReLU(0.2), nn.Hardtanh(-0.5, 0.7), nn.ReLU6(),
    nn.Hardswish(), nn.Hardsigmoid(), nn.Softsign(), nn.Softplus(), nn.LogSigmoid(),
    nn.Softmax(-1), nn.LogSoftmax(dim=-1),
]  # fmt: skip


@pytest.mark.parametrize("module", OTHERS, ids=str)
def test_other_layers(module):
    layer, x = from_torch(module.eval()), floats(T, B, I)
    same(layer(x.numpy()), module(x))


@pytest.mark.parametrize("module", [m for m in OTHERS if not isinstance(m, nn.Identity)], ids=str)
def test_other_layers_in_a_graph(module):
    model = nn.Sequential(nn.Linear(I, I), module).eval()
    x = floats(B, I)
    same(from_torch(model, x)(x.numpy())[0], model(x))


def test_embedding_norms_and_convolutions():
    module, ids = nn.Embedding(9, I, padding_idx=2), torch.randint(0, 9, (T, B))
    same(from_torch(module, ids)(ids.numpy()), module(ids))
    x = floats(B, T, I)
    norm = nn.BatchNorm1d(I)
    norm(x.transpose(1, 2))
    norm.eval()
    same(from_torch(norm)(x.numpy()), norm(x.transpose(1, 2)).transpose(1, 2))
    conv = nn.Conv1d(I, H, 3, stride=2, padding=1, bias=False)
    same(from_torch(conv)(x.numpy()), conv(x.transpose(1, 2)).transpose(1, 2))


# Sequentials


def test_sequentials_within_each_other():
    module = nn.Sequential(
        nn.Embedding(9, I),
        nn.Sequential(nn.Dropout(0.2), nn.LSTM(I, H, batch_first=True)),
        nn.Sequential(nn.Linear(H, H), nn.ReLU(inplace=True)),
        nn.Linear(H, 2),
    )
    model, ids = from_torch(module), torch.randint(0, 9, (B, 20))
    assert list(model.names) == ["0", "1_0", "1_1", "2_0", "2_1", "3"]
    assert model.batch_first
    module.eval()
    expected = module[3](module[2](module[1][1](module[0](ids))[0]))
    same(model(ids.numpy())[0], expected)
    assert list(from_torch(module, ids).names) == list(model.names)


act = nn.ReLU()


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Linear(I, H), act, nn.Linear(H, H), act, nn.LogSoftmax(dim=-1)), (B, I)),
        (nn.Sequential(nn.LayerNorm(I), nn.GRU(I, H)), (T, B, I)),
        (nn.Sequential(nn.Linear(I, H), nn.BatchNorm1d(H), nn.Tanh()), (B, I)),
        (nn.Sequential(nn.Conv1d(I, H, 3), nn.BatchNorm1d(H), nn.ReLU()), (B, I, T)),
        (
            nn.Sequential(
                nn.Conv1d(I, H, 5, stride=2), nn.ReLU(), nn.AvgPool1d(2, 1),
                nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(H, 2),
            ),
            (B, I, 19),
        ),
    ],
    ids=lambda value: type(value[0]).__name__ if isinstance(value, nn.Module) else str(value),
)  # fmt: skip
def test_sequentials(module, shape):
    module.eval()
    model, x = from_torch(module), floats(*shape)
    expected = module(x)
    same(model(x.numpy())[0], expected[0] if isinstance(expected, tuple) else expected)


def test_what_is_made_can_be_saved(tmp_path):
    module = nn.Sequential(nn.Conv1d(I, H, 3), nn.Tanh()).eval()
    model, x = from_torch(module), floats(B, I, T)
    model.save(tmp_path / "m.npz")
    assert_array_equal(rc.load(tmp_path / "m.npz")(x.numpy())[0], model(x.numpy())[0])


# What does not fit


class Of(nn.Module):
    """A module of a function of x, with a GRU and a Linear at hand."""

    def __init__(self, function):
        super().__init__()
        self.rnn = nn.GRU(I, H, batch_first=True)
        self.cell = nn.GRUCell(I, H)
        self.fc = nn.Linear(H, H)
        self.h0 = nn.Parameter(torch.ones(1, 1, H))
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def loop(m, x):
    h = torch.zeros(x.size(0), H)
    for t in range(x.size(1)):
        h = m.cell(x[:, t], h)
    return h


def attention(m, x):
    y, _ = m.rnn(x)
    weights = torch.softmax(m.fc(y).sum(-1), dim=1)
    return (weights.unsqueeze(-1) * y).sum(1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (attention, r"sum in Of, File .*: return self.function\(self, x\) cannot be a layer"),
        (loop, r"gru_cell in GRUCell 'cell', .*no layer of rnncore is like it"),
        (lambda m, x: m.rnn(x)[0][:, 2], r"select in Of.*takes step 2, expected the first or the"),
        (lambda m, x: m.rnn(x, m.h0.expand(1, x.size(0), H))[0], r"gru.*initial state is not 0"),
        (lambda m, x: m.rnn(x, torch.randn(1, x.size(0), H))[0], r"randn.*draws random numbers"),
        (lambda m, x: m.fc(m.rnn(x)[0]) * m.rnn(x)[0], r"mul.*multiplies two arrays"),
        (lambda m, x: m.fc(m.rnn(x)[0]) + m.fc(m.rnn(x)[0] * 2), r"add.*neither of which is made"),
        (lambda m, x: m.rnn(x)[0].flatten(1) @ torch.ones(T * H, 2), r"matmul.*axis 1 joins axes"),
        (lambda m, x: torch.sort(m.rnn(x)[0])[0], r"sort in Of.*no layer of rnncore is like it"),
        (lambda m, x: functional.dropout(m.rnn(x)[0]), r"drops numbers at inference too"),
        (lambda m, x: (m.rnn(x)[0], x.mean()), r"mean in Of|output 1 of the module"),
        (lambda m, x: torch.ones(3), r"first output does not depend on x"),
        (lambda m, x: m.rnn(x)[0] if x.sum() > 0 else x, r"torch.export makes no graph"),
        (lambda m, x: m.rnn(x)[0][:, T - 1], r"differs from the module by"),
        (lambda m, x: m.rnn(x)[0].half().float(), r"float16"),
        (
            lambda m, x: functional.softplus(m.rnn(x)[0], threshold=2),
            r"softplus in Of.*it has beta=1 and threshold=2",
        ),
        *[
            (
                lambda m, x, pool=pool: pool(m.rnn(x)[0].transpose(1, 2), 3, 2, ceil_mode=True),
                r"_pool1d in Of.*padding, dilation or ceil_mode",
            )
            for pool in (functional.max_pool1d, functional.avg_pool1d)
        ],
    ],
)
def test_graphs_that_are_no_chain(function, message):
    with pytest.raises(ValueError, match=message) as found:
        from_torch(Of(function), floats(B, T, I))
    assert len(str(found.value)) < 900


def test_an_example_of_one_row_that_is_squeezed():
    with pytest.raises(ValueError, match="axis 0 is of size 1 in the example alone: give one with"):
        from_torch(Of(lambda m, x: m.fc(m.rnn(x)[0][:, -1]).squeeze()), floats(1, T, I))


def test_the_place_is_named():
    with pytest.raises(ValueError, match=r"^group_norm in GroupNorm '1', File"):
        from_torch(nn.Sequential(nn.Conv1d(I, H, 3), nn.GroupNorm(2, H)), floats(B, I, T))


BAD = [
    (nn.Embedding(4, 2, max_norm=1.0), None, ValueError, "max_norm=1.0, which changes"),
    (nn.LayerNorm((T, I)), None, ValueError, "normalises the axes"),
    (nn.BatchNorm1d(I, track_running_stats=False), None, ValueError, "no running mean"),
    (nn.BatchNorm1d(I, momentum=None), None, ValueError, "module has momentum=None, an average"),
    (
        nn.Sequential(nn.Linear(I, H), nn.BatchNorm1d(H, momentum=None)),
        floats(B, I),
        ValueError,
        "^1 has momentum=None",
    ),
    (nn.Softplus(threshold=2), None, ValueError, "Softplus with beta=1.0 and threshold=2, expec"),
    (nn.Softplus(2), None, ValueError, "Softplus with beta=2 and threshold=20"),
    (nn.Conv1d(4, 4, 3, groups=2), None, ValueError, "groups=2"),
    (Of(loop), None, ValueError, "example is None, and Of is neither"),
    (nn.Sequential(Of(loop)), None, ValueError, "example is None, and no layer"),
    (nn.Sequential(nn.ReLU()), None, ValueError, "example is None, and no layer"),
    (nn.Linear(2, 2), "x", TypeError, "example is of type str, expected a tensor"),
    (nn.Linear(2, 2), (), ValueError, "example holds no tensor"),
    (nn.Linear(2, 2).to("meta"), None, ValueError, "weight is on the device 'meta'"),
    (nn.LazyLinear(2), None, ValueError, "weight has no shape yet"),
    (nn.Linear(2, 2, dtype=torch.complex64), None, TypeError, "dtype torch.complex64"),
    (3, None, TypeError, "module is of type int, expected a torch.nn.Module"),
    ({"a": 1}, floats(2), ValueError, "example is given beside parameters"),
]


@pytest.mark.parametrize(
    ("module", "example", "error", "message"), BAD, ids=[message for *_, message in BAD]
)
def test_refused(module, example, error, message):
    with pytest.raises(error, match=message):
        from_torch(module, example)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scripted_and_quantised():
    with pytest.raises(TypeError, match="module is scripted"):
        from_torch(torch.jit.script(nn.Linear(2, 2)))
    model = nn.Sequential(nn.LSTM(I, H), nn.Linear(H, 2))
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.LSTM, nn.Linear})
    with pytest.raises(TypeError, match="0 is quantised, expected float32"):
        from_torch(quantised)


def test_batch_first_is_the_modules():
    with pytest.raises(ValueError, match="batch_first is True, expected False beside a module"):
        from_torch(nn.Linear(2, 2), batch_first=True)


def test_an_axis_that_is_last_of_rows_alone_is_refused_without_an_example():
    module = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1))
    with pytest.raises(ValueError, match=r"an x of shape \(2, 5, 4\)"):
        from_torch(module)
    model, x = from_torch(module, torch.randn(3, 4)), torch.randn(2, 4)
    np.testing.assert_allclose(model(x.numpy())[0], module(x).detach().numpy(), rtol=1e-5)
    last = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1))
    found, x = from_torch(last), torch.randn(2, 5, 4)
    np.testing.assert_allclose(found(x.numpy())[0], last(x).detach().numpy(), rtol=1e-5)


def test_what_has_no_parameters_has_the_models_dtype():
    norm = nn.LayerNorm(H, elementwise_affine=False)
    for module in (nn.Sequential(nn.Linear(I, H), norm).double(), nn.Sequential(norm, nn.Tanh())):
        x = torch.randn(B, I if len(module[0].state_dict()) else H, dtype=torch.float64)
        y = module(x).detach().numpy()
        assert_allclose(from_torch(module, x)(x.numpy())[0], y, rtol=1e-12, atol=1e-14)
