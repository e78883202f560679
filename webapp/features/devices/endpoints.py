"""Where a paired collector may be reached, and where it last proved to be."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from webapp.adapters.collector_addresses import url_of
from webapp.config import current_config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.devices.models import Device

REPROVEN_EVERY = timedelta(minutes=10)
DEVICES: Any = Device.__table__
MOST_SKEW_MS = 2**31 - 1
"""A clock further off (24 days) counts as that far off: it is what the column holds."""


def list_candidates(device: Device) -> list[str]:
    """URLs to try, the likeliest first: the last proven one, where the claim came from, then where discovery looks."""
    urls = [device.endpoint_url] if device.endpoint_url else []
    if device.port is not None:
        urls += [url_of(host, device.port) for host in (device.host, "127.0.0.1") if host]
    if current_config().is_discovery_enabled:
        urls += list_discovery_urls()
    return list(dict.fromkeys(urls))


def list_discovery_urls() -> list[str]:
    """Every configured host with every configured port, each place once."""
    config = current_config()
    hosts = ["127.0.0.1" if host == "localhost" else host for host in config.discovery_hosts]
    return list(dict.fromkeys(url_of(host, port) for host in hosts for port in config.discovery_ports))


def record_endpoint(device_id: str, url: str, proven_at: datetime, *, clock_skew_ms: int | None = None) -> None:
    """The device proved its key at `url`. Written when that is news, and every ten minutes otherwise."""
    known = db.session.get(Device, device_id)
    if known is None or (known.endpoint_url == url and not known.is_identity_doubtful and _is_fresh(known, proven_at)):
        return
    _change(device_id, describe_proof(url, proven_at, clock_skew_ms))


def describe_proof(url: str, proven_at: datetime, clock_skew_ms: int | None) -> dict[str, Any]:
    """The columns of a device that proved its key at `url`."""
    proof: dict[str, Any] = {"endpoint_url": url, "endpoint_proven_at": proven_at, "is_identity_doubtful": False}
    if clock_skew_ms is not None:
        proof["clock_skew_ms"] = max(-MOST_SKEW_MS, min(clock_skew_ms, MOST_SKEW_MS))
    return proof


def write_endpoints(found: Mapping[str, Mapping[str, Any]]) -> None:
    """What came out about many devices at once (columns by device id), in one transaction: a commit each would have
    every other writer wait."""
    if not found:
        return
    with transaction() as session:
        for device_id, values in sorted(found.items()):
            session.connection().execute(update(DEVICES).where(DEVICES.c.id == device_id).values(**values))


def mark_identity(device_id: str, is_doubtful: bool) -> None:
    """Whether something answers with the device's id but cannot prove its key."""
    _change(device_id, {"is_identity_doubtful": is_doubtful})


def _is_fresh(device: Device, now: datetime) -> bool:
    return device.endpoint_proven_at is not None and now - device.endpoint_proven_at < REPROVEN_EVERY


def _change(device_id: str, values: dict[str, Any]) -> None:
    with transaction() as session:
        session.execute(update(Device).where(Device.id == device_id).values(**values))
