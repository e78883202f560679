"""Where a paired collector may be reached, and where it last proved to be."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from webapp.adapters.collector_addresses import url_of
from webapp.config import current_config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.devices.models import Device

REPROVEN_EVERY = timedelta(minutes=10)


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
    proof: dict[str, Any] = {"endpoint_url": url, "endpoint_proven_at": proven_at, "is_identity_doubtful": False}
    if clock_skew_ms is not None:
        proof["clock_skew_ms"] = clock_skew_ms
    _change(device_id, proof)


def forget_endpoint(device_id: str) -> None:
    """The device was not where it used to be: the next pull looks everywhere again."""
    _change(device_id, {"endpoint_url": None, "endpoint_proven_at": None})


def mark_identity(device_id: str, is_doubtful: bool) -> None:
    """Whether something answers with the device's id but cannot prove its key."""
    _change(device_id, {"is_identity_doubtful": is_doubtful})


def _is_fresh(device: Device, now: datetime) -> bool:
    return device.endpoint_proven_at is not None and now - device.endpoint_proven_at < REPROVEN_EVERY


def _change(device_id: str, values: dict[str, Any]) -> None:
    with transaction() as session:
        session.execute(update(Device).where(Device.id == device_id).values(**values))
