"""What every benchmark shares: CPU time of a process tree, a load of plain requests, the line that reports a ratio."""

import socket
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Figure:
    """One measured ratio and its target; `at_most` says which side is good."""

    name: str
    value: float
    target: float
    unit: str = "x"
    at_most: bool = True

    @property
    def is_reached(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target if self.at_most else self.value >= self.target


def report(figure: Figure, note: str = "") -> None:
    """One line: name, value, target, reached or not."""
    sign = "<=" if figure.at_most else ">="
    verdict = "reached" if figure.is_reached else "NOT reached"
    measured = f"{figure.name:<58} {figure.value:>9.2f}{figure.unit:<4}"
    print(
        f"{measured} target {sign} {figure.target:g}{figure.unit}  {verdict}{f'  ({note})' if note else ''}", flush=True
    )


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process, its threads and its living children; to the nanosecond where Linux offers it."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(_own_cpu_seconds(process.pid) for process in tree)


def whole_cpu_seconds(pid: int) -> float:
    """CPU seconds of one process, those of threads that have ended among them; to a hundredth."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _own_cpu_seconds(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task")
    if tasks.is_dir():
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
    return whole_cpu_seconds(pid)


def median_ratio(rounds: int, subject: Callable[[], float], limit: Callable[[], float]) -> tuple[float, float, float]:
    """`(median of ratios, median subject, median limit)` of interleaved rounds, so that a noisy neighbour hits both."""
    pairs = [(subject(), limit()) for _ in range(rounds)]
    ratios = [one / other for one, other in pairs]
    return (
        statistics.median(ratios),
        statistics.median(one for one, _ in pairs),
        statistics.median(other for _, other in pairs),
    )


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 30.0) -> None:
    """Returns when something listens on the port; TimeoutError otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


def request_bytes(port: int, path: str, headers: dict[str, str] | None = None) -> bytes:
    """A plain GET as it goes over the wire."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def send_load(port: int, request: bytes, total: int, connections: int = 16) -> list[float]:
    """Sends `request` `total` times over several connections, reopened when the server closes -> seconds of each."""
    share = total // connections
    with ThreadPoolExecutor(connections) as pool:
        parts = pool.map(lambda _: _send_many(port, request, share), range(connections))
        return [one for part in parts for one in part]


def _send_many(port: int, request: bytes, count: int) -> list[float]:
    connection: socket.socket | None = None
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sendall(request)
        if not _read_answer(connection):
            connection.close()
            connection = None
        seconds.append(time.perf_counter() - start)
    if connection is not None:
        connection.close()
    return seconds


def _read_answer(connection: socket.socket) -> bool:
    """Reads one answer; whether the connection can be used again. RuntimeError unless it is a 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError("connection closed before an answer")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b" 200 " not in lines[0]:
        raise RuntimeError(f"unexpected answer {lines[0]!r}")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), None)
    while length is None or len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return length is not None and b"connection: close" not in lines


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` (0 to 1) of `values` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def own_cpu_seconds() -> float:
    """CPU time of this process with all its threads, also those that have ended."""
    return time.process_time()
