"""Bounds of slices that keep groups of rows together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def whole_groups(keys: Sequence[object], min_rows: int) -> Iterator[tuple[int, int]]:
    """Start and end of slices that end with a group, of at least `min_rows` rows but for the last.

    Args:
        keys: each row's group; the rows of a group lie together.
        min_rows: minimum number of rows of a slice.
    """
    start = 0
    for stop in range(1, len(keys) + 1):
        is_last = stop == len(keys)
        if is_last or (stop - start >= min_rows and keys[stop] != keys[stop - 1]):
            yield start, stop
            start = stop
