"""Modules of rnncore.torch beside PyTorch's of the same names, and beside rnncore's own layers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from in_torch import (  # noqa: E402
    CELLS,
    VARIANTS,
    B,
    H,
    I,
    T,
    assert_same,
    flat,
    pair,
    state_of,
    values,
)

import rnncore as rc  # noqa: E402
import rnncore.torch as rt  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_outputs_and_gradients_are_torchs(name, options, with_state, dtype):
    stock, ours = pair(name, dtype=dtype, **options)
    x = torch.randn(T, B, I, dtype=dtype)
    rows = T if options.get("batch_first") else B
    hx = state_of(stock, rows, dtype) if with_state else None
    assert_same(values(ours, x, hx), values(stock, x, hx), dtype)
    with torch.no_grad():
        found, expected = ours(x, hx), stock(x, hx)
    for a, b in zip(flat(found), flat(expected), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_a_sequence_without_a_batch(name, options):
    stock, ours = pair(name, **options)
    x = torch.randn(T, I, dtype=torch.float64)
    state = state_of(stock, 1)
    hx = tuple(p[:, 0] for p in state) if isinstance(state, tuple) else state[:, 0]
    assert_same(values(ours, x, hx), values(stock, x, hx))
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], stock(x)[0])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("rows", [(), (B,)], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_cells_are_torchs(name, rows, with_state, bias):
    stock, ours = pair(name, bias=bias)
    x, hx = torch.randn(*rows, I, dtype=torch.float64), None
    if with_state:
        state = state_of(stock)
        hx = state if rows else tuple(p[0] for p in state) if "LSTM" in name else state[0]
    assert_same(values(ours, x, hx), values(stock, x, hx))
    with torch.no_grad():
        for a, b in zip(flat(ours(x, hx)), flat(stock(x, hx)), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("name", "options"), [*VARIANTS, *[(name, {}) for name in CELLS]], ids=str)
def test_the_same_seed_gives_the_same_parameters_and_words(name, options):
    torch.manual_seed(3)
    stock = getattr(torch.nn, name)(I, H, **options)
    torch.manual_seed(3)
    ours = getattr(rt, name)(I, H, **options)
    assert repr(ours) == repr(stock)
    assert [*ours.state_dict()] == [*stock.state_dict()]
    for key, value in stock.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)
    stock.load_state_dict(ours.state_dict())
    torch.manual_seed(4)
    stock.reset_parameters()
    torch.manual_seed(4)
    ours.reset_parameters()
    assert torch.equal(ours.state_dict()[key], stock.state_dict()[key])


def test_what_programs_ask_a_layer_for():
    stock, ours = pair("LSTM", 5, 7, 2, bidirectional=True, proj_size=3)
    ours.flatten_parameters()
    for a, b in zip(ours.all_weights, stock.all_weights, strict=True):
        assert [tuple(p.shape) for p in a] == [tuple(p.shape) for p in b]
    for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
                 "bidirectional", "proj_size", "mode"):  # fmt: skip
        assert getattr(ours, name) == getattr(stock, name)


def test_layers_that_torch_does_not_have_and_their_options():
    layers = [
        (rt.LSTM, rc.LSTM, {"peephole": "current", "bidirectional": True, "num_layers": 2}),
        (rt.LSTM, rc.LSTM, {"peephole": "previous", "coupled": True, "bias": False}),
        (rt.GRU, rc.GRU, {"reset": "before", "num_layers": 2, "clip": 0.5}),
        (rt.GRU, rc.GRU, {"activations": ["HardSigmoid", ("LeakyRelu", 0.2)]}),
        (rt.IndRNN, rc.IndRNN, {"bidirectional": True}),
        (rt.IndRNN, rc.IndRNN, {"nonlinearity": "tanh", "num_layers": 2}),
        (rt.LayerNormLSTM, rc.LayerNormLSTM, {"eps": 0.1, "num_layers": 2, "batch_first": True}),
    ]
    for module_type, layer_type, options in layers:
        module = module_type(I, H, dtype=torch.float64, **options)
        layer = layer_type(I, H, dtype=np.float64, rng=0, **options)
        module.load_state_dict({k: torch.tensor(v) for k, v in layer.params.items()})
        x = torch.randn(T, B, I, dtype=torch.float64)
        lengths = torch.tensor([3, 0, 2, 1]) if not module.batch_first else torch.tensor([4] * 6)
        found = values(module, x, lengths=lengths)
        y, final, trace = layer.forward(x.numpy(), lengths=lengths.numpy())
        expected = [y, *(final if isinstance(final, tuple) else (final,))]
        dy = []
        for k, each in enumerate(expected):
            np.testing.assert_array_equal(found[f"output {k}"].numpy(), each)
            dy.append(np.cos(np.arange(each.size, dtype=np.float64) + k).reshape(each.shape))
        grads = layer.backward(trace, dy[0], tuple(dy[1:]) if len(dy) > 2 else dy[1])
        np.testing.assert_allclose(found["x"].numpy(), grads.x, atol=1e-12)
        for name, d in grads.params.items():
            np.testing.assert_allclose(found[name].numpy(), d, atol=1e-11, err_msg=name)


def test_cells_that_torch_does_not_have():
    for module_type, cell_type in (
        (rt.IndRNNCell, rc.IndRNNCell),
        (rt.LayerNormLSTMCell, rc.LayerNormLSTMCell),
    ):
        module, cell = module_type(I, H, dtype=torch.float64), cell_type(I, H, dtype=np.float64)
        module.load_state_dict({k: torch.tensor(v) for k, v in cell.params.items()})
        x = torch.randn(B, I, dtype=torch.float64)
        expected = cell(x.numpy())
        for a, b in zip(flat(module(x)), flat_arrays(expected), strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b)
        assert torch.autograd.gradcheck(
            lambda x, *p, module=module: module(x), (x.requires_grad_(), *module.parameters())
        )


def flat_arrays(state):
    return state if isinstance(state, tuple) else (state,)


def test_fresh_gains_are_one_and_recurrent_weights_of_an_indrnn_positive():
    module = rt.LayerNormLSTM(I, H)
    assert (module.norm_c_weight_l0 == 1).all()
    assert (module.norm_c_bias_l0 == 0).all()
    recurrent = rt.IndRNN(I, 50).weight_hh_l0
    assert recurrent.min() > 0
    assert recurrent.max() > 0.8


def test_options_of_their_own_are_told():
    assert repr(rt.LSTM(3, 4, peephole="current", clip=2.0, batch_first=True)) == (
        "LSTM(3, 4, batch_first=True, clip=2.0, peephole='current')"
    )
    assert repr(rt.GRUCell(3, 4, reset="before", double_backward=True)) == (
        "GRUCell(3, 4, double_backward=True, reset='before')"
    )


@pytest.mark.parametrize("name", ["recurrent_dropout", "zoneout"])
@pytest.mark.parametrize("share", [1.0, -0.1, True, "a"])
def test_a_share_out_of_range_is_refused(name, share):
    with pytest.raises(ValueError, match=f"{name} is .*, expected a number from 0 to below 1"):
        rt.GRU(I, H, **{name: share})


def test_a_call_does_not_copy_what_it_reads():
    """Strided inputs, and outputs in memory of their own."""
    _, ours = pair("GRU", batch_first=True)
    x = torch.randn(T, B, 2 * I, dtype=torch.float64)
    strided = x.transpose(0, 1)[..., :I]
    with torch.no_grad():
        assert torch.equal(ours(strided)[0], ours(strided.contiguous())[0])
        expanded = torch.randn(1, 1, I, dtype=torch.float64).expand(B, T, I)
        assert torch.equal(ours(expanded)[0], ours(expanded.contiguous())[0])
    weights = ours._weights()
    arrays = ours._views.of(_kernel(ours), weights)
    assert arrays[0].w_ih.ctypes.data == weights[0].data_ptr()


def _kernel(module):
    from rnncore.torch.kernel import kernel_of

    return kernel_of(module._specs[torch.float64])


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"])
def test_no_rows_at_all(name):
    stock, ours = pair(name)
    x = torch.randn(*((0, I) if "Cell" in name else (T, 0, I)), dtype=torch.float64)
    assert_same(values(ours, x), values(stock, x))
    with torch.no_grad():
        for a, b in zip(flat(ours(x)), flat(stock(x)), strict=True):
            assert a.shape == b.shape


@pytest.mark.parametrize("grad", [False, True])
def test_a_state_may_be_a_list(grad):
    stock, ours = pair("LSTM")
    x, hx = torch.randn(T, B, I, dtype=torch.float64), [*state_of(stock)]
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(ours(x, hx), stock(x, hx))


def test_options_may_be_set_later():
    _, ours = pair("GRU")
    x = torch.randn(T, B, I, dtype=torch.float64)
    first = ours(x)[0]
    ours.batch_first = True
    assert torch.equal(ours(x.transpose(0, 1))[0].transpose(0, 1), first)
    ours.reset = "before"
    assert not torch.equal(ours(x.transpose(0, 1))[0].transpose(0, 1), first)
