"""Message shapes, credentials and the protocol version that hub and collector share.

The only collector module that webapp may import. No I/O here: values in, values out. Times on the wire are RFC 3339 UTC
with milliseconds and a `Z`; inside both programs they are integer milliseconds since 1970.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import jwt
import msgspec
from msgspec import UNSET, Meta, UnsetType

PROTOCOL = 1
"""Raised only when an old peer could misread a message; both sides ignore fields that they do not know."""

EXPORT_DEFAULT_LIMIT = 100
EXPORT_MAX_LIMIT = 5000
DISCOVERY_PORTS = range(8001, 8006)
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""No 0/O, 1/I/L, U: six of these are 729 million codes that read aloud without doubt."""
CODE_LENGTH = 6
TOKEN_LIFETIME_SECONDS = 60
CLOCK_LEEWAY_SECONDS = 120
JWT_HEAD = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}') + b"."

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FileSession(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """One stretch of work on one file. A sender must give the first eighteen fields; see docs/wire-protocol.md.

    `total_duration` is whole seconds of credited time; `active_segments` are half-open `[startMs, endMs)`, sorted and
    disjoint.
    """

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    file_path: Annotated[str, Meta(max_length=4096)]
    file_name: Annotated[str, Meta(max_length=1024)]
    file_extension: Annotated[str, Meta(max_length=64)]
    language: Annotated[str, Meta(max_length=128)]
    project_name: Annotated[str, Meta(max_length=512)]
    project_path: Annotated[str, Meta(max_length=4096)]
    session_start_time: datetime
    session_end_time: datetime | None
    total_duration: Annotated[int, Meta(ge=0)]
    lines_added: Annotated[int, Meta(ge=0)]
    lines_deleted: Annotated[int, Meta(ge=0)]
    lines_modified: Annotated[int, Meta(ge=0)]
    characters_added: Annotated[int, Meta(ge=0)]
    characters_deleted: Annotated[int, Meta(ge=0)]
    characters_modified: Annotated[int, Meta(ge=0)]
    total_edits: Annotated[int, Meta(ge=0)]
    is_active: bool
    editor: Annotated[str, Meta(max_length=128)] | None = None
    platform: Annotated[str, Meta(max_length=64)] | None = None
    schema_version: int = 0
    device_id: str | None = None
    revision: int = 0
    changed_at: datetime | None = None
    active_segments: list[tuple[int, int]] | UnsetType = UNSET
    sources: list[str] = []
    stats_quality: str = "none"
    writes: Annotated[int, Meta(ge=0)] = 0
    timezone: Annotated[str, Meta(max_length=64)] | None = None
    utc_offset_minutes: int | None = None
    branch: Annotated[str, Meta(max_length=512)] | None = None
    category: Annotated[str, Meta(max_length=64)] | None = None
    entity_type: str | None = None
    machine_name: str | None = None
    afk_seconds: int | None = None
    ai: dict[str, str | int | float | None] | None = None
    deleted: bool = False
    superseded_by: str | None = None


class Health(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Answer of `GET /api/health`. Everything in it is a claim until `proof` has been checked."""

    status: Annotated[str, Meta(max_length=32)]
    device_id: Annotated[str, Meta(min_length=1, max_length=64)]
    timestamp: str
    version: str | None = None
    protocol: int | None = None
    paired: bool | None = None
    name: Annotated[str, Meta(max_length=200)] | None = None
    proof: Annotated[str, Meta(max_length=128)] | None = None


class ExportRequest(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of `POST /api/sessions/export`. `since` is exclusive and means *changed after*; `cursor` wins over it.

    `from` and `to` (RFC 3339) keep only sessions that start in `[from, to)`; they move no cursor.
    """

    since: str | None = None
    limit: Annotated[int, Meta(ge=1, le=EXPORT_MAX_LIMIT)] = EXPORT_DEFAULT_LIMIT
    cursor: Annotated[str, Meta(max_length=512)] | None = None
    started_from: str | None = msgspec.field(name="from", default=None)
    started_before: str | None = msgspec.field(name="to", default=None)


class ExportPage(msgspec.Struct, rename="camel", kw_only=True):
    """One page of an export. Sessions stay raw JSON, so that one unreadable session cannot spoil the page."""

    sessions: list[msgspec.Raw]
    has_more: bool
    last_sync_time: str
    next_cursor: str | None = None
    epoch: str | None = None
    reset: bool = False


class CoverageRequest(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of `POST /api/sessions/coverage`: what does the collector hold of each local day in `timezone`?

    A session belongs to the day that holds its start: `datetime.fromtimestamp(start, ZoneInfo(timezone)).date()`.
    `first` and `last` are days (`YYYY-MM-DD`, both included). `cursor` is how far the hub has read.
    """

    timezone: Annotated[str, Meta(min_length=1, max_length=64)]
    first: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    last: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    cursor: Annotated[str, Meta(max_length=512)] | None = None


class CoverageDay(msgspec.Struct, rename="camel", kw_only=True):
    """One local day. `sessions` that start in it and are not deleted, and their `digest` (`digest_sessions`).

    `pending` of its sessions, tombstones included, changed after the cursor of the request: the hub cannot have them
    yet. `ran_seconds` is how long the collector ran in that day.
    """

    day: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    sessions: Annotated[int, Meta(ge=0)]
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    pending: Annotated[int, Meta(ge=0)]
    ran_seconds: Annotated[int, Meta(ge=0)]


class CoverageAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """What the collector holds. A day between the request's that is missing in `days` has no session, and in it the
    collector did not run.

    `since` is when this database was made (RFC 3339): of whether it ran before that, the collector knows nothing.
    `reset` says that the cursor is not one of this database's present history; then everything is pending.
    """

    epoch: Annotated[str, Meta(max_length=128)]
    since: str
    timestamp: str
    days: list[CoverageDay]
    reset: bool = False


class ExportFileHead(msgspec.Struct, rename="camel", kw_only=True):
    """First line of an export file; see docs/wire-protocol.md, *The file road*."""

    format: Literal["muster-export"]
    version: int
    device_id: Annotated[str, Meta(min_length=1, max_length=64)]
    epoch: Annotated[str, Meta(max_length=128)]
    created_at: str
    collector_version: Annotated[str, Meta(max_length=32)] = ""


class ExportFileTail(msgspec.Struct, rename="camel", kw_only=True):
    """Last line of an export file. `runs` are the half-open spans `[startMs, endMs)` in which the collector ran.

    `mac` is `export_file_mac` over the SHA-256 of every line before it, line ends included. `since` as in
    CoverageAnswer.
    """

    pages: Annotated[int, Meta(ge=0)]
    sessions: Annotated[int, Meta(ge=0)]
    since: str
    runs: list[tuple[int, int]]
    mac: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class ClaimRequest(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /api/pair/claim`: what a collector says of itself when it redeems a pairing code."""

    code: Annotated[str, Meta(min_length=1, max_length=32)]
    device_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    platform: Annotated[str, Meta(max_length=64)]
    version: Annotated[str, Meta(max_length=32)]
    port: Annotated[int, Meta(ge=1, le=65535)]


class ClaimAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """The link that a claim made. `token` opens the hub for the collector, `pull_secret` is never sent again."""

    device_id: str
    token: str
    pull_secret: str
    poll_interval: int
    hub_name: str


class Command(msgspec.Struct, kw_only=True):
    """One queued command in a poll's answer. Its names are in snake_case, but for `expiresAt`."""

    id: str
    command_type: str
    payload: dict[str, object]
    expires_at: str | None = msgspec.field(name="expiresAt", default=None)


class RelayedRequest(msgspec.Struct, kw_only=True):
    """One request of the hub that travels over the collector's own poll.

    `op` is `health`, `sessions.export` or `sessions.coverage`; `args` is the body of the call that it stands for. The
    answer to that call goes to `POST /api/collector/results/{id}`, or a problem object. It may come twice.
    """

    id: str
    op: str
    args: dict[str, object]
    deadline: str


class PollAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """Answer of `GET /api/collector/poll`. `settings` is there only when version or epoch differ from the caller's."""

    settings_version: int
    settings_epoch: str
    commands: list[Command] = []
    requests: list[RelayedRequest] = []
    poll_interval: Annotated[int, Meta(ge=1, le=3600)] = 5
    settings: dict[str, object] | UnsetType = UNSET


class Heartbeat(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /api/collector/heartbeat`: how the collector is, and how far it is with the settings."""

    status: dict[str, object]
    applied_version: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    apply_state: str = "applied"
    apply_error: Annotated[str, Meta(max_length=2000)] | None = None


def format_ms(ms: int) -> str:
    """RFC 3339 UTC with milliseconds: `1767618000000` -> `2026-01-05T13:00:00.000Z`."""
    moment = EPOCH + timedelta(milliseconds=ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def parse_ms(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time, cut (not rounded); without a zone it is UTC. ValueError if none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return to_ms(moment)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime, cut (not rounded)."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def now_ms() -> int:
    """The wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def normalise_code(text: str) -> str:
    """A pairing code as a person typed it -> as it was made: upper case, no dashes or spaces."""
    return "".join(text.upper().split()).replace("-", "")


def new_nonce() -> str:
    """A fresh challenge for `GET /api/health?challenge=`."""
    return secrets.token_urlsafe(24)


def health_proof(pull_secret: str, nonce: str, device_id: str, port: int) -> str:
    """What only the paired collector can answer to a nonce (docs/wire-protocol.md, *Proof before secrets*)."""
    message = f"muster-health-v1|{nonce}|{device_id}|{port}".encode()
    digest = hmac.digest(pull_secret.encode(), message, "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_health_proof(proof: str | None, pull_secret: str, nonce: str, device_id: str, port: int) -> bool:
    """Whether `proof` answers `nonce`, compared in constant time."""
    expected = health_proof(pull_secret, nonce, device_id, port)
    return proof is not None and hmac.compare_digest(proof.encode(), expected.encode())


def sign_call(pull_secret: str, device_id: str, path: str) -> str:
    """The one-call JWT that the hub sends as a bearer token; `path` is the URL path without the query."""
    now = int(time.time())
    claims = {
        "iss": "muster-hub",
        "aud": device_id,
        "sub": path,
        "iat": now,
        "exp": now + TOKEN_LIFETIME_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    # PyJWT checks and reads it; made here, it costs a tenth.
    signed = JWT_HEAD + base64.urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=")
    mark = base64.urlsafe_b64encode(hmac.digest(pull_secret.encode(), signed, "sha256")).rstrip(b"=")
    return f"{signed.decode()}.{mark.decode()}"


def read_call(token: str, pull_secret: str, device_id: str, path: str) -> tuple[str, int]:
    """`(jti, exp)` of a bearer token made by `sign_call`; the caller refuses a `jti` that it has seen.

    Raises `jwt.InvalidTokenError` for a wrong key, algorithm, audience, path or time, or a life of more than a minute.
    """
    claims = jwt.decode(
        token,
        pull_secret,
        algorithms=["HS256"],
        audience=device_id,
        issuer="muster-hub",
        leeway=CLOCK_LEEWAY_SECONDS,
        options={"require": ["iss", "aud", "sub", "iat", "exp", "jti"]},
    )
    if claims["sub"] != path or claims["exp"] - claims["iat"] > TOKEN_LIFETIME_SECONDS:
        raise jwt.InvalidTokenError("made for another call")
    return claims["jti"], claims["exp"]


def export_file_mac(pull_secret: str, digest: bytes) -> str:
    """What proves that an export file comes from the paired collector; `digest` is the SHA-256 of its lines."""
    return hmac.new(pull_secret.encode(), b"muster-export-v1|" + digest, hashlib.sha256).hexdigest()


def digest_sessions(sessions: Iterable[tuple[str, int, int]]) -> str:
    """32 hex digits that stand for a set of `(id, changedAt, sessionStartTime)`, times in ms, in whatever order."""
    return f"{sum_digests(sessions):032x}"


def sum_digests(sessions: Iterable[tuple[str, int, int]], start: int = 0) -> int:
    """The same as a number, which XOR adds up and takes away."""
    for session_id, changed_ms, started_ms in sessions:
        text = f"{session_id}|{changed_ms}|{started_ms}".encode()
        start ^= int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")
    return start


def prepare_structs(of: type[msgspec.Struct] = msgspec.Struct) -> None:
    """Lets msgspec look at every message shape now; both programs call it before they start threads.

    It does so at the first use otherwise, and two threads that use one shape for the first time crash the process.
    """
    for kind in of.__subclasses__():
        msgspec.json.Decoder(kind)
        prepare_structs(kind)
