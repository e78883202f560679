"""Reads a JSON body strictly: what another reader could understand differently is refused, with its place or field."""

import json
import re
from typing import Any, TypeVar

import msgspec
from flask import request

from collector.api.problems import Problem

T = TypeVar("T")

MAX_DEPTH = 32
# A string that nobody closed matches to the end: else each of its escapes would start another search to the end.
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
UNSAFE_TEXT = re.compile("[\x00\ud800-\udfff]")


def read_body(kind: type[T], sentences: dict[str, str]) -> T:
    """The request's body as `kind`. `sentences` says what each field accepts, as its error is told."""
    return read_fields(read_object(request.get_data()), kind, sentences)


def read_fields(received: dict[str, Any], kind: type[T], sentences: dict[str, str]) -> T:
    """The same of an object that has been read."""
    unknown = next((name for name in received if name not in sentences), None)
    if unknown is not None:
        name = printable(unknown)
        raise Problem(422, f"{name}: unknown field. Known are {', '.join(sentences)}.", field=name)
    for name, value in received.items():
        if isinstance(value, str) and UNSAFE_TEXT.search(value):
            raise Problem(422, f"{name}: text without NUL and lone surrogates.", field=name)
    try:
        return msgspec.convert(received, kind)
    except msgspec.ValidationError as error:
        raise explain(error, sentences) from error


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`; a Problem says where it stops being JSON, or that it is no object."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "Body is not UTF-8.") from error
    check_depth(text)
    try:
        value = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=read_pairs)
    except json.JSONDecodeError as error:
        raise Problem(400, f"Body is not JSON at {error.lineno}:{error.colno} ({error.msg}).") from error
    except ValueError as error:  # a number too long to convert, or one of the two hooks
        raise Problem(400, f"Body is not JSON at {find_place(text, error)}.") from error
    if not isinstance(value, dict):
        raise Problem(422, "Body must be an object.")
    return value


def check_depth(text: str) -> None:
    """Refuses nesting that would exhaust a parser."""
    depth = 0
    for token in TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            raise Problem(400, f"Body is not JSON at {place(text, token.start())} (deeper than {MAX_DEPTH} levels).")


class Refused(ValueError):
    """Something that Python's parser accepts and JSON, or sense, does not; `needle` is what to look for."""

    def __init__(self, reason: str, needle: str) -> None:
        super().__init__(reason)
        self.needle = needle


def refuse_constant(word: str) -> object:
    """NaN and Infinity are no JSON."""
    raise Refused(f"{word} is no JSON number", word)


def read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object, unless it gives a name twice."""
    made: dict[str, object] = {}
    for name, value in pairs:
        if name in made:
            raise Refused(f"{printable(name)} is given twice", json.dumps(name))
        made[name] = value
    return made


def find_place(text: str, error: ValueError) -> str:
    """Line, column and reason."""
    needle = error.needle if isinstance(error, Refused) else ""
    return f"{place(text, max(text.rfind(needle), 0))} ({error})"


def place(text: str, at: int) -> str:
    """`line:column` of an offset, both counted from 1."""
    return f"{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"


def explain(error: msgspec.ValidationError, sentences: dict[str, str]) -> Problem:
    """A validation error in the words of the field that it is about."""
    found = re.search(r"`\$\.(\w+)", str(error)) or re.search(r"missing required field `(\w+)`", str(error))
    name = found[1] if found else None
    if name in sentences:
        return Problem(422, f"{name}: {sentences[name]}", field=name)
    return Problem(422, f"Body: {error}.")


def printable(text: str) -> str:
    """A name from outside as it can be told."""
    return text[:100].encode("ascii", "replace").decode().replace("\x00", "?")
