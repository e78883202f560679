"""What a field accepts, in words: `limit: integer 1-500`. The words come from the types that the endpoints declare."""

import re
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

MAX_INTEGER = 2**53 - 1
"""What every JSON reader keeps exactly; also what is meant where a field names no limit of its own."""

TIME = "RFC 3339, e.g. 2026-01-05T13:00:00Z"
DAY = "a day, e.g. 2026-01-05"

UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(?P<name>.*?)`(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
WRONG = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>[^\]]*)\]")


@cache
def type_of(kind: Any) -> inspect.Type:
    """msgspec's description of `kind`."""
    return inspect.type_info(kind)


def explain(kind: Any, error: msgspec.ValidationError) -> tuple[str | None, str]:
    """`(field, sentence)` for what msgspec found wrong with a value of `kind`."""
    message = str(error)
    if found := UNKNOWN.search(message):
        path = found["path"] or ""
        return refuse_unknown(_join(path, found["name"]), _names_at(kind, path))
    if found := MISSING.search(message):
        field = _join(found["path"] or "", found["name"])
        return field, f"{field}: missing; {describe(type_at(kind, '.' + field))}"
    found = WRONG.search(message)
    return refuse(kind, found["path"] if found else "")


def refuse(kind: Any, path: str) -> tuple[str | None, str]:
    """`(field, sentence)` that says what the field at `path` (such as `.session.id`) accepts."""
    if not path:
        return None, "Body must be an object."
    field = path.removeprefix(".")
    return field, f"{field}: {describe(type_at(kind, path))}"


def refuse_unknown(field: str, known: list[str]) -> tuple[str, str]:
    """`(field, sentence)` for a name that nobody declared."""
    return field[
        :100
    ], f"{field[:100]}: unknown field. {'Known here: ' + ', '.join(known) if known else 'None is known here'}."


def type_at(kind: Any, path: str) -> inspect.Type:
    """The type of the field at `path` inside `kind`; any, where the declaration says no more."""
    found = type_of(kind)
    for step in STEP.finditer(path):
        found = _step(_bare(found), step["name"])
    return _bare(found)


def describe(kind: inspect.Type) -> str:
    """What a value of `kind` looks like."""
    match _bare(kind):
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high):
            return f"integer {-MAX_INTEGER if low is None else low}-{MAX_INTEGER if high is None else high}"
        case inspect.FloatType():
            return "number"
        case inspect.StrType() as text:
            return _describe_text(text)
        case inspect.DateTimeType():
            return TIME
        case inspect.DateType():
            return DAY
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(str(value) for value in values)}"
        case inspect.ListType(item_type=item):
            return f"list, each {describe(item)}"
        case inspect.StructType() | inspect.DictType():
            return "object"
        case inspect.UnionType(types=types):
            return " or ".join(describe(member) for member in types)
    return "another value"


def is_free(kind: inspect.Type) -> bool:
    """Whether the declaration leaves open what stands there."""
    return isinstance(kind, (inspect.AnyType, inspect.CustomType))


def _describe_text(text: inspect.StrType) -> str:
    if text.min_length and text.max_length:
        size = f"text of {text.min_length} to {text.max_length} characters"
    elif text.max_length:
        size = f"text of at most {text.max_length} characters"
    else:
        size = "text"
    return f"{size}, like {text.pattern}" if text.pattern else size


def _bare(kind: inspect.Type) -> inspect.Type:
    """`kind` without its metadata and without the `or null` of an optional field."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        others = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        if len(others) == 1:
            return _bare(others[0])
    return kind


def _step(kind: inspect.Type, name: str | None) -> inspect.Type:
    match kind:
        case inspect.StructType(fields=fields):
            return next((field.type for field in fields if field.encode_name == name), inspect.AnyType())
        case inspect.DictType(value_type=value):
            return value
        case inspect.ListType(item_type=item):
            return item
    return inspect.AnyType()


def _names_at(kind: Any, path: str) -> list[str]:
    found = type_at(kind, path)
    return [field.encode_name for field in found.fields] if isinstance(found, inspect.StructType) else []


def _join(path: str, name: str) -> str:
    return f"{path}.{name}".removeprefix(".")
