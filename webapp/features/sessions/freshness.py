"""How a device is, in a word and a sentence: the one place where that is derived, from facts. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple

from webapp.features.devices.models import Device

Level = Literal["ok", "late", "problem", "off"]
Action = Literal["pair", "look", "quarantine"]

HEARD_LATELY = timedelta(minutes=2)
LATE_ROUNDS = 3
LATE_AT_LEAST = timedelta(minutes=3)
AWAY = {"unreachable", "timeout", "address"}
"""Problems that say nothing more than that the machine was not there."""
FULL_DISK = "disk_full"


class Standing(NamedTuple):
    """What a state goes by of the device's `PullState`, and of its `CoverageState` the earliest day with a hole."""

    device_id: str
    last_pulled_at: datetime | None
    problem: str | None
    problem_detail: str | None
    problem_since_at: datetime | None
    due_at: datetime | None = None
    reached_ms: int | None = None
    is_behind: bool = False
    road: str = "direct"
    direct_problem: str | None = None
    direct_detail: str | None = None
    direct_since_at: datetime | None = None
    direct_due_at: datetime | None = None
    hole_from: date | None = None

    @property
    def is_catching_up(self) -> bool:
        """Whether its pulls go well and have not come to the end yet."""
        is_first = self.last_pulled_at is None and self.reached_ms is not None
        return self.problem is None and (self.is_behind or is_first)


@dataclass(frozen=True)
class DeviceState:
    """`level` says how much it matters, `word` what it is, `brief` why and what to do; `detail` what was said exactly.

    `action` names what helps: `pair`, `look`, `quarantine`, or None when nothing is to be done. `next_try_at` is when
    the hub tries again what does not work.
    """

    level: Level
    word: str
    brief: str
    since_at: datetime | None = None
    action: Action | None = None
    next_try_at: datetime | None = None
    detail: str = ""

    @property
    def sentence(self) -> str:
        """All that there is to say."""
        return f"{self.brief} {self.detail}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a state also goes by. `stored` sessions are counted only for a device that is catching up."""

    quarantined: int = 0
    stored: int = 0
    interval_seconds: int = 60
    silent_days: int = 7


def describe(device: Device, state: Standing | None, now: datetime, around: Circumstances) -> DeviceState:
    """The state of `device`, whose pull stands at `state` (None before the first)."""
    if device.kind != "collector":
        return DeviceState("ok", "Sends itself", "This editor sends its sessions by itself.", device.last_seen_at)
    if not device.is_paired:
        return DeviceState(
            "off", "Unpaired", "No longer paired. What it sent is still here.", device.unpaired_at, "pair"
        )
    if device.is_identity_doubtful or (state is not None and state.problem == "identity"):
        return _not_proven(state)
    if state is None or (state.last_pulled_at is None and state.problem is None and not state.is_catching_up):
        return DeviceState("late", "New", "Its first pull is on the way.", device.paired_at)
    if state.problem is not None:
        return _failing(device, state, now, around)
    if state.is_catching_up:
        return _catching_up(state, around)
    return _pulled(device, state, now, around)


def _not_proven(state: Standing | None) -> DeviceState:
    """Whatever else is true: somebody stands where the machine should be."""
    sentence = "Another program answers in its place and cannot prove its key, so the hub tells it nothing."
    if state is None:
        return DeviceState("problem", "Not proven", sentence, None, "look")
    is_relayed = state.road == "relay" and state.problem is None and state.last_pulled_at is not None
    if is_relayed:
        sentence += " Its sessions come over the connection that it opens itself."
    since = state.direct_since_at if is_relayed else state.problem_since_at
    return DeviceState("problem", "Not proven", sentence, since, "look", _next_try(state))


def _failing(device: Device, state: Standing, now: datetime, around: Circumstances) -> DeviceState:
    detail, since, again = state.problem_detail or "", state.problem_since_at, _next_try(state)
    if state.problem == "refused":
        sentence = "It refuses the hub's key. Pair it again to renew it; nothing that is here is lost."
        return DeviceState("problem", "Pair again", sentence, since, "pair", again)
    if state.problem == FULL_DISK:
        sentence = (
            "The disk of that machine is full, so it cannot answer. Make room there; its pulls go on by themselves."
        )
        return DeviceState("problem", "Disk full", sentence, since, "look", again)
    if state.problem not in AWAY:
        return DeviceState("problem", "Failing", detail or "The last pull failed.", since, "look", again)
    if device.last_seen_at is not None and now - device.last_seen_at < HEARD_LATELY:
        return _out_of_reach(state)
    return _away(device, state, now, around)


