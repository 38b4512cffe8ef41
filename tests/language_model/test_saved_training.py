"""A training's file, damaged in one place at a time: who reads it says what is wrong, and where."""

import numpy as np
import pytest

from rnncore import cli
from rnncore._commands import learning
from rnncore.language_model import LanguageModel, Trainer
from rnncore.layers.storage import load_arrays, save_arrays

TEXT = b"the cat, which already ate, was full. " * 20
BATCH, WINDOW, STEPS = 5, 11, 3
MISSING = object()
# No count of anything, whatever it is of
NO_NUMBER = (MISSING, None, [], {}, "4", True, 4.0, float("nan"), float("inf"), -1, [4])


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The options and arrays of a good file."""
    path = tmp_path_factory.mktemp("good") / "model.npz"
    model = LanguageModel("lstm", layers=2, hidden=6, embedding=4, rng=0)
    trainer = Trainer(model, np.frombuffer(TEXT, np.uint8), batch=BATCH, window=WINDOW, clip=1.0)
    for _ in range(STEPS):
        trainer.step(0.01)
    steps = np.arange(1, STEPS + 1)
    trainer.save(path, {"seconds": steps * 0.1, "bits": steps * 1.0, "characters": steps * 55})
    return load_arrays(path)[1:]


def option(group, name, value):
    """The change of one option; with MISSING, it is taken out."""

    def change(options, arrays):
        options[group] = dict(options[group])
        if value is MISSING:
            del options[group][name]
        else:
            options[group][name] = value

    return change


def array(name, change):
    """The change of one array by a function; with MISSING, it is taken out."""

    def changed(options, arrays):
        value = arrays.pop(name, None)
        if change is not MISSING:
            arrays[name] = change(value)

    return changed


def set_to(value, where=0):
    def change(old):
        new = old.copy()
        new.reshape(-1)[where] = value
        return new

    return change


def also(*changes):
    def change(options, arrays):
        for one in changes:
            one(options, arrays)

    return change


OTHERS = {
    "another shape": lambda old: np.concatenate((old, old)),
    "one dimension more": lambda old: old[np.newaxis],
    "a scalar": lambda old: old.reshape(-1)[0],
    "nothing": lambda old: old[:0],
    "text": lambda old: old.astype("U8"),
    "complex": lambda old: old.astype(complex),
    "bool": lambda old: old.astype(bool),
}
PARAMETERS = ("embedding.weight", "recurrent.weight_ih_l1", "recurrent.bias_ih_l0", "head.bias")
OF_THE_MODEL = ("optimizer.mean.0.weight", "optimizer.square.1.weight_hh_l1", "state.0", "state.1")

DAMAGE = {
    f"{group}.{name} {value!r}" if value is not MISSING else f"{group}.{name} missing": (
        option(group, name, value),
        f"{group}.{name} is ",
    )
    for group, names in (
        ("training", ("batch", "window", "position", "text")),
        ("model", ("layers", "hidden", "embedding")),
    )
    for name in names
    for value in (*NO_NUMBER, "x" * 50_000)
}
# Sizes that the arrays do not have
DAMAGE |= {
    "batch 10**9": (option("training", "batch", 10**9), "state.0 has shape"),
    "batch 2**60": (option("training", "batch", 2**60), "state.0 has shape"),
    "batch 2**70": (option("training", "batch", 2**70), "training.batch is 1180591620717411303424"),
    "hidden 2**60": (option("model", "hidden", 2**60), "has shape"),
    "hidden 2**70": (option("model", "hidden", 2**70), "model.hidden is 1180591620717411303424"),
    "text 2**32": (option("training", "text", 2**32), "training.text is 4294967296"),
    "batch 0": (option("training", "batch", 0), "training.batch is 0"),
    "window 0": (option("training", "window", 0), "training.window is 0"),
    "layers 10**9": (option("model", "layers", 10**9), "model.layers is 1000000000"),
    "layers 1": (option("model", "layers", 1), "model.layers is 1"),
    "hidden 10**9": (option("model", "hidden", 10**9), "has shape"),
    "embedding 10**9": (option("model", "embedding", 10**9), "embedding.weight has shape"),
    "unknown option": (option("training", "speed", 1), "training.speed is unknown"),
    "unknown option of the model": (option("model", "speed", 1), "model.speed is unknown"),
    "no options": (lambda o, a: o.clear(), "model is None"),
    "model a list": (lambda o, a: o.update(model=[1]), "model is [1]"),
    "training a list": (lambda o, a: o.update(training=[1]), "training is [1]"),
    "training null": (lambda o, a: o.update(training=None), "training is None"),
    "no training but its arrays": (lambda o, a: o.pop("training"), "optimizer.steps is unknown"),
    "another group": (lambda o, a: o.update(more=1), "more is unknown"),
}
for value in ("gan", None, 3, ["lstm"], "gru", "rnn"):
    DAMAGE[f"cell {value!r}"] = (option("model", "cell", value), "no complete language model")
for value in ("float16", "float64", None, 4, "f4"):
    DAMAGE[f"dtype {value!r}"] = (option("model", "dtype", value), "no complete language model")
for name in (*PARAMETERS, *OF_THE_MODEL):
    DAMAGE |= {
        f"{name} {what}": (array(name, change), f"{name} has ") for what, change in OTHERS.items()
    }
    DAMAGE[f"{name} float64"] = (array(name, lambda old: old.astype(np.float64)), f"{name} has ")
    DAMAGE[f"{name} missing"] = (array(name, MISSING), f"{name} is missing")
for name in OF_THE_MODEL:
    DAMAGE[f"{name} NaN"] = (array(name, set_to(np.nan)), name)
for name in (
    "foo",
    "state.2",
    "state",
    "optimizer.mean.3.weight",
    "recurrent.weight_ih_l7",
    "a\nb",
):
    DAMAGE[f"unknown {name!r}"] = (array(name, lambda old: np.zeros(3)), " is unknown")
DAMAGE["a layer more"] = (array("recurrent.weight_hh_l2", lambda old: np.zeros(3)), "layers is 2")
for what, value in {
    "negative": np.array(-1),
    "too many": np.array(2**63 - 1),
    "too many without a sign": np.array(2**64 - 1, np.uint64),
    "a float": np.array(3.0),
    "NaN": np.array(np.nan),
    "a list": np.array([3]),
    "text": np.array("3"),
    "true": np.array(True),
}.items():
    DAMAGE[f"steps {what}"] = (array("optimizer.steps", lambda old, v=value: v), "optimizer.steps")
DAMAGE["steps missing"] = (array("optimizer.steps", MISSING), "optimizer.steps is missing")
DAMAGE["a negative square"] = (
    array("optimizer.square.2.bias", set_to(-1.0)),
    "optimizer.square.2.bias is negative",
)
for what, change in OTHERS.items():
    if what != "complex":
        DAMAGE[f"history.bits {what}"] = (array("history.bits", change), "history.")
for value in (np.nan, np.inf):
    DAMAGE[f"history.bits {value}"] = (array("history.bits", set_to(value)), "history.bits is not")
DAMAGE["no state but a position"] = (
    also(array("state.0", MISSING), array("state.1", MISSING)),
    "state.0 is missing",
)

# What only shows where the training shall go on
GOING_ON = {
    "window 10**9": (option("training", "window", 10**9), "the text to learn from has"),
    "window 2**60": (option("training", "window", 2**60), "the text to learn from has"),
    "a parameter NaN": (array("head.weight", set_to(np.nan)), "not finite: head.weight"),
    "a parameter infinite": (
        array("recurrent.bias_ih_l0", set_to(np.inf)),
        "not finite: recurrent.bias_ih_l0",
    ),
}


def damaged(good, change, folder):
    options, arrays = (dict(part) for part in good)
    change(options, arrays)
    path = folder / "model.npz"
    save_arrays(path, "LanguageModel", options, arrays)
    return path


def going_on(path, **options):
    return Trainer.load(path, np.frombuffer(TEXT, np.uint8), clip=1.0, **options)


def message_of(call, path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (what it says is checked by who calls)
        call(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message) < 1000
    return message


def test_the_file_is_good_undamaged(good, tmp_path):
    path = damaged(good, lambda options, arrays: None, tmp_path)
    trainer, history = going_on(path)
    assert trainer.steps == STEPS
    assert set(history) == {"seconds", "bits", "characters"}
    trainer.step(0.01)
    assert LanguageModel.load(path).options["layers"] == 2


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_refused_and_named(what, good, tmp_path):
    change, expected = DAMAGE[what]
    path = damaged(good, change, tmp_path)
    assert expected in message_of(going_on, path)
    # Whoever gives sizes of his own gets no further with a damaged file.
    assert expected in message_of(lambda p: going_on(p, batch=2, window=3), path)
    assert expected in message_of(LanguageModel.load, path)


@pytest.mark.parametrize("what", GOING_ON)
def test_no_training_goes_on_from_damage(what, good, tmp_path):
    change, expected = GOING_ON[what]
    path = damaged(good, change, tmp_path)
    assert expected in message_of(going_on, path)
    assert LanguageModel.load(path).options["hidden"] == 6


@pytest.mark.parametrize("position", [10**9, 2**60, len(TEXT) // BATCH + 1])
def test_a_position_lies_within_the_text(position, good, tmp_path):
    path = damaged(good, option("training", "position", position), tmp_path)
    most = (len(TEXT) - 1) // BATCH
    assert f"training.position is {position}, expected at most {most}" in message_of(going_on, path)
    assert going_on(path, batch=2)[0].steps == STEPS  # the streams are others, and start anew


def test_a_square_may_have_overflowed(good, tmp_path):
    path = damaged(good, array("optimizer.square.2.bias", set_to(np.inf)), tmp_path)
    trainer, _ = going_on(path)
    trainer.step(0.01)


# Through the command

BY_COMMAND = (
    *(
        "training.batch missing",
        "training.window -1",
        "training.position nan",
        "training.text None",
    ),
    *("training null", "batch 10**9", "layers 10**9", "state.0 text", "state.1 missing"),
    *("optimizer.mean.0.weight another shape", "steps true", "history.bits a scalar"),
    *("unknown 'a\\nb'", "training.batch 'xxxxxxxxxxxx", "model.hidden [4]"),
)


RESUME = ("--resume", "--seconds", 1)  # not for long, where nothing is refused


def refused(capsys, *arguments):
    """The one line that the command says."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    (line,) = errors.splitlines()
    return line


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("what", BY_COMMAND)
def test_the_command_says_so_in_one_line_and_changes_nothing(what, good, tmp_path, capsys):
    (full,) = (name for name in DAMAGE if name.startswith(what))
    change, expected = DAMAGE[full]
    damaged(good, change, tmp_path)
    (tmp_path / "text").write_bytes(TEXT)
    before = contents(tmp_path)
    line = refused(capsys, "train", tmp_path / "text", "--out", tmp_path, *RESUME)
    assert line.startswith("rnncore train: ")
    assert expected in line
    line = refused(capsys, "sample", tmp_path)
    assert line.startswith("rnncore sample: ")
    assert expected in line
    assert contents(tmp_path) == before


