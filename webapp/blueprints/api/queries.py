"""Reads a query string into the struct that an endpoint declares; an unknown, doubled or wrong parameter is named."""

from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from werkzeug.datastructures import MultiDict

from webapp.blueprints.api import wording
from webapp.blueprints.api.bodies import has_unsafe_text
from webapp.errors import Invalid, Unreadable

T = TypeVar("T", bound=msgspec.Struct)


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """An endpoint that takes no parameters."""


def read_query(kind: type[T], given: MultiDict[str, str]) -> T:
    """`given` as `kind`; an empty parameter counts as not given. Unreadable for a time that is none, else Invalid."""
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    for name, texts in given.lists():
        if name not in known:
            field, sentence = wording.refuse_unknown(_printable(name), list(known))
            raise Invalid(sentence.replace("field", "parameter", 1), field=field)
        if len(texts) > 1:
            raise Invalid(f"{name}: given twice.", field=name)
        if texts[0]:
            values[name] = _read_value(kind, name, texts[0], known[name].type)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        field_name, sentence = wording.explain(kind, error)
        raise Invalid(sentence, field=field_name) from error


def _read_value(kind: type, name: str, text: str, wanted: Any) -> object:
    found = wording.type_at(kind, f".{name}")
    if has_unsafe_text(text):
        raise Invalid(f"{name}: text without NUL and lone surrogates.", field=name)
    if isinstance(found, inspect.IntType) and not text.lstrip("-").isdecimal():
        raise Invalid(f"{name}: {wording.describe(found)}", field=name)
    # Lax conversion would read a bare number as a time.
    is_strict = isinstance(found, (inspect.DateTimeType, inspect.DateType, inspect.StrType))
    try:
        return msgspec.convert(text, wanted, strict=is_strict)
    except msgspec.ValidationError as error:
        sentence = f"{name}: {wording.describe(found)}"
        if isinstance(found, (inspect.DateTimeType, inspect.DateType)):
            raise Unreadable(sentence) from error
        raise Invalid(sentence, field=name) from error


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)
