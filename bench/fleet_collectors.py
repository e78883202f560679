"""A fleet of collectors in one process: each polls, sends heartbeats, and proves its key and answers exports.

Usage: python -m bench.fleet_collectors, the plan as one line of JSON on standard input (see `Plan`). Prints "ready"
when all listen; after another line of input and the plan's warm seconds "measuring", and at the end of the measured
span what was seen as one line of JSON.

Raw sockets under asyncio: three thousand of these must cost less than the hub that is measured. A poll is a connection
of its own, as with real collectors. Time is cut where the kernel hands the last byte over, so that this process being
late is in the figures too.
"""

import asyncio
import json
import random
import resource
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench import fleet_exports

TIMEOUT_SECONDS = 30.0
HEARTBEAT_SECONDS = 60.0
SLEEP_CYCLE_SECONDS = 40.0


class Member(msgspec.Struct):
    """One collector. Without `address` it listens nowhere, so that only its own connection reaches it.

    `settings` are version and epoch of those that it has, which it keeps over restarts.
    """

    number: int
    device_id: str
    token: str
    secret: str
    address: str | None
    settings: tuple[int, str] = (0, "")
    is_failing: bool = False
    is_sleepy: bool = False


class Plan(msgspec.Struct):
    """What the fleet does, times in seconds. `failure_share` of the answers of failing members are none."""

    hub_port: int
    port: int
    members: list[Member]
    warm_seconds: float
    seconds: float
    poll_seconds: float = 5.0
    latency: float = 0.02
    failure_share: float = 0.3
    work_seconds: float = 120.0
    is_keeping_alive: bool = False
    has_heartbeats: bool = True


@dataclass
class Seen:
    """What the fleet saw in the measured span."""

    polls: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    heartbeats: int = 0
    exports: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def count_error(self, what: str) -> None:
        self.errors[what] = self.errors.get(what, 0) + 1


class Exchange(asyncio.Protocol):
    """One request to the hub and its answer, on a connection of its own or a kept one."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.done: asyncio.Future[bytes] | None = None
        self.data = b""
        self.is_closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The body of the answer, later; ConnectionError unless it is a 200 or 204."""
        self.data, self.done = b"", asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.done

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, mark, body = self.data.partition(b"\r\n\r\n")
        if mark and (length := content_length(head)) is not None and len(body) >= length:
            self._settle(head, body)

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_closed = True
        head, mark, body = self.data.partition(b"\r\n\r\n")
        if self.done is not None and not self.done.done():
            if mark and content_length(head) is None:
                self._settle(head, body)
            else:
                self.done.set_exception(ConnectionError("closed before an answer"))

    def _settle(self, head: bytes, body: bytes) -> None:
        if self.done is None or self.done.done():
            return
        if b"chunked" in head:
            body = join_chunks(body)
        status = head[9:12]
        if status in (b"200", b"204"):
            self.done.set_result(body)
        else:
            self.done.set_exception(ConnectionError(f"status {status.decode()}"))


def content_length(head: bytes) -> int | None:
    """What the head of an answer or a request announces."""
    if head.startswith(b"HTTP/1.1 204"):
        return 0
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else None


def join_chunks(body: bytes) -> bytes:
    """What was sent in chunks."""
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + rest[:length], rest[length + 2 :]
    return whole


