"""What a paired collector asks and tells over the connection that it opens: its poll and its heartbeat."""

from sqlalchemy import update

from collector import wire
from webapp.database import transaction
from webapp.errors import Invalid
from webapp.features.devices.models import Device, Link
from webapp.features.devices.names import printable
from webapp.features.devices.seen import is_watched, note_seen
from webapp.lib import clock

POLL_SECONDS = 5
WATCHED_POLL_SECONDS = 1
APPLY_STATES = ("applied", "failed")


def read_poll(link: Link, version: int | None, epoch: str | None) -> wire.PollAnswer:
    """What the collector has to know now. It counts as a sign of life."""
    device = link.device
    answer = wire.PollAnswer(
        settings_version=device.settings_version,
        settings_epoch=device.settings_epoch,
        poll_interval=WATCHED_POLL_SECONDS if is_watched(device.id) else POLL_SECONDS,
    )
    if (version, epoch) != (device.settings_version, device.settings_epoch):
        answer.settings = {}
    note_seen(device.id, clock.utc_now())
    return answer


def record_heartbeat(device_id: str, heartbeat: wire.Heartbeat) -> None:
    """Keeps the collector's last report of itself."""
    if heartbeat.apply_state not in APPLY_STATES:
        raise Invalid(f"applyState: one of {', '.join(APPLY_STATES)}.", field="applyState")
    now = clock.utc_now()
    told = {
        "reported_status": heartbeat.status,
        "reported_at": now,
        "applied_version": heartbeat.applied_version,
        "apply_state": heartbeat.apply_state,
        "apply_error": heartbeat.apply_error,
    }
    version = heartbeat.status.get("version")
    if isinstance(version, str) and version:
        told["version"] = printable(version, 32)
    with transaction() as session:
        session.execute(update(Device).where(Device.id == device_id).values(**told))
    note_seen(device_id, now)
