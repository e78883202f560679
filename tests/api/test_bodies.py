"""Strict JSON: what two readers could understand differently is refused, with the place where it stands."""

import time
from typing import Annotated

import msgspec
import pytest
from flask import Flask
from msgspec import Meta

from webapp.blueprints.api import bodies
from webapp.errors import Invalid, MusterError, Unreadable


class Part(msgspec.Struct, forbid_unknown_fields=True):
    word: Annotated[str, Meta(min_length=1, max_length=8)]


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    is_on: bool = False
    parts: list[Part] = []
    free: dict[str, object] = {}


def read(raw: bytes, content_type: str = "application/json", limit: int = bodies.MEBIBYTE) -> Whole:
    with Flask(__name__).test_request_context("/", method="POST", data=raw, content_type=content_type):
        value, _ = bodies.read_body(Whole, limit)
    return value


def test_good_body_is_read() -> None:
    assert read(b'{"limit": 7, "parts": [{"word": "a"}], "free": {"x": [1.5, null, "\\u00e9"]}}') == Whole(
        limit=7, parts=[Part("a")], free={"x": [1.5, None, "é"]}
    )


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b'{"limit":', "1:10"),
        (b'{"limit": 5\n,}', "2:2"),
        (b"", "1:1"),
        (b"limit=5", "1:1"),
        (b'{"limit": NaN}', "1:11"),
        (b'{"free": {"a": -Infinity}}', "1:16"),
        (b'{"limit": 1,\n "limit": 2}', "2:2"),
        (b'{"limit": 1, "lim\\u0069t": 2}', "1:14"),
        (b'{"free": {"a": {"b": 1, "b": 2}}}', "1:25"),
        (b'{"free":' + b'{"a":' * 33 + b"1" + b"}" * 33 + b"}", "1:164"),
        (b"[" * 100_000, "1:33"),
        (b'{"limit": 5} {}', "1:14"),
        (b'\xef\xbb\xbf{"limit": 5}', "1:1"),
    ],
)
def test_unreadable_json_names_line_and_column(raw: bytes, place: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(raw)
    assert f" {place} " in caught.value.detail


def test_same_name_in_different_objects_is_fine() -> None:
    assert read(b'{"free": {"a": {"b": 1}, "c": {"b": 1}, "d": "\\"b\\": {[", "e": [{"b": 1}, {"b": 2}]}}').free[
        "c"
    ] == {"b": 1}


def test_body_that_is_not_utf8_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="Body is not UTF-8"):
        read(b'{"free": {"a": "\xff"}}')


@pytest.mark.parametrize("raw", [b"[]", b"null", b"5", b'"text"', b"true", b"1" * 6000])
def test_body_that_is_no_object_is_invalid(raw: bytes) -> None:
    with pytest.raises(Invalid, match="Body must be an object"):
        read(raw)


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b'{"colour": 1}', "colour: unknown field. Known here: limit, is_on, parts, free."),
        (b'{"parts": [{"word": "a", "x": 1}]}', "parts[0].x: unknown field. Known here: word."),
        (b'{"parts": [{}]}', "parts[0].word: missing; text of 1 to 8 characters"),
        (b'{"parts": [{"word": ""}]}', "parts[0].word: text of 1 to 8 characters"),
        (b'{"parts": {}}', "parts: list, each object"),
        (b'{"parts": [5]}', "parts[0]: object"),
        (b'{"is_on": 1}', "is_on: true or false"),
        (b'{"limit": true}', "limit: integer 1-500"),
        (b'{"limit": "5"}', "limit: integer 1-500"),
        (b'{"limit": 5.5}', "limit: integer 1-500"),
        (b'{"limit": 1e309}', "limit: integer 1-500"),
        (b'{"limit": -1}', "limit: integer 1-500"),
        (b'{"limit": 1000000000000000000}', "limit: integer 1-500"),
        (b'{"limit": ' + b"9" * 6000 + b"}", "limit: integer 1-500"),
        (b'{"limit": null}', "limit: integer 1-500"),
        (b'{"free": {"a": 9007199254740992}}', "free.a: finite number, integers up to 9007199254740991"),
        (b'{"free": {"a": [{"b": "\\u0000"}]}}', "free.a[0].b: text without NUL and lone surrogates"),
        (b'{"free": {"\\ud800": 1}}', "free: text without NUL and lone surrogates"),
        (b'{"free": {"a": "\\udfff"}}', "free.a: text without NUL and lone surrogates"),
    ],
)
def test_invalid_value_names_field_and_limit(raw: bytes, detail: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(raw)
    assert caught.value.detail.rstrip(".") == detail.rstrip(".")
    assert detail.startswith(caught.value.field or "?")


def test_body_over_the_limit_is_413_with_the_limit() -> None:
    with pytest.raises(bodies.TooLarge, match="Limit 1 MiB"):
        read(b'{"free": {"a": "' + b"x" * bodies.MEBIBYTE + b'"}}')
    with pytest.raises(bodies.TooLarge, match="Limit 64 KiB"):
        read(b"x" * 65_537, limit=65_536)


@pytest.mark.parametrize("raw", [b'"' + b'\\"' * 500_000, b'{"a": "' * 100_000, b"[]" * 500_000, b'{"a":' * 200_000])
def test_hostile_body_takes_no_longer_than_its_size_deserves(raw: bytes) -> None:
    started = time.process_time()
    with pytest.raises(MusterError):
        read(raw)
    assert time.process_time() - started < 2
