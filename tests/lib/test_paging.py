"""Cursors: only what this hub wrote for the same query is read."""

import base64
import json

import pytest

from webapp.errors import Unreadable
from webapp.lib.paging import read_cursor, write_cursor

KEY = b"k" * 32
QUERY = {"account": 1, "status": None}


def test_position_comes_back() -> None:
    assert read_cursor(KEY, QUERY, write_cursor(KEY, QUERY, [5, "a", None])) == [5, "a", None]


@pytest.mark.parametrize("key, query", [(KEY, {"account": 2, "status": None}), (b"x" * 32, QUERY)])
def test_cursor_of_another_query_or_hub_is_refused(key: bytes, query: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        read_cursor(key, query, write_cursor(KEY, QUERY, [5]))


@pytest.mark.parametrize("cursor", ["", "!", "ünï", "AAAA", "A" * 400])
def test_nonsense_is_refused(cursor: str) -> None:
    with pytest.raises(Unreadable):
        read_cursor(KEY, QUERY, cursor)


def test_changed_position_is_refused() -> None:
    cursor = write_cursor(KEY, QUERY, [5])
    sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = base64.urlsafe_b64encode(sealed[:12] + json.dumps(["not a number"]).encode()).decode()
    with pytest.raises(Unreadable):
        read_cursor(KEY, QUERY, forged)
