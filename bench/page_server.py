"""Collectors that hold prepared pages, one port each, in a process of its own: `python -m bench.page_server`.

Reads `{"devices": [[device id, pull secret, port], ...], "pages": n, "rows": m}` from standard input, prints "ready",
ends with its input. Every device hands out the same pages, so that only the hub's work differs.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

import msgspec

from bench import worklog
from collector import wire

EPOCH = "bench"


def make_pages(count: int, rows: int) -> list[bytes]:
    """The bodies of `count` pages with `rows` sessions each; the last says that there is no more."""
    sessions = list(worklog.tell("bench", count * rows))
    bodies = []
    for number in range(count):
        page = {
            "sessions": sessions[number * rows : (number + 1) * rows],
            "hasMore": number + 1 < count,
            "lastSyncTime": "2026-01-05T13:00:00.000Z",
            "nextCursor": f"page-{number + 1}",
            "epoch": EPOCH,
        }
        bodies.append(msgspec.json.encode(page))
    return bodies


def choose_page(pages: list[bytes], asked: dict[str, object]) -> bytes:
    """The page after the cursor that was asked with; an empty one at the end."""
    number = int(str(asked.get("cursor") or "page-0").removeprefix("page-"))
    if number < len(pages):
        return pages[number]
    empty = {"sessions": [], "hasMore": False, "lastSyncTime": "2026-01-05T13:00:00.000Z", "epoch": EPOCH}
    return json.dumps(empty | {"nextCursor": f"page-{number}"}).encode()


async def serve(port: int, device_id: str, secret: str, pages: list[bytes]) -> asyncio.Server:
    """One collector."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                lengths = [
                    line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-le")
                ]
                sent = await reader.readexactly(int(lengths[0]) if lengths else 0)
                is_export = target.startswith("/api/sessions/export")
                body = choose_page(pages, json.loads(sent)) if is_export else health(target, port, device_id, secret)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", port)


def health(target: str, port: int, device_id: str, secret: str) -> bytes:
    """The answer of `GET /api/health?challenge=`."""
    nonce = parse_qs(urlsplit(target).query).get("challenge", [""])[0]
    told = {"status": "healthy", "deviceId": device_id, "timestamp": wire.format_ms(wire.now_ms()), "paired": True}
    return json.dumps(told | {"proof": wire.health_proof(secret, nonce, device_id, port)}).encode()


async def main(given: dict) -> None:
    """Serves until standard input ends."""
    pages = make_pages(given["pages"], given["rows"])
    servers = [await serve(port, device_id, secret, pages) for device_id, secret, port in given["devices"]]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