def _out_of_reach(state: Standing) -> DeviceState:
    """A machine that reports in and of which nothing comes."""
    brief, detail = "It reports in, but neither road brings anything.", _tell_why(state.problem_detail)
    if state.direct_detail and state.direct_detail != state.problem_detail:
        detail = f"Direct: {_tell_why(state.direct_detail)} By relay: {detail or 'no answer.'}"
    elif state.road == "direct":
        brief = "It reports in, but the hub cannot fetch from it. Is a firewall between them, or its collector old?"
    since, again = state.problem_since_at, _next_try(state)
    return DeviceState("problem", "Out of reach", brief, since, "look", again, detail)


def _away(device: Device, state: Standing, now: datetime, around: Circumstances) -> DeviceState:
    """A machine that says nothing: off for a while is no error, for days it is."""
    heard_at = max((at for at in (device.last_seen_at, state.last_pulled_at) if at is not None), default=None)
    again = _next_try(state)
    if heard_at is None:
        sentence = f"The hub has not reached it yet. {state.problem_detail or ''}".strip()
        return DeviceState("late", "Not reached", sentence, state.problem_since_at, "look", again)
    if now - heard_at < timedelta(days=around.silent_days):
        sentence = "Switched off or away. It is pulled as soon as it is back."
        if state.is_behind:
            sentence = "Switched off or away, and not everything had come. The rest comes as soon as it is back."
        return DeviceState("off", "Off", sentence, heard_at)
    days = (now - heard_at).days
    sentence = f"Not heard of for {days} days. If it is still in use, start its collector; else unpair it."
    return DeviceState("late", "Silent", sentence, heard_at, "look", again)


def _catching_up(state: Standing, around: Circumstances) -> DeviceState:
    so_far = f"{around.stored:,} {'session' if around.stored == 1 else 'sessions'} so far"
    sentence = f"It has more than one pull brings: {so_far}, the rest follows by itself."
    return DeviceState("ok", "Catching up", sentence, state.last_pulled_at)


def _pulled(device: Device, state: Standing, now: datetime, around: Circumstances) -> DeviceState:
    pulled_at = state.last_pulled_at
    assert pulled_at is not None
    if now - pulled_at > max(LATE_AT_LEAST, timedelta(seconds=LATE_ROUNDS * around.interval_seconds)):
        sentence = "Its pulls are late. Is a worker running? On the hub, flask --app app doctor says more."
        return DeviceState("late", "Late", sentence, pulled_at, "look")
    if has_full_disk(device):
        sentence = "It says that its disk is full, so it may miss what you do now. Make room on that machine."
        return DeviceState("problem", "Disk full", sentence, device.reported_at, "look")
    if around.quarantined:
        return DeviceState("late", "Quarantining", _count_aside(around.quarantined), None, "quarantine")
    if state.hole_from is not None:
        since = f"{state.hole_from.day} {state.hole_from:%B}"
        sentence = f"Some of what it has since {since} is not here yet and is asked for again."
        return DeviceState("late", "Incomplete", sentence)
    if state.road == "relay":
        return _relayed(state)
    return DeviceState("ok", "Up to date", "Everything that it has is here.", pulled_at)


def _count_aside(quarantined: int) -> str:
    counted = "One session" if quarantined == 1 else f"{quarantined:,} sessions"
    verb = "waits" if quarantined == 1 else "wait"
    return f"{counted} could not be accepted and {verb} aside. All others are here."


def _relayed(state: Standing) -> DeviceState:
    brief = "Pulled over the connection that it opens itself, because the hub cannot reach it."
    why, again = _tell_why(state.direct_detail), state.direct_due_at
    return DeviceState("ok", "Up to date, by relay", brief, state.direct_since_at, None, again, why)


def _tell_why(detail: str | None) -> str:
    """The detail without its question, when it is known that the collector runs: it reports in."""
    return (detail or "").removesuffix(" Is the collector running?")


def has_full_disk(device: Device) -> bool:
    """Whether the collector's last report says that its disk is full: `{"disk": {"isFull": true}}`."""
    disk = (device.reported_status or {}).get("disk")
    return isinstance(disk, dict) and disk.get("isFull") is True


def _next_try(state: Standing) -> datetime | None:
    return state.due_at if state.problem is not None else state.direct_due_at
