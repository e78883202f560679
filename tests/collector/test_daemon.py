"""The daemon as a real process: who may call it, what it survives, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from collector import wire
from collector.config import Config
from collector.daemon import prefer_port
from collector.lock import AlreadyRunning, DirectoryLock, is_running
from collector.runs import list_runs
from collector.serving import NoFreePort, listen
from collector.store import Store
from collector.timeline.observation import Observation
from tests.collector.fake_hub import PULL_SECRET, RIGHT_CODE, FakeHub, fake_hub, sign_export  # noqa: F401 - fixture

# ruff: noqa: F811

ROOT = Path(__file__).parent.parent.parent
EXPORT = "/api/sessions/export"


class Process:
    """A running collector in a directory and a home of its own."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.port = place, port
        self.url = f"http://127.0.0.1:{port}"
        self.directory, self.home = place / "collector", place / "home"
        self.home.mkdir(exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "MUSTER_COLLECTOR_DIR": str(self.directory),
            "MUSTER_COLLECTOR_PORT": str(port),
        }
        self.log = place / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, pass_fd: int | None = None) -> None:
        env = self.env | ({} if pass_fd is None else {"MUSTER_PARENT_FD": str(pass_fd)})
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "collector", "run"],
                env=env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[] if pass_fd is None else [pass_fd],
            )
        wait_for(self.answers, 15)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/api/health", timeout=2).ok
        except requests.RequestException:
            return False

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "collector", *words],
            env=self.env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return told

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Process]:
    """A collector that the test starts; nothing of it is left afterwards."""
    process = Process(tmp_path, find_free_port())
    yield process
    process.kill()


