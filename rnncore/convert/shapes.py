"""What moving axes does to what is known of them: the views, permutations and joins of a graph."""

from __future__ import annotations

from collections.abc import Sequence

from rnncore.convert.flow import Axis, Entries, Entry, Refusal


def place(dim: int, count: int) -> int:
    """A place from the front for one that may be counted from the back."""
    return dim + count if dim < 0 else dim


def permuted(entries: Entries, dims: Sequence[int]) -> Entries:
    return tuple([entries[dim] for dim in dims])


def transposed(entries: Entries, first: int, second: int) -> Entries:
    found = list(entries)
    found[first], found[second] = found[second], found[first]
    return tuple(found)


def unsqueezed(entries: Entries, dim: int) -> Entries:
    dim = place(dim, len(entries) + 1)
    return (*entries[:dim], (), *entries[dim:])


def squeezed(entries: Entries, dims: Sequence[int] | None) -> Entries:
    """Without the axes of size 1 at these places, at all places where there are none.

    Raises
    ------
    Refusal where such an axis has rows or steps, of which the example has just one.
    """
    at = range(len(entries)) if dims is None else [place(dim, len(entries)) for dim in dims]
    for k in at:
        if dims is None and size_of(entries[k]) == 1 and any(a.role != "C" for a in entries[k]):
            raise Refusal(f"axis {k} is of size 1 in the example alone: give one with more rows")
    return tuple([entry for k, entry in enumerate(entries) if k not in at or size_of(entry) != 1])


def reshaped(entries: Entries, shape: Sequence[int]) -> Entries:
    """The axes of a view: joined, apart again, or with axes of size 1 more or less.

    Raises
    ------
    Refusal where an axis itself is cut.
    """
    left = [axis for entry in entries for axis in entry]
    found: list[Entry] = []
    for size in shape:
        taken: list[Axis] = []
        have = 1
        while left and (have < size or (size == 1 == left[0].size and not taken)):
            axis = left.pop(0)
            if axis.size == 1 and have < size and size != 1 and not taken:
                # An axis of size 1 that no axis of the view is for: it goes with the next.
                taken.append(axis)
                continue
            taken.append(axis)
            have *= axis.size
        if have != size:
            raise Refusal(
                f"a view of shape {tuple(map(size_of, entries))} as {tuple(shape)} cuts an axis or"
                " joins others than neighbours"
            )
        found.append(tuple(taken))
    if any(axis.size != 1 for axis in left):
        raise Refusal(f"a view as {tuple(shape)} leaves numbers out")
    if left:
        found[-1] = (*found[-1], *left)
    return tuple(found)


def size_of(entry: Entry) -> int:
    """How long an axis of PyTorch's is."""
    total = 1
    for axis in entry:
        total *= axis.size
    return total
