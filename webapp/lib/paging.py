"""Opaque cursors: a page ends where the next one starts, and a cursor fits only the query that made it."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from webapp.errors import Unreadable

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows, and the cursor of the rows after them (None at the end)."""

    items: Sequence[T]
    next_cursor: str | None


def write_cursor(query: object, position: Sequence[Any]) -> str:
    """A cursor that stands at `position` (JSON values) of the query described by `query` (JSON-ready)."""
    text = json.dumps([_fingerprint(query), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read_cursor(query: object, cursor: str) -> list[Any]:
    """The position in `cursor`; Unreadable if it is no cursor or was made for another query."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        fingerprint, *position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error) as error:
        raise Unreadable("cursor: not one that this hub made. Start without it.", code="bad_cursor") from error
    if fingerprint != _fingerprint(query):
        raise Unreadable("Cursor does not match this query. Start without it.", code="bad_cursor")
    return position


def _fingerprint(query: object) -> str:
    return hashlib.sha256(json.dumps(query, sort_keys=True, default=str).encode()).hexdigest()[:12]
