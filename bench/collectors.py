"""Many collectors in one process: each proves its key, waits, and hands out prepared pages; see `serving_collectors`.

All of them hand out the same pages, so that only the hub's work differs. Without pages an export holds no session, as a
routine pull mostly finds. The process (`python -m bench.collectors`) reads what to serve as one line of JSON, prints
"ready" when all listen, and ends with its input.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from bench import worklog
from bench.hub import ROOT
from collector import wire

EPOCH = "bench"
TOLD = {"lastSyncTime": "2026-01-05T13:00:00.000Z", "epoch": EPOCH}


class Device(NamedTuple):
    """A paired device and where its collector listens."""

    device_id: str
    pull_secret: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where it is called."""
        return f"http://{self.host}:{self.port}"


@contextmanager
def serving_collectors(
    devices: Sequence[Device], *, latency_ms: float = 0.0, pages: int = 0, rows: int = 0
) -> Iterator[int]:
    """The collectors of `devices`, in a process of their own -> its process id."""
    command = [sys.executable, "-m", "bench.collectors"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        given = {"devices": devices, "latency_ms": latency_ms, "pages": pages, "rows": rows}
        process.stdin.write(json.dumps(given).encode() + b"\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != b"ready":
            raise RuntimeError("the collectors did not start")
        yield process.pid
    finally:
        process.stdin.close()
        process.wait(timeout=10)


def address_of(number: int) -> str:
    """A loopback address (127.x.y.z) of its own for each number."""
    return f"127.{1 + number // 62_500}.{(number // 250) % 250}.{1 + number % 250}"


def device_of(number: int) -> str:
    """A device id for each number."""
    return f"bench-{number}"


def make_pages(count: int, rows: int) -> list[bytes]:
    """The bodies of `count` pages with `rows` sessions each, the last of which says that there is no more; an empty
    one after them."""
    sessions = list(worklog.tell("bench", count * rows))
    bodies = []
    for number in range(count + 1):
        page = {"sessions": sessions[number * rows : (number + 1) * rows], "hasMore": number + 1 < count}
        bodies.append(msgspec.json.encode(page | TOLD | {"nextCursor": f"page-{min(number + 1, count)}"}))
    return bodies


def choose_page(pages: list[bytes], asked: bytes) -> bytes:
    """The page after the cursor that was asked with."""
    cursor = str(json.loads(asked).get("cursor") or "page-0")
    return pages[min(int(cursor.removeprefix("page-")), len(pages) - 1)]


async def serve(device: Device, pages: list[bytes], latency: float) -> asyncio.Server:
    """One collector."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                sent = await reader.readexactly(read_length(head))
                if latency:
                    await asyncio.sleep(latency)
                is_export = target.startswith("/api/sessions/export")
                body = choose_page(pages, sent) if is_export else health(target, device)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, device.host, device.port, backlog=64)


def read_length(head: bytes) -> int:
    """How long the body is that follows."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def health(target: str, device: Device) -> bytes:
    """The answer of `GET /api/health?challenge=`."""
    nonce = parse_qs(urlsplit(target).query).get("challenge", [""])[0]
    proof = wire.health_proof(device.pull_secret, nonce, device.device_id, device.port)
    told = {"status": "healthy", "deviceId": device.device_id, "timestamp": wire.format_ms(wire.now_ms())}
    return json.dumps(told | {"version": "1", "protocol": 1, "paired": True, "proof": proof}).encode()


async def main(given: dict) -> None:
    """Serves until standard input ends."""
    pages = make_pages(given["pages"], given["rows"])
    servers = [await serve(Device(*device), pages, given["latency_ms"] / 1000) for device in given["devices"]]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
