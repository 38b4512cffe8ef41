"""Schedules: the rates of PyTorch's, and that they can be written down and go on."""

import copy
import json
import math
import pickle

import numpy as np
import pytest

from rnncore.train.optim import SGD
from rnncore.train.plateau import OnPlateau
from rnncore.train.schedules import CosineDecay, OneCycle, StepDecay, WarmUp

STEPS = 40


def of_torch(make, lr, steps=STEPS):
    """The rates of a scheduler of PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


SCHEDULES = {
    "steps": (StepDecay(0.5, 7, 0.3), lambda s, o: s.StepLR(o, 7, 0.3)),
    "milestones": (StepDecay(0.5, [3, 4, 20]), lambda s, o: s.MultiStepLR(o, [3, 4, 20], 0.1)),
    "cosine": (CosineDecay(0.5, 39, 0.01), lambda s, o: s.CosineAnnealingLR(o, 39, 0.01)),
    "one cycle": (
        OneCycle(0.5, STEPS),
        lambda s, o: s.OneCycleLR(o, 0.5, STEPS, cycle_momentum=False),
    ),
    "one cycle of other shares": (
        OneCycle(0.5, STEPS, 0.61, 3.0, 7.0),
        lambda s, o: s.OneCycleLR(
            o, 0.5, STEPS, pct_start=0.61, div_factor=3, final_div_factor=7, cycle_momentum=False
        ),
    ),
    "warm-up": (WarmUp(0.5, 5), lambda s, o: s.LinearLR(o)),
    "warm-up of another start": (WarmUp(0.5, 9, 0.05), lambda s, o: s.LinearLR(o, 0.05, 1, 9)),
    "warm-up and cosine": (
        WarmUp(CosineDecay(0.5, 30), 10, 0.1),
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, 0.1, 1, 10), s.CosineAnnealingLR(o, 30)], [10]
        ),
    ),
}
SCHEDULERS = {name: schedule for name, (schedule, _) in SCHEDULES.items()}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rates_are_those_of_torch(name):
    schedule, theirs = SCHEDULES[name]
    rates = of_torch(theirs, 0.5)
    np.testing.assert_allclose([schedule(k) for k in range(STEPS)], rates, rtol=1e-12, atol=1e-15)
    assert len({*rates}) > 3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 2, "factor": 0.5},
        {"patience": 0, "cooldown": 3, "lowest": 0.01},
        {"patience": 1, "mode": "max", "threshold": 0.05},
        {"patience": 3, "threshold": 0.0, "factor": 0.7},
        {"patience": 1, "cooldown": 2, "factor": 0.7},
    ],
    ids=str,
)
def test_a_plateau_is_that_of_torch(options, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    names = {"lowest": "min_lr"}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, eps=0, **{names.get(k, k): v for k, v in options.items()}
    )
    ours, rates = OnPlateau(0.5, **options), []
    assert ours.rate == 0.5
    values = np.concatenate([5 / np.arange(1, 20), 0.3 + 0.1 * rng.standard_normal(30)])
    values[[3, 25]] = np.nan, np.inf if options.get("mode") != "max" else -np.inf
    for value in values:
        theirs.step(float(value))
        rates.append(ours(value))
        assert rates[-1] == ours.rate == optimizer.param_groups[0]["lr"]
    assert len({*rates}) > (options != {})


@pytest.mark.parametrize("name", SCHEDULERS)
def test_after_its_end_a_rate_stays(name):
    schedule = SCHEDULERS[name]
    last = schedule(10**6)
    assert schedule(2**62) == last
    assert 0 <= last <= 0.5


def again(schedule):
    """Ways in which a schedule comes back: as it was written in JSON, pickled, copied."""
    other = copy.deepcopy(schedule)
    kind = type(schedule)
    fresh = kind(0.25, 9) if kind is not OnPlateau else OnPlateau(0.25, mode="max")
    fresh.load_state_dict(json.loads(json.dumps(schedule.state_dict(), allow_nan=False)))
    return other, pickle.loads(pickle.dumps(schedule)), fresh


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_comes_back(name):
    schedule = SCHEDULERS[name]
    for other in again(schedule):
        assert [other(k) for k in range(STEPS)] == [schedule(k) for k in range(STEPS)]
        assert repr(other) == repr(schedule)
        assert eval(repr(other)).state_dict() == schedule.state_dict()


def test_a_plateau_goes_on_from_where_it_was():
    losses = [3.0, 2.0, 2.0, 2.0, 2.5, 1.9, 1.9, 1.9, 1.9, math.nan, math.inf, 1.0, 1.0, 1.0]
    for mode in ("min", "max"):
        for stop in range(len(losses)):
            schedule = OnPlateau(1.0, 0.5, patience=1, cooldown=1, mode=mode)
            for loss in losses[:stop]:
                schedule(loss)
            others = again(schedule)
            rates = [schedule(loss) for loss in losses[stop:]]
            for other in others:
                assert [other(loss) for loss in losses[stop:]] == rates
                assert repr(other) == repr(schedule)


def test_a_loop_with_a_schedule():
    params, schedule = {"w": np.zeros(1)}, StepDecay(1.0, 2, 0.5)
    optimizer = SGD(params, 0.0)
    for _ in range(4):
        optimizer.lr = schedule(optimizer.steps)
        optimizer.step({"w": np.ones(1)})
    assert params["w"][0] == -3.0  # 1 + 1 + 1/2 + 1/2


def test_what_is_set_stays():
    for schedule in (*SCHEDULERS.values(), OnPlateau(1.0)):
        with pytest.raises(AttributeError, match="is fixed once the"):
            setattr(schedule, type(schedule)._fixed[0], 2.0)


STATE = CosineDecay(1.0, 5).state_dict()
SEEN = OnPlateau(1.0).state_dict()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: StepDecay(-1, 3), ValueError, "lr is -1, expected a finite number of at least 0"),
        (lambda: StepDecay(1, 0), ValueError, "every is 0, expected an integer of at least 1"),
        (lambda: StepDecay(1, []), ValueError, "every is [], expected steps that go up"),
        (lambda: StepDecay(1, [3, 3]), ValueError, "every is [3, 3], expected steps that go up"),
        (lambda: StepDecay(1, [3, 2]), ValueError, "every is [3, 2], expected steps that go up"),
        (lambda: StepDecay(1, [2.0]), TypeError, "every[0] is 2.0, expected an integer"),
        (lambda: StepDecay(1, 3, 0), ValueError, "factor is 0, expected a number above 0 and at m"),
        (lambda: StepDecay(1, 3, 1.5), ValueError, "factor is 1.5, expected a number above 0 and"),
        (lambda: CosineDecay("1", 3), TypeError, "lr is '1', expected a number"),
        (lambda: CosineDecay(1, True), TypeError, "steps is True, expected an integer"),
        (lambda: CosineDecay(1, 3, 2), ValueError, "lowest is 2.0, expected at most lr, 1.0"),
        (lambda: OneCycle(1, 1), ValueError, "steps is 1, expected an integer of at least 2"),
        (lambda: OneCycle(1, 9, 1.0), ValueError, "up is 1.0, expected a number of at least 0"),
        (
            lambda: OneCycle(1, 10, 0.1),
            ValueError,
            "up is 0.1 and steps is 10, expected a product above 1",
        ),
        (lambda: OneCycle(1, 9, start=0.5), ValueError, "start is 0.5, expected a number of at le"),
        (lambda: OneCycle(1, 9, end=np.inf), ValueError, "end is inf, expected a finite number"),
        (lambda: WarmUp(-1.0, 3), ValueError, "then is -1.0, expected a finite number of at least"),
        (
            lambda: WarmUp(OnPlateau(1.0), 3),
            TypeError,
            "then is of type OnPlateau, expected a number or",
        ),
        (lambda: WarmUp(1.0, 0), ValueError, "steps is 0, expected an integer of at least 1"),
        (lambda: WarmUp(1.0, 3, 1.0), ValueError, "start is 1.0, expected a number of at least 0"),
        (lambda: WarmUp({"schedule": 1}, 3), ValueError, "state has 'schedule', expected 'options"),
        (lambda: CosineDecay(1, 3)(-1), ValueError, "step is -1, expected an integer of at least"),
        (lambda: CosineDecay(1, 3)(0.5), TypeError, "step is 0.5, expected an integer"),
        (lambda: OnPlateau(1, 1.0), ValueError, "factor is 1.0, expected a number of at least 0"),
        (lambda: OnPlateau(1, 0), ValueError, "factor is 0, expected a number above 0 and below"),
        (lambda: OnPlateau(1, patience=-1), ValueError, "patience is -1, expected an integer"),
        (lambda: OnPlateau(1, threshold=-1), ValueError, "threshold is -1, expected a number of"),
        (lambda: OnPlateau(1, mode="low"), ValueError, "mode is 'low', expected 'min' or 'max'"),
        (lambda: OnPlateau(1, cooldown=None), TypeError, "cooldown is None, expected an integer"),
        (lambda: OnPlateau(1, lowest=2), ValueError, "lowest is 2.0, expected at most lr, 1.0"),
        (lambda: OnPlateau(1)("1"), TypeError, "value is '1', expected a number"),
        (lambda: OnPlateau(1)(True), TypeError, "value is True, expected a number"),
        (
            lambda: CosineDecay(1, 3).load_state_dict(3),
            TypeError,
            "state is of type int, expected Mapping",
        ),
        (
            lambda: CosineDecay(1, 3).load_state_dict({}),
            ValueError,
            "state has no keys, expected 'options', 'schedule'",
        ),
        (
            lambda: OneCycle(1, 9).load_state_dict(STATE),
            ValueError,
            "state['schedule'] is 'CosineDecay', expected 'OneCycle'",
        ),
        (
            lambda: CosineDecay(1, 3).load_state_dict({**STATE, "options": {"lr": 1}}),
            ValueError,
            "state['options'] has 'lr', expected 'lowest', 'lr', 'steps'",
        ),
        (
            lambda: CosineDecay(1, 3).load_state_dict(
                {**STATE, "options": {"lr": 1, "steps": "3", "lowest": 0}}
            ),
            TypeError,
            "steps is '3', expected an integer",
        ),
        (
            lambda: OnPlateau(1).load_state_dict(STATE),
            ValueError,
            "state has 'options', 'schedule', expected 'best', 'options', 'rate', 'rest', 'sched",
        ),
        (
            lambda: OnPlateau(1).load_state_dict({**SEEN, "schedule": ["x"]}),
            ValueError,
            "state['schedule'] is ['x'], expected 'OnPlateau'",
        ),
        (
            lambda: OnPlateau(1).load_state_dict({**SEEN, "worse": -1}),
            ValueError,
            "worse is -1, expected an integer of at least 0",
        ),
        (
            lambda: OnPlateau(1).load_state_dict({**SEEN, "best": math.nan}),
            ValueError,
            "best is nan, expected a finite number",
        ),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_state_that_is_refused_changes_nothing():
    schedule = OnPlateau(1.0, patience=0)
    schedule(3.0)
    before = schedule.state_dict()
    with pytest.raises(TypeError):
        schedule.load_state_dict({**SEEN, "rest": None})
    assert schedule.state_dict() == before
