"""Many collectors in one process: each has an address 127.x.y.z of its own, proves its key, waits, answers an export.

Usage: python -m bench.mock_collectors COUNT PORT LATENCY_MS, the pull secrets as one line of JSON on standard input.
Prints "ready" when all listen and ends with its input. Exports hold no session, as a routine pull mostly finds.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

from collector import wire

EMPTY = {"sessions": [], "hasMore": False, "lastSyncTime": "2026-01-05T13:00:00.000Z", "epoch": "bench"}


def address_of(number: int) -> str:
    """The loopback address of collector `number`."""
    return f"127.{1 + number // 62_500}.{(number // 250) % 250}.{1 + number % 250}"


def device_of(number: int) -> str:
    """The device id of collector `number`."""
    return f"bench-{number}"


class Collector:
    """One collector: answers health with proof and export with an empty page after `latency` seconds."""

    def __init__(self, number: int, secret: str, port: int, latency: float) -> None:
        self.device_id, self.secret, self.port, self.latency = device_of(number), secret, port, latency
        self.export = json.dumps(EMPTY | {"nextCursor": f"c{number}"}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection until it closes."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                await reader.readexactly(_content_length(head))
                await asyncio.sleep(self.latency)
                body = self.export if target.startswith("/api/sessions/export") else self.health(target)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def health(self, target: str) -> bytes:
        """The answer of `GET /api/health?challenge=`."""
        nonce = parse_qs(urlsplit(target).query).get("challenge", [""])[0]
        proof = wire.health_proof(self.secret, nonce, self.device_id, self.port)
        answer = {"status": "healthy", "deviceId": self.device_id, "timestamp": wire.format_ms(wire.now_ms())}
        return json.dumps(answer | {"version": "1", "protocol": 1, "paired": True, "proof": proof}).encode()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def main(count: int, port: int, latency_ms: float, secrets: list[str]) -> None:
    """Serves until standard input ends."""
    servers = []
    for number in range(count):
        collector = Collector(number, secrets[number], port, latency_ms / 1000)
        servers.append(await asyncio.start_server(collector.serve, address_of(number), port, backlog=64))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    many, at_port, wait_ms = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    given = json.loads(sys.stdin.readline())
    asyncio.run(main(many, at_port, wait_ms, given))
