"""The command line in processes of its own: with and without a daemon, in a directory of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.cli import first_run
from collector.store import Store
from tests.collector.fake_hub import RIGHT_CODE, FakeHub, fake_hub  # noqa: F401 - fixture

# ruff: noqa: F811

ROOT = Path(__file__).parent.parent.parent

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A machine with an empty home and a collector directory below the test's own."""
    (tmp_path / "home").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "MUSTER_COLLECTOR_DIR": str(tmp_path / "collector"),
    }


@pytest.fixture
def cli(env: dict[str, str]) -> Cli:
    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "collector", *words],
            env=env | more,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def cli_store(tmp_path: Path) -> Store:
    return Store(tmp_path / "collector" / "collector.db")


def test_help_is_for_newcomers(cli: Cli) -> None:
    told = cli("--help")
    assert told.returncode == 0
    for word in ("run", "pair", "unpair", "status", "scan", "doctor", "paths", "import-git", "open", "service"):
        assert f"\n  {word} " in told.stdout


def test_status_in_words_and_for_programs(cli: Cli, cli_store: Store) -> None:
    words = cli("status")
    assert words.returncode == 0, words.stderr
    assert "does not run. Start it:" in words.stdout
    assert "not paired" in words.stdout
    assert f"api_key = {cli_store.wakatime_key()}" in words.stdout
    told = json.loads(cli("status", "--json").stdout)
    assert told["localToken"] == cli_store.local_token()
    assert told["deviceId"] == cli_store.identity.device_id
    assert (told["running"], told["paired"], told["hubUrl"], told["port"]) == (False, False, None, 8001)
    assert (told["settingsVersion"], told["settings"]) == (0, {})
    assert told["wakatime"]["apiUrl"] == "http://127.0.0.1:8001/api/v1"
    assert {"queues", "sources"} <= set(told)


def test_pairing_and_unpairing_without_a_daemon(cli: Cli, cli_store: Store, fake_hub: FakeHub) -> None:
    paired = cli("pair", fake_hub.url, "k7m", "2qx")
    assert paired.returncode == 0, paired.stderr
    assert paired.stdout.startswith(f"Paired with Fake hub at {fake_hub.url}.\n")
    assert "does not run yet" in paired.stdout
    assert cli_store.find_link() is not None
    assert fake_hub.claims[0]["port"] == 8001
    gone = cli("unpair")
    assert gone.stdout == "Unpaired from Fake hub. What this machine recorded stays here.\n"
    assert cli_store.find_link() is None
    assert cli("unpair").stdout == "This machine is not paired.\n"


def test_a_wrong_code_is_one_sentence_and_exit_1(cli: Cli, fake_hub: FakeHub) -> None:
    told = cli("pair", fake_hub.url, "AAAAAA")
    assert told.returncode == 1
    assert told.stderr.startswith("Error: The hub does not know this code")
    assert "Traceback" not in told.stderr


def test_folders(cli: Cli, cli_store: Store, tmp_path: Path) -> None:
    (tmp_path / "home" / "work").mkdir()
    assert cli("paths", "list").stdout.startswith("No folder is watched.")
    assert cli("paths", "add", str(tmp_path / "home" / "work")).stdout == "Watching ~/work.\n"
    assert cli("paths", "list").stdout.endswith("~/work\n")
    missing = cli("paths", "add", str(tmp_path / "nothing"))
    assert (missing.returncode, "There is no folder" in missing.stderr) == (1, True)
    assert cli("scan").returncode == 0
    assert "No longer watching ~/work." in cli("paths", "remove", str(tmp_path / "home" / "work")).stdout
    assert cli_store.list_paths() == []
    assert cli("paths", "remove", "7").returncode == 1


def test_past_commits(cli: Cli, cli_store: Store, env: dict[str, str], tmp_path: Path) -> None:
    repository = tmp_path / "home" / "code" / "thing"
    repository.mkdir(parents=True)
    (repository / "a.py").write_text("x = 1\n")
    (tmp_path / "home" / ".gitconfig").write_text("[user]\n name = Ada\n email = ada@example.org\n")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run(["git", *words], cwd=repository, env=env, check=True)
    cli("paths", "add", str(tmp_path / "home" / "code"))
    told = cli("import-git")
    assert told.returncode == 0, told.stderr
    assert cli_store.last_observation_ms("git") is not None
    again = cli("import-git")
    assert again.stdout.startswith("0 observations new")


def test_what_needs_a_daemon_says_so(cli: Cli) -> None:
    told = cli("open")
    assert told.returncode == 1
    assert "The collector does not run. Start it:" in told.stderr


def test_doctor_names_what_is_wrong(cli: Cli) -> None:
    told = cli("doctor")
    assert told.returncode == 1
    wrong = [line for line in told.stdout.splitlines() if line.startswith("WRONG")]
    assert len(wrong) == 3
    assert "The collector does not run" in wrong[0]
    assert "not paired" in wrong[1]
    assert "No folder is watched" in wrong[2]


def test_a_wrong_variable_is_one_sentence(cli: Cli) -> None:
    told = cli("status", MUSTER_COLLECTOR_PORT="80")
    assert told.returncode == 1
    assert told.stderr == "Error: MUSTER_COLLECTOR_PORT='80': a whole number from 1024 to 65535.\n"


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("linux", ["ExecStart=", "systemctl --user enable --now muster-collector"]),
        ("macos", ["<key>RunAtLoad</key><true/>", "launchctl load -w"]),
        ("windows", ["shell:startup", "-m collector run"]),
    ],
)
def test_service_instructions_have_the_real_paths(
    cli: Cli, env: dict[str, str], platform: str, words: list[str]
) -> None:
    told = cli("service", "--platform", platform)
    assert told.returncode == 0, told.stderr
    for word in (*words, str(ROOT), env["MUSTER_COLLECTOR_DIR"]):
        assert word in told.stdout


def test_the_first_start_asks_on_a_terminal(cli_store: Store, tmp_path: Path) -> None:
    offered, refused, typed = (tmp_path / name for name in ("offered", "refused", "typed"))
    for path in (offered, refused, typed):
        path.mkdir()
    answers = f"y\nn\n/no/such/folder\n{typed}\n\n"
    with CliRunner().isolation(input=answers) as (out, *_):
        first_run.ask(cli_store, [offered, refused])
    assert [path.path for path in cli_store.list_paths()] == [str(offered), str(typed)]
    assert b"There is no folder /no/such/folder." in out.getvalue()


def test_the_first_start_elsewhere_takes_what_it_finds(
    cli_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "code" / "thing" / ".git").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    first_run.prepare(cli_store)
    assert [path.path for path in cli_store.list_paths()] == [str(tmp_path / "code")]
    assert capsys.readouterr().out.startswith("Watching ~/code.\n")
    cli_store.remove_path(1)
    first_run.prepare(cli_store)
    assert cli_store.list_paths() == []
