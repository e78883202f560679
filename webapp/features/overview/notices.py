"""What a person must decide, one sentence each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from webapp.features.devices.models import Device
from webapp.features.jobs import service as jobs
from webapp.features.sessions.freshness import DeviceState


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


def list_notices(machines: Sequence[Watched]) -> list[Notice]:
    """The machines that need somebody, and the hub's own processes if they are gone."""
    notices = [notice for machine in machines if (notice := _about(machine)) is not None]
    if any(machine.device.is_paired for machine in machines) and not jobs.list_processes():
        notices.insert(0, Notice("No worker is running, so nothing is pulled. Start Muster again with make run."))
    return notices


def _about(machine: Watched) -> Notice | None:
    state, device = machine.state, machine.device
    if state.action == "pair" and state.level == "problem":
        return Notice(f"{device.name}: {state.sentence}", "/pairing", "Pair")
    if state.action == "look" and (state.level == "problem" or state.word == "Silent"):
        return Notice(f"{device.name}: {state.sentence}", f"/devices/{device.id}", "Look")
    return None
