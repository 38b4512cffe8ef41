"""What happens to modules in programs: copies, dtypes, parametrisations, threads, processes."""

import copy
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from in_torch import CELLS, LAYERS, B, H, I, T, assert_same, flat, pair, state_of, values  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

import rnncore as rc  # noqa: E402
import rnncore.torch as rt  # noqa: E402
from rnncore.torch.kernel import Kernel  # noqa: E402


def x_of(name, dtype=torch.float64):
    return torch.randn(*((B, I) if name in CELLS else (T, B, I)), dtype=dtype)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS, "IndRNN", "LayerNormLSTM"])
def test_copies_and_pickles(name):
    ours = getattr(rt, name)(I, H, dtype=torch.float64)
    x = x_of(name)
    ours(x)  # which leaves views of the parameters behind
    with torch.no_grad():
        ours(x)
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (copy.deepcopy(ours), copy.copy(ours), pickle.loads(pickle.dumps(ours)), loaded):
        assert repr(other) == repr(ours)
        assert torch.equal(flat(other(x))[0], flat(ours(x))[0])
    other = copy.deepcopy(ours)
    with torch.no_grad():
        other.weight_ih.mul_(2) if name.endswith("Cell") else other.weight_ih_l0.mul_(2)
    assert not torch.equal(flat(other(x))[0], flat(ours(x))[0])


@pytest.mark.parametrize("grad", [False, True])
def test_whoever_writes_to_parameters_is_heeded(grad):
    """`.data`, NumPy, a new tensor in its place, load_state_dict with and without assign."""
    stock, ours = pair("GRU")
    x = x_of("GRU")

    def check():
        stock.load_state_dict(ours.state_dict())
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(ours(x)[0], stock(x)[0])

    check()
    ours.weight_hh_l0.data.mul_(2)
    check()
    ours.weight_ih_l0.detach().numpy()[...] += 1
    check()
    ours.weight_hh_l0.data = torch.randn_like(ours.weight_hh_l0)
    check()
    ours.bias_hh_l0 = nn.Parameter(torch.randn_like(ours.bias_hh_l0))
    check()
    other = {key: torch.randn_like(value) for key, value in ours.state_dict().items()}
    ours.load_state_dict(other, assign=True)
    check()
    ours.weight_hh_l0 = nn.Parameter(torch.randn(H, 3 * H, dtype=torch.float64).T)  # strided
    check()
    ours.weight_hh_l0.data.mul_(2)
    check()


