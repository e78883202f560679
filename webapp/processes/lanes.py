"""Two lanes for requests: polls are answered by the server's loop itself, from memory; all others by threads.

Thousands of machines poll. None of them may stand behind a request that waits for the database, nor may each cost a
change of threads. While what the loop knows is too old to be believed, polls are parked until it is read again. What
the threads cannot work off in time is turned away, so that a queue never grows without bound.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.parser import HTTPRequestParser
from waitress.task import Task, ThreadedTaskDispatcher

from webapp.blueprints.api.poll import ShortRoad, reads_like_poll, write_answer
from webapp.features.devices import seen
from webapp.lib import clock
from webapp.processes.refusing import Channel

MOST_WAITING = 256
"""Requests that wait for a thread; more are turned away."""
LONGEST_PARKED_SECONDS = 5.0
RETRY_SECONDS = 5
BUSY = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,"code":"busy",'
    b'"detail":"The hub is busy. Try again soon."}'
)


class ReadyTask(Task):
    """An answer that is there already. It ends its connection: the loop walks over every open one on each wake-up."""

    def __init__(self, channel: Channel, status: HTTPStatus, headers: list[tuple[str, str]], body: bytes) -> None:
        super().__init__(channel, channel.requests[0])
        self.status = f"{status.value} {status.phrase}"
        self.response_headers = headers
        self.content_length = len(body)
        self.body = body

    def execute(self) -> None:
        """Writes it whole."""
        self.set_close_on_finish()
        self.wrote_header = True
        self.channel.write_soon(self.build_response_header() + self.body)


class Lanes(ThreadedTaskDispatcher):
    """waitress's dispatcher with a second lane. `answer_polls` is for the loop, after each of its turns."""

    def __init__(self, short_road: ShortRoad | None, ask_reader: Callable[[], None]) -> None:
        super().__init__()
        self._short_road = short_road
        self._ask_reader = ask_reader
        self._polls: list[tuple[Channel, float]] = []
        self._turned_away: list[Channel] = []

    def add_task(self, task: Channel) -> None:
        """Puts a channel whose next request is complete into its lane. Any thread."""
        if self._short_road is not None and is_poll(task.requests[0]):
            self._polls.append((task, time.monotonic()))
        elif len(self.queue) >= MOST_WAITING:
            self._turned_away.append(task)
        else:
            super().add_task(task)

    def answer_polls(self) -> None:
        """Answers what can be answered at once; hands the rest to the threads. Never waits."""
        while self._turned_away:
            turn_away(self._turned_away.pop())
        if not self._polls or self._short_road is None:
            return
        if not self._short_road.is_fresh():
            self._ask_reader()
        if self._short_road.is_known():
            polls, self._polls = self._polls, []
            for channel, _ in polls:
                if channel.connected:
                    self._answer_poll(self._short_road, channel)
        else:
            self._give_up_old()

    def _answer_poll(self, short_road: ShortRoad, channel: Channel) -> None:
        link = short_road.find_link(environ_of(channel.requests[0]))
        if link is None:
            if len(self.queue) < MOST_WAITING:
                super().add_task(channel)
            else:
                turn_away(channel)
            return
        if seen.memory.note(link.device_id, clock.utc_now()):
            seen.write_out()
        answer_now(channel, HTTPStatus.OK, short_road.list_headers(), write_answer(link))

    def _give_up_old(self) -> None:
        """Polls that nothing could be read for in all that time."""
        oldest = time.monotonic() - LONGEST_PARKED_SECONDS
        polls, self._polls = self._polls, []
        for channel, since in polls:
            if since < oldest:
                turn_away(channel)
            else:
                self._polls.append((channel, since))


def is_poll(request: HTTPRequestParser) -> bool:
    """Whether a complete request is for the first lane."""
    facts = {"PATH_INFO": request.path, "REQUEST_METHOD": request.command, "QUERY_STRING": request.query}
    return request.error is None and reads_like_poll(facts)


def environ_of(request: HTTPRequestParser) -> dict[str, Any]:
    """As much of a WSGI environment as the short road looks at."""
    environ = {f"HTTP_{name}": value for name, value in request.headers.items()}
    environ["CONTENT_LENGTH"] = environ.pop("HTTP_CONTENT_LENGTH", "")
    environ["PATH_INFO"], environ["QUERY_STRING"] = request.path, request.query
    environ["REQUEST_METHOD"] = request.command
    return environ


def turn_away(channel: Channel) -> None:
    """503, and when to come again."""
    headers = [("Content-Type", "application/problem+json"), ("Retry-After", str(RETRY_SECONDS))]
    answer_now(channel, HTTPStatus.SERVICE_UNAVAILABLE, headers, BUSY)


def answer_now(channel: Channel, status: HTTPStatus, headers: list[tuple[str, str]], body: bytes) -> None:
    """Answers the request of a channel in the loop itself, as `HTTPChannel.service` does in a thread, and closes it."""
    with suppress(ClientDisconnected):
        ReadyTask(channel, status, headers, body).service()
    with channel.requests_lock:
        channel.close_when_flushed = True
        for request in channel.requests:
            request.close()
        channel.requests = []
    channel.handle_write()
