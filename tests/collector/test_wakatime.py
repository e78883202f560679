"""WakaTime's protocol: every client's spelling is understood, and no answer makes a client repeat itself for ever."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.sources.wakatime import (
    Rejection,
    bulk_answer,
    format_duration,
    is_key,
    is_single,
    read_heartbeats,
    single_answer,
    statusbar_answer,
)
from collector.timeline.observation import Observation
from collector.timeline.projects import Projects
from tests.collector.conftest import MONDAY_MS

KEY = "0f5d3f8a-4b1c-4b62-9d6e-3f7d1a2b3c4d"
NEW_CLIENT = "wakatime/v1.115.2 (linux-6.1.0-unknown-x86_64) go1.23.4 vscode/1.90.0 vscode-wakatime/24.6.0"
OLD_CLIENT = "wakatime/13.1.0 (Linux-6.1.0-x86_64-with-glibc2.36) Python3.11.7.final.0 vim/9.0 vim-wakatime/11.1.1"
HEADERS = {"User-Agent": NEW_CLIENT, "X-Machine-Name": "ada%27s+laptop", "Timezone": "Europe/Berlin"}
CLIENT = Path(__file__).parents[1] / "e2e" / "wakatime_client.py"


def heartbeat(**fields: object) -> dict[str, object]:
    return {"entity": "/p/a.py", "type": "file", "time": MONDAY_MS / 1000, "category": "coding", **fields}


def read(*items: object, **headers: str) -> list[Observation | Rejection]:
    return read_heartbeats(json.dumps(list(items)).encode(), HEADERS | headers, MONDAY_MS)


def read_one(**fields: object) -> Observation:
    (result,) = read(heartbeat(**fields))
    assert isinstance(result, Observation), result
    return result


def test_a_heartbeat_of_the_present_client() -> None:
    seen = read_one(
        project="muster",
        branch="main",
        language="Python",
        is_write=True,
        lines=120,
        lineno=3,
        cursorpos=7,
        human_line_changes=4,
        ai_line_changes=10,
        ai_session="s1",
        ai_input_tokens=5,
        ai_output_tokens=6,
        user_agent=NEW_CLIENT,
    )
    assert (seen.source, seen.editor, seen.platform, seen.machine) == ("wakatime", "vscode", "linux", "ada's laptop")
    assert (seen.entity, seen.time_ms, seen.is_write, seen.timezone) == ("/p/a.py", MONDAY_MS, True, "Europe/Berlin")
    assert (seen.project, seen.branch, seen.language, seen.category) == ("muster", "main", "Python", "coding")
    assert (seen.lines, seen.lines_added, seen.lines_deleted) == (120, 4, 0)
    assert (seen.ai_lines, seen.ai_session, seen.ai_input_tokens, seen.ai_output_tokens) == (10, "s1", 5, 6)


def test_a_heartbeat_of_the_client_of_2020() -> None:
    seen = read_one(
        category=None, lineno="3", cursorpos="5", lines="11", project=None, dependencies=["os"], user_agent=OLD_CLIENT
    )
    assert (seen.editor, seen.platform, seen.lines, seen.category) == ("vim", "linux", 11, None)


def test_a_heartbeat_of_the_browser_edition_is_encoded_twice() -> None:
    item = heartbeat(lines_in_file=9, alternate_project="web", plugin="vscode/1.90.0 vscode-wakatime/24")
    body = json.dumps(json.dumps([item])).encode()
    (seen,) = read_heartbeats(body, {"User-Agent": "Mozilla/5.0 (X11; Linux)"}, MONDAY_MS)
    assert isinstance(seen, Observation)
    assert (seen.editor, seen.lines, seen.project) == ("vscode", 9, "web")


def test_one_heartbeat_may_come_without_an_array() -> None:
    body = json.dumps(heartbeat()).encode()
    assert is_single(body)
    assert len(read_heartbeats(body, HEADERS, MONDAY_MS)) == 1
    assert not is_single(b" [{}]")


@pytest.mark.parametrize(
    ("agent", "editor", "platform"),
    [
        (NEW_CLIENT, "vscode", "linux"),
        (OLD_CLIENT, "vim", "linux"),
        ("wakatime/v1.1 (windows-10.0-x86_64) go1.2 PhpStorm/2024.1 PhpStorm-wakatime/15", "phpstorm", "win32"),
        ("wakatime/v1.1 (darwin-23-arm64) go1.2 Cursor/1.0 cursor-wakatime/24", "cursor", "darwin"),
        ("wakatime/v1.1 (linux-x) go1.2", "unknown", "linux"),
        ("curl/8", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_the_editor_comes_after_the_runtime(agent: str, editor: str, platform: str | None) -> None:
    (seen,) = read(heartbeat(), **{"User-Agent": agent})
    assert isinstance(seen, Observation)
    assert seen.editor == editor
    assert seen.platform == platform or platform is None


def test_the_heartbeats_own_agent_wins_over_the_headers() -> None:
    # The offline queue of one editor is sent by another.
    assert read_one(user_agent=OLD_CLIENT).editor == "vim"


@pytest.mark.parametrize("days", [1, 5, 400, 20_000])
def test_any_age_is_welcome(days: int) -> None:
    assert read_one(time=MONDAY_MS / 1000 - days * 86_400).time_ms == MONDAY_MS - days * 86_400_000


@pytest.mark.parametrize(
    ("item", "word"),
    [
        (heartbeat(entity=None), "entity"),
        (heartbeat(entity=""), "entity"),
        (heartbeat(entity=5), "entity"),
        (heartbeat(entity="x" * 5000), "entity"),
        (heartbeat(entity="a\0b"), "entity"),
        (heartbeat(entity="a\ud800"), "entity"),
        (heartbeat(time=None), "time"),
        (heartbeat(time="soon"), "time"),
        (heartbeat(time=True), "time"),
        (heartbeat(time=-1), "time"),
        (heartbeat(time=1e300), "time"),
        (heartbeat(time=float("nan")), "time"),
        (heartbeat(time=MONDAY_MS), "time"),
        ({}, "entity"),
        (None, "object"),
        ([], "object"),
        ("x", "object"),
    ],
)
def test_what_cannot_be_read_is_refused_alone(item: object, word: str) -> None:
    good, bad, also_good = read(heartbeat(), item, heartbeat(time=1))
    assert isinstance(good, Observation)
    assert isinstance(also_good, Observation)
    assert isinstance(bad, Rejection)
    assert word in bad.message
    answer = bulk_answer([good, bad, also_good])
    assert [status for _, status in answer["responses"]] == [201, 400, 201]
    assert answer["responses"][1][0] == {"error": bad.message}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'"{"', b"[" * 100_000, b"9" * 10_000])
def test_a_body_that_is_no_json_is_one_refusal(body: bytes) -> None:
    (result,) = read_heartbeats(body, {}, MONDAY_MS)
    assert isinstance(result, Rejection)


@pytest.mark.parametrize(
    "fields",
    [
        {"project": 5, "branch": [], "language": {}, "category": 1, "type": None},
        {"lines": "many", "is_write": "perhaps", "human_line_changes": 10**30, "ai_session": 3},
        {"project": "x" * 5000, "category": "ai coding" * 500, "user_agent": "wakatime/1 (" * 50},
        {"branch": "\ud800", "project": "a\0b"},
    ],
)
def test_odd_values_in_fields_that_matter_less_are_left_out(fields: dict[str, object]) -> None:
    seen = read_one(**fields)
    assert len(seen.project or "") <= 512
    assert len(seen.category or "") <= 64
    assert seen.branch is None
    assert seen.lines is None


def test_the_words_for_the_last_known_values() -> None:
    placeholders = {"project": "<<LAST_PROJECT>>", "branch": "<<LAST_BRANCH>>", "language": "<<LAST_LANGUAGE>>"}
    first, second, page = read(
        heartbeat(project="muster", branch="main", language="Go"),
        heartbeat(time=1, **placeholders),
        heartbeat(time=2, entity="https://a.example/", type="url", **placeholders),
    )
    assert isinstance(second, Observation)
    assert (second.project, second.branch, second.language) == ("muster", "main", "Go")
    assert isinstance(page, Observation)
    assert (page.project, page.branch, page.language, page.entity_type) == (None, None, None, "url")
    body = json.dumps(heartbeat(**placeholders)).encode()
    (inherited,) = read_heartbeats(body, HEADERS, MONDAY_MS, latest=first)
    assert isinstance(inherited, Observation)
    assert inherited.project == "muster"
    (alone,) = read_heartbeats(body, HEADERS, MONDAY_MS)
    assert isinstance(alone, Observation)
    assert alone.project is None


def test_an_unnamed_project_is_found_on_disk(tmp_path: Path) -> None:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    (tmp_path / "shop" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    body = json.dumps(heartbeat(entity=str(tmp_path / "shop" / "src" / "a.py"))).encode()
    (seen,) = read_heartbeats(body, HEADERS, MONDAY_MS, projects=Projects())
    assert isinstance(seen, Observation)
    assert (seen.project, seen.project_path) == ("shop", str(tmp_path / "shop"))


@pytest.mark.parametrize(
    ("entity", "stored"),
    [("c:\\p\\a.py", "C:/p/a.py"), ("/p/odd\\name.py", "/p/odd\\name.py"), ("HIDDEN.py", "HIDDEN.py")],
)
def test_windows_paths_get_one_spelling(entity: str, stored: str) -> None:
    assert read_one(entity=entity).entity == stored


def test_an_answer_names_nothing_that_old_clients_stumble_over() -> None:
    (seen,) = read(heartbeat(category=None))
    ((data, status),) = bulk_answer([seen])["responses"]
    assert status == 201
    assert set(data) == {"data"}
    assert set(data["data"]) == {"id"}
    assert single_answer(seen)["data"] == data["data"]
    assert bulk_answer([]) == {"responses": []}


def test_a_repeated_heartbeat_gets_the_same_answer() -> None:
    one, again = read(heartbeat(), heartbeat())
    answers = bulk_answer([one, again])["responses"]
    assert answers[0] == answers[1]


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "query"),
    [
        (basic(KEY), None),
        (basic(KEY + ":"), None),
        (basic(f"waka_{KEY}"), None),
        (basic(KEY.upper()), None),
        (basic(KEY).rstrip("="), None),
        (basic(KEY).replace("Basic", "Bearer"), None),
        (f"Bearer {KEY}", None),
        (f"bearer  {KEY}", None),
        (None, KEY),
        (None, f"waka_{KEY}"),
    ],
)
def test_every_way_to_carry_the_key(authorization: str | None, query: str | None) -> None:
    assert is_key(authorization, query, KEY)


@pytest.mark.parametrize(
    ("authorization", "query"),
    [
        (None, None),
        ("", ""),
        ("Basic", None),
        ("Basic !!!", None),
        (basic("someone"), None),
        (basic(KEY + "x"), None),
        (f"Digest {KEY}", None),
        (KEY, None),
        (basic(""), KEY[:-1]),
        ("Bearer ü", "ü"),
    ],
)
def test_everything_else_is_no_key(authorization: str | None, query: str | None) -> None:
    assert not is_key(authorization, query, KEY)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 secs"),
        (1, "1 sec"),
        (59, "59 secs"),
        (60, "1 min"),
        (3600, "1 hr"),
        (3660, "1 hr 1 min"),
        (8220, "2 hrs 17 mins"),
    ],
)
def test_durations_in_words(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_status_bar_gets_every_list_it_looks_into() -> None:
    answer = statusbar_answer(8220, MONDAY_MS, ZoneInfo("Europe/Berlin"))
    data = answer["data"]
    assert data["grand_total"]["text"] == "2 hrs 17 mins"
    assert (data["grand_total"]["digital"], data["grand_total"]["decimal"]) == ("2:17", "2.28")
    assert [category["name"] for category in data["categories"]] == ["Coding"]
    for name in ("dependencies", "editors", "languages", "machines", "operating_systems", "projects"):
        assert data[name] == []
    assert (data["range"]["date"], data["range"]["timezone"]) == ("2026-01-05", "Europe/Berlin")
    assert data["range"]["start"] == "2026-01-05T00:00:00+01:00"
    assert answer["has_team_features"] is False
    assert statusbar_answer(0, MONDAY_MS, UTC)["data"]["categories"] == []


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = [
    "entity",
    "type",
    "time",
    "category",
    "project",
    "lines",
    "is_write",
    "user_agent",
    "human_line_changes",
    "plugin",
]
items = json_values | st.dictionaries(st.sampled_from(names), json_values, max_size=8).map(lambda d: heartbeat() | d)


@given(sent=st.lists(items, max_size=6))
def test_there_is_one_result_for_each_item_whatever_it_is(sent: list[object]) -> None:
    results = read_heartbeats(json.dumps(sent).encode(), HEADERS, MONDAY_MS)
    assert len(results) == len(sent)
    assert len(json.loads(json.dumps(bulk_answer(results)))["responses"]) == len(sent)


@given(body=st.binary(max_size=200))
def test_no_body_is_too_odd(body: bytes) -> None:
    assert isinstance(read_heartbeats(body, {}, MONDAY_MS), list)


class Recorder(BaseHTTPRequestHandler):
    """Answers heartbeats as the collector does, and keeps what it read; `is_down` makes it fail."""

    results: list[Observation | Rejection] = []
    is_down = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        allowed = is_key(self.headers["Authorization"], None, KEY) and not self.is_down
        results = read_heartbeats(body, dict(self.headers), MONDAY_MS) if allowed else []
        type(self).results += results
        answer = json.dumps(bulk_answer(results)).encode()
        self.send_response(201 if allowed else 503 if self.is_down else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def recorder() -> Iterator[tuple[type[Recorder], str]]:
    kind = type("OneRecorder", (Recorder,), {"results": [], "is_down": False})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_port}/api/v1/users/current/heartbeats.bulk"
    server.shutdown()
    thread.join()
    server.server_close()


def run_client(home: Path, url: str, seconds: int, entity: Path) -> int:
    command = [sys.executable, str(CLIENT), "--entity", str(entity), "--key", KEY, "--api-url", url, "--write"]
    command += ["--plugin", "vim/9.0 vim-wakatime/11.1.1", "--time", str(MONDAY_MS / 1000 + seconds), "--lineno", "3"]
    command += ["--cursorpos", "5", "--hostname", "ada's laptop"]
    env = os.environ | {"WAKATIME_HOME": str(home), "HOME": str(home)}
    return subprocess.run(command, env=env, timeout=60, check=False, capture_output=True).returncode


def test_the_real_client_is_understood_and_its_offline_queue_arrives(
    recorder: tuple[type[Recorder], str], tmp_path: Path
) -> None:
    kind, url = recorder
    entity = tmp_path / "a.py"
    entity.write_text("print(1)\nprint(2)\n")
    kind.is_down = True
    assert run_client(tmp_path, url, 0, entity) != 0
    assert run_client(tmp_path, url, 60, entity) != 0
    kind.is_down = False
    assert run_client(tmp_path, url, 120, entity) == 0
    seen = [result for result in kind.results if isinstance(result, Observation)]
    assert len(seen) == len(kind.results)
    assert sorted(o.time_ms for o in seen) == [MONDAY_MS, MONDAY_MS + 60_000, MONDAY_MS + 120_000]
    assert {(o.editor, o.entity, o.language, o.machine) for o in seen} == {
        ("vim", str(entity), "Python", "ada's laptop")
    }
    assert all(o.is_write and o.lines == 2 for o in seen)
