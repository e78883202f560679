"""Sessions -> totals of local days. Pure, and fast enough (about 3 us a session) to count a day again at every change.

Human time is the union over all devices. Where several sessions hold an instant, the source that is believed most has
it, then the session that started later. A device's own total partitions its own sessions by the same rule.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple
from zoneinfo import ZoneInfo

from webapp.features.sessions import segments as packing
from webapp.features.sessions.day_details import HOURS, DayDetail
from webapp.features.sessions.models import EVERY_DEVICE
from webapp.features.sessions.parsing import LAST_RANK
from webapp.lib import spans
from webapp.lib.local_days import hour_bounds

START_BITS = 45

Label = tuple[str, str]
"""`(project, language)`"""
Ranked = spans.Ranked[Label]


class CountedSession(NamedTuple):
    """The columns that counting needs, in the order in which they are read."""

    device_id: str
    project: str
    language: str
    is_agent: bool
    rank: int
    started_ms: int
    ended_ms: int
    segments: bytes


@dataclass
class Tally:
    """Milliseconds of one day, by label and by local hour."""

    shares: dict[Label, int] = field(default_factory=dict)
    hours: list[int] = field(default_factory=lambda: [0] * HOURS)

    @property
    def ms(self) -> int:
        """All of it."""
        return sum(self.hours)


Days = dict[date, Tally]


def precedence(rank: int, started_ms: int) -> int:
    """Who holds an instant that several sessions claim: the larger."""
    return (LAST_RANK - rank << START_BITS) + started_ms


def count_days(
    rows: Iterable[CountedSession], first: date, last: date, zone: ZoneInfo
) -> dict[tuple[date, str], DayDetail]:
    """The details of every day from `first` to `last` that holds any time, by day and device (or EVERY_DEVICE)."""
    bounds, hours = hour_bounds(first, last, zone)
    people, agents = gather(rows)
    counted = [count_kind(by_device, bounds, hours) for by_device in (people, agents)]
    details: dict[tuple[date, str], DayDetail] = {}
    for device_id in sorted({device_id for kind in counted for device_id in kind}):
        mine, theirs = (kind.get(device_id, {}) for kind in counted)
        for day in sorted(mine.keys() | theirs.keys()):
            detail = describe_day(mine.get(day) or Tally(), theirs.get(day) or Tally())
            details[day, device_id] = detail
            if device_id != EVERY_DEVICE:
                everything = details[day, EVERY_DEVICE]
                everything.devices.append((device_id, sum(detail.hours), sum(ms for *_, ms in detail.agent_shares)))
    return details


def gather(rows: Iterable[CountedSession]) -> tuple[dict[str, list[Ranked]], dict[str, list[Ranked]]]:
    """The credited spans of people and of agents, by device."""
    people: dict[str, list[Ranked]] = {}
    agents: dict[str, list[Ranked]] = {}
    unpack = packing.unpack
    for device_id, project, language, is_agent, rank, started, ended, packed in rows:
        kind = agents if is_agent else people
        mine = kind.get(device_id)
        if mine is None:
            mine = kind[device_id] = []
        holds = (LAST_RANK - rank << START_BITS) + started
        label = (project, language)
        if packed:
            mine += [(start, end, holds, label) for start, end in unpack(packed, started, ended)]
        else:
            mine.append((started, ended, holds, label))
    return people, agents


def count_kind(by_device: dict[str, list[Ranked]], bounds: list[int], hours: list[tuple[date, int]]) -> dict[str, Days]:
    """The days of each device, and of all together under EVERY_DEVICE."""
    days = {device_id: tally(spans.partition(own), bounds, hours) for device_id, own in by_device.items()}
    if len(days) == 1:
        (days[EVERY_DEVICE],) = days.values()
    elif days:
        together = [span for own in by_device.values() for span in own]
        days[EVERY_DEVICE] = tally(spans.partition(together), bounds, hours)
    return days


def tally(pieces: Iterable[spans.Piece[Label]], bounds: list[int], hours: list[tuple[date, int]]) -> Days:
    """Adds disjoint pieces up by local day, label and hour."""
    days: Days = {}
    for index, ms, label in spans.cut(pieces, bounds):
        day, hour = hours[index]
        found = days.get(day)
        if found is None:
            found = days[day] = Tally()
        shares = found.shares
        shares[label] = shares.get(label, 0) + ms
        found.hours[hour] += ms
    return days


def describe_day(people: Tally, agents: Tally) -> DayDetail:
    """One day as it is stored, in an order that does not depend on how it was counted."""
    return DayDetail(
        shares=[(*label, ms) for label, ms in sorted(people.shares.items())],
        hours=people.hours,
        agent_shares=[(*label, ms) for label, ms in sorted(agents.shares.items())],
    )
