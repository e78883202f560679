"""Looking around for collectors: when the clock rings for it, and the look itself in a worker."""

import logging
import time

from webapp import queue
from webapp.adapters.collector_client import CollectorClient, CollectorError, make_client
from webapp.config import current_config
from webapp.features.devices import discovery, endpoints, links
from webapp.features.devices.models import Device
from webapp.lib import clock

TASK = "webapp.features.devices.tasks.discover"
LIMIT_SECONDS = 30

log = logging.getLogger(__name__)

_looked_at = float("-inf")


def ring_discovery() -> None:
    """Rings for a look around if one is due; called every second by the clock."""
    global _looked_at
    if discovery.is_discovery_due(_looked_at) and queue.enqueue(
        TASK, job_id="discover", queue="pulls", timeout_seconds=LIMIT_SECONDS
    ):
        _looked_at = time.time()


def discover(client: CollectorClient | None = None) -> None:
    """Notes who answers on the configured hosts and ports, and finds paired collectors that have moved."""
    client = client or make_client(current_config())
    found = client.sight(endpoints.list_discovery_urls())
    discovery.record_sightings(found)
    urls = {sighted.device_id: sighted.url for sighted in found}
    for device in discovery.list_lost_devices():
        if device.id in urls:
            _prove(client, device, urls[device.id])


def _prove(client: CollectorClient, device: Device, url: str) -> None:
    link = links.find_active_link(device.id)
    if link is None:
        return
    try:
        client.check_health(url, device.id, links.pull_secret(link))
    except CollectorError as error:
        log.info("device %s is not proven at %s: %s", device.id, url, error.detail)
        if error.problem == "identity":
            endpoints.mark_identity(device.id, True)
        return
    endpoints.record_endpoint(device.id, url, clock.utc_now())