HISTORIES = {
    "one alone": (
        also(array("history.bits", MISSING), array("history.seconds", MISSING)),
        "has the history characters, expected bits, characters, seconds",
    ),
    "one more": (array("history.more", lambda old: np.zeros(STEPS)), "has the history"),
    "characters of floats": (
        array("history.characters", lambda old: old * 1.0),
        "has dtype float64",
    ),
    "seconds that fall": (array("history.seconds", lambda old: old[::-1]), "seconds falls"),
    "negative seconds": (array("history.seconds", lambda old: old - 9), "seconds falls or is neg"),
    "too many characters": (
        array("history.characters", set_to(2**63 - 1, -1)),
        "characters is larger than",
    ),
}


@pytest.mark.parametrize("what", [*HISTORIES, *GOING_ON])
def test_the_command_goes_on_from_no_damage(what, good, tmp_path, capsys):
    change, expected = {**HISTORIES, **GOING_ON}[what]
    damaged(good, change, tmp_path)
    (tmp_path / "text").write_bytes(TEXT)
    before = contents(tmp_path)
    assert expected in refused(capsys, "train", tmp_path / "text", "--out", tmp_path, *RESUME)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_model_writes_that_is_not_finite(value, good, tmp_path, capsys):
    path = damaged(good, array("recurrent.weight_hh_l0", set_to(value)), tmp_path)
    expected = f"{path} holds parameters that are not finite: recurrent.weight_hh_l0"
    assert refused(capsys, "sample", path) == f"rnncore sample: {expected}"


