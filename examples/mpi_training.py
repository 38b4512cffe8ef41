"""A model that several processes train together, with data that stay in a file.

``mpiexec -n 2 python examples/mpi_training.py`` trains on two processes of this machine, and
``python examples/mpi_training.py`` on one: to the same parameters, bit for bit, since gradients
are added in the order of blocks of rows (``ordered``). ``--any-order`` leaves that to MPI, and the
results are the same but for rounding. ``pip install '.[mpi]'`` has all that it takes; on
several machines

    mpiexec -hosts one,two -n 2 python -m mpi4py examples/mpi_training.py --folder /shared

with a folder that all of them see. An error of one process ends all: within `rnncore.fit` by
itself, elsewhere by ``-m mpi4py``. The model is told at every step the largest number that it has
seen so far; sequences have lengths of their own. It prints

    2 process(es), 2000 sequences in files of 0.8 MB
    after 1 epoch(s): mean squared error 0.7, held back 0.1
    after 5 epoch(s): mean squared error 0.04, held back 0.03
    the parameters add up to -9.0407
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

import rnncore as rc

STEPS, NAMES = 50, ("sequences.npy", "targets.npy")


def write(folder, rows):
    """Sequences and their targets, piece by piece, in files that no process reads whole."""
    new = np.lib.format.open_memmap
    X, Y = (new(folder / name, "w+", np.float32, (rows, STEPS, 1)) for name in NAMES)
    rng = np.random.default_rng(0)
    for k in range(0, rows, 100):
        own = slice(k, k + 100)
        X[own] = rng.standard_normal(X[own].shape)
        Y[own] = np.maximum.accumulate(X[own], axis=1)
    X.flush()
    Y.flush()


def main(rows=2000, epochs=5, ordered=True, folder=None):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    beside = comm.Split_type(MPI.COMM_TYPE_SHARED).size  # processes on this machine
    rc.set_num_threads(max(1, rc.get_num_threads() // beside))
    own = tempfile.mkdtemp() if folder is None and comm.rank == 0 else folder
    place = Path(comm.bcast(own))
    if comm.rank == 0:
        write(place, rows)
    comm.Barrier()  # the files are there

    X, Y = (np.load(place / name, mmap_mode="r") for name in NAMES)
    lengths = np.random.default_rng(1).integers(10, STEPS + 1, rows)
    model = rc.Sequential(rc.GRU(1, 32, batch_first=True, rng=0), rc.Linear(32, 1, rng=1))

    def tell(training):
        at, history = training.epoch, training.history
        if comm.rank == 0 and at in (1, epochs):
            error, held = history.loss[-1], history.val_loss[-1]
            print(
                f"after {at} epoch(s): mean squared error {error:.2g}, held back {held:.2g}",
                flush=True,
            )

    if comm.rank == 0:
        size = (X.nbytes + Y.nbytes) / 1e6
        print(f"{comm.size} process(es), {rows} sequences in files of {size:.1f} MB", flush=True)
    rc.fit(
        model, (X, Y, lengths), loss="mse", epochs=epochs, lr=5e-3, validation=0.1,
        callbacks=tell, progress=False, comm=comm, ordered=ordered,
    )  # fmt: skip
    if comm.rank == 0:
        total = sum(float(p.sum(dtype=float)) for p in model.params.values())
        print(f"the parameters add up to {total}")
    comm.Barrier()  # nobody reads them any more
    if comm.rank == 0 and folder is None:
        shutil.rmtree(place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--any-order", action="store_true")
    parser.add_argument("--folder", help="where the data are written")
    given = parser.parse_args()
    main(given.rows, given.epochs, not given.any_order, given.folder)
