"""What a person must decide, one sentence each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import func, select, text

from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.jobs import service as jobs
from webapp.features.sessions.freshness import DeviceState
from webapp.features.sessions.models import CoveredDay
from webapp.lib import clock

OLD = timedelta(days=1)


@dataclass(frozen=True)
class Notice:
    """A sentence, where to act on it, and what the link is called."""

    sentence: str
    url: str = ""
    action: str = ""


class Watched(Protocol):
    """A device and how it is."""

    @property
    def device(self) -> Device: ...

    @property
    def state(self) -> DeviceState: ...

    @property
    def last_pulled_at(self) -> datetime | None: ...


def list_notices(account_id: int, machines: Sequence[Watched]) -> list[Notice]:
    """The machines that need somebody, and the hub's own processes if they are gone."""
    holes = count_old_holes(account_id)
    worst_first = sorted(machines, key=lambda machine: machine.state.level != "problem")
    notices = [notice for machine in worst_first for notice in _about(machine, holes.get(machine.device.id, 0))]
    if any(machine.device.is_paired for machine in machines) and not jobs.list_processes():
        notices.insert(0, Notice("No worker is running, so nothing is pulled. Start Muster again with make run."))
    return notices


def count_old_holes(account_id: int) -> dict[str, int]:
    """How many days of each device lack something for longer than OLD, although the hub tried to fill them."""
    is_old = (text("covered_days.status = 'hole'"), CoveredDay.hole_since_at < clock.utc_now() - OLD)
    counted = select(CoveredDay.device_id, func.count()).join(Device, Device.id == CoveredDay.device_id)
    grouped = counted.where(Device.account_id == account_id, *is_old).group_by(CoveredDay.device_id)
    return {row[0]: row[1] for row in db.session.execute(grouped)}


def _about(machine: Watched, old_holes: int) -> Iterator[Notice]:
    state, device = machine.state, machine.device
    url, sentence = f"/devices/{device.id}", f"{device.name}: {state.brief}"
    if state.action == "pair" and state.level == "problem":
        yield Notice(sentence, "/pairing", "Pair")
    elif state.action == "quarantine":
        yield Notice(sentence, f"{url}/quarantine", "Decide")
    elif state.action == "look" and (state.level == "problem" or state.word == "Silent"):
        yield Notice(sentence, url, "Look")
    if old_holes and device.is_paired and state.level not in ("problem", "off"):
        days = "One day lacks" if old_holes == 1 else f"{old_holes:,} days lack"
        yield Notice(
            f"{device.name}: {days} sessions for longer than a day, although the hub asked again.",
            f"{url}/coverage",
            "Look",
        )
