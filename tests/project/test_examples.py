"""The examples run, with settings small enough for a test, and do what they say of themselves."""

import importlib.util
from pathlib import Path

import pytest

from rnncore.reference.precision import PRECISIONS

EXAMPLES = Path(__file__).parents[2] / "examples"
# What test_tasks.py, test_distributed.py and test_examples_at_scale.py run.
ELSEWHERE = ("classic_tasks", "torch_distributed", "mpi_training", "dask_search")


def run(name, **settings):
    """What `main` of an example gives."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(**settings)


def printed(name):
    """The lines that the comment of an example says it prints, without their numbers."""
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").split('"""')[1]
    block = text.partition("prints")[2].partition("\n\n")[2]
    return [line.strip() for line in block.split("\n\n")[0].splitlines()]


def words(line):
    """Those of a line; dots stand for a number that is another on every machine."""
    found = [(word, word.strip(",.-").replace(".", "")) for word in line.split()]
    return [word for word, bare in found if bare and not bare.isdigit()]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("forecast_sunspots", {}),
        ("generate_text", {"steps": 2, "length": 5}),
        ("ragged_batch", {"steps": 2}),
        ("stream_audio", {"steps": 2}),
        ("streaming_service", {"steps": 2, "clients": 3, "seconds": 3.0, "pace": False}),
        ("truncated_backpropagation", {"steps": 2}),
    ],
)
def test_the_comment_shows_what_is_printed(name, settings, capsys):
    run(name, **settings)
    found = [words(line) for line in capsys.readouterr().out.splitlines()]
    for line in printed(name):
        assert words(line) in found


def test_every_example_is_run_here():
    here = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        if path.stem in ELSEWHERE:
            continue
        assert here.count(f'"{path.stem}"') >= 2, path.stem


def test_the_forecast_beats_the_naive_ones():
    errors = run("forecast_sunspots")
    assert errors["GRU"] < errors["linear, of two years"] < errors["as this year"]
    for precision in PRECISIONS:
        assert 0 < abs(errors[f"GRU, {precision}"] - errors["GRU"]) < 0.1


def test_the_text_is_learned():
    bits = run("generate_text", steps=100, length=5)
    assert bits["LSTM"] < bits["by frequency"] - 0.5


def test_the_ragged_batch_is_learned():
    error, variance = run("ragged_batch", steps=200)
    assert error < variance / 5


def test_the_stream_takes_noise_out():
    before, after = run("stream_audio", steps=150)
    assert after < before - 6  # decibels: half of the noise's amplitude is gone


def test_the_service_tells_who_whistles_and_clients_do_not_see_each_other():
    right, same = run("streaming_service", steps=100, clients=5, seconds=4.0, pace=False)
    assert right > 0.9
    assert same is True


def test_a_carried_state_remembers_what_a_window_from_zeros_cannot():
    errors = run("truncated_backpropagation", steps=400)
    assert errors["state carried along"] < 0.1 < errors["windows from zeros"]
