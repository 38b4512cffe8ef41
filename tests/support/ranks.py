"""What processes compute together: run by ``mpiexec -n 2 python ranks.py FOLDER``, or imported.

Each rank writes ``FOLDER/<rank>.pkl``: by the names of `TOGETHER`, what a function of it gave, or
the error that it raised.
"""

import pickle
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import rnncore as rc
from rnncore import parallel
from rnncore.fitting import checkpoint

F64 = np.float64


def data_of(count=37):
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((T, 3)) for T in rng.integers(2, 9, count)]
    return X, [rng.integers(4, size=len(x)) for x in X]


def tagger(dtype=F64, drop=0.0, norm=False):
    norms = [rc.BatchNorm(5, dtype=dtype)] if norm else []
    return rc.Sequential(
        rc.GRU(3, 5, dtype=dtype, rng=0, zoneout=drop), *norms, rc.Dropout(drop, rng=1),
        rc.Linear(5, 4, dtype=dtype, rng=2),
    )  # fmt: skip


def trained(comm, model=None, data=None, **options):
    """The model's arrays and the history."""
    model = tagger() if model is None else model
    given = {"loss": "cross_entropy", "epochs": 3, "batch_size": 10, "progress": False, "lr": 0.05}
    history = rc.fit(model, data or data_of(), comm=comm, **{**given, **options})
    arrays = {**model.params, **model.buffers}
    return arrays, {name: history[name] for name in history if name != "seconds"}


weighted = partial(rc.softmax_cross_entropy, class_weight=np.array([0.1, 1.0, 5.0, 10.0]))


def batches():
    """Of unlike sizes, the last of one row."""
    X, Y = data_of(13)
    for own in (range(6), range(6, 12), range(12, 13)):
        T = max(len(X[k]) for k in own)
        x, y = np.zeros((T, len(own), 3)), np.zeros((T, len(own)), int)
        for b, k in enumerate(own):
            x[: len(X[k]), b], y[: len(X[k]), b] = X[k], Y[k]
        yield x, y, [len(X[k]) for k in own]


class Anew:
    def __iter__(self):
        return batches()


# To rounding: a batch is shared out by rows.
SHARED = {
    "plain": lambda comm: trained(comm, metrics="accuracy", validation=0.3, patience=2),
    "weights of classes": lambda comm: trained(comm, loss=weighted, clip_norm=0.1),
    "accumulated": lambda comm: trained(comm, accumulate=3, optimizer="rmsprop"),
    "windows": lambda comm: trained(comm, window=3, schedule=rc.OneCycle(0.05, 60)),
    "batches": lambda comm: trained(comm, data=Anew(), schedule=rc.OnPlateau(0.1, patience=0)),
    "one row": lambda comm: trained(comm, batch_size=1, data=data_of(5)),
    "sgd": lambda comm: trained(comm, optimizer="sgd", validation=data_of(7), metrics="accuracy"),
}
# Bit for bit.
ORDERED = {
    "dropped": lambda comm: trained(comm, tagger(np.float32, 0.3), ordered=True, validation=0.3),
    "norm": lambda comm: trained(
        comm, tagger(norm=True), ordered=3, batch_size=9, metrics="accuracy"
    ),
    "in windows": lambda comm: trained(comm, tagger(drop=0.2), ordered=2, window=3),
    "accumulating": lambda comm: trained(comm, ordered=4, accumulate=2, loss=weighted),
    "given": lambda comm: trained(comm, data=Anew(), ordered=1, validation=Anew()),
}


# Gradients


def gradients(dtype, seed):
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-3, 4, 5)  # so that the order of a sum shows
    return {"a": (rng.standard_normal((3, 5)) * scale).astype(dtype), "b": rng.standard_normal(2)}


def summed(comm):
    """Of a dict, of what backward gives, and of a list."""
    grads = gradients(np.float32, comm.Get_rank())
    parallel.all_reduce(grads, comm)
    layer = rc.GRU(2, 3, rng=0)
    x = np.random.default_rng(comm.Get_rank()).standard_normal((4, 2, 2), np.float32)
    y, _, trace = layer.forward(x)
    given = layer.backward(trace, y)
    parallel.all_reduce([given, given], comm)  # one array twice is added up once
    return grads, given.params, x


def blocks_of(comm, first):
    """Seven blocks, of which rank 0 has the first ones."""
    own = [slice(0, first), slice(first, 7)][comm.Get_rank()] if comm.Get_size() > 1 else slice(7)
    blocks = [gradients(np.float32, k) for k in range(7)][own]
    parallel.all_reduce(blocks, comm, ordered=True)
    return blocks[0]


def unlike(comm):
    grads = {"a": np.ones(3 + comm.Get_rank())}
    parallel.all_reduce(grads, comm)


def on(comm, rank, one, other):
    return one if comm.Get_rank() == rank else other


def fails_at(comm, rank, count, error):
    """A loss that raises on one rank at its `count`-th call."""
    calls = []

    def loss(y, target, **given):
        calls.append(1)
        if comm.Get_rank() == rank and len(calls) == count:
            raise error
        return rc.softmax_cross_entropy(y, target, **given)

    return loss


