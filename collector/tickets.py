"""How a browser becomes the local user: a one-time ticket from the command line, then a cookie. Hashes on disk only."""

import hashlib
import secrets

from collector import wire
from collector.store import Store

TICKET_SECONDS = 120
VISIT_SECONDS = 12 * 3600


def mint_ticket(store: Store) -> str:
    """A ticket that opens the collector's page once, within two minutes."""
    return _keep(store, "ticket", TICKET_SECONDS)


def redeem_ticket(store: Store, ticket: str) -> str | None:
    """The cookie that a ticket gives, or None for one that is unknown, used or too old."""
    key = _key("ticket", ticket)
    with store.write() as connection:
        row = connection.execute("DELETE FROM meta WHERE key = ? RETURNING value", (key,)).fetchone()
    if row is None or int(row[0]) <= wire.now_ms():
        return None
    return _keep(store, "visit", VISIT_SECONDS)


def is_visit(store: Store, cookie: str) -> bool:
    """Whether a cookie is one that was given, and still good."""
    until_ms = store.get_meta(_key("visit", cookie))
    return until_ms is not None and wire.now_ms() < int(until_ms)


def _keep(store: Store, kind: str, seconds: int) -> str:
    secret, now_ms = secrets.token_urlsafe(32), wire.now_ms()
    old = "(key LIKE 'ticket:%' OR key LIKE 'visit:%') AND CAST(value AS INTEGER) <= ?"
    with store.write() as connection:
        connection.execute(f"DELETE FROM meta WHERE {old}", (now_ms,))  # noqa: S608 - fixed text
        row = (_key(kind, secret), str(now_ms + seconds * 1000))
        connection.execute("INSERT INTO meta (key, value) VALUES (?, ?)", row)
    return secret


def _key(kind: str, secret: str) -> str:
    return f"{kind}:{hashlib.sha256(secret.encode()).hexdigest()}"
