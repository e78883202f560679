"""A TCP proxy that breaks connections on purpose: delay, reset, black hole, half-open, cut at any byte of the answer.

It listens on an address of its own and passes on to the same port elsewhere, because a proof is good for one port.
"""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from typing import Self

FAULTS = ("delay", "reset", "blackhole", "half_open", "cut", "cut_request", "refuse")
DELAY_SECONDS = 0.15
BUFFER = 4096


class FaultProxy:
    """`with FaultProxy("127.0.0.2", "127.0.0.3", port) as proxy: proxy.fault = "reset"`; None heals it.

    A fault meets the connections that are open and those that come while it holds.
    """

    def __init__(self, host: str, target: str, port: int, dice: random.Random) -> None:
        self.host, self.target, self.port = host, target, port
        self.met: Counter[str] = Counter()
        self._fault: str | None = None
        self._dice = dice
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def strike(self, fault: str | None) -> None:
        """From now on `fault`, or none. A reset also meets the connections that are open."""
        self._fault = fault
        if fault is not None:
            self.met[fault] += 1
        if fault == "reset":
            self._loop.call_soon_threadsafe(self._reset_all)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, self.host, self.port)

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        self._reset_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _reset_all(self) -> None:
        for writer in self._writers:
            reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self._fault == "refuse":
                reset(writer)
                return
            far_reader, far_writer = await asyncio.open_connection(self.target, self.port)
            self._writers.add(far_writer)
            try:
                await asyncio.gather(self._pass(reader, far_writer, "ask"), self._pass(far_reader, writer, "answer"))
            finally:
                self._writers.discard(far_writer)
                far_writer.close()
        except (OSError, asyncio.CancelledError):
            reset(writer)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        """Bytes one way, as the fault of the moment lets them."""
        while data := await reader.read(self._dice.randint(1, BUFFER)):
            fault = self._fault
            if fault == "delay":
                await asyncio.sleep(self._dice.uniform(0, DELAY_SECONDS))
            while self._fault == "blackhole" or (self._fault == "half_open" and way == "answer"):
                await asyncio.sleep(0.02)
            if (fault == "cut" and way == "answer") or (fault == "cut_request" and way == "ask"):
                writer.write(data[: self._dice.randrange(len(data))])
                await writer.drain()
                raise ConnectionError("cut")
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes a connection with RST, as a machine does that knows nothing of it."""
    plain = writer.get_extra_info("socket")
    if plain is not None:
        with suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
