"""The WakaTime protocol as values: heartbeats in the body of a request -> observations, and the answers to them.

The client repeats all that is not answered item by item, so nothing here refuses a whole request for its content.
"""

import base64
import binascii
import hmac
import json
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta, tzinfo
from urllib.parse import unquote_plus

import msgspec

from collector import wire
from collector.machine import platform_name
from collector.sources.entities import MAX_LENGTH, normalise_path
from collector.timeline.languages import canonical_language
from collector.timeline.observation import Observation
from collector.timeline.projects import Projects

SOURCE = "wakatime"
LATEST_MS = wire.parse_ms("9999-12-31T23:59:59Z")
LARGEST_NUMBER = 2**53

AGENT = re.compile(r"^wakatime/\S+ \((?P<system>[^)]*)\) (?P<rest>.*)$", re.IGNORECASE)
PLATFORMS = {"linux": "linux", "darwin": "darwin", "macos": "darwin", "windows": "win32", "win32": "win32"}
PLACEHOLDERS = {"<<LAST_PROJECT>>": "project", "<<LAST_BRANCH>>": "branch", "<<LAST_LANGUAGE>>": "language"}


class Rejection(msgspec.Struct, frozen=True):
    """One heartbeat that can never be read, and why; the client drops it."""

    message: str


Result = Observation | Rejection


def read_heartbeats(
    body: bytes,
    headers: Mapping[str, str],
    received_ms: int,
    *,
    latest: Observation | None = None,
    projects: Projects | None = None,
) -> list[Result]:
    """One result per heartbeat in `body`, in order: a single object or an array, plain or encoded twice.

    `latest` is the last heartbeat known before these, for clients that say "the same project as last time".
    """
    try:
        items = decode_body(body)
    except (ValueError, RecursionError):
        return [Rejection("The body is not JSON.")]
    results: list[Result] = []
    for item in items:
        try:
            result: Result = read_heartbeat(item, headers, received_ms, latest, projects)
        except ValueError as error:
            result = Rejection(str(error))
        if isinstance(result, Observation):
            latest = result
        results.append(result)
    return results


def is_single(body: bytes) -> bool:
    """Whether the body is one heartbeat and not an array of them."""
    return body.lstrip()[:1] == b"{"


def decode_body(body: bytes) -> list[object]:
    """The heartbeats of a body, undecoded further. ValueError if it is no JSON."""
    decoded = json.loads(body.decode("utf-8", "replace"))
    if isinstance(decoded, str):  # the browser edition of the VS Code plug-in encodes twice
        decoded = json.loads(decoded)
    return decoded if isinstance(decoded, list) else [decoded]


def read_heartbeat(
    item: object, headers: Mapping[str, str], received_ms: int, latest: Observation | None, projects: Projects | None
) -> Observation:
    """One heartbeat as an observation. ValueError names what cannot be read in it."""
    if not isinstance(item, dict):
        raise ValueError("A heartbeat must be an object.")
    entity_type = read_text(item, "type", 32) or "file"
    entity = read_entity(item, entity_type)
    editor, platform = read_agent(read_text(item, "user_agent", 1000) or "", read_text(item, "plugin", 1000), headers)
    named = {name: resolve(read_text(item, name, 512), entity_type, latest) for name in ("project", "branch")}
    language = resolve(read_text(item, "language", 128), entity_type, latest)
    found = projects.find(entity) if projects and entity_type == "file" else None
    added, deleted = read_line_changes(item)
    return Observation(
        source=SOURCE,
        editor=editor,
        entity=entity,
        kind=entity_type,
        time_ms=read_time(item),
        received_ms=received_ms,
        is_write=item.get("is_write") in (True, "true", 1),
        entity_type=entity_type,
        machine=unquote_plus(headers.get("X-Machine-Name") or "")[:255],
        platform=platform,
        language=canonical_language(language),
        project=named["project"] or read_text(item, "alternate_project", 512) or (found.name if found else None),
        project_path=normalise_path(found.path) if found else None,
        branch=named["branch"],
        category=(read_text(item, "category", 64) or "").lower() or None,
        timezone=(headers.get("Timezone") or "")[:64] or None,
        lines=read_count(item, "lines", read_count(item, "lines_in_file", None)),
        lines_added=added,
        lines_deleted=deleted,
        ai_lines=read_count(item, "ai_line_changes", None),
        ai_input_tokens=read_count(item, "ai_input_tokens", None),
        ai_output_tokens=read_count(item, "ai_output_tokens", None),
        ai_session=read_text(item, "ai_session", 255),
    )


def read_entity(item: Mapping[str, object], entity_type: str) -> str:
    """What was worked on. ValueError when it is missing or could not be stored."""
    entity = item.get("entity")
    if not isinstance(entity, str) or not entity.strip():
        raise ValueError("entity: must be text that is not empty.")
    if len(entity) > MAX_LENGTH:
        raise ValueError(f"entity: longer than {MAX_LENGTH} characters.")
    if "\0" in entity or not is_encodable(entity):
        raise ValueError("entity: not valid text.")
    return normalise_path(entity) if entity_type == "file" else entity


def read_time(item: Mapping[str, object]) -> int:
    """The heartbeat's time in milliseconds; any age is welcome. ValueError for what is no time."""
    seconds = read_number(item.get("time"))
    if seconds is None or not 0 <= seconds * 1000 <= LATEST_MS:
        raise ValueError("time: must be seconds since 1970.")
    return round(seconds * 1000)


def read_text(item: Mapping[str, object], name: str, limit: int) -> str | None:
    """A text field, cut to `limit`; None for anything else."""
    value = item.get(name)
    if not isinstance(value, str) or not is_encodable(value):
        return None
    return value.replace("\0", "").strip()[:limit] or None


