"""Requests of the hub that come with a poll: each is run once, in a thread of its own, and its answer posted."""

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from collector import wire
from collector.link.hub import Hub, HubError

LARGEST_QUEUE = 32
"""More than the hub sends with one poll. What does not fit comes again with a later one."""

REMEMBERED = 512
"""Ids that are waiting or done; the hub lists a request again until it has the answer."""

PAUSES_SECONDS = (0.5, 2.0, 5.0)
"""Before each further try to post an answer."""

log = logging.getLogger(__name__)

Answer = Callable[[str, dict[str, Any]], bytes]
"""The answer to an `op` with its `args`, or a problem object, in JSON."""


class Waiting(NamedTuple):
    """A request of `hub` that is to be run before the monotonic clock shows `deadline`."""

    hub: Hub
    request: wire.RelayedRequest
    deadline: float


class RelayedRequests:
    """`take` what a poll brought; `run` is the thread that answers it. `on_answered` is called after each answer."""

    def __init__(self, answer: Answer, on_answered: Callable[[], object]) -> None:
        self._answer = answer
        self._on_answered = on_answered
        self._queue: queue.Queue[Waiting | None] = queue.Queue()
        self._lock = threading.Lock()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._stopping = threading.Event()

    def take(self, hub: Hub, requests: Iterable[wire.RelayedRequest]) -> None:
        """Queues the requests that are new. Their deadlines are read on the hub's clock, as it was with this poll."""
        now_ms = hub.clock_ms if hub.clock_ms is not None else wire.now_ms()
        for request in requests:
            try:
                seconds = (wire.parse_ms(request.deadline) - now_ms) / 1000
            except (ValueError, OverflowError):
                log.warning("A relayed request has %r for a deadline, which is no time. It is left.", request.deadline)
                continue
            if seconds > 0 and self._queue.qsize() < LARGEST_QUEUE and self._remember(request.id):
                self._queue.put(Waiting(hub, request, time.monotonic() + seconds))

    def run(self) -> None:
        """The thread's work, until `stop`."""
        while not self._stopping.is_set():
            waiting = self._queue.get()
            if waiting is None:
                continue
            try:
                self.serve(waiting)
            except Exception:  # as with polling, a bug must not end the link; the hub's deadline ends the request
                log.exception("Answering a relayed request failed")

    def stop(self) -> None:
        """Ends `run`; what waits is left to the hub's deadlines."""
        self._stopping.set()
        self._queue.put(None)

    def serve(self, waiting: Waiting) -> None:
        """Runs one request, unless it has waited too long, and posts the answer."""
        request = waiting.request
        if time.monotonic() >= waiting.deadline:
            return
        if self._post(waiting, self._answer(request.op, request.args)):
            self._on_answered()

    def _post(self, waiting: Waiting, content: bytes) -> bool:
        """Whether the hub has taken the answer. An answer that did not arrive makes the request new again."""
        path = f"/api/collector/results/{quote(waiting.request.id, safe='')}"
        for pause in (*PAUSES_SECONDS, None):
            try:
                waiting.hub.post(path, content)
                return True
            except HubError as error:
                if error.status is not None and error.status < 500:
                    log.info("The hub does not want the answer to a relayed request any more: %s", error)
                    return False
                log.warning("The answer to a relayed request did not arrive: %s", error)
            if pause is None or time.monotonic() + pause >= waiting.deadline or self._stopping.wait(pause):
                break
        self._forget(waiting.request.id)
        return False

    def _remember(self, request_id: str) -> bool:
        with self._lock:
            if request_id in self._known:
                return False
            self._known[request_id] = None
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return True

    def _forget(self, request_id: str) -> None:
        with self._lock:
            self._known.pop(request_id, None)