def test_a_training_without_a_history_goes_on(good, tmp_path):
    """The API saves none if it is given none."""
    names = [f"history.{name}" for name in learning.Run(None, None, None).arrays()]
    path = damaged(good, also(*(array(name, MISSING) for name in names)), tmp_path)
    trainer, history = going_on(path)
    run = learning.Run(trainer, tmp_path, np.frombuffer(TEXT, np.uint8), new=False)
    run.take_up(path, history)
    assert run.arrays()["seconds"].shape == (0,)


@pytest.mark.parametrize(
    ("history", "error", "message"),
    [
        ({"bits": [1.0]}, TypeError, "history.bits is of type list, expected ndarray"),
        (
            {"bits": np.zeros((2, 2))},
            ValueError,
            r"history.bits has shape \(2, 2\), expected \(4,\)",
        ),
        ({"a": np.zeros(2), "b": np.zeros(3)}, ValueError, r"history.b has shape \(3,\), expected"),
        ({"bits": np.array([np.nan])}, ValueError, "history.bits is not finite"),
        ({"bits": np.array(["1"])}, TypeError, "history.bits has dtype <U1, expected"),
        ([1], TypeError, "history is of type list, expected Mapping"),
    ],
)
def test_a_history_that_could_not_be_read_is_not_saved(history, error, message, good, tmp_path):
    path = damaged(good, lambda options, arrays: None, tmp_path)
    trainer, _ = going_on(path)
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        trainer.save(path, history)
    assert path.read_bytes() == before
