"""One unreadable session spoils nothing but itself."""

import json

import msgspec
import pytest

from webapp.adapters.export_pages import read_page

HEAD = b'{"hasMore": true, "lastSyncTime": "2026-01-05T09:00:00Z", "nextCursor": "\\"sessions\\": [", "epoch": "e"'
GOOD = b'{"id": "a", "note": "], [ } , \\" \\\\", "activeSegments": [[1, 2], [3, 4]]}'
BAD = (
    b'{"id": "b", "projectName": "a\\ud800b"}',
    b'{"id": "b", "\\ud800": 1}',
    b'{"id": "b", "linesAdded": 01}',
    b'{"id": "b",}',
    b'{"id": "b", "linesAdded": NaN}',
    b'{"id": "b" "name": 1}',
    b"{'id': 1}",
    b"nonsense",
    b'{"id": "b", "deep": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
)


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_other_session_of_the_page_is_read(bad: bytes, place: int) -> None:
    told = [GOOD, GOOD]
    told.insert(place, bad)
    for body in (
        HEAD + b', "sessions": [ ' + b" , ".join(told) + b" ]}",
        b'{"sessions":[' + b",".join(told) + b"]," + HEAD[1:] + b"}",
    ):
        page = read_page(body)
        assert [bytes(raw) for raw in page.sessions] == told
        assert (page.has_more, page.epoch, page.next_cursor) == (True, "e", '"sessions": [')


def test_a_good_page_is_read_as_it_is() -> None:
    page = read_page(HEAD + b', "sessions": [' + GOOD + b"]}")
    assert [bytes(raw) for raw in page.sessions] == [GOOD]
    assert read_page(HEAD + b', "sessions": []}').sessions == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"sessions": [',
        HEAD + b', "sessions": [' + GOOD + b', {"id": "b"',
        HEAD + b', "sessions": [{"a": 01}], "reset": maybe}',
        b'{"sessions": [{"a": 01}]}',
        b'{"sessions": {"a": 01}}',
        b"[" * 200_000,
        b'{"sessions": [' + b'"' + b"\\" * 200_001,
        HEAD + b', "sessions": [0' + b",0" * 100_000 + b"]}",
        HEAD + b', "sessions": [01' + b",{}" * 100_001 + b"]}",
        b'{"sessions": ["' + b'\\"' * 2_000_000,  # at a quarter of a second, or after a day
    ],
)
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        read_page(body)


def test_the_way_around_takes_no_more_than_a_moment_for_a_large_page() -> None:
    sessions = [json.dumps({"id": str(number), "note": "x" * 200}).encode() for number in range(5000)]
    sessions[2500] = BAD[0]
    assert len(read_page(HEAD + b', "sessions": [' + b",".join(sessions) + b"]}").sessions) == 5000
