"""Orders of layers in which each reads as many features as the one before gives.

A layer is an edge from the width that it reads to the one that it gives, and such an order a path
that goes along every edge once. Euler's conditions on the edges that are left tell at each step
whether a path can still go on to the end, so that no way is taken in vain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

__all__ = ["IDS", "Edge", "orders_of"]

Edge = tuple[int, int]  # the width that a layer reads, and the one that it gives

IDS = -1  # in place of a width: what an embedding reads, and no layer gives


def orders_of(edges: Sequence[Edge], most: int) -> list[tuple[int, ...]]:
    """At most so many orders, each as the places in `edges`.

    >>> orders_of([(IDS, 5), (4, 3), (5, 4)], 2)
    [(0, 2, 1)]
    >>> orders_of([(5, 4), (5, 3)], 2)
    []
    """
    return list(islice(_paths(edges, (), None), most))


def _paths(
    edges: Sequence[Edge], taken: tuple[int, ...], at: int | None
) -> Iterator[tuple[int, ...]]:
    """The orders that begin with the places taken, whose last layer gives the width `at`."""
    if len(taken) == len(edges):
        yield taken
    for k, (start, end) in enumerate(edges):
        if k in taken or at not in (None, start):
            continue
        path = (*taken, k)
        if _goes_on([edge for j, edge in enumerate(edges) if j not in path], end):
            yield from _paths(edges, path, end)


def _goes_on(edges: Sequence[Edge], at: int) -> bool:
    """Whether one path from `at` goes along all of the edges."""
    more = Counter(start for start, _ in edges)
    more.subtract(end for _, end in edges)
    # One more goes out than comes in at the start, and one less at the end; or none anywhere.
    uneven = {width: count for width, count in more.items() if count}
    if uneven and (uneven.pop(at, 0) != 1 or list(uneven.values()) != [-1]):
        return False
    reached, left = {at}, list(edges)
    while left:
        rest = [edge for edge in left if reached.isdisjoint(edge)]
        if len(rest) == len(left):
            return False
        for edge in left:
            if not reached.isdisjoint(edge):
                reached.update(edge)
        left = [edge for edge in left if not reached.issuperset(edge)]
    return True
