"""Query strings are read as strictly as bodies, except that a form may send an empty parameter."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta
from werkzeug.datastructures import MultiDict

from webapp.blueprints.api.queries import NoQuery, read_query
from webapp.errors import Invalid, Unreadable


class Query(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    since: Annotated[datetime, Meta(tz=True)] | None = None
    first: date | None = msgspec.field(name="from", default=None)
    kind: Literal["a", "b"] | None = None
    text: Annotated[str, Meta(max_length=4)] | None = None
    is_on: bool = True


def test_good_query_is_read() -> None:
    given = MultiDict(
        {
            "limit": "5",
            "since": "2026-01-05T13:00:00Z",
            "from": "2026-01-05",
            "kind": "b",
            "text": "5",
            "is_on": "false",
        }
    )
    assert read_query(Query, given) == Query(
        limit=5, since=datetime(2026, 1, 5, 13, tzinfo=UTC), first=date(2026, 1, 5), kind="b", text="5", is_on=False
    )


def test_empty_parameter_counts_as_not_given() -> None:
    assert read_query(Query, MultiDict({"limit": "", "since": "", "kind": ""})) == Query()


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-01-05T13:00:00 02:00", "2026-12-32T00:00:00Z", "2026-01-05T13:00:00", "5", "1767618000.5"],
)
def test_unreadable_time_shows_a_readable_one(text: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_query(Query, MultiDict({"since": text}))
    assert caught.value.detail == "since: RFC 3339, e.g. 2026-01-05T13:00:00Z"


def test_unreadable_day_shows_a_readable_one() -> None:
    with pytest.raises(Unreadable, match=r"from: a day, e\.g\. 2026-01-05"):
        read_query(Query, MultiDict({"from": "2026-02-30"}))


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ([("limit", "0")], "limit: integer 1-500"),
        ([("limit", "501")], "limit: integer 1-500"),
        ([("limit", "100000")], "limit: integer 1-500"),
        ([("limit", "-1")], "limit: integer 1-500"),
        ([("limit", "true")], "limit: integer 1-500"),
        ([("limit", "5.0")], "limit: integer 1-500"),
        ([("limit", "1e2")], "limit: integer 1-500"),
        ([("limit", "٥")], "limit: integer 1-500"),
        ([("limit", "9" * 6000)], "limit: integer 1-500"),
        ([("kind", "c")], "kind: one of a, b"),
        ([("text", "abcde")], "text: text of at most 4 characters"),
        ([("text", "a\x00")], "text: text without NUL and lone surrogates."),
        ([("text", "\udc80")], "text: text without NUL and lone surrogates."),
        ([("is_on", "perhaps")], "is_on: true or false"),
        ([("limit", "1"), ("limit", "2")], "limit: given twice."),
        ([("offset", "-1")], "offset: unknown parameter. Known here: limit, since, from, kind, text, is_on."),
    ],
)
def test_invalid_parameter_is_named_with_its_limit(given: list[tuple[str, str]], detail: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_query(Query, MultiDict(given))
    assert caught.value.detail == detail
    assert caught.value.field == given[0][0]


def test_endpoint_without_parameters_takes_none() -> None:
    with pytest.raises(Invalid, match="x: unknown parameter"):
        read_query(NoQuery, MultiDict({"x": "1"}))
