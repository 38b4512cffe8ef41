"""Threads: no bit of a result depends on how many there are, and the pool survives what happens."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from cells import CELLS

import rnncore
from rnncore import functional
from rnncore._core import core
from rnncore._engine import threads

# Large enough for a team: rows shared, rows fewer than threads, and one row whose units are shared
SHAPES = [(120, 7, 33, 100), (300, 2, 17, 130), (150, 1, 40, 260)]
THREADS = [2, 3, 5]


@contextmanager
def team_of(n):
    """Threads, even if there are fewer cores: more of them than cores would not be started."""
    with rnncore.num_threads(n):
        core.set_thread_limit(n)
        yield


def results(cell, shape, dtype, reverse):
    rng = np.random.default_rng(0)
    inputs = cell.draw(shape, dtype, rng)
    output_grads = cell.draw_output_grads(shape, dtype, rng)
    outputs = cell.forward(functional, inputs, reverse=reverse, training=False)
    trace = cell.forward(functional, inputs, reverse=reverse)
    grads = cell.backward(functional, trace, inputs, output_grads)
    return {**outputs._asdict(), "h": trace.h, **{f"d{name}": g for name, g in grads.items()}}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_the_same_bits_for_any_number_of_threads(name, shape, dtype):
    with rnncore.num_threads(1):
        expected = results(CELLS[name], shape, dtype, reverse=False)
    for n in THREADS:
        with team_of(n):
            for key, value in results(CELLS[name], shape, dtype, reverse=False).items():
                np.testing.assert_array_equal(value, expected[key], err_msg=f"{key}, {n} threads")


@pytest.mark.parametrize("rows", [1, 7, 500])
def test_linear_has_the_same_bits_too(rows, rng):
    layer = rnncore.Linear(70, 90, rng=0)
    x, dy = (rng.standard_normal((rows, width), np.float32) for width in (70, 90))

    def run(n):
        with team_of(n):
            y, trace = layer.forward(x)
            grads = layer.backward(trace, dy)
            return y, grads.x, grads.params["weight"], grads.params["bias"]

    for n in THREADS:
        for got, expected in zip(run(n), run(1), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_two_python_threads_call_one_layer(rng):
    layer = rnncore.LSTM(20, 200, rng=0)
    xs = [rng.standard_normal((30, 8, 20), np.float32) for _ in range(12)]
    expected = [layer(x)[0] for x in xs]
    with team_of(2), ThreadPoolExecutor(4) as executor:
        for got, y in zip(executor.map(lambda x: layer(x)[0], xs), expected, strict=True):
            np.testing.assert_array_equal(got, y)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_after_a_fork_computes_with_threads_of_its_own(rng):
    layer = rnncore.GRU(20, 200, rng=0)
    x = rng.standard_normal((30, 8, 20), np.float32)
    with team_of(2):
        expected = layer(x)[0]
        child = os.fork()
        if child == 0:  # nothing of pytest may run here
            signal.alarm(30)
            os._exit(0 if np.array_equal(layer(x)[0], expected) else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_set_and_get():
    before = rnncore.get_num_threads()
    with rnncore.num_threads(3):
        assert rnncore.get_num_threads() == 3
    assert rnncore.get_num_threads() == before
    with pytest.raises(RuntimeError), rnncore.num_threads(2):
        raise RuntimeError
    assert rnncore.get_num_threads() == before


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "n is 0, expected an integer of at least 1"),
        (True, TypeError, "n is True, expected an integer"),
        (1.5, TypeError, "n is 1.5, expected an integer"),
    ],
)
def test_what_is_no_number_of_threads(n, error, message):
    before = rnncore.get_num_threads()
    with pytest.raises(error, match=message):
        rnncore.set_num_threads(n)
    assert rnncore.get_num_threads() == before


def threads_of_a_process(value, folder, **others):
    """What a new interpreter, away from the checkout, says of its threads."""
    return subprocess.run(
        [sys.executable, "-c", "import rnncore; print(rnncore.get_num_threads())"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "", "RNNCORE_NUM_THREADS": value, **others},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_variable(tmp_path):
    assert threads_of_a_process("3", tmp_path, OMP_NUM_THREADS="1").stdout == "3\n"
    cores = int(threads_of_a_process("", tmp_path).stdout)
    assert 1 <= cores <= os.cpu_count()


@pytest.mark.parametrize(
    ("value", "threads"), [("1", "1"), ("3", "3"), (" 5 ", "5"), ("6,2", "6")], ids=repr
)
def test_the_variable_of_openmp(tmp_path, value, threads):
    assert threads_of_a_process("", tmp_path, OMP_NUM_THREADS=value).stdout == f"{threads}\n"


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "99999999999"])
def test_what_openmp_has_to_complain_of(tmp_path, value):
    found = threads_of_a_process("", tmp_path, OMP_NUM_THREADS=value)
    assert found.stdout == threads_of_a_process("", tmp_path).stdout


def test_an_environment_variable_that_is_no_number(tmp_path):
    wrong = threads_of_a_process("zero", tmp_path)
    assert wrong.returncode != 0
    expected = f"expected an integer from 1 to {threads.MOST_THREADS}"
    message = f"ValueError: RNNCORE_NUM_THREADS is 'zero', {expected}"
    assert wrong.stderr.splitlines()[-1] == message


def test_a_stream_follows_the_limit_from_step_to_step():
    layer = rnncore.LSTM(300, 300, 2, rng=0)
    x = np.random.default_rng(0).standard_normal((6, 40, 300), np.float32)
    with rnncore.num_threads(1):
        stream = layer.freeze().stream(40)
        want = [stream(x_t).copy() for x_t in x]
        stream.reset()
    for limit, x_t, y_t in zip((1, 3, 2, 5, 1, 2), x, want, strict=True):
        with team_of(limit):
            np.testing.assert_array_equal(stream(x_t), y_t)


@pytest.mark.parametrize("n", [0, -1, 2**31, 2**62, 10**30, 100_000])
def test_a_limit_that_no_machine_can_want(n):
    before = rnncore.get_num_threads()
    with pytest.raises(ValueError, match=f"^n is {n}, expected an integer of at (least 1|most)"):
        rnncore.set_num_threads(n)
    with pytest.raises(ValueError, match=r"^n is"), rnncore.num_threads(n):
        pass
    assert rnncore.get_num_threads() == before


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "100000", "9" * 5000, "²"])
def test_the_variable_that_asks_for_such_a_limit(text, tmp_path):
    done = threads_of_a_process(text, tmp_path)
    assert done.returncode == 1
    assert "ValueError: RNNCORE_NUM_THREADS is" in done.stderr.splitlines()[-1]
