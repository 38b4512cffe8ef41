"""PyTorch's own samples of calls, right ones and wrong ones, which its tests run on modules."""

from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="PyTorch's testing tools need expecttest")

from in_torch import CELLS, LAYERS, flat, loss_of  # noqa: E402
from torch.testing import assert_close  # noqa: E402
from torch.testing._internal import common_modules  # noqa: E402

import rnncore.torch as rt  # noqa: E402

NAMES = (*LAYERS, *CELLS)
INFOS = {
    info.name.removeprefix("nn."): info
    for info in common_modules.module_db
    if info.name.removeprefix("nn.") in NAMES
}
GIVEN = {"device": "cpu", "requires_grad": True}


def samples(name, dtype, training):
    return INFOS[name].module_inputs_func(INFOS[name], dtype=dtype, training=training, **GIVEN)


def close(a, b):
    """To some digits of float32, of the largest numbers: small ones may be sums of them."""
    assert_close(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(b.detach().abs().max())))


def test_all_are_there():
    assert set(INFOS) == set(NAMES)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
@pytest.mark.filterwarnings("ignore:dropout option adds dropout:UserWarning")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_samples(name, dtype, training):
    torch.manual_seed(0)  # which the samples are drawn with
    count = 0
    for sample in samples(name, dtype, training):
        made, called = sample.constructor_input, sample.forward_input
        if made.kwargs.get("dropout") and training:
            continue  # drawn otherwise; test_lives.py has it
        stock = getattr(torch.nn, name)(*made.args, **made.kwargs, dtype=dtype)
        ours = getattr(rt, name)(*made.args, **made.kwargs, dtype=dtype)
        ours.load_state_dict(stock.state_dict())
        assert repr(ours) == repr(stock)
        found = []
        for module in (ours, stock):
            module.train(training)
            output = module(*called.args, **called.kwargs)
            leaves = [each for each in flat(called.args) if each.requires_grad]
            grads = torch.autograd.grad(loss_of(output), [*leaves, *module.parameters()])
            found.append([*flat(output), *grads])
        for a, b in zip(*found, strict=True):
            close(a, b)
        if sample.reference_fn is not None:
            expected = sample.reference_fn(ours, *called.args)
            for a, b in zip(found[0], flat(expected), strict=False):
                close(a, b)
        count += 1
    assert count > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_errors(name, dtype):
    info = INFOS[name]
    if info.module_error_inputs_func is None:
        assert name == "LSTM"  # has none: those of GRU are tried below
        info = INFOS["GRU"]
    wrong = info.module_error_inputs_func(info, dtype=dtype, training=True, **GIVEN)
    for sample in wrong:
        given = sample.module_error_input
        made, called = given.constructor_input, given.forward_input
        make = partial(getattr(rt, name), *made.args, **{"dtype": dtype, **made.kwargs})
        if sample.error_on is common_modules.ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(sample.error_type, match=sample.error_regex):
                make()
        else:
            module = make()
            with pytest.raises(sample.error_type, match=sample.error_regex):
                module(*called.args, **called.kwargs)


@pytest.mark.parametrize("name", NAMES)
def test_calls_that_torch_refuses_are_refused_in_its_words(name):
    stock, ours = getattr(torch.nn, name)(3, 4), getattr(rt, name)(3, 4)
    parts = 2 if "LSTM" in name else 1

    def state(*shape):
        return (torch.zeros(shape),) * 2 if parts == 2 else torch.zeros(shape)

    wrong = [
        (torch.randn(2, 2, 2, 3),),
        (torch.randn(3, 4, 7, 3, 1),),
        (torch.randn(2, 5),),
        (torch.randn(5),),
        (torch.randn(2, 3), state(7, 7, 7, 7)),
        (torch.randn(2, 3), state(3, 4)),
        (torch.randn(2, 3), state(2, 5)),
        (torch.randn(2, 3), state(4)),
    ]
    if name in LAYERS:
        wrong += [
            (torch.randn(0, 2, 3),),
            (torch.randn(5, 2, 4),),
            (torch.randn(5, 2, 3, dtype=torch.float64),),
            (torch.randn(5, 2, 3), state(2, 2, 4)),
            (torch.randn(5, 2, 3), state(1, 3, 4)),
            (torch.randn(5, 2, 3), state(1, 2, 5)),
            (torch.randn(5, 2, 3), state(2, 4)),
        ]
    refused = 0
    for args in wrong:
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                expected = what_is_raised(stock, args)
                assert what_is_raised(ours, args) == expected
                refused += expected is not None
    assert refused >= 12


def what_is_raised(module, args):
    try:
        module(*args)
    except (RuntimeError, ValueError) as error:
        return type(error), str(error)
    return None
