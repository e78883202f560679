"""A machine that no network reaches, with real processes: its file is dropped into the inbox and becomes sessions."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from collector.store import Store
from tests.e2e import muster
from tests.e2e.api import Api, make_owner
from tests.sessions.export_files import HOUR_MS, MONDAY_MS, Laptop


def collector(hub: muster.Muster, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of the laptop's collector, which never runs as a daemon."""
    env = muster.environment(hub.home, hub.port, muster.free_port()) | {
        "MUSTER_COLLECTOR_DIR": str(folder / "collector")
    }
    command = [sys.executable, "-m", "collector", *words]
    return subprocess.run(command, cwd=muster.ROOT, env=env, capture_output=True, text=True, timeout=60, check=True)


def wait_for_job(api: Api, title: str) -> dict[str, Any]:
    """The job of this title, once it has finished."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        jobs: list[dict[str, Any]] = api.get("/api/jobs?type=sessions.import_file").json()["jobs"]
        found = [job for job in jobs if job["title"] == title and job["status"] not in ("queued", "running")]
        if found:
            return found[0]
        time.sleep(0.5)
    raise AssertionError(f"{title} did not finish")


def test_a_file_in_the_inbox_becomes_sessions_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "laptop")
    with muster.running(tmp_path / "home") as hub:
        api = make_owner(hub)
        code = api.post("/api/pair/codes").json()["code"]
        assert "Paired with" in collector(hub, tmp_path / "laptop", "pair", hub.url, code).stdout
        for number in range(300):
            laptop.work(f"part{number}", MONDAY_MS + number * HOUR_MS)
        path = tmp_path / "laptop.muster"
        assert "300 sessions in" in collector(hub, tmp_path / "laptop", "export", str(path)).stdout
        inbox = tmp_path / "home" / "hub" / "inbox"
        inbox.mkdir(exist_ok=True)
        (inbox / "damaged.muster").write_bytes(path.read_bytes()[:-200])
        (inbox / "laptop.muster").write_bytes(path.read_bytes())
        done, failed = wait_for_job(api, "Import laptop.muster"), wait_for_job(api, "Import damaged.muster")
        assert (done["status"], done["result"]["changed_rows"]) == ("succeeded", 300)
        assert (failed["status"], "cut short" in failed["error"]) == ("failed", True)
        ids, cursor = set(), ""
        while cursor is not None:
            page = api.get(
                f"/api/sessions?device={Store(laptop.store.path).identity.device_id}&limit=200{cursor}"
            ).json()
            ids |= {session["id"] for session in page["sessions"]}
            cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
        assert ids == {session["id"] for session in laptop.list_sessions()}
        kept = sorted(one.suffix for one in (inbox / "refused").iterdir())
        assert (kept, list((inbox / "taken").iterdir())) == ([".muster", ".txt"], [])