def find_free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_a_paired_collector_proves_itself_and_answers_the_hub_once(collector: Process, fake_hub: FakeHub) -> None:
    collector.start()
    paired = collector.run("pair", fake_hub.url, RIGHT_CODE)
    assert paired.returncode == 0, paired.stderr
    assert "does not run" not in paired.stdout
    assert fake_hub.claims[0]["port"] == collector.port
    nonce = wire.new_nonce()
    health = requests.get(f"{collector.url}/api/health", params={"challenge": nonce}, timeout=5).json()
    assert wire.is_health_proof(health["proof"], PULL_SECRET, nonce, health["deviceId"], collector.port)
    headers = sign_export(health["deviceId"])
    answers = [requests.post(collector.url + EXPORT, json={}, headers=headers, timeout=5) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert answers[0].json()["sessions"] == []
    wait_for(lambda: fake_hub.heartbeats, 5)
    assert fake_hub.heartbeats[0]["status"]["port"] == collector.port


def test_a_pull_over_the_collectors_own_connection(collector: Process, fake_hub: FakeHub) -> None:
    """Page by page, as a hub asks that cannot reach the machine; and the stop notes how long it ran."""
    collector.start()
    collector.run("pair", fake_hub.url, RIGHT_CODE)
    store = Store(collector.directory / "collector.db")
    store.add_observations(
        [
            Observation(source="wakatime", editor="vim", entity=f"/{n}.py", time_ms=at, received_ms=at, is_write=True)
            for n, at in enumerate(range(1_767_618_000_000, 1_767_618_000_000 + 5 * 3_600_000, 3_600_000))
        ]
    )
    names, cursor, page = [], None, {"hasMore": True}
    for number in range(9):
        if not page["hasMore"]:
            break
        args = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        deadline = wire.format_ms(wire.now_ms() + 30_000)
        fake_hub.requests = [{"id": f"r{number}", "op": "sessions.export", "args": args, "deadline": deadline}]
        wait_for(lambda count=number: len(fake_hub.results) > count, 10)
        page = fake_hub.results[-1][1]
        names += [session["fileName"] for session in page["sessions"]]
        cursor = page["nextCursor"]
    assert sorted(names) == [f"{n}.py" for n in range(5)]
    assert [request_id for request_id, _ in fake_hub.results] == ["r0", "r1", "r2"]
    assert json.loads(store.get_meta("last_pull") or "")["road"] == "relay"
    assert collector.process is not None
    collector.process.terminate()
    assert collector.process.wait(10) == 0
    with store.read() as connection:
        (run,) = list_runs(connection, store.since_ms - 60_000, wire.now_ms())
    assert 0 < run[1] - run[0] < 60_000
    assert wire.now_ms() - run[1] < 10_000
    store.close()


def test_a_used_token_stays_used_after_a_restart(collector: Process, fake_hub: FakeHub) -> None:
    collector.start()
    collector.run("pair", fake_hub.url, RIGHT_CODE)
    device_id = collector.status()["deviceId"]
    headers = sign_export(device_id)
    assert requests.post(collector.url + EXPORT, json={}, headers=headers, timeout=5).status_code == 200
    collector.kill()
    collector.start()
    assert requests.post(collector.url + EXPORT, json={}, headers=headers, timeout=5).status_code == 401
    assert requests.post(collector.url + EXPORT, json={}, headers=sign_export(device_id), timeout=5).ok


def test_heartbeats_survive_kill_9_after_their_201(collector: Process, fake_hub: FakeHub) -> None:
    collector.start()
    collector.run("pair", fake_hub.url, RIGHT_CODE)
    editor = collector.status()["wakatime"]
    beats = [{"entity": "/home/ada/a.py", "type": "file", "time": 1_767_618_000 + 60 * n} for n in range(3)]
    sent = requests.post(
        f"{editor['apiUrl']}/users/current/heartbeats.bulk",
        json=beats,
        headers={"Authorization": f"Bearer {editor['apiKey']}"},
        timeout=5,
    )
    assert sent.status_code == 201
    wait_for(lambda: told_of_editor(fake_hub), 5)
    collector.kill()
    collector.start()
    page = requests.post(
        collector.url + EXPORT, json={}, headers=sign_export(collector.status()["deviceId"]), timeout=5
    ).json()
    assert [(session["fileName"], session["totalDuration"]) for session in page["sessions"]] == [("a.py", 120)]


def told_of_editor(hub: FakeHub) -> bool:
    """Whether the hub knows that an editor reports: its first steps tick by that."""
    return bool(hub.heartbeats and hub.heartbeats[-1]["status"]["sources"]["wakatime"]["lastHeartbeatAt"])


def test_a_saved_file_becomes_a_session(collector: Process, fake_hub: FakeHub) -> None:
    project = collector.home / "code" / "thing"
    (project / ".git").mkdir(parents=True)
    collector.start()
    assert "Watching ~/code." in collector.log.read_text()
    collector.run("pair", fake_hub.url, RIGHT_CODE)
    wait_for(lambda: collector.status()["sources"]["filesystem"]["state"] == "watching", 10)
    (project / "a.py").write_text("x = 1\n")
    device_id = collector.status()["deviceId"]

    def pull() -> list[dict[str, Any]]:
        answer = requests.post(collector.url + EXPORT, json={}, headers=sign_export(device_id), timeout=5)
        sessions: list[dict[str, Any]] = answer.json()["sessions"]
        return sessions

    wait_for(pull, 10)
    session = pull()[0]
    assert (session["fileName"], session["projectName"], session["writes"]) == ("a.py", "thing", 1)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1:1, evil.example"}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Authorization": "Bearer x"}, 401),
    ],
)
@pytest.mark.parametrize("path", [EXPORT, "/api/nudge", "/paths", "/api/v1/users/current/heartbeats.bulk"])
def test_strangers(shared: Process, path: str, headers: dict[str, str], status: int) -> None:
    given = {"Content-Type": "application/json"} | headers
    answer = requests.post(shared.url + path, data=b"{}", headers=given, timeout=5)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Server" not in answer.headers
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One collector for tests that only ask."""
    process = Process(tmp_path_factory.mktemp("shared"), find_free_port())
    process.start()
    yield process
    process.kill()


def test_a_body_that_never_ends_stops_nobody(shared: Process) -> None:
    slow = [socket.create_connection(("127.0.0.1", shared.port)) for _ in range(50)]
    for one in slow:
        one.sendall(b"POST /api/sessions/export HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
    began = time.monotonic()
    assert shared.answers()
    assert time.monotonic() - began < 1
    for one in slow:
        one.close()


def test_the_page_by_ticket(shared: Process) -> None:
    link = shared.run("open", "--print").stdout.strip()
    assert link.startswith(f"{shared.url}/open/")
    with requests.Session() as browser:
        assert browser.get(link, timeout=5).status_code == 200
        assert "Connect your editor" in browser.get(shared.url, timeout=5).text
    with requests.Session() as other:
        assert other.get(link, timeout=5).status_code == 404
        assert "Connect your editor" not in other.get(shared.url, timeout=5).text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_soon_when_told(collector: Process, fake_hub: FakeHub, number: signal.Signals) -> None:
    collector.start()
    collector.run("pair", fake_hub.url, RIGHT_CODE)
    with socket.create_connection(("127.0.0.1", collector.port)) as idle:
        idle.sendall(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        idle.recv(1)
        assert collector.process is not None
        began = time.monotonic()
        collector.process.send_signal(number)
        assert collector.process.wait(6) == 0
    assert time.monotonic() - began < 5
    assert not is_running(collector.directory)
    assert "Traceback" not in collector.log.read_text()


def test_it_ends_with_its_parent(collector: Process) -> None:
    reader, writer = os.pipe()
    collector.start(pass_fd=reader)
    os.close(reader)
    assert collector.answers()
    os.close(writer)
    assert collector.process is not None
    assert collector.process.wait(6) == 0


def test_one_directory_one_daemon(collector: Process) -> None:
    collector.start()
    second = collector.run("run")
    assert second.returncode == 1
    assert second.stderr == f"Error: A collector already runs on {collector.directory}.\n"
    assert collector.answers()


def test_a_taken_port_is_one_sentence(collector: Process) -> None:
    with closing(socket.create_server(("127.0.0.1", collector.port))):
        told = collector.run("run")
    assert told.returncode == 1
    assert f"Error: Cannot listen on 127.0.0.1: {collector.port} (Address already in use)." in told.stderr
    assert "MUSTER_COLLECTOR_PORT" in told.stderr
    assert "Traceback" not in told.stderr


def test_the_next_free_port_is_taken_and_kept(tmp_path: Path) -> None:
    taken, free = socket.create_server(("127.0.0.1", 0)), find_free_port()
    config = Config(directory=tmp_path, ports=(taken.getsockname()[1], free))
    with closing(taken), closing(listen(config)) as bound:
        assert bound.getsockname()[1] == free
        with pytest.raises(NoFreePort, match=rf"{free} \(Address already in use\)"):
            listen(config)
    assert prefer_port(config, str(free)).ports == (free, config.ports[0])
    assert prefer_port(config, "1234") == config
    assert prefer_port(config, None) == config


def test_the_lock_waits_out_a_look_but_not_a_daemon(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with DirectoryLock(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(AlreadyRunning), DirectoryLock(tmp_path):
            pytest.fail("two have the lock")
    assert not is_running(tmp_path)


def test_a_port_noted_by_a_dead_daemon_is_not_believed(collector: Process) -> None:
    collector.start()
    collector.kill()
    with closing(socket.create_server(("127.0.0.1", collector.port))) as squatter:
        squatter.settimeout(0.1)
        told = collector.status()
        assert told["running"] is False
        with pytest.raises(TimeoutError):
            squatter.accept()


def test_what_it_writes_is_private(collector: Process) -> None:
    collector.start()
    Store(collector.directory / "collector.db").close()
    assert collector.directory.stat().st_mode & 0o777 == 0o700
    for file in collector.directory.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
