"""The desk at which the threads of a round wait for machines that answer over their own connection.

Threads ask and sleep; the one thread that writes calls `exchange` every now and then, which posts what they ask and
hands out what has come. So hundreds of waiting threads cost one short look at the database.
"""

import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from webapp.adapters import export_pages
from webapp.adapters.collector_client import CollectorError
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.devices import service as devices
from webapp.lib import clock

T = TypeVar("T")

UNKNOWN_STATUSES = (404, 405, 501)
PASSING_STATUSES = (429, 500, 502, 503, 504)
NO_ANSWER = "This machine did not answer over its own connection in time. Is its collector running and connected?"
NOT_PAIRED = "This machine is no longer paired."
STOPPED = "The hub stopped waiting for this machine's answer."


class Problem(msgspec.Struct, kw_only=True):
    """An answer that says why there is none (RFC 9457). A health answer also has a `status`, which is a word."""

    status: int
    title: str = ""
    detail: str = ""


@dataclass(eq=False)
class Question:
    """One call that a thread waits for; `deadline` is on the monotonic clock. `is_left`: the thread has gone."""

    device_id: str
    op: str
    args: dict[str, Any]
    deadline: float
    done: threading.Event = field(default_factory=threading.Event)
    answer: bytes | None = None
    failure: CollectorError | None = None
    is_left: bool = False

    def settle(self, answer: bytes | None, failure: CollectorError | None = None) -> None:
        """Wakes the thread."""
        self.answer, self.failure = answer, failure
        self.done.set()


class RelayDesk:
    """One per round of pulls. `ask` is for any thread, `exchange` for the one that writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[Question] = []
        self._posted: dict[uuid.UUID, Question] = {}
        self._is_closed = False

    def ask(self, device_id: str, op: str, args: msgspec.Struct, kind: type[T], deadline: float) -> T:
        """The device's answer to `op` as `kind`; waits until `deadline` (`time.monotonic()`) and touches no database.

        CollectorError: `timeout` when no answer came, `unsupported` for what the collector does not know, `bad_answer`
        for another problem that it tells or for what cannot be read, `unreachable` when the device is paired no more.
        """
        question = Question(device_id, op, msgspec.to_builtins(args), deadline)
        with self._lock:
            if self._is_closed:
                raise CollectorError("timeout", STOPPED)
            self._asked.append(question)
        question.done.wait(max(0.0, deadline - time.monotonic()))
        question.is_left = True
        if question.failure is not None:
            raise question.failure
        if question.answer is None:
            raise CollectorError("timeout", NO_ANSWER)
        return read_answer(question.answer, kind)

    def exchange(self) -> None:
        """Posts what is asked, hands out what has come, drops what nobody waits for. No statement when there is none.

        One look and, when that finds anything to do, one transaction. An error leaves everything as it was.
        """
        with self._lock:
            asked = [question for question in self._asked if not question.is_left]
            self._asked = list(asked)
        if not asked and not self._posted:
            return
        answers = devices.take_answers(self._posted.keys()) if self._posted else {}
        db.session.rollback()
        left = [call_id for call_id, question in self._posted.items() if question.is_left and call_id not in answers]
        ids = self._write(asked, [*answers, *left]) if asked or answers or left else []
        for call_id in left:
            self._posted.pop(call_id)
        for call_id, answer in answers.items():
            self._posted.pop(call_id).settle(answer)
        self._note_posted(asked, ids)

    def close(self) -> None:
        """Lets every thread that waits go on at once, with an error; for a round that ends early. No database.

        What was posted expires, and the clock prunes it.
        """
        with self._lock:
            self._is_closed = True
            waiting = [*self._asked, *self._posted.values()]
            self._asked = []
            self._posted = {}
        for question in waiting:
            question.settle(None, CollectorError("timeout", STOPPED))

    def _write(self, asked: list[Question], ended: list[uuid.UUID]) -> list[uuid.UUID | None]:
        now, ticks = clock.utc_now(), time.monotonic()
        calls = [(one.device_id, one.op, one.args, now + timedelta(seconds=one.deadline - ticks)) for one in asked]
        with transaction() as session:
            devices.drop_calls(session, ended)
            return devices.add_calls(session, calls) if calls else []

    def _note_posted(self, asked: list[Question], ids: list[uuid.UUID | None]) -> None:
        with self._lock:
            self._asked = self._asked[len(asked) :]
        for question, call_id in zip(asked, ids, strict=True):
            if call_id is None:
                question.settle(None, CollectorError("unreachable", NOT_PAIRED))
            else:
                self._posted[call_id] = question


def read_answer(body: bytes, kind: type[T]) -> T:
    """What a device sent as `kind`; CollectorError as `RelayDesk.ask` says."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = None
    if problem is not None and problem.status >= 400:
        raise explain_problem(problem)
    try:
        return export_pages.read_answer(body, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = f"What this machine answered over its own connection is not what a collector answers ({error})."
        raise CollectorError("bad_answer", reason[:500]) from error


def explain_problem(problem: Problem) -> CollectorError:
    """What it means that a device answers with a problem."""
    if problem.status in UNKNOWN_STATUSES:
        detail = "Its collector does not know what the hub asks it for. Update it."
        return CollectorError("unsupported", detail, status=problem.status)
    told = (problem.detail or problem.title).strip() or f"status {problem.status}"
    detail = f"This machine answered over its own connection that it cannot: {told}"
    may_pass = problem.status in PASSING_STATUSES
    return CollectorError("bad_answer", detail[:500], may_pass=may_pass, status=problem.status)
