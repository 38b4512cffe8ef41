"""`from_torch` on modules as people write them: outputs at other sizes than the example's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch_models import (  # noqa: E402
    Backwards,
    BothEnds,
    Causal,
    ConvFront,
    Forecast,
    H,
    I,
    Language,
    LastStep,
    Packed,
    Pooled,
    Stacked,
    Tagger,
    V,
)

from rnncore.convert.from_torch import from_torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
T, B = 7, 3


def made(model, dtype=torch.float32):
    """The module, with parameters and buffers that are not as they start."""
    torch.manual_seed(1)
    for p in model.parameters():
        nn.init.uniform_(p, -0.7, 0.7)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            nn.init.uniform_(buffer, -0.5, 0.5)
        if name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 1.5)
    return model.to(dtype).eval()


def ids(*shape):
    return torch.randint(0, V, shape)


def floats(*shape):
    return torch.randn(shape)


def same(model, module, x, *states, rtol=1e-5):
    """Outputs of both for x, within `rtol` of the largest."""
    with torch.no_grad():
        expected = module(x, *states)
    while isinstance(expected, tuple):
        expected = expected[0]
    expected = expected.numpy()
    arrays = [_array(state) for state in states]
    found, _ = model(x.numpy(), *[(state,) for state in arrays])
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


def _array(state):
    return tuple(map(_array, state)) if isinstance(state, tuple) else state.numpy()


def check(module, make, *more_axes, sizes=((B, T), (1, T + 5), (B + 2, 40))):
    """Convert for one B and T, and compare at others too."""
    module = made(module)
    model = from_torch(module, make(*sizes[0], *more_axes))
    for size in sizes:
        same(model, module, make(*size, *more_axes))
    return model


@pytest.mark.parametrize(
    ("cell", "batch_first", "bidirectional"),
    [("RNN", True, True), ("GRU", False, True), ("LSTM", True, False), ("LSTM", False, False)],
)
def test_taggers(cell, batch_first, bidirectional):
    module = Tagger(cell, batch_first, bidirectional=bidirectional, num_layers=2)
    model = check(module, ids)
    assert model.batch_first is batch_first
    assert list(model.names) == ["embedding", "dropout", "rnn", "fc", "log_softmax"]
    assert model.params.keys() == dict(module.named_parameters()).keys()


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
def test_projected():
    check(Tagger(proj_size=3, bidirectional=True, bias=False), ids)


@pytest.mark.parametrize(
    ("how", "cell"),
    [("slice", "LSTM"), ("size", "GRU"), ("range", "RNN"), ("state", "GRU"), ("state", "LSTM")],
)
def test_last_steps(how, cell):
    check(LastStep(how, cell), floats, I)


WAYS = ["cat", "cat3", "view", "permute", "transpose", "outputs", "one", "add", "mul", "sum"]


@pytest.mark.parametrize("how", [*WAYS, "mean", "last"])
def test_both_ends(how):
    check(BothEnds(how), floats, I)


@pytest.mark.parametrize("how", ["cat", "view", "outputs", "last"])
def test_both_ends_time_first(how):
    layers = 2 if how != "outputs" else 1
    check(BothEnds(how, False, layers), floats, I, sizes=((T, B), (T + 5, 1), (40, B + 2)))


@pytest.mark.parametrize("how", ["mean", "keep", "max", "max2", "amax", "avg1d", "max1d"])
def test_pooled(how):
    check(Pooled(how), ids)


@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"padding": 2, "stride": 2}], ids=str)
def test_convolutions_before(options):
    check(ConvFront(**options), floats, I, sizes=((B, 13), (1, 14), (5, 40)))


def test_channels_first():
    """x as (B, C, T), of the module and of the model."""
    module = made(ConvFront(channels_first=True))
    model = from_torch(module, floats(B, I, 13))
    for size in ((B, I, 13), (1, I, 24)):
        same(model, module, floats(*size))


def test_causal_and_channels_first_throughout():
    module = made(Causal())
    model = from_torch(module, floats(B, I, 13))
    for size in ((B, I, 13), (1, I, 24)):
        same(model, module, floats(*size))
    assert [model["residual"][0].padding, model["residual_2"][0].padding] == ["causal"] * 2


def test_residuals_and_other_layouts():
    check(Stacked(), floats, I)


@pytest.mark.parametrize("flat", [False, True])
def test_language_models(flat):
    module = made(Language(flat))
    state = (floats(2, B, H), floats(2, B, H))
    model = from_torch(module, (ids(T, B), state))
    for steps in (T, 1, 20):
        same(model, module, ids(steps, B), state)
        same(model, module, ids(steps, B))
    without = from_torch(module, ids(T, B))
    same(without, module, ids(9, 2))


def test_a_series_of_numbers():
    check(Forecast(), floats)


def test_backwards_and_normed():
    with pytest.warns(FutureWarning):
        module = Backwards()
    check(module, floats, I)


def test_float64():
    module = made(Tagger(), torch.float64)
    model = from_torch(module, ids(B, T))
    assert model.dtype == np.float64
    same(model, module, ids(2, 9), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_widened(dtype):
    module = made(Tagger(), dtype)
    model = from_torch(module, ids(B, T))
    assert model.dtype == np.float32
    assert next(module.parameters()).dtype == dtype
    same(model, module.float(), ids(2, 9))


def test_the_module_stays_as_it_was():
    module = made(Tagger()).train()
    module.dropout.eval()
    before = {name: p.clone() for name, p in module.state_dict().items()}
    model = from_torch(module, ids(B, T))
    assert module.training
    assert module.rnn.training
    assert not module.dropout.training
    for name, a in model.params.items():
        a += 1
        assert torch.equal(module.state_dict()[name], before[name])


def test_without_a_batch():
    module = made(LastStep("other", "GRU"))
    module.forward = lambda x: module.fc(module.lstm(x)[0])
    model = from_torch(module, floats(T, I))
    same(model, module, floats(T + 4, I))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("tags", [False, True])
def test_packed_sequences(tags, batch_first):
    """The model takes the lengths that the module packs by."""
    module = made(Packed(tags, batch_first))
    model = from_torch(module, (ids(B, T), torch.tensor([4, T, 1])))
    x, lengths = ids(4, 12), torch.tensor([3, 12, 1, 9])
    with torch.no_grad():
        expected = module(x, lengths).numpy()
    found, _ = model(x.numpy(), lengths=lengths.numpy())
    if tags:
        past = np.arange(12) >= lengths.numpy()[:, None]
        assert not found[past].any()
        expected[past] = 0
    assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert "forward" not in vars(module.rnn)


class WithState(nn.Module):
    """A function of what a GRU gives for x and an initial state."""

    def __init__(self, batch_first, function):
        super().__init__()
        self.rnn, self.function = nn.GRU(I, H, batch_first=batch_first), function

    def forward(self, x, h):
        return self.function(self.rnn(x, h)[0], x)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_states_are_tried_at_other_sizes_too(axis, batch_first):
    shape = (B, T, I) if batch_first else (T, B, I)
    example = floats(*shape), floats(1, B, H)
    fixed = WithState(batch_first, lambda y, x: y / x.shape[axis])
    with pytest.raises(ValueError, match=r"differs from the module by .* for an x of shape \("):
        from_torch(fixed, example)
    step = WithState(batch_first, lambda y, x: y.select(1 if batch_first else 0, T - 1))
    with pytest.raises(ValueError, match=r"differs from the module by .* for an x of shape \("):
        from_torch(step, example)
    good = WithState(batch_first, lambda y, x: y[:, -1] if batch_first else y[-1])
    same(from_torch(good, example), good, *example)


def test_lengths_are_tried_at_other_sizes_too():
    module = made(Packed(False, True))
    run = module.forward
    module.forward = lambda x, lengths: run(x, lengths) / x.shape[0]
    with pytest.raises(ValueError, match=r"differs from the module by .* for an x of shape \("):
        from_torch(module, (ids(B, T), torch.tensor([4, T, 1])))