def test_to_another_dtype_and_back():
    _, ours = pair("LSTM")
    x = x_of("LSTM")
    y = ours(x)[0]
    ours.float()
    assert ours(x.float())[0].dtype == torch.float32
    with pytest.raises(ValueError, match="does not match weight dtype"):
        ours(x)
    with torch.no_grad(), pytest.raises(ValueError, match="does not match weight dtype"):
        ours(x)
    torch.testing.assert_close(ours.double()(x)[0], y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_a_dtype_without_a_kernel_is_one_clear_error(name):
    ours = getattr(rt, name)(I, H).bfloat16()
    message = f"is torch.bfloat16, expected float32 or float64.*torch.nn.{name} is for other dtypes"
    for grad in (False, True):
        with torch.set_grad_enabled(grad), pytest.raises(TypeError, match=message):
            ours(x_of(name, torch.bfloat16))


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_another_device_is_one_clear_error(name):
    from torch._subclasses import FakeTensorMode

    ours = getattr(rt, name)(I, H)
    with FakeTensorMode(
        allow_non_fake_inputs=True
    ):  # in which there are devices that there are not
        x = torch.empty(B, I, device="cuda")
        for grad in (False, True):
            with (
                torch.set_grad_enabled(grad),
                pytest.raises(RuntimeError, match=f"x is on cuda.*the CPU.*torch.nn.{name} is for"),
            ):
                ours(x)


def test_inference_mode():
    _, ours = pair("GRU")
    x = x_of("GRU")
    with torch.inference_mode():
        y = ours(x)[0]
        inside = rt.GRU(I, H, dtype=torch.float64)
        inside(x)
        inside(x)
    assert torch.equal(y, ours(x)[0])


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_autocast_computes_in_float32(name):
    _, ours = pair(name, dtype=torch.float32)
    linear = nn.Linear(I, I)
    x = x_of(name, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = linear(x)
        assert given.dtype == torch.bfloat16
        y = flat(ours(given))[0]
    assert y.dtype == torch.float32
    assert torch.equal(y, flat(ours(given.float()))[0])
    y.sum().backward()
    assert linear.weight.grad is not None
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(flat(ours(given))[0], y)
        state = state_of(ours, dtype=torch.bfloat16)  # as a linear layer gives it there
        wide = tuple(s.float() for s in state) if isinstance(state, tuple) else state.float()
        torch.testing.assert_close(flat(ours(given, state)), flat(ours(given.float(), wide)))


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")
@pytest.mark.parametrize("new", [True, False])
def test_weight_norm(new):
    found = []
    norm = parametrizations.weight_norm if new else nn.utils.weight_norm
    for module in pair("GRU"):
        norm(module, "weight_hh_l0")
        x = x_of("GRU")
        torch.manual_seed(0)
        found.append(values(module, torch.randn(T, B, I, dtype=torch.float64)))
        with torch.no_grad():
            module(x)
            for parameter in module.parameters():
                parameter.mul_(1.5)
            found[-1]["later"] = module(torch.ones(T, B, I, dtype=torch.float64))[0]
    assert_same(*found[::-1])
    if new:
        torch.testing.assert_close(copy.deepcopy(module)(x)[0], module(x)[0])


# Dropout


def test_dropout_follows_torchs_generator():
    module = rt.GRU(I, H, 3, dropout=0.5, recurrent_dropout=0.2, zoneout=0.3)
    x = torch.randn(T, B, I)
    torch.manual_seed(5)
    first = module(x)[0]
    assert not torch.equal(module(x)[0], first)
    torch.manual_seed(5)
    assert torch.equal(module(x)[0], first)
    torch.manual_seed(5)
    with torch.no_grad():
        assert torch.equal(module(x)[0], first)
    module.eval()
    assert torch.equal(module(x)[0], module(x)[0])


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_between_layers_drops_its_share(name):
    """With the second layer's weights those of an identity, what it reads can be seen."""
    module = rt.RNN(2, 50, 2, dropout=0.25, nonlinearity="relu", bias=False)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.weight_ih_l0.fill_(0.5)
        module.weight_ih_l1.copy_(torch.eye(50))
    y = module(torch.ones(40, 8, 2))[0]
    share = (y == 0).float().mean()
    assert abs(share - 0.25) < 0.02
    assert torch.equal(y[y > 0].unique(), torch.tensor([1 / 0.75]))


def test_dropout_of_everything_and_of_nothing():
    for share in (0.0, 1.0):
        stock, ours = pair("GRU", I, H, 2, dropout=share)
        x = x_of("GRU")
        torch.testing.assert_close(ours(x)[0], stock(x)[0])


# Threads and processes


def test_as_many_threads_as_torch_says(monkeypatch):
    seen = []
    for name in ("quick", "forward", "backward"):
        original = getattr(Kernel, name)

        def spy(*args, original=original, **kwargs):
            seen.append(rc.get_num_threads())
            return original(*args, **kwargs)

        monkeypatch.setattr(Kernel, name, spy)
    _, ours = pair("GRU")
    before, own = torch.get_num_threads(), rc.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            ours(x_of("GRU").requires_grad_())[0].sum().backward()
            with torch.no_grad():
                ours(x_of("GRU"))
            assert seen == [n] * 3
            seen.clear()
    finally:
        torch.set_num_threads(before)
    assert rc.get_num_threads() == own


def test_threads_share_a_module():
    _, ours = pair("LSTM", I, H, 2)
    xs = [torch.randn(T, k + 1, I, dtype=torch.float64) for k in range(4)]
    expected = [values_of(ours, x) for x in xs]
    found = [[] for _ in xs]

    def work(k):
        for _ in range(30):
            found[k].append(values_of(ours, xs[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own, right in zip(found, expected, strict=True):
        assert len(own) == 30
        for one in own:
            for a, b in zip(one, right, strict=True):
                assert torch.equal(a, b)


def values_of(module, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(module(x)[0].square().sum(), [x, *module.parameters()])


class Computed(torch.utils.data.Dataset):
    def __init__(self, module):
        self.module = module

    def __len__(self):
        return 6

    def __getitem__(self, k):
        with torch.no_grad():
            return self.module(torch.full((50, 16, I), float(k)))[0].sum()


@pytest.fixture
def heeding_children_as_before():
    """PyTorch leaves a handler behind, OpenVINO a stack for handlers that it has given back: both
    together end the process when its next child ends."""
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.usefixtures("heeding_children_as_before")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_of_a_loader_after_threads_were_at_work():
    module = rt.LSTM(I, 128, 2)
    module(torch.randn(50, 16, I))[0].sum().backward()
    data = Computed(module)
    loader = torch.utils.data.DataLoader(data, num_workers=2, multiprocessing_context="fork")
    for k, found in enumerate(loader):
        torch.testing.assert_close(found[0], data[k])


def test_importing_rnncore_imports_no_torch():
    code = "import sys, rnncore; assert not any('torch' in m for m in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(rc.__file__).parents[1], check=False
    )
    assert done.returncode == 0