def read_count(item: Mapping[str, object], name: str, default: int | None) -> int | None:
    """A whole number, which some clients send as text."""
    number = read_number(item.get(name))
    return default if number is None or abs(number) > LARGEST_NUMBER else int(number)


def read_number(value: object) -> float | None:
    """A finite number, also one in text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_line_changes(item: Mapping[str, object]) -> tuple[int | None, int | None]:
    """Lines added and deleted, from either edition of the client; None when it did not say."""
    changes = read_count(item, "human_line_changes", None)
    if changes is not None:
        return max(changes, 0), max(-changes, 0)
    return read_count(item, "line_additions", None), read_count(item, "line_deletions", None)


def is_encodable(text: str) -> bool:
    """Whether the text has no half of a surrogate pair in it, which no file and no database takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def resolve(value: str | None, entity_type: str, latest: Observation | None) -> str | None:
    """A value, or for a placeholder the last one known; web pages have no project of their own to inherit."""
    if value not in PLACEHOLDERS:
        return value
    if entity_type in ("url", "domain") or latest is None:
        return None
    inherited: str | None = getattr(latest, PLACEHOLDERS[value])
    return inherited


def read_agent(item_agent: str, plugin: str | None, headers: Mapping[str, str]) -> tuple[str, str]:
    """Editor and platform from the user agent: after the client and its runtime comes the editor."""
    for agent in (item_agent, headers.get("User-Agent") or ""):
        match = AGENT.match(agent)
        if match:
            products = [word for word in match["rest"].split()[1:] if "/" in word]
            system = re.split(r"[-_ ]", match["system"].lower(), maxsplit=1)[0]
            return editor_name(products), PLATFORMS.get(system, platform_name())
    return editor_name((plugin or "").split()), platform_name()


def editor_name(products: Sequence[str]) -> str:
    """The first product's name in lower case: `vscode/1.90.0` -> `vscode`."""
    return products[0].split("/", 1)[0].lower()[:128] if products else "unknown"


def bulk_answer(results: Sequence[Result]) -> dict[str, object]:
    """The body that goes with 201: one pair per heartbeat, in order."""
    return {"responses": [answer_one(result) for result in results]}


def single_answer(result: Result) -> dict[str, object]:
    """The body that goes with 201 for a request that was one heartbeat, readable by both kinds of client."""
    return {**answer_one(result)[0], **bulk_answer([result])}


def answer_one(result: Result) -> tuple[dict[str, object], int]:
    """The pair for one heartbeat. Only an id goes back: older clients stumble over fields that they do not expect."""
    if isinstance(result, Rejection):
        return {"error": result.message}, 400
    return {"data": {"id": uuid.uuid5(uuid.NAMESPACE_URL, result.key).hex}}, 201


def statusbar_answer(total_seconds: int, now_ms: int, zone: tzinfo) -> dict[str, object]:
    """The answer for the editor's status bar: today's total, with every list that clients look into."""
    now = (wire.EPOCH + timedelta(milliseconds=now_ms)).astimezone(zone)
    start = datetime.combine(now.date(), time.min, tzinfo=zone)
    total = describe_seconds(total_seconds)
    coding = [{"name": "Coding", "percent": 100.0, **total}] if total_seconds else []
    empty = (
        "dependencies",
        "editors",
        "languages",
        "machines",
        "operating_systems",
        "projects",
        "branches",
        "entities",
    )
    data: dict[str, object] = {name: [] for name in empty}
    data |= {"grand_total": total, "categories": coding}
    data["range"] = {
        "date": now.date().isoformat(),
        "start": start.isoformat(),
        "end": (datetime.combine(now.date() + timedelta(days=1), time.min, tzinfo=zone)).isoformat(),
        "timezone": str(zone),
        "text": f"Today {now:%a %b} {now.day} {now.year}",
    }
    return {"cached_at": wire.format_ms(now_ms), "data": data, "has_team_features": False}


def describe_seconds(total: int) -> dict[str, object]:
    """A duration in every form that WakaTime's answers carry."""
    hours, minutes, seconds = total // 3600, total // 60 % 60, total % 60
    return {
        "text": format_duration(total),
        "digital": f"{hours}:{minutes:02d}",
        "decimal": f"{total / 3600:.2f}",
        "hours": hours,
        "minutes": minutes,
        "seconds": seconds,
        "total_seconds": float(total),
    }


def format_duration(total: int) -> str:
    """`8220` -> `2 hrs 17 mins`."""
    hours, minutes = total // 3600, total // 60 % 60
    parts = [f"{hours} hr{'s' * (hours != 1)}"] if hours else []
    if minutes or not hours:
        parts.append(f"{minutes} min{'s' * (minutes != 1)}")
    return " ".join(parts) if total >= 60 else f"{total} sec{'s' * (total != 1)}"


def is_key(authorization: str | None, query_key: str | None, key: str) -> bool:
    """Whether a request carries `key`: Basic or Bearer, plain or base64, with or without a colon, or `?api_key=`."""
    offered = {query_key or ""}
    scheme, _, credential = (authorization or "").strip().partition(" ")
    if scheme.lower() in ("basic", "bearer"):
        offered |= {credential.strip(), decode_base64(credential.strip())}
    wanted = key.lower().encode()
    # No early end: how long this takes says nothing about where the key was.
    matches = [hmac.compare_digest(plain_key(candidate).encode(), wanted) for candidate in offered]
    return any(matches)


def plain_key(candidate: str) -> str:
    """A key without the colons and the prefix that clients put around it."""
    return candidate.strip().strip(":").lower().removeprefix("waka_")


def decode_base64(text: str) -> str:
    """The text behind base64, or nothing."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeError, ValueError):
        return ""
