"""Redeeming a pairing code: which answer a claim gets, and the link and device that come of it.

Wrong, used and expired codes get one same answer. Guesses are counted in the transaction that refuses them.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from collector import wire
from webapp.adapters import collector_addresses
from webapp.adapters.collector_addresses import AddressNotAllowed
from webapp.config import current_config
from webapp.database import change, transaction
from webapp.errors import Invalid, MusterError, NotFound, TooMany
from webapp.features.devices import codes
from webapp.features.devices.links import add_link, pull_secret
from webapp.features.devices.models import Device, Link, PairingCode, new_settings_epoch
from webapp.features.devices.names import check_name, printable
from webapp.features.devices.polling import POLL_SECONDS
from webapp.lib import clock


@dataclass(frozen=True)
class Claimant:
    """A collector that redeems a code, cleaned; `host` is where it may be called, if anywhere."""

    device_id: str
    name: str
    platform: str
    version: str
    host: str | None
    port: int


def claim_code(claim: wire.ClaimRequest, *, address: str) -> wire.ClaimAnswer:
    """The link that the code stands for. NotFound for a code that is not valid, TooMany when guessing killed it."""
    claimant, now = _read_claim(claim, address), clock.utc_now()
    with transaction() as session:
        codes.stand_alone(session)
        outcome = _redeem(session, codes.hash_code(claim.code), claimant, now)
    if isinstance(outcome, MusterError):
        raise outcome
    return outcome


def _read_claim(claim: wire.ClaimRequest, address: str) -> Claimant:
    try:
        port = collector_addresses.check_port(claim.port)
    except AddressNotAllowed as error:
        raise Invalid(str(error), field="port") from error
    return Claimant(
        device_id=claim.device_id,
        name=check_name(claim.name),
        platform=printable(claim.platform, 64),
        version=printable(claim.version, 32),
        host=collector_addresses.peer_host(address),
        port=port,
    )


def _redeem(session: Session, code_hash: bytes, claimant: Claimant, now: datetime) -> wire.ClaimAnswer | MusterError:
    code = session.scalar(select(PairingCode).where(PairingCode.code_hash == code_hash))
    if code is None:
        return _refuse(session, now)
    if code.killed_at is not None and code.killed_at > now - codes.LIFE:
        return _too_many(code.killed_at, now)
    claimed = update(PairingCode).where(PairingCode.id == code.id, *codes.is_open(now))
    if change(session, claimed.values(claimed_at=now, claimed_by=claimant.device_id)):
        device = _find_own_device(session, claimant, code.account_id)
    elif _is_lost_reply(session, code, claimant, now):
        device = session.get(Device, code.device_id)
    else:
        return _refuse(session, now)
    device = _pair(session, device, claimant, code.account_id, now)
    link, token = add_link(session, device, now)
    code.device_id, code.link_id = device.id, link.id
    return wire.ClaimAnswer(
        device_id=device.id,
        token=token,
        pull_secret=pull_secret(link),
        poll_interval=POLL_SECONDS,
        hub_name=current_config().hub_name,
    )


def _refuse(session: Session, now: datetime) -> MusterError:
    has_open = session.scalar(select(PairingCode.id).where(*codes.is_open(now)).limit(1)) is not None
    killed_at = codes.last_killing(session, now)
    codes.count_wrong_try(session, now)
    if killed_at is not None and not has_open:
        return _too_many(killed_at, now)
    return NotFound("Code not valid or expired.", code="bad_code")


def _too_many(killed_at: datetime, now: datetime) -> TooMany:
    left = int((killed_at + codes.LIFE - now).total_seconds()) + 1
    return TooMany("Too many wrong codes. Make a new one on the hub.", retry_after_seconds=left)


def _is_lost_reply(session: Session, code: PairingCode, claimant: Claimant, now: datetime) -> bool:
    """Whether the same collector claims again because it never heard the answer: nobody has used what it was given."""
    if code.claimed_at is None or code.claimed_by != claimant.device_id or now - code.claimed_at >= codes.LIFE:
        return False
    link = session.get(Link, code.link_id)
    return link is not None and link.first_used_at is None and link.revoked_at is None


def _find_own_device(session: Session, claimant: Claimant, account_id: int) -> Device | None:
    """The account's record of this collector, when it comes back."""
    mine = (Device.id == claimant.device_id, Device.account_id == account_id, Device.kind == "collector")
    return session.scalar(select(Device).where(*mine))


def _pair(session: Session, device: Device | None, claimant: Claimant, account_id: int, now: datetime) -> Device:
    if device is None:
        is_taken = session.get(Device, claimant.device_id) is not None
        device_id = str(uuid.uuid4()) if is_taken else claimant.device_id
        device = Device(id=device_id, account_id=account_id, name=claimant.name, created_at=now)
        session.add(device)
    device.platform, device.version = claimant.platform, claimant.version
    device.host, device.port = claimant.host, claimant.port
    device.endpoint_url = device.endpoint_proven_at = None
    device.is_identity_doubtful = False
    device.settings_epoch, device.applied_version, device.apply_state = new_settings_epoch(), 0, ""
    device.paired_at, device.unpaired_at = now, None
    device.watched_at = now  # somebody waits for its first pull, which may have to come over its polls
    session.flush()
    return device