class Collector:
    """One member at work."""

    def __init__(self, member: Member, plan: Plan, seen: Seen) -> None:
        self.member, self.plan, self.seen = member, plan, seen
        self.worklog = fleet_exports.Worklog(member.device_id, member.number, plan.work_seconds)
        self.version, self.epoch = member.settings
        self.answered: set[str] = set()
        self.kept: Exchange | None = None
        self.is_measured = False

    @property
    def is_awake(self) -> bool:
        """A sleepy one sleeps for a third of each cycle."""
        if not self.member.is_sleepy:
            return True
        return (time.monotonic() + self.member.number) % SLEEP_CYCLE_SECONDS < SLEEP_CYCLE_SECONDS * 2 / 3

    async def run(self) -> None:
        """Polls for ever, the first time at a moment of its own."""
        await asyncio.sleep(random.uniform(0, self.plan.poll_seconds))
        heartbeat_at = time.monotonic() + random.uniform(0, HEARTBEAT_SECONDS)
        while True:
            begun = time.monotonic()
            pause = await self.poll() if self.is_awake else self.plan.poll_seconds
            if self.plan.has_heartbeats and begun >= heartbeat_at and self.is_awake:
                await self.send_heartbeat()
                heartbeat_at += HEARTBEAT_SECONDS
            await asyncio.sleep(max(0.0, begun + pause - time.monotonic()))

    async def poll(self) -> float:
        """One poll, and whatever it asks for; the seconds until the next one."""
        begun = time.perf_counter()
        body = await self.call("GET", f"/api/collector/poll?version={self.version}&epoch={self.epoch}", b"", "poll")
        if body is None:
            return self.plan.poll_seconds
        if self.is_measured:
            self.seen.polls.append(time.perf_counter() - begun)
        told = json.loads(body)
        self.version, self.epoch = told["settingsVersion"], told["settingsEpoch"]
        for request in told["requests"]:
            if request["id"] not in self.answered:
                self.answered.add(request["id"])
                await self.answer(request)
        return min(self.plan.poll_seconds, float(told["pollInterval"]))

    async def answer(self, request: dict[str, Any]) -> None:
        """Does what a relayed request asks for."""
        begun = time.perf_counter()
        await asyncio.sleep(self.plan.latency)
        body = self.worklog.answer(request["op"], request["args"])
        if await self.call("POST", f"/api/collector/results/{request['id']}", body, "answer") is not None:
            self.seen.exports += self.is_measured
            if self.is_measured:
                self.seen.answers.append(time.perf_counter() - begun)

    async def send_heartbeat(self) -> None:
        """How it is."""
        body = b'{"status":{"version":"0.1.0","queues":{}},"appliedVersion":%d}' % self.version
        if await self.call("POST", "/api/collector/heartbeat", body, "heartbeat") is not None:
            self.seen.heartbeats += self.is_measured

    async def call(self, method: str, path: str, body: bytes, what: str) -> bytes | None:
        """The hub's answer; None after an error, which is counted."""
        exchange: Exchange | None = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                exchange = await self.connect()
                return await exchange.ask(self.request(method, path, body))
        except (OSError, TimeoutError) as error:
            self.kept = None
            if self.is_measured:
                self.seen.count_error(f"{what}: {error or type(error).__name__}")
            return None
        finally:
            if exchange is not None and exchange is not self.kept:
                exchange.transport.close()

    async def connect(self) -> Exchange:
        """A connection to the hub."""
        if self.kept is not None and not self.kept.is_closed:
            return self.kept
        loop = asyncio.get_running_loop()
        _, exchange = await loop.create_connection(Exchange, "127.0.0.1", self.plan.hub_port)
        if self.plan.is_keeping_alive:
            self.kept = exchange
        return exchange

    def request(self, method: str, path: str, body: bytes) -> bytes:
        """A request as it goes over the wire."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.plan.hub_port}",
            "User-Agent: muster-collector/0.1.0",
            f"Authorization: Bearer {self.member.token}",
        ]
        if not self.plan.is_keeping_alive:
            lines.append("Connection: close")
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the hub's requests on one connection; asleep or out of order it answers none."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                asked = await reader.readexactly(content_length(head) or 0)
                await asyncio.sleep(self.plan.latency)
                is_out = self.member.is_failing and random.random() < self.plan.failure_share
                if is_out or not self.is_awake:
                    break
                body = self.reply(target, asked)
                status = b"200 OK" if body is not None else b"404 Not Found"
                body = body or b"{}"
                head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % (status, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the hub has gone, or the run is over
        finally:
            writer.close()

    def reply(self, target: str, asked: bytes) -> bytes | None:
        """The answer to a call of the hub; None for one that it does not know."""
        if target.startswith("/api/health"):
            member = self.member
            return fleet_exports.health(target, member.device_id, member.secret, self.plan.port)
        op = {"/api/sessions/export": "sessions.export", "/api/sessions/coverage": "sessions.coverage"}.get(target)
        if op is None:
            return None
        self.seen.exports += self.is_measured
        return self.worklog.answer(op, json.loads(asked))


async def main(plan: Plan) -> None:
    """Runs the plan to its end."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    seen = Seen()
    collectors = [Collector(member, plan, seen) for member in plan.members]
    servers = [
        await asyncio.start_server(one.serve, one.member.address, plan.port, backlog=16)
        for one in collectors
        if one.member.address is not None
    ]
    print("ready", flush=True)
    tasks = [asyncio.create_task(one.run()) for one in collectors]
    await asyncio.to_thread(sys.stdin.buffer.readline)
    await asyncio.sleep(plan.warm_seconds)
    for one in collectors:
        one.is_measured = True
    print("measuring", flush=True)
    cpu = time.process_time()
    await asyncio.sleep(plan.seconds)
    told = {"polls": seen.polls, "answers": seen.answers, "heartbeats": seen.heartbeats, "exports": seen.exports}
    told |= {"errors": seen.errors, "own_cpu": (time.process_time() - cpu) / plan.seconds}
    for one in collectors:
        one.is_measured = False
    print(json.dumps(told), flush=True)
    ended = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*ended)  # none ends by itself: its error goes up
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)))
