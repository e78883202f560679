"""The thread that keeps in touch with the hub: polls, sends heartbeats, and notices pairing and the end of a link."""

import logging
import threading
import time
from collections.abc import Callable
from urllib.parse import urlencode

import msgspec

from collector import wire
from collector.link.backoff import pause_seconds
from collector.link.hub import DeviceRevoked, Hub, HubError
from collector.link.pairing import forget
from collector.link.relayed import RelayedRequests
from collector.link.settings import Settings, keep_settings, read_settings
from collector.store import Link, Store

HEARTBEAT_SECONDS = 60.0
UNPAIRED_SECONDS = 2.0
"""How often an unpaired collector looks whether the command line has paired it."""

log = logging.getLogger(__name__)

Report = Callable[[], dict[str, object]]


class Poller:
    """Polls while there is a link. `report` is what a heartbeat tells, `on_pair` is called when there is a new link.

    `relayed` takes the requests that come with an answer; without it they are left.
    """

    def __init__(
        self, store: Store, report: Report, on_pair: Callable[[], object], relayed: RelayedRequests | None = None
    ) -> None:
        self._store = store
        self._report = report
        self._on_pair = on_pair
        self._relayed = relayed
        self._woken = threading.Event()
        self._is_stopping = False
        self._token: str | None = None
        self._failures = 0
        self._heartbeat_due = 0.0
        self._told: object = None
        self.last_answer_ms: int | None = None
        self.trouble: str | None = None

    def run(self) -> None:
        """The thread's work, until `stop`."""
        while not self._is_stopping:
            try:
                seconds = self.take_turn()
            except Exception:  # a bug or a full disk must not end the link to the hub
                log.exception("Polling the hub failed; trying again")
                seconds = self._count_failure("Polling failed inside the collector; its log says why.")
            self._woken.wait(seconds)
            self._woken.clear()

    def take_turn(self) -> float:
        """One poll, if there is a link. The answer is the pause until the next one in seconds."""
        link = self._store.find_link()
        self._note_link(link)
        if link is None:
            return UNPAIRED_SECONDS
        try:
            return self._poll(link)
        except DeviceRevoked:
            forget(self._store, link)
            log.warning("%s has ended the link. This machine is unpaired; what it recorded stays here.", link.hub_name)
            return 0.0
        except HubError as error:
            return self._count_failure(str(error))

    def wake(self) -> None:
        """Makes the next poll happen now, even during a long pause."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run`."""
        self._is_stopping = True
        self._woken.set()

    def _note_link(self, link: Link | None) -> None:
        token = None if link is None else link.token
        if token == self._token:
            return
        self._token, self._failures, self._heartbeat_due = token, 0, 0.0
        self.trouble = self.last_answer_ms = None
        if link is not None:
            log.info("Paired with %s at %s.", link.hub_name, link.hub_url)
            self._on_pair()

    def _poll(self, link: Link) -> float:
        settings, hub = read_settings(self._store), Hub.of(link)
        query = urlencode({"version": settings.version, "epoch": settings.epoch})
        try:
            answer = msgspec.json.decode(hub.get(f"/api/collector/poll?{query}"), type=wire.PollAnswer)
        except msgspec.DecodeError as error:
            raise HubError(f"{link.hub_url} does not answer like a Muster hub.") from error
        if self._relayed is not None:
            self._relayed.take(hub, answer.requests)
        if isinstance(answer.settings, dict):
            keep_settings(self._store, Settings(answer.settings_version, answer.settings_epoch, answer.settings))
            self._heartbeat_due = 0.0
        self._send_heartbeat(hub)
        self._note_success(link)
        return float(answer.poll_interval)

    def _send_heartbeat(self, hub: Hub) -> None:
        """At start, every minute, and at once when the report has changed."""
        told = self._report()
        news = without_times(told)
        if time.monotonic() < self._heartbeat_due and news == self._told:
            return
        body = wire.Heartbeat(status=told, applied_version=read_settings(self._store).version)
        self._heartbeat_due = time.monotonic() + HEARTBEAT_SECONDS
        try:
            hub.post("/api/collector/heartbeat", body)
        except HubError as error:
            if error.status is None or isinstance(error, DeviceRevoked):
                raise
            log.warning("The hub refused the heartbeat: %s", error)
        self._told = news

    def _note_success(self, link: Link) -> None:
        if self.trouble is not None:
            log.info("%s answers again.", link.hub_name)
        self._failures, self.trouble, self.last_answer_ms = 0, None, wire.now_ms()

    def _count_failure(self, reason: str) -> float:
        self._failures += 1
        if reason != self.trouble:
            log.warning("%s Trying again by itself.", reason)
        self.trouble = reason
        return pause_seconds(self._failures)


def without_times(told: object) -> object:
    """A report without its times: that something was recorded again is no news, that its state changed is."""
    if not isinstance(told, dict):
        return told
    return {name: without_times(value) for name, value in told.items() if not name.endswith("At")}
