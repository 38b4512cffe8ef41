"""Processes that train together: the gradients of one, the same bits on all, and no one waits."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mpi4py", reason="mpi4py is not installed")

import ranks

import rnncore as rc
from rnncore import parallel

MPIEXEC = Path(sys.executable).with_name("mpiexec")
if not MPIEXEC.exists():
    pytest.skip("no mpiexec beside Python", allow_module_level=True)


def run(count, code, folder, *arguments):
    """As many processes, each with one thread."""
    package = str(Path(rc.__file__).parents[1])
    return subprocess.run(
        [str(MPIEXEC), "-n", str(count), sys.executable, *code, *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": package, "RNNCORE_NUM_THREADS": "1"},
    )  # fmt: skip


def together(count, folder, *names):
    """What each rank found."""
    done = run(count, [ranks.__file__], folder, folder, *names)
    assert done.returncode == 0, done.stderr
    found = [pickle.loads((folder / f"{rank}.pkl").read_bytes()) for rank in range(count)]
    return [{**one, "folder": folder} for one in found]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return together(2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return together(3, tmp_path_factory.mktemp("three"), "ordered")


@pytest.mark.parametrize("name", ranks.SHARED)
def test_two_ranks_are_one_to_rounding(name, two):
    expected = ranks.SHARED[name](None)
    first, second = (own[f"shared: {name}"] for own in two)
    ranks.assert_same(first, second)
    for found, wanted in zip(first, expected, strict=True):
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-7, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", ranks.ORDERED)
def test_ordered_bits_are_those_of_any_number_of_ranks(name, two, three):
    expected = ranks.ORDERED[name](None)
    for own in (*two, *three):
        ranks.assert_same(own[f"ordered: {name}"], expected)


def test_ordered_sums_are_others_than_whole_batches(two):
    """So that the bits above are those of blocks, and of masks that blocks have for themselves."""
    for name in ("dropped", "norm"):
        whole = ranks.trained(None, ranks.tagger(norm=name == "norm"), batch_size=9)
        arrays, _ = two[0][f"ordered: {name}"]
        assert any((arrays[key] != value).any() for key, value in whole[0].items())


def test_a_rank_drops_what_no_other_does():
    """Two ranks with the same rows, of a model that drops: unlike those that drop the same."""
    found = []
    for drop in (0.0, 0.5):
        model = ranks.tagger(drop=drop)
        x = np.ones((4, 16, 3))
        data = [(x, np.zeros((4, 16), int))]
        taken = []

        def loss(y, target, *, taken=taken):
            taken.append(y)
            return rc.softmax_cross_entropy(y, target)

        rc.fit(model, data, loss=loss, ordered=8, progress=False)
        found.append((taken[0] == taken[1]).all())
    assert found == [True, False]


def test_what_batch_norm_keeps_is_the_mean_over_blocks(rng):
    x, y = rng.standard_normal((4, 12, 3)), rng.integers(4, size=(4, 12))
    model = ranks.tagger(norm=True)
    rc.fit(model, [(x, y)], loss="cross_entropy", ordered=8, lr=0.0, progress=False)
    blocks = []
    for own in (slice(8), slice(8, 12)):
        blocks.append(ranks.tagger(norm=True))
        blocks[-1].forward(x[:, own])
    for name, value in model.buffers.items():
        first, second = (block.buffers[name] for block in blocks)
        assert (first != second).any()
        np.testing.assert_allclose(value, (8 * first + 4 * second) / 12, rtol=1e-14)


def test_generators_stay_where_they_are():
    for ordered in (False, True):
        model = ranks.tagger(drop=0.3)
        before = rc.rng_state(model)
        ranks.trained(None, model, ordered=ordered)
        assert (rc.rng_state(model) == before) is ordered


def test_sums_over_ranks(two):
    expected = ranks.gradients(np.float32, 0), ranks.gradients(np.float32, 1)
    for own in two:
        grads, params, _ = own["summed"]
        for key, value in grads.items():
            assert value.dtype == expected[0][key].dtype
            np.testing.assert_array_equal(value, expected[0][key] + expected[1][key])
        layer, total = rc.GRU(2, 3, rng=0), {}
        for each in (two[0], two[1]):
            y, _, trace = layer.forward(each["summed"][2])
            for key, value in layer.backward(trace, y).params.items():
                total[key] = total.get(key, 0) + value
        for key, value in params.items():
            np.testing.assert_array_equal(value, total[key])


def alone(**more):
    """What has the calls of a communicator of one process."""
    calls = dict.fromkeys(parallel._CALLS, lambda *_: 0) | {"Get_size": lambda: 1}
    return SimpleNamespace(**calls | more)


def test_ordered_sums_are_the_same_for_any_split(two):
    blocks = [ranks.gradients(np.float32, k) for k in range(7)]
    total = ranks.blocks_of(alone(), 7)
    for key, value in total.items():
        by_hand = np.zeros_like(value)
        for block in blocks:
            by_hand = by_hand + block[key]
        np.testing.assert_array_equal(value, by_hand)
        for own in two:
            for first in (1, 3, 6):
                np.testing.assert_array_equal(own[f"blocks: {first}"][key], value)
    halves = sum(b["a"] for b in blocks[:3]) + sum(b["a"] for b in blocks[3:])
    assert (halves != total["a"]).any()  # the order shows


# What each of two ranks says.
SAID = {
    "unlike gradients": ("ValueError: grads has other names, shapes or dtypes on rank 1",) * 2,
    "data": ("ValueError: not the same on all ranks, as expected: data$",) * 2,
    "model": ("ValueError: not the same on all ranks, as expected: model$",) * 2,
    "parameters": ("ValueError: not the same on all ranks, as expected: parameters$",) * 2,
    "epochs": ("ValueError: not the same on all ranks, as expected: epochs$",) * 2,
    "rng": ("ValueError: not the same on all ranks, as expected: rng$",) * 2,
    "lr and loss": ("ValueError: not the same on all ranks, as expected: loss, lr$",) * 2,
    "an argument": (
        "RuntimeError: rank 1 has ended the training: ValueError: batch_size is 0, expected",
        "ValueError: batch_size is 0, expected",
    ),
    "no ordered": ("RuntimeError: rank 1 has ended the training: TypeError: o", "TypeError: ord"),
    "loss": (
        "RuntimeError: rank 1 has ended the training: OSError: the disk is gone$",
        "OSError: the disk is gone$",
    ),
    "interrupt": ("KeyboardInterrupt: $", "RuntimeError: rank 0 .* training: KeyboardInterrupt: $"),
    "callback": ("ZeroDivisionError: no$", "RuntimeError: rank 0 has .*: ZeroDivisionError: no$"),
    "exit": ("RuntimeError: rank 1 has ended the training: SystemExit: 3$", "SystemExit: 3$"),
    "batches": ("ValueError: .*ranks are at different places of the training, expected as many",)
    * 2,
    "full disk": ("OSError: no space$", "RuntimeError: rank 0 has ended the training: OSError: n"),
    # The one that has the row says that its x is no number either.
    "not a number": (
        "FloatingPointError: epoch 1, batch 3: gradient is not finite",
        "FloatingPointError: epoch 1, batch 3, and x has NaN or infinity: gradient is not finite",
    ),
    "no folder": ("ValueError: checkpoint is '/no/a.npz'", "RuntimeError: rank 0 has ended"),
}


@pytest.mark.parametrize("name", ranks.FAILING)
def test_an_error_of_one_ends_all(name, two):
    for own, said in zip(two, SAID[name], strict=True):
        assert re.match(said, own[f"failing: {name}"])


def test_a_callback_of_one_ends_the_training_of_all(two):
    for own in two:
        _, history = own["stopped"]
        assert history["loss"].shape == (2,)


def test_a_training_of_ranks_goes_on_with_the_same_bits(two):
    assert [own["resumed"] for own in two] == [14, 0]  # files that each wrote


def test_a_checkpoint_of_two_ranks_goes_on_with_one(two, tmp_path):
    """In order, the bits do not depend on their number."""
    expected = ranks.trained(None, ranks.tagger(drop=0.2), epochs=4, **ranks.LEFT)
    path = tmp_path / "training.npz"
    path.write_bytes((two[0]["folder"] / "left.npz").read_bytes())
    found = ranks.trained(None, ranks.tagger(drop=0.2), epochs=4, checkpoint=path, **ranks.LEFT)
    ranks.assert_same(found, expected)
    assert np.load(path)["history/loss"].shape == (4,)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import ranks
from mpi4py import MPI

def end(training):
    if MPI.COMM_WORLD.rank == 1 and training.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(f"rank {MPI.COMM_WORLD.rank}", "a") as file:
        print(training.epoch, file=file)

ranks.trained(MPI.COMM_WORLD, epochs=10**6, callbacks=end)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_rank_that_is_killed_ends_the_run(tmp_path):
    done = run(2, ["-c", KILLED], tmp_path, Path(ranks.__file__).parent)
    assert done.returncode != 0
    assert (tmp_path / "rank 1").read_text() == "1\n"


BLOCKS = {
    "no list": (lambda: 5, TypeError, "grads is of type int, expected a dict of arrays"),
    "no block": (list, ValueError, "grads has no block, expected one at least"),
    "unlike blocks": (
        lambda: [{"a": np.ones(2)}, {"a": np.ones(3)}], ValueError, r"grads\[1\] has other names",
    ),
    "members of a model": (
        lambda: [{"a": np.ones(2)}, {"b": np.ones(2)}], ValueError, r"grads\[1\] has other names",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_that_cannot_be(name):
    make, error, message = BLOCKS[name]
    with pytest.raises(error, match=message):
        parallel.all_reduce(make(), alone(), ordered=True)


def test_what_is_no_communicator():
    with pytest.raises(TypeError, match="comm is of type int, which has no Get_rank: expected a"):
        parallel.all_reduce({"a": np.ones(2)}, 5)
    with pytest.raises(TypeError, match="ordered is 1, expected True or False"):
        parallel.all_reduce({"a": np.ones(2)}, alone(), ordered=1)
    frozen = np.ones(2)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        parallel.all_reduce({"a": frozen}, alone())
