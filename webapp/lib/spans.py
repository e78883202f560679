"""Interval arithmetic on half-open spans `[start, end)` of integer milliseconds: union, subtract, partition, cut."""

import heapq
from collections.abc import Iterable, Sequence
from typing import TypeVar

Span = tuple[int, int]
"""`(start_ms, end_ms)`; a span that does not end after it starts holds nothing."""
L = TypeVar("L")
Ranked = tuple[int, int, int, L]
"""`(start_ms, end_ms, precedence, label)`: where several hold an instant, the highest precedence has it."""
Piece = tuple[int, int, L]
"""`(start_ms, end_ms, label)`: one part of a partition."""


def measure(spans: Iterable[Span]) -> int:
    """Milliseconds held by disjoint spans."""
    return sum(end - start for start, end in spans if end > start)


def union(spans: Iterable[Span]) -> list[Span]:
    """The instants held by any of `spans`: sorted, disjoint, touching spans joined."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if end <= start:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def subtract(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """The instants held by `spans` and by none of `holes`: sorted and disjoint."""
    cuts = union(holes)
    left: list[Span] = []
    first = 0
    for start, end in union(spans):
        while first < len(cuts) and cuts[first][1] <= start:
            first += 1
        index = first
        while index < len(cuts) and cuts[index][0] < end:
            if cuts[index][0] > start:
                left.append((start, cuts[index][0]))
            start = max(start, cuts[index][1])
            index += 1
        if start < end:
            left.append((start, end))
    return left


def clip(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    """The parts of `spans` inside `[start, end)`."""
    cut = ((max(first, start), min(last, end)) for first, last in spans)
    return [(first, last) for first, last in cut if first < last]


def is_ordered(spans: Sequence[Span]) -> bool:
    """Whether `spans` are sorted, disjoint and each holds something."""
    last = None
    for start, end in spans:
        if end <= start or (last is not None and start < last):
            return False
        last = end
    return True


def partition(spans: list[Ranked[L]]) -> list[Piece[L]]:
    """Gives every instant of the union to one label: sorted, disjoint pieces.

    The highest precedence has it; among equals the smaller label. Labels must be comparable where precedences can be
    equal. Sorts `spans` in place. About 1 us a span; the common case, no overlap, needs no heap.
    """
    spans.sort()
    pieces: list[Piece[L]] = []
    waiting: list[tuple[int, L, int]] = []  # (-precedence, label, end): begun, still running, but outranked
    now = until = 0
    rank = 0
    holder: L | None = None  # holds `[now, until)`; nobody does when until <= now
    for start, end, precedence, label in spans:
        while until <= start:
            if now < until:
                pieces.append((now, until, holder))  # type: ignore[arg-type]
                now = until
            while waiting and waiting[0][2] <= now:
                heapq.heappop(waiting)
            if not waiting:
                break
            rank, holder, until = heapq.heappop(waiting)
        if end <= start:
            continue
        if until <= start:
            now, until, rank, holder = start, end, -precedence, label
        elif (-precedence, label) < (rank, holder):
            if now < start:
                pieces.append((now, start, holder))  # type: ignore[arg-type]
            if until > end:
                heapq.heappush(waiting, (rank, holder, until))  # type: ignore[misc]
            now, until, rank, holder = start, end, -precedence, label
        elif end > until:
            heapq.heappush(waiting, (-precedence, label, end))
    while now < until:
        pieces.append((now, until, holder))  # type: ignore[arg-type]
        now = until
        while waiting and waiting[0][2] <= now:
            heapq.heappop(waiting)
        if waiting:
            rank, holder, until = heapq.heappop(waiting)
    return pieces


def join(pieces: Iterable[Piece[L]]) -> list[Piece[L]]:
    """The same partition with touching pieces of one label joined."""
    joined: list[Piece[L]] = []
    for start, end, label in pieces:
        if joined and joined[-1][1] == start and joined[-1][2] == label:
            joined[-1] = (joined[-1][0], end, label)
        else:
            joined.append((start, end, label))
    return joined


def cut(pieces: Iterable[Piece[L]], bounds: Sequence[int]) -> Iterable[tuple[int, int, L]]:
    """Cuts sorted pieces at sorted `bounds`: `(index, milliseconds, label)`, where `bounds[index]` is the last bound
    that is not after the part. What lies outside the bounds is left out."""
    index, last = 0, len(bounds) - 1
    for start, end, label in pieces:
        while index < last and bounds[index + 1] <= start:
            index += 1
        at = index
        while at < last and bounds[at] < end:
            upper = bounds[at + 1]
            ms = (end if end < upper else upper) - (start if start > bounds[at] else bounds[at])
            if ms > 0:
                yield at, ms, label
            at += 1
