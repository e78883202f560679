"""One session as sent -> a row, or the reason against it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import wire
from tests.collectors import START_MS, make_plain_session, make_session
from webapp.features.sessions import parsing, segments

NOW_MS = START_MS + 30 * 86_400_000


def parse(**changes: Any) -> parsing.Row:
    return parsing.parse(msgspec.json.encode(make_session(0) | changes), NOW_MS)


def reason(record: bytes) -> str:
    (rejected,) = parsing.parse_page([record], NOW_MS).rejected
    return rejected.reason


def test_row_has_what_queries_need() -> None:
    row = parse(changedAt=wire.format_ms(START_MS + 5), isActive=True)
    assert (row["started_ms"], row["ended_ms"], row["changed_ms"]) == (START_MS, START_MS + 600_000, START_MS + 5)
    assert (row["project"], row["language"], row["duration_seconds"]) == ("tide", "Python", 600)
    assert (row["is_active"], row["is_deleted"], row["is_agent"], row["rank"]) == (True, False, False, 2)


def test_record_stays_the_bytes_that_were_sent() -> None:
    record = msgspec.json.encode(make_session(0) | {"unknown": [1, {"a": None}]})
    assert parsing.parse(record, NOW_MS)["record"] == record


@pytest.mark.parametrize(
    ("changes", "kind", "rank"),
    [
        ({"sources": ["filesystem", "wakatime"]}, "human", 2),
        ({"sources": ["native", "git"]}, "human", 0),
        ({"sources": []}, "human", 0),
        ({"sources": ["agent"]}, "agent", 3),
        ({"category": "AI coding"}, "agent", 2),
        ({"sources": ["something new"]}, "human", 5),
    ],
)
def test_rank_and_kind(changes: dict[str, Any], kind: str, rank: int) -> None:
    row = parse(**changes)
    assert (row["is_agent"], row["rank"]) == (kind == "agent", rank)


@pytest.mark.parametrize(
    ("sent", "end", "credited"),
    [
        ([[0, 60], [90, 120]], 600, [(0, 60), (90, 120)]),
        ([[90, 120], [0, 60]], 600, [(0, 60), (90, 120)]),
        ([[0, 60], [30, 120]], 600, [(0, 120)]),
        ([[0, 60], [60, 60], [70, 65]], 600, [(0, 60)]),
        ([[-500, 60], [590, 9000]], 600, [(0, 60), (590, 600)]),
        ([[0, 60]], None, [(0, 60)]),
        ([], 600, [(0, 0)]),
    ],
)
def test_segments_are_kept_inside_the_session(sent, end, credited) -> None:
    row = parse(
        activeSegments=[[START_MS + 1000 * first, START_MS + 1000 * last] for first, last in sent],
        sessionEndTime=None if end is None else wire.format_ms(START_MS + 1000 * end),
    )
    found = segments.unpack(row["segments"], row["started_ms"], row["ended_ms"])
    assert [((first - START_MS) // 1000, (last - START_MS) // 1000) for first, last in found] == credited
    assert row["duration_seconds"] == sum(last - first for first, last in credited)


@pytest.mark.parametrize(("duration", "seconds"), [(0, 0), (240, 240), (600, 600), (10**12, 600)])
def test_plain_session_is_credited_from_its_start(duration: int, seconds: int) -> None:
    record = msgspec.json.encode(make_plain_session(0) | {"totalDuration": duration})
    row = parsing.parse(record, NOW_MS)
    assert row["duration_seconds"] == seconds


def test_time_without_a_zone_is_utc() -> None:
    row = parse(sessionStartTime="2026-01-05T09:00:00", activeSegments=[[START_MS, START_MS + 1000]])
    assert row["started_ms"] == START_MS


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"sessionStartTime": "1601-01-01T00:00:00Z"}, "1601"),
        ({"sessionEndTime": "9999-12-31T00:00:00Z"}, "future"),
        ({"sessionEndTime": None, "totalDuration": 10**15, "activeSegments": None}, "activeSegments"),
        ({"sessionEndTime": "2026-01-05T08:59:59Z"}, "before"),
        ({"projectName": "a\0b"}, "NUL"),
        ({"id": ""}, "id"),
        ({"language": None}, "language"),
        ({"totalEdits": -1}, "totalEdits"),
        ({"note": "x" * 65_536}, "64 KiB"),
    ],
)
def test_unacceptable_session_says_why(changes: dict[str, Any], word: str) -> None:
    assert word in reason(msgspec.json.encode(make_session(0) | changes))


@pytest.mark.parametrize(
    "record", [b"null", b"[]", b'{"id": "x"', b'{"id":"\\ud800"}', b'{"id":"\xff"}', b"", b"{" * 1000]
)
def test_what_is_no_session_is_kept_readable(record: bytes) -> None:
    (rejected,) = parsing.parse_page([record], NOW_MS).rejected
    assert rejected.reason
    rejected.record.encode()
    assert rejected.session_id is None


def test_plain_session_that_runs_for_ever_is_in_the_future() -> None:
    record = msgspec.json.encode(make_plain_session(0) | {"totalDuration": 10**12, "sessionEndTime": None})
    assert "future" in reason(record)


def test_one_bad_session_does_not_stop_the_others() -> None:
    good = [msgspec.json.encode(make_session(number)) for number in range(99)]
    parsed = parsing.parse_page([*good[:50], b'{"id": 7}', *good[50:]], NOW_MS)
    assert (len(parsed.rows), len(parsed.rejected)) == (99, 1)


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/home/ada/a b.py", "/home/ada/a b.py"),
        ("file:///home/ada/a%20b.py", "/home/ada/a b.py"),
        ("file:///c%3A/code/a.py", "c:/code/a.py"),
        ("file://server/share/a.py", "//server/share/a.py"),
        ("HIDDEN.py", "HIDDEN.py"),
        ("file:///home/ada/a%00b.py", "file:///home/ada/a%00b.py"),
        ("file://[half/a.py", "file://[half/a.py"),
        ("file://a\u2100b/a.py", "file://a\u2100b/a.py"),
    ],
)
def test_path_is_written_as_people_write_it(sent: str, path: str) -> None:
    assert parse(filePath=sent)["file_path"] == path


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_no_bytes_break_the_parser(record: bytes) -> None:
    parsed = parsing.parse_page([record], NOW_MS)
    assert len(parsed.rows) + len(parsed.rejected) == 1


moments = st.integers(-(2**62), 2**62)


@given(st.lists(st.tuples(moments, moments), max_size=40), moments, moments)
def test_packed_segments_come_back(spans, start, end) -> None:
    found = segments.unpack(segments.pack(spans, start, end), start, end)
    assert found == (spans or [(start, start)])
