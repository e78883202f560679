"""The first steps of an account that has nothing to show yet: pair a machine, connect an editor, see a session."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.sessions.models import StoredSession


@dataclass(frozen=True)
class FirstSteps:
    """Which of the steps are done."""

    has_device: bool
    has_editor: bool
    has_session: bool


def find_steps(account_id: int, devices: Sequence[Device]) -> FirstSteps | None:
    """The steps, or None when a first session is there."""
    stored = select(StoredSession.id).where(StoredSession.account_id == account_id, StoredSession.is_deleted.is_(False))
    if db.session.scalar(stored.limit(1)) is not None:
        return None
    return FirstSteps(
        has_device=any(device.is_paired for device in devices),
        has_editor=any(hears_editor(device) for device in devices),
        has_session=False,
    )


def hears_editor(device: Device) -> bool:
    """Whether an editor has spoken to the device's collector, or is the device."""
    if device.kind == "editor":
        return True
    sources = (device.reported_status or {}).get("sources")
    wakatime = sources.get("wakatime") if isinstance(sources, dict) else None
    return isinstance(wakatime, dict) and bool(wakatime.get("lastHeartbeatAt"))
