"""A session as a collector sent it -> a row to store, or the reason why it cannot be. Pure; about 4 us a session."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from collector.wire import FileSession
from webapp.features.sessions import segments as packing
from webapp.lib import spans

MAX_RECORD_BYTES = 64 * 1024
MAX_AHEAD_MS = 2 * 86_400_000
EARLIEST_MS = 631_152_000_000
"""The first instant of 1990: a clock that shows less was never set."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_NAIVE = EPOCH.replace(tzinfo=None)

RANKS = {"native": 0, "activitywatch": 1, "aw": 1, "wakatime": 2, "filesystem": 3, "fs": 3, "agent": 3, "git": 4}
"""Who is believed when sources differ about an instant: the smallest rank. A session has the best of its sources'."""
LAST_RANK = 5
UNNAMED_RANK = 0
"""Only a native extension sends sessions without naming its sources."""
AGENT_CATEGORY = "ai coding"

Row = dict[str, Any]
"""One row of `file_sessions` without what only the pull knows (device, account, pull)."""

_decoder = msgspec.json.Decoder(FileSession)


class Unacceptable(Exception):
    """Why a session goes to quarantine, as a sentence."""


@dataclass(frozen=True)
class Rejected:
    """A session for quarantine. `digest` names these very bytes."""

    digest: bytes
    reason: str
    record: str
    session_id: str | None


@dataclass
class Parsed:
    """What one page holds, in the order in which it was sent."""

    rows: list[Row] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def parse_page(raws: Iterable[msgspec.Raw | bytes], now_ms: int) -> Parsed:
    """Every session of a page; one that cannot be accepted never stops the others."""
    parsed = Parsed()
    for raw in raws:
        record = bytes(raw)
        try:
            parsed.rows.append(parse(record, now_ms))
        except (msgspec.DecodeError, UnicodeError, Unacceptable) as error:
            parsed.rejected.append(reject(record, str(error)))
    return parsed


def parse(record: bytes, now_ms: int) -> Row:
    """The row of one session. Unacceptable, or msgspec.DecodeError, says what is wrong with it."""
    if len(record) > MAX_RECORD_BYTES:
        raise Unacceptable(f"It is larger than {MAX_RECORD_BYTES // 1024} KiB ({len(record)} bytes).")
    try:
        session = _decoder.decode(record)
    except RecursionError as error:
        raise Unacceptable("It is nested too deeply to be read.") from error
    return make_row(session, record, now_ms)


def make_row(session: FileSession, record: bytes, now_ms: int) -> Row:
    """The row of a session that has been decoded from `record`."""
    if b"\\" in record and b"\\u0000" in record:  # the first question alone costs a twentieth of the second
        _check_text(session)
    started = read_ms(session.session_start_time)
    ended = read_ms(session.session_end_time) if session.session_end_time is not None else None
    if ended is not None and ended < started:
        raise Unacceptable("sessionEndTime: before sessionStartTime.")
    credited = _read_segments(session, started, ended)
    ended = max(ended or started, credited[-1][1]) if credited else ended or started
    _check_times(session, started, ended, now_ms)
    rank, is_agent = weigh(tuple(session.sources), session.category)
    return {
        "id": session.id,
        "changed_ms": read_ms(session.changed_at) if session.changed_at is not None else 0,
        "started_ms": started,
        "ended_ms": ended,
        "duration_seconds": spans.measure(credited) // 1000,
        "project": session.project_name,
        "language": session.language,
        "file_path": read_path(session.file_path),
        "is_active": session.is_active,
        "is_deleted": session.deleted,
        "is_agent": is_agent,
        "rank": rank,
        "segments": packing.pack(credited, started, ended),
        "record": record,
    }


@lru_cache(maxsize=1024)
def weigh(sources: tuple[str, ...], category: str | None) -> tuple[int, bool]:
    """`(rank, whether its time is an agent's)` of a session that these sources saw."""
    is_agent = "agent" in sources or (category or "").casefold() == AGENT_CATEGORY
    return min((RANKS.get(source, LAST_RANK) for source in sources), default=UNNAMED_RANK), is_agent


def read_ms(moment: datetime) -> int:
    """Milliseconds since 1970, cut; a time without a zone is UTC."""
    since = moment - (EPOCH_NAIVE if moment.tzinfo is None else EPOCH)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def read_path(path: str) -> str:
    """A path as people write it; editors that push send `file:///home/me/a%20b.py`. What is no such address stays."""
    if not path.startswith("file://"):
        return path
    try:
        parts = urlsplit(path)
    except ValueError:
        return path
    local = unquote(parts.path)
    if "\0" in local:  # PostgreSQL cannot hold it
        return path
    has_drive = len(local) > 2 and local[0] == "/" and local[2] == ":"
    return local[1:] if has_drive else f"//{parts.netloc}{local}" if parts.netloc else local


def reject(record: bytes, reason: str) -> Rejected:
    """What is kept of a session that cannot be accepted: at most MAX_RECORD_BYTES of it, readable on any database."""
    text = record[:MAX_RECORD_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")
    return Rejected(hashlib.sha256(record).digest(), reason[:500], text, _find_id(record))


def _read_segments(session: FileSession, started: int, ended: int | None) -> Sequence[spans.Span]:
    """Credited time inside the session. A sender without segments says only how much, so it is put at the start."""
    sent = session.active_segments
    if sent is msgspec.UNSET:
        end = started + session.total_duration * 1000
        end = end if ended is None else min(end, ended)
        return [(started, end)] if end > started else []
    if not sent:
        return sent
    end = ended if ended is not None else max(last for _, last in sent)
    if sent[0][0] >= started and sent[-1][1] <= end and spans.is_ordered(sent):
        return sent
    return spans.clip(spans.union(sent), started, end)


def _check_times(session: FileSession, started: int, ended: int, now_ms: int) -> None:
    if started < EARLIEST_MS:
        raise Unacceptable(f"sessionStartTime: the year {session.session_start_time.year} is too long ago.")
    if ended > now_ms + MAX_AHEAD_MS:
        raise Unacceptable(f"sessionEndTime: {_show(ended)} is in the future. Is the machine's clock right?")


def _check_text(session: FileSession) -> None:
    """Refuses NUL, which PostgreSQL cannot hold; half of a surrogate pair has already failed to decode."""
    for name in ("id", "file_path", "project_name", "language"):
        if "\0" in getattr(session, name):
            raise Unacceptable(f"{name}: has a NUL character.")


def _find_id(record: bytes) -> str | None:
    """The id of an unacceptable session, if it can be read at all."""
    try:
        found = msgspec.json.decode(record[: MAX_RECORD_BYTES * 4], type=_Named).id
        found.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found if len(found) <= 64 and "\0" not in found else None


def _show(ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError):
        return "a time"


class _Named(msgspec.Struct):
    id: str
