"""What a paired collector asks and tells over the connection that it opens: its poll and its heartbeat."""

from collector import wire
from webapp.adapters.collector_addresses import peer_host
from webapp.errors import Invalid
from webapp.features.devices import relay, seen
from webapp.features.devices.models import Link
from webapp.features.devices.names import printable
from webapp.lib import clock

POLL_SECONDS = 5
QUICK_POLL_SECONDS = 1
APPLY_STATES = ("applied", "failed")


def read_poll(link: Link, version: int | None, epoch: str | None) -> wire.PollAnswer:
    """What the collector has to know and to answer now. It counts as a sign of life."""
    device = link.device
    requests = relay.list_waiting(device.id)
    answer = wire.PollAnswer(
        settings_version=device.settings_version,
        settings_epoch=device.settings_epoch,
        requests=requests,
        poll_interval=QUICK_POLL_SECONDS if requests or seen.is_watched(device.id, device.watched_at) else POLL_SECONDS,
    )
    if (version, epoch) != (device.settings_version, device.settings_epoch):
        answer.settings = {}
    seen.note_seen(device.id, clock.utc_now())
    return answer


def record_heartbeat(device_id: str, heartbeat: wire.Heartbeat, address: str = "") -> None:
    """Keeps the collector's last report of itself; among many, a moment later (see `seen`).

    It came from `address`: a machine that has moved to another network is looked for there the next time.
    """
    if heartbeat.apply_state not in APPLY_STATES:
        raise Invalid(f"applyState: one of {', '.join(APPLY_STATES)}.", field="applyState")
    now = clock.utc_now()
    version = heartbeat.status.get("version")
    report = {
        "reported_status": heartbeat.status,
        "reported_at": now,
        "applied_version": heartbeat.applied_version,
        "apply_state": heartbeat.apply_state,
        "apply_error": heartbeat.apply_error,
        "told_version": printable(version, 32) if isinstance(version, str) and version else None,
        "told_host": peer_host(address),
    }
    seen.note_report(device_id, now, report)
