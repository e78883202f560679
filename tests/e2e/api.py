"""The hub's API as the owner's scripts use it, against a running hub."""

import subprocess
import sys
from dataclasses import dataclass

import requests

from tests.e2e import muster
from tests.e2e.muster import Muster


@dataclass(frozen=True)
class Api:
    """Calls with one API token; an answer that is no success fails the test."""

    url: str
    token: str

    def get(self, path: str) -> requests.Response:
        """GET."""
        return self._call("GET", path)

    def post(self, path: str, body: object = None) -> requests.Response:
        """POST, with a JSON body if there is one."""
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: object = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=30)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer


def make_owner(hub: Muster) -> Api:
    """Makes the owner's account and a token for it with the command line, as a script would."""
    flask(hub, "user", "create", "ada", "--password-stdin", "--admin", said="correct horse battery\n")
    return Api(hub.url, flask(hub, "token", "create", "--user", "ada", "--label", "tests").strip())


def flask(hub: Muster, *words: str, said: str = "") -> str:
    """What `flask --app app ...` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", *words],
        cwd=muster.ROOT, env=muster.environment(hub.home, hub.port, hub.collector_port),
        input=said, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