def raising(comm, rank, error):
    def call(training):
        if comm.Get_rank() == rank:
            raise error

    return call


class Short(Anew):
    """Two batches on rank 1 where there are three on rank 0."""

    def __init__(self, comm):
        self.comm = comm

    def __iter__(self):
        for k, batch in enumerate(batches()):
            if k < 2 or not self.comm.Get_rank():
                yield batch


def full_disk(comm):
    """Of rank 0, when all is done but the last file."""
    save = checkpoint.save

    def fails(training, path):
        if training.epoch == 3:
            raise OSError("no space")
        save(training, path)

    checkpoint.save = fails
    try:
        with tempfile.TemporaryDirectory() as own:
            path = Path(comm.bcast(own)) / "training.npz"
            try:
                return trained(comm, checkpoint=path)
            finally:
                comm.Barrier()
    finally:
        checkpoint.save = save


def with_nan():
    X, Y = data_of()
    X[0][:] = np.nan
    return X, Y


FAILING = {
    "unlike gradients": unlike,
    "data": lambda comm: trained(comm, data=data_of(on(comm, 1, 36, 37))),
    "model": lambda comm: trained(comm, on(comm, 1, tagger(drop=0.1), tagger())),
    "parameters": lambda comm: trained(comm, moved(comm)),
    "epochs": lambda comm: trained(comm, epochs=2 + comm.Get_rank()),
    "rng": lambda comm: trained(comm, rng=np.random.default_rng(comm.Get_rank())),
    "lr and loss": lambda comm: trained(
        comm, lr=0.1 * (1 + comm.Get_rank()), loss=on(comm, 0, weighted, "cross_entropy")
    ),
    "an argument": lambda comm: trained(comm, batch_size=on(comm, 1, 0, 10)),
    "no ordered": lambda comm: trained(comm, ordered=on(comm, 1, "x", True)),
    "loss": lambda comm: trained(comm, loss=fails_at(comm, 1, 5, OSError("the disk is gone"))),
    "interrupt": lambda comm: trained(comm, loss=fails_at(comm, 0, 4, KeyboardInterrupt())),
    "callback": lambda comm: trained(comm, callbacks=raising(comm, 0, ZeroDivisionError("no"))),
    "exit": lambda comm: trained(comm, callbacks=raising(comm, 1, SystemExit(3))),
    "batches": lambda comm: trained(comm, data=Short(comm)),
    "full disk": full_disk,
    "not a number": lambda comm: trained(comm, data=with_nan()),
    "no folder": lambda comm: trained(comm, checkpoint=on(comm, 0, "/no/a.npz", "a.npz")),
}  # fmt: skip


def moved(comm):
    model = tagger()
    model.params["0.weight_ih_l0"][0, 0] += comm.Get_rank()
    return model


def stopped(comm):
    """A callback of rank 1 ends the training of both."""
    return trained(comm, callbacks=lambda t: comm.Get_rank() == 1 and t.epoch == 2, epochs=9)


def resumed(comm, folder):
    """In three parts, and at once; and the names of who wrote a file."""
    path, wrote, save = folder / "training.npz", [], checkpoint.save
    checkpoint.save = lambda *given: (wrote.append(1), save(*given))
    try:
        for ordered in (False, True):
            options = {"validation": 0.3, "patience": 5, "ordered": ordered, "rng": 4}
            found = trained(comm, tagger(drop=0.2), epochs=6, **options)
            for epochs in (1, 4, 6):
                parts = trained(comm, tagger(drop=0.2), epochs=epochs, checkpoint=path, **options)
            assert_same(found, parts)
            if comm.Get_size() > 1:
                comm.Barrier()
            path.unlink(missing_ok=True) if not comm.Get_rank() else None
            if comm.Get_size() > 1:
                comm.Barrier()
    finally:
        checkpoint.save = save
    return len(wrote)


def assert_same(one, other):
    for mine, others in zip(one, other, strict=True):
        assert mine.keys() == others.keys()
        for name, value in mine.items():
            np.testing.assert_array_equal(value, others[name], err_msg=name)


LEFT = {"ordered": True, "validation": 0.3, "patience": 5, "metrics": "accuracy"}
TOGETHER = {
    **{f"shared: {name}": call for name, call in SHARED.items()},
    **{f"ordered: {name}": call for name, call in ORDERED.items()},
    "summed": summed,
    **{f"blocks: {k}": partial(blocks_of, first=k) for k in (1, 3, 6)},
    **{f"failing: {name}": call for name, call in FAILING.items()},
    "stopped": stopped,
}


def result(call, *given):
    try:
        return call(*given)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def main(folder, *names):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    found = {
        name: result(call, comm)
        for name, call in TOGETHER.items()
        if not names or name.split(":")[0] in names
    }
    if not names:
        found["resumed"] = result(resumed, comm, folder)
        left = partial(trained, epochs=2, checkpoint=folder / "left.npz", **LEFT)
        found["left"] = result(left, comm, tagger(drop=0.2))
    (folder / f"{comm.Get_rank()}.pkl").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
