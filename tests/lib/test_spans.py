"""Interval arithmetic against brute force over single milliseconds."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from webapp.lib import spans

EDGE = 40
moments = st.integers(0, EDGE)
some_spans = st.lists(st.tuples(moments, moments), max_size=12)
ranked = st.lists(st.tuples(moments, moments, st.integers(0, 3), st.sampled_from("abc")), max_size=12)


def instants(given_spans) -> set[int]:
    return {at for start, end, *_ in given_spans for at in range(start, end)}


@given(some_spans)
def test_union_holds_the_same_instants_in_fewest_spans(given_spans) -> None:
    joined = spans.union(given_spans)
    assert instants(joined) == instants(given_spans)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(joined))
    assert spans.measure(joined) == len(instants(given_spans))


@given(some_spans, some_spans)
def test_subtract_leaves_what_no_hole_holds(given_spans, holes) -> None:
    left = spans.subtract(given_spans, holes)
    assert instants(left) == instants(given_spans) - instants(holes)
    assert spans.is_ordered(left)


@given(some_spans, moments, moments)
def test_clip_keeps_what_is_inside(given_spans, start, end) -> None:
    assert instants(spans.clip(given_spans, start, end)) == instants(given_spans) & set(range(start, end))


@given(some_spans)
def test_is_ordered_means_sorted_disjoint_and_not_empty(given_spans) -> None:
    is_clean = all(start < end for start, end in given_spans)
    is_sorted = all(one[1] <= other[0] for one, other in itertools.pairwise(given_spans))
    assert spans.is_ordered(given_spans) == (is_clean and is_sorted)


@given(ranked)
def test_partition_gives_each_instant_to_the_highest_precedence(given_spans) -> None:
    expected = {}
    for at in instants(given_spans):
        held = [(-precedence, label) for start, end, precedence, label in given_spans if start <= at < end]
        expected[at] = min(held)[1]
    pieces = spans.partition(list(given_spans))
    assert {at: label for start, end, label in pieces for at in range(start, end)} == expected
    assert spans.is_ordered([(start, end) for start, end, _ in pieces])


@given(ranked)
def test_join_keeps_the_partition(given_spans) -> None:
    pieces = spans.partition(list(given_spans))
    joined = spans.join(pieces)
    assert [(at, label) for start, end, label in joined for at in range(start, end)] == [
        (at, label) for start, end, label in pieces for at in range(start, end)
    ]
    assert all(one[1] < other[0] or one[2] != other[2] for one, other in itertools.pairwise(joined))


@given(ranked, st.lists(moments, min_size=2, max_size=6, unique=True).map(sorted))
def test_cut_counts_what_lies_between_bounds(given_spans, bounds) -> None:
    pieces = spans.partition(list(given_spans))
    counted: dict[tuple[int, str], int] = {}
    for index, ms, label in spans.cut(pieces, bounds):
        counted[index, label] = counted.get((index, label), 0) + ms
    expected: dict[tuple[int, str], int] = {}
    for start, end, label in pieces:
        for at in range(start, end):
            if bounds[0] <= at < bounds[-1]:
                key = (max(i for i, bound in enumerate(bounds) if bound <= at), label)
                expected[key] = expected.get(key, 0) + 1
    assert counted == expected


def test_later_start_interrupts_and_the_earlier_goes_on() -> None:
    pieces = spans.partition([(0, 100, 1, "long"), (20, 30, 2, "short"), (25, 40, 3, "last")])
    assert pieces == [(0, 20, "long"), (20, 25, "short"), (25, 40, "last"), (40, 100, "long")]
