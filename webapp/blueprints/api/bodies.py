"""Reads a JSON body strictly: what another reader could understand differently is refused, with its line and column."""

import json
import re
from typing import Any, NoReturn, TypeVar

import msgspec
from flask import request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from webapp.blueprints.api import wording
from webapp.errors import Invalid, Unreadable

T = TypeVar("T")

MEBIBYTE = 1024 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 16
INFINITE = float("inf")

# A string that nobody closed matches to the end: else each of its escapes would start another search to the end.
TOKEN = re.compile(
    r'(?P<text>"[^"\\]*+(?:\\.[^"\\]*+)*+"?)(?P<colon>\s*:)?|(?P<open>[\[{])|(?P<close>[\]}])|(?P<word>-?(?:NaN|Infinity))',
    re.DOTALL,
)
UNSAFE_TEXT = re.compile("[\x00\ud800-\udfff]")


class TooLarge(HTTPException):
    """413, with the limit of the route in its sentence."""

    code = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"Limit {limit // MEBIBYTE} MiB." if limit >= MEBIBYTE else f"Limit {limit // 1024} KiB.")


def read_body(kind: type[T], limit: int, *, is_optional: bool = False) -> tuple[T, dict[str, Any]]:
    """The request's body as `kind`, and the plain object that it was made from."""
    raw = _read_bytes(limit)
    if is_optional and not raw:
        return msgspec.convert({}, kind), {}
    if not request.is_json:
        raise UnsupportedMediaType("Send application/json.")
    received = read_object(raw)
    _check_values(kind, received, "")
    try:
        return msgspec.convert(received, kind), received
    except msgspec.ValidationError as error:
        field, sentence = wording.explain(kind, error)
        raise Invalid(sentence, field=field) from error


def read_opaque_body(limit: int) -> bytes:
    """The request's body, a JSON object, as it came. What is in it is judged by whoever reads it."""
    raw = _read_bytes(limit)
    if not request.is_json:
        raise UnsupportedMediaType("Send application/json.")
    try:
        raw.decode()
        msgspec.json.decode(raw, type=dict[str, msgspec.Raw])  # two hundred times as fast as `read_object`
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        read_object(raw)  # says where it stops being what it should be
        raise Unreadable("Body holds text that no UTF-8 can spell.") from None
    return raw


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Unreadable says where it stops being JSON; Invalid if it is no object."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("Body is not UTF-8.") from error
    scan(text)
    try:
        value = json.loads(text, parse_int=_read_int)
    except json.JSONDecodeError as error:
        raise Unreadable(f"Body is not JSON at {error.lineno}:{error.colno} ({error.msg}).") from error
    if not isinstance(value, dict):
        raise Invalid("Body must be an object.")
    return value


def scan(text: str) -> None:
    """Refuses what the JSON parser would let pass: deep nesting, a name given twice, NaN and Infinity."""
    names: list[set[str]] = []
    for token in TOKEN.finditer(text):
        if token["word"]:
            _stop(text, token.start(), f"{token['word']} is no JSON number")
        if token["open"]:
            names.append(set())
            if len(names) > MAX_DEPTH:
                _stop(text, token.start(), f"nested deeper than {MAX_DEPTH} levels")
        elif token["close"] and names:
            names.pop()
        elif token["colon"] and names:
            name = _read_name(token["text"])
            if name in names[-1]:
                _stop(text, token.start(), f"{name[:100]} is given twice")
            names[-1].add(name)


def has_unsafe_text(text: str) -> bool:
    """Whether `text` holds a NUL or half of a surrogate pair, which not every database and reader can keep."""
    return UNSAFE_TEXT.search(text) is not None


def _read_bytes(limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise TooLarge(limit)
    request.max_content_length = limit
    try:
        return request.get_data()
    except RequestEntityTooLarge as error:
        raise TooLarge(limit) from error


def _read_name(token: str) -> str:
    """The name that a JSON string means, so that an escaped spelling of it counts as the same."""
    try:
        return str(json.loads(token))
    except ValueError:
        return token  # the parser will say what is wrong with it


def _read_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS + 1 and abs(int(digits)) <= wording.MAX_INTEGER else INFINITE


def _stop(text: str, at: int, reason: str) -> NoReturn:
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    raise Unreadable(f"Body is not JSON at {line}:{column} ({reason}).")


def _check_values(kind: Any, value: object, path: str) -> None:
    """Refuses, wherever it stands, text that cannot be stored and numbers that cannot be kept exactly."""
    if isinstance(value, dict):
        for name, part in value.items():
            _check_values(kind, name, path)
            _check_values(kind, part, f"{path}.{name}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _check_values(kind, part, f"{path}[{index}]")
    elif isinstance(value, str) and has_unsafe_text(value):
        field = path.removeprefix(".").encode(errors="replace").decode().replace("\x00", "?")
        raise Invalid(f"{field or 'Body'}: text without NUL and lone surrogates.", field=field or None)
    elif isinstance(value, float) and abs(value) == INFINITE:
        raise _refuse_number(kind, path)


def _refuse_number(kind: Any, path: str) -> Invalid:
    field, sentence = wording.refuse(kind, path)
    if wording.is_free(wording.type_at(kind, path)):
        sentence = f"{field}: finite number, integers up to {wording.MAX_INTEGER}"
    return Invalid(sentence, field=field)
