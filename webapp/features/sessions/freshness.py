"""How a device is, in a word and a sentence: the one place where that is derived. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from webapp.features.devices.models import Device

Level = Literal["ok", "late", "problem", "off"]

HEARD_LATELY = timedelta(minutes=2)
SILENT = timedelta(days=7)
LATE_ROUNDS = 3
LATE_AT_LEAST = timedelta(minutes=3)
AWAY = {"unreachable", "timeout", "address"}


class Standing(NamedTuple):
    """What a state goes by of the device's `PullState`."""

    device_id: str
    last_pulled_at: datetime | None
    problem: str | None
    problem_detail: str | None
    problem_since_at: datetime | None


@dataclass(frozen=True)
class DeviceState:
    """`level` says how much it matters, `word` what it is, `sentence` why and what to do.

    `action` names what helps: `pair` or `look`, or None when nothing is to be done.
    """

    level: Level
    word: str
    sentence: str
    since_at: datetime | None = None
    action: str | None = None


def describe(
    device: Device, state: Standing | None, now: datetime, quarantined: int = 0, *, interval_seconds: int = 60
) -> DeviceState:
    """The state of `device`, whose pull stands at `state` (None before the first)."""
    if device.kind != "collector":
        return DeviceState("ok", "Sends itself", "This editor sends its sessions by itself.", device.last_seen_at)
    if not device.is_paired:
        return DeviceState(
            "off", "Unpaired", "No longer paired. What it sent is still here.", device.unpaired_at, "pair"
        )
    if device.is_identity_doubtful or (state is not None and state.problem == "identity"):
        return _not_proven(state)
    if state is None or (state.last_pulled_at is None and state.problem is None):
        return DeviceState("late", "New", "Its first pull is on the way.", device.paired_at)
    if state.problem is not None:
        return _failing(device, state, now)
    return _pulled(state, now, quarantined, interval_seconds)


def _not_proven(state: Standing | None) -> DeviceState:
    sentence = "Another program answers in its place and cannot prove its key, so the hub tells it nothing."
    return DeviceState("problem", "Not proven", sentence, state.problem_since_at if state else None, "look")


def _failing(device: Device, state: Standing, now: datetime) -> DeviceState:
    detail, since = state.problem_detail or "", state.problem_since_at
    if state.problem == "refused":
        return DeviceState(
            "problem", "Pair again", "It refuses the hub's key. Pair it again to renew it.", since, "pair"
        )
    if state.problem not in AWAY:
        return DeviceState("problem", "Failing", detail or "The last pull failed.", since, "look")
    heard_at = max((at for at in (device.last_seen_at, state.last_pulled_at) if at is not None), default=None)
    if device.last_seen_at is not None and now - device.last_seen_at < HEARD_LATELY:
        sentence = "It reports in, but the hub cannot reach it. Do a firewall or another network stand between?"
        return DeviceState("problem", "Out of reach", sentence, since, "look")
    if heard_at is None:
        return DeviceState("late", "Not reached", f"The hub has not reached it yet. {detail}".strip(), since, "look")
    if now - heard_at < SILENT:
        return DeviceState("off", "Off", "Switched off or away. It is pulled as soon as it is back.", heard_at)
    days = (now - heard_at).days
    return DeviceState("late", "Silent", f"Not heard of for {days} days. Is it still in use?", heard_at, "look")


def _pulled(state: Standing, now: datetime, quarantined: int, interval_seconds: int) -> DeviceState:
    pulled_at = state.last_pulled_at
    assert pulled_at is not None
    if now - pulled_at > max(LATE_AT_LEAST, timedelta(seconds=LATE_ROUNDS * interval_seconds)):
        sentence = "Its pulls are late. Is a worker running?"
        return DeviceState("late", "Late", sentence, pulled_at, "look")
    if quarantined:
        counted = "One session" if quarantined == 1 else f"{quarantined} sessions"
        return DeviceState("late", "Up to date", f"{counted} could not be accepted and wait aside.", pulled_at, "look")
    return DeviceState("ok", "Up to date", "Everything that it has is here.", pulled_at)
