"""Arithmetic on spans of time: lists of half-open `(start_ms, end_ms)`, sorted and disjoint in every result."""

from collections.abc import Iterable

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """The spans in any order, overlapping or touching ones made one; empty ones fall out."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def subtract(spans: list[Span], taken: list[Span]) -> list[Span]:
    """What is left of `spans` outside `taken`; both sorted and disjoint."""
    left: list[Span] = []
    index = 0
    for start, end in spans:
        while index < len(taken) and taken[index][1] <= start:
            index += 1
        position = index
        while position < len(taken) and taken[position][0] < end:
            if start < taken[position][0]:
                left.append((start, taken[position][0]))
            start = max(start, taken[position][1])
            position += 1
        if start < end:
            left.append((start, end))
    return left


def clip(spans: list[Span], start_ms: int, end_ms: int) -> list[Span]:
    """The part of `spans` inside `[start_ms, end_ms)`."""
    clipped = [(max(start, start_ms), min(end, end_ms)) for start, end in spans]
    return [span for span in clipped if span[0] < span[1]]


def measure(spans: Iterable[Span]) -> int:
    """The length in milliseconds of disjoint spans."""
    return sum(end - start for start, end in spans)
