"""The dead-man's switch: warns once per silence, counts only running time, sends what it can, and takes it back."""

import http.server
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from collector import telling, tickets, wire
from collector.cli.doctor import examine_pulls
from collector.cli.setup import Setup
from collector.config import Config, ConfigError, read_config
from collector.runs import add_run
from collector.status import describe, describe_last_pull
from collector.store import Store
from collector.watch import PullWatch, find_silence
from tests.collector.api_fixtures import app, client, make_link, running  # noqa: F401 - fixtures

# ruff: noqa: F811

HOUR_MS = 3_600_000
NOW_MS = 1_767_700_000_000
PAIRED_MS = NOW_MS - 100 * HOUR_MS


class Mailbox:
    """A real HTTP server that takes sentences, or refuses the first `refusals` of them."""

    def __init__(self, refusals: int = 0) -> None:
        self.taken: list[tuple[str, str, dict[str, str]]] = []
        self.refusals = refusals
        mailbox = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                mailbox.refusals -= 1
                status = 503 if mailbox.refusals >= 0 else 200
                if status == 200:
                    mailbox.taken.append((self.path, body, dict(self.headers)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/a-secret-topic"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def paired(store: Store) -> Store:
    link = make_link(store)
    store.save_link(
        type(link)(**{name: getattr(link, name) for name in link.__struct_fields__} | {"paired_at_ms": PAIRED_MS})
    )
    return store


@pytest.fixture
def config(store: Store) -> Config:
    return Config(directory=store.path.parent)


def run_for(store: Store, hours: float, end_ms: int = NOW_MS) -> None:
    """The collector ran for so long, up to `end_ms`."""
    with store.write() as connection:
        add_run(connection, end_ms - round(hours * HOUR_MS), end_ms)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_time_in_which_it_did_not_run_is_no_silence(paired: Store, config: Config) -> None:
    run_for(paired, 2, NOW_MS - 90 * HOUR_MS)
    run_for(paired, 21)
    assert find_silence(paired, config, NOW_MS) is None
    run_for(paired, 1.5, NOW_MS + 2 * HOUR_MS)
    silence = find_silence(paired, config, NOW_MS + 2 * HOUR_MS)
    assert silence is not None
    assert (silence.since_ms, silence.ran_ms) == (PAIRED_MS, round(24.5 * HOUR_MS))
    assert silence.what.endswith("since it was paired, and Home has never pulled from it.")


def test_a_pull_ends_a_silence_and_that_of_another_link_does_not_count(paired: Store, config: Config) -> None:
    run_for(paired, 90)
    paired.note_pull(NOW_MS - HOUR_MS, "direct")
    link = paired.find_link()
    assert link is not None
    paired.save_link(link)
    assert find_silence(paired, config, NOW_MS) is not None
    paired.note_pull(NOW_MS - 23 * HOUR_MS, "direct")
    assert find_silence(paired, config, NOW_MS) is None
    assert find_silence(paired, replace(config, warn_hours=22), NOW_MS) is not None
    assert find_silence(paired, replace(config, warn_hours=0), NOW_MS) is None
    paired.clear_link()
    assert find_silence(paired, replace(config, warn_hours=22), NOW_MS) is None


def test_a_pull_counts_although_the_clock_was_ahead_when_it_was_paired(paired: Store) -> None:
    paired.note_pull(PAIRED_MS - 24 * HOUR_MS, "relay")
    assert describe_last_pull(paired) == {"at": wire.format_ms(PAIRED_MS - 24 * HOUR_MS), "road": "relay"}


def test_a_pull_of_a_clock_that_was_ahead_does_not_blind_the_watch(
    paired: Store, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    paired.note_pull(NOW_MS + 3650 * 24 * HOUR_MS, "direct")
    watch = PullWatch(paired, config)
    watch.look(NOW_MS)
    run_for(paired, 25, NOW_MS + 26 * HOUR_MS)
    watch.look(NOW_MS + 26 * HOUR_MS)
    assert len(warnings(caplog)) == 1


def test_it_warns_once_for_a_silence_also_after_a_restart(
    paired: Store, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    told: list[str] = []
    run_for(paired, 30)
    config = replace(config, is_notifying=True)
    for _ in range(2):
        watch = PullWatch(paired, config, notify=told.append)
        watch.look(NOW_MS)
        watch.look(NOW_MS + 60_000)
    assert len(warnings(caplog)) == len(told) == 1
    assert "flask --app app doctor" in warnings(caplog)[0]
    paired.note_pull(NOW_MS + 120_000, "direct")
    watch.look(NOW_MS + 130_000)
    assert told[1].endswith(" is pulled again by Home.")
    run_for(paired, 30, NOW_MS + 31 * HOUR_MS)
    watch.look(NOW_MS + 31 * HOUR_MS)
    assert len(told) == 3
    assert "without a pull by Home" in told[2]


def test_the_sentence_is_sent_until_it_is_taken_and_holds_no_secret(
    paired: Store, config: Config, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.refusals = 2
    run_for(paired, 30)
    watch = PullWatch(paired, replace(config, warn_url=mailbox.url))
    for _ in range(4):
        watch.look(NOW_MS)
        watch._send()
    assert len(mailbox.taken) == 1
    path, body, headers = mailbox.taken[0]
    assert (path, headers["Content-Type"]) == ("/a-secret-topic", "text/plain; charset=utf-8")
    assert "Authorization" not in headers
    assert "Home has never pulled from it." in body
    link = paired.find_link()
    assert link is not None
    for secret in (link.token, link.pull_secret, paired.local_token(), str(paired.path.parent)):
        assert secret not in body
    assert sum("could not be sent: 127.0.0.1 answers 503." in text for text in warnings(caplog)) == 2
    assert not any("a-secret-topic" in text for text in warnings(caplog))
    paired.note_pull(NOW_MS + 1000, "relay")
    watch.look(NOW_MS + 2000)
    watch._send()
    assert [body.endswith("is pulled again by Home.") for _, body, _ in mailbox.taken] == [False, True]


def test_what_was_not_sent_before_a_restart_is_sent_after_it(paired: Store, config: Config, mailbox: Mailbox) -> None:
    run_for(paired, 30)
    PullWatch(paired, replace(config, warn_url=mailbox.url)).look(NOW_MS)
    again = PullWatch(paired, replace(config, warn_url=mailbox.url))
    again.look(NOW_MS)
    again._send()
    again.look(NOW_MS)
    again._send()
    assert len(mailbox.taken) == 1


def test_the_thread_looks_sends_and_ends(paired: Store, config: Config, mailbox: Mailbox) -> None:
    now_ms = wire.now_ms()
    run_for(paired, 30, now_ms)
    watch = PullWatch(paired, replace(config, warn_url=mailbox.url))
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    waited = threading.Event()
    for _ in range(100):
        if mailbox.taken or waited.wait(0.1):
            break
    watch.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert len(mailbox.taken) == 1


def test_status_says_when_the_last_pull_came_and_warns(paired: Store, config: Config) -> None:
    told = describe(paired, config)
    assert (told["lastPull"], told["warning"]) == (None, None)
    now_ms = wire.now_ms()
    paired.note_pull(now_ms - 40 * HOUR_MS, "relay")
    run_for(paired, 39, now_ms)
    told = describe(paired, config)
    assert told["lastPull"] == {"at": wire.format_ms(now_ms - 40 * HOUR_MS), "road": "relay"}
    assert "without a pull by Home" in str(told["warning"])
    assert "39 h 00 m" in str(told["warning"])


def test_the_page_has_a_banner_while_no_pull_comes(paired: Store, client: FlaskClient) -> None:
    client.get(f"/open/{tickets.mint_ticket(paired)}")
    calm = client.get("/").text
    assert "No pull comes" not in calm
    assert "<dt>Last pull</dt><dd>none yet</dd>" in calm
    now_ms = wire.now_ms()
    paired.note_pull(now_ms - 40 * HOUR_MS, "relay")
    run_for(paired, 39, now_ms)
    page = client.get("/").text
    for words in ("No pull comes", "without a pull by Home. The last one came", "Nothing is lost", "--app app doctor"):
        assert words in page
    assert "1 d ago</time>, through this machine" in page
    paired.note_pull(now_ms, "direct")
    page = client.get("/").text
    assert "No pull comes" not in page
    assert "just now</time>, directly" in page


def test_the_doctor_names_the_silence_as_wrong(paired: Store, config: Config) -> None:
    setup = Setup(config, paired)
    assert [finding.is_wrong for finding in examine_pulls(setup)] == [False]
    run_for(paired, 40, wire.now_ms())
    (finding,) = examine_pulls(setup)
    assert finding.is_wrong
    assert "never pulled from it" in finding.sentence
    paired.note_pull(wire.now_ms(), "direct")
    assert list(examine_pulls(setup)) == [(False, "The hub last pulled just now.")]
    paired.clear_link()
    assert list(examine_pulls(setup)) == []


def test_a_notice_is_never_part_of_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'x" & (do shell script "id") <b>'
    monkeypatch.setattr(telling.shutil, "which", lambda name: f"/bin/{name}" if name == "osascript" else None)
    command = telling.notice_command(text)
    assert command is not None
    assert command[-1] == text
    assert not any("do shell" in word for word in command[:-1])
    monkeypatch.setattr(telling.shutil, "which", lambda name: f"/bin/{name}")
    assert telling.notice_command(text) == [
        "/bin/notify-send",
        "--app-name",
        "Muster",
        "--",
        "Muster",
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    ]
    monkeypatch.setattr(telling.shutil, "which", lambda _: None)
    assert telling.notice_command(text) is None
    telling.notify(text)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MUSTER_COLLECTOR_WARN_HOURS", "soon", "whole hours from 1 to 8760"),
        ("MUSTER_COLLECTOR_WARN_HOURS", "-1", "whole hours"),
        ("MUSTER_COLLECTOR_WARN_URL", "http://example.org/topic", "an https address"),
        ("MUSTER_COLLECTOR_WARN_URL", "https://me:secret@example.org/", "an https address"),
        ("MUSTER_COLLECTOR_WARN_URL", "https://[", "an https address"),
        ("MUSTER_COLLECTOR_NOTIFY", "perhaps", "true or false"),
    ],
)
def test_wrong_variables_are_named(store: Store, name: str, value: str, words: str) -> None:
    env = {"MUSTER_COLLECTOR_DIR": str(store.path.parent), name: value}
    with pytest.raises(ConfigError, match=words) as raised:
        read_config(env)
    assert name in str(raised.value)
    assert "secret" not in str(raised.value)


def test_right_variables_are_read(store: Store) -> None:
    env = {
        "MUSTER_COLLECTOR_DIR": str(store.path.parent),
        "MUSTER_COLLECTOR_WARN_HOURS": "0",
        "MUSTER_COLLECTOR_WARN_URL": "http://localhost:8090/topic",
        "MUSTER_COLLECTOR_NOTIFY": "1",
    }
    config = read_config(env)
    assert (config.warn_hours, config.warn_url, config.is_notifying) == (0, "http://localhost:8090/topic", True)
    plain = read_config({"MUSTER_COLLECTOR_DIR": str(store.path.parent)})
    assert (plain.warn_hours, plain.warn_url, plain.is_notifying) == (24, None, False)
