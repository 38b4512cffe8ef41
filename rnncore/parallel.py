"""Gradients of several processes, added up through MPI.

A communicator is one of mpi4py, or has its calls: ``Get_rank``, ``Get_size``, ``Allreduce``,
``Allgather``, ``Send``, ``Recv`` and ``Bcast``, of arrays. Nothing is pickled, and mpi4py is not
imported here. `rnncore.fit` does all of this with ``comm=``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore import _check
from rnncore._common.groups import Groups, flatten, flatten_writable

_CALLS = ("Get_rank", "Get_size", "Allreduce", "Allgather", "Send", "Recv", "Bcast")
_TAG = 2997  # of messages from rank to rank, beside those of others


def all_reduce(grads: Groups | Sequence[Groups], comm: Any, *, ordered: bool = False) -> None:
    """Add up gradients over all ranks, in place: in the end each rank has the same sums.

    Sums, since a mean is wrong where ranks have unlike parts of a batch. The gradient of a mean
    goes in times the number of what it is over; the sum is divided by the sum of those, which may
    be one more array. All ranks call this, with the same names, shapes and dtypes.

    Parameters
    ----------
    grads : what `backward` returns, a dict of arrays, or a list of these
        With `ordered`, a list is one of blocks: each entry is all that was said before, the
        gradients of one block of rows. The first entry gets the sum.
    comm : communicator of mpi4py, or what has its calls
    ordered : bool
        Added from 0 on, block after block in the order of the lists, those of rank 0 first, and
        not in MPI's own order. **The same blocks in the same order give the same bits, whichever
        ranks they are on.** Takes a message from each rank to the next.

    Raises
    ------
    ValueError, TypeError
        If `grads` or `comm` are not what is described above, or, on all ranks, if the arrays are
        not alike on all. Nothing has been changed then.

    Examples
    --------
    With ``mpiexec -n 2``, `alone` would be ``mpi4py.MPI.COMM_WORLD``, and the sum over both.

    >>> from types import SimpleNamespace
    >>> alone = SimpleNamespace(**dict.fromkeys(_CALLS, lambda *_: 0) | {"Get_size": lambda: 1})
    >>> blocks = [{"bias": np.array([1.0, 2.0])}, {"bias": np.array([3.0, 4.0])}]
    >>> all_reduce(blocks, alone, ordered=True)
    >>> blocks[0]["bias"]
    array([4., 6.])
    """
    check_communicator(comm)
    blocks: list[Any] = [grads]
    if _check.flag("ordered", ordered) and isinstance(grads, list | tuple):
        blocks = list(grads)
        if not blocks:
            raise ValueError("grads has no block, expected one at least, if of zeros")
    first = flatten_writable("grads", blocks[0])
    named = [first, *(flatten(f"grads[{k}]", one) for k, one in enumerate(blocks[1:], 1))]
    layout = _layout(first)
    for k, one in enumerate(named):
        if _layout(one) != layout:
            raise ValueError(
                f"grads[{k}] has other names, shapes or dtypes than grads[0], expected the same"
                " of each block"
            )
    alike(comm, zlib.crc32(repr(layout).encode()), "grads has other names, shapes or dtypes")
    totals = summed([list(one.values()) for one in named], comm, ordered=ordered)
    for own, total in zip(first.values(), totals, strict=True):
        own[...] = total


def summed(lists: Sequence[Sequence[np.ndarray]], comm: Any, *, ordered: bool) -> list[np.ndarray]:
    """The sums of lists of arrays alike, at least one on each rank; see `all_reduce`."""
    totals = list(lists[0])
    for dtype in sorted({array.dtype for array in totals}, key=str):
        places = [k for k, array in enumerate(totals) if array.dtype == dtype]
        flat = [np.concatenate([own[k].reshape(-1) for k in places]) for own in lists]
        ends = np.cumsum([totals[k].size for k in places])
        pieces = np.split(_flat_sum(flat, comm, ordered=ordered), ends[:-1])
        for k, piece in zip(places, pieces, strict=True):
            totals[k] = piece.reshape(totals[k].shape)
    return totals


def _flat_sum(flat: Sequence[np.ndarray], comm: Any, *, ordered: bool) -> np.ndarray:
    rank, size = (0, 1) if comm is None else (comm.Get_rank(), comm.Get_size())
    total = np.zeros_like(flat[0])
    if ordered and rank:
        comm.Recv(total, source=rank - 1, tag=_TAG)
    for one in flat:
        total += one
    if size == 1:
        return total
    if not ordered:
        found = np.empty_like(total)
        comm.Allreduce(total, found)
        return found
    if rank + 1 < size:
        comm.Send(total, dest=rank + 1, tag=_TAG)
    comm.Bcast(total, root=size - 1)
    return total


def gathered(row: np.ndarray, comm: Any) -> np.ndarray:
    """The arrays of all ranks, which are of one shape, in their order."""
    if comm is None or comm.Get_size() == 1:
        return row[np.newaxis]
    found = np.empty((comm.Get_size(), *row.shape), row.dtype)
    comm.Allgather(row, found)
    return found


def alike(comm: Any, number: int, what: str) -> None:
    """Raise ValueError on all ranks where the number is not the same on all."""
    found = gathered(np.array([number], np.int64), comm)[:, 0]
    for rank, other in enumerate(found):
        if other != found[0]:
            raise ValueError(f"{what} on rank {rank} than on rank 0, expected the same on all")


def check_communicator(comm: Any) -> None:
    for name in _CALLS:
        if not hasattr(comm, name):
            raise TypeError(
                f"comm is of type {type(comm).__name__}, which has no {name}: expected a"
                " communicator of mpi4py"
            )


def _layout(named: dict[str, np.ndarray]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(name, array.shape, array.dtype.str) for name, array in named.items()]
