"""Opaque cursors: a page ends where the next one starts, and a cursor fits only the query that made it.

They are signed, so that a position is always one that this hub wrote and needs no checking of its own.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from webapp.errors import Unreadable

T = TypeVar("T")

SEAL_BYTES = 12


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows, and the cursor of the rows after them (None at the end)."""

    items: Sequence[T]
    next_cursor: str | None


def write_cursor(key: bytes, query: object, position: Sequence[Any]) -> str:
    """A cursor that stands at `position` (JSON values) of the query described by `query` (JSON-ready)."""
    text = json.dumps(list(position), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_seal(key, query, text) + text).rstrip(b"=").decode()


def read_cursor(key: bytes, query: object, cursor: str) -> list[Any]:
    """The position in `cursor`; Unreadable if it was not made here for this query."""
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        sealed = b""
    seal, text = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
    if not hmac.compare_digest(seal, _seal(key, query, text)):
        raise Unreadable("Cursor does not match this query. Start without it.", code="bad_cursor")
    position: list[Any] = json.loads(text)
    return position


def _seal(key: bytes, query: object, text: bytes) -> bytes:
    message = json.dumps(query, sort_keys=True, default=str).encode() + b"\0" + text
    return hmac.new(key, message, hashlib.sha256).digest()[:SEAL_BYTES]
