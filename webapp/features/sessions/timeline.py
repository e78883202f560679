"""One local day as lanes: what each machine's time went to, by the rule by which totals are counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import select, union_all

from webapp.extensions import db
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.sessions import segments as packing
from webapp.features.sessions.counting import precedence
from webapp.features.sessions.models import LONG_MS, StoredSession
from webapp.features.sessions.recounting import IS_LONG
from webapp.lib import spans
from webapp.lib.local_days import day_bounds

COLUMNS = (
    *(StoredSession.device_id, StoredSession.id, StoredSession.project, StoredSession.language),
    *(StoredSession.file_path, StoredSession.is_agent, StoredSession.rank),
    *(StoredSession.started_ms, StoredSession.ended_ms, StoredSession.segments),
)
Label = tuple[str, str, str, str, str]
"""`(project, language, device, session, file)`: compared in the order in which totals break ties."""


@dataclass(frozen=True)
class Block:
    """A stretch of one session inside the day."""

    start_ms: int
    end_ms: int
    project: str
    language: str
    file: str
    session_id: str
    kind: str


@dataclass(frozen=True)
class Lane:
    """One machine's day: blocks that do not overlap within a kind, people's and agents' together, in order."""

    device: Device
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Day:
    """A local day `[start_ms, end_ms)`. `total_ms` is people's time over all lanes, no instant twice."""

    lanes: Sequence[Lane]
    start_ms: int
    end_ms: int
    total_ms: int


def read_day(
    account_id: int,
    day: date,
    zone: ZoneInfo,
    *,
    device_id: str | None = None,
    project: str | None = None,
    language: str | None = None,
) -> Day:
    """The day of all machines or of one. Project and language choose among blocks after time has been attributed."""
    start, end = day_bounds(day, zone)
    ranked = _read_ranked(account_id, start, end, device_id)

    def is_wanted(label: Label) -> bool:
        return (project is None or label[0] == project) and (language is None or label[1] == language)

    lanes: list[Lane] = []
    for device in devices.list_devices(account_id):
        blocks = [
            Block(first, last, label[0], label[1], label[4], label[3], kind)
            for kind in ("human", "agent")
            for first, last, label in spans.join(spans.partition(ranked.get((device.id, kind), [])))
            if is_wanted(label)
        ]
        if blocks:
            lanes.append(Lane(device, sorted(blocks, key=lambda block: (block.start_ms, block.kind))))
    people = [span for (_, kind), own in ranked.items() if kind == "human" for span in own]
    total = sum(last - first for first, last, label in spans.partition(people) if is_wanted(label))
    return Day(lanes, start, end, total)


def _read_ranked(
    account_id: int, start: int, end: int, device_id: str | None
) -> dict[tuple[str, str], list[spans.Ranked[Label]]]:
    """The credited spans inside the day, by device and kind."""
    wanted = select(*COLUMNS).where(StoredSession.account_id == account_id, StoredSession.is_deleted.is_(False))
    if device_id is not None:
        wanted = wanted.where(StoredSession.device_id == device_id)
    near = wanted.where(StoredSession.started_ms >= start - LONG_MS, StoredSession.started_ms < end)
    long = wanted.where(IS_LONG, StoredSession.ended_ms > start, StoredSession.started_ms < start - LONG_MS)
    ranked: dict[tuple[str, str], list[spans.Ranked[Label]]] = {}
    for row in db.session.execute(union_all(near, long)):
        label = (row.project, row.language, row.device_id, row.id, row.file_path)
        holds = precedence(row.rank, row.started_ms)
        own = ranked.setdefault((row.device_id, "agent" if row.is_agent else "human"), [])
        for first, last in spans.clip(packing.unpack(row.segments, row.started_ms, row.ended_ms), start, end):
            own.append((first, last, holds, label))
    return ranked
