"""The hub over HTTP: one request at a time, no redirects, short answers, and errors as sentences."""

import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec
import requests
from requests.auth import AuthBase

from collector import __version__, wire
from collector.config import is_loopback
from collector.store import Link

TIMEOUT_SECONDS = (4.0, 10.0)
LONGEST_ANSWER_SECONDS = 20.0
LARGEST_ANSWER = 1024 * 1024


class HubError(Exception):
    """The hub cannot be reached, or does not do what was asked; the message is for people."""

    def __init__(self, detail: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class DeviceRevoked(HubError):
    """The hub has ended the link: the only answer on which a collector forgets it."""


class Bearer(AuthBase):
    """The device token. As an `auth`, so that a .netrc cannot put another credential in its place."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            prepared.headers["Authorization"] = f"Bearer {self._token}"
        return prepared


class Hub:
    """The hub at `url`, called with a device token, or without one to redeem a code.

    `clock_ms` is what its clock showed, to the second, when it answered last; None when it did not say.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.clock_ms: int | None = None
        self._auth = Bearer(token)

    @classmethod
    def of(cls, link: Link) -> "Hub":
        """The hub that this collector is paired with."""
        return cls(link.hub_url, link.token)

    def get(self, path: str) -> bytes:
        """The body of a 200 answer; HubError otherwise."""
        return self._call("GET", path, None)

    def post(self, path: str, body: msgspec.Struct | bytes = b"{}") -> bytes:
        """The body of a 2xx answer to `body`, which is JSON already or made so; HubError otherwise."""
        return self._call("POST", path, body if isinstance(body, bytes) else msgspec.json.encode(body))

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"User-Agent": f"muster-collector/{__version__}", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with requests.Session() as session:
            session.trust_env = not is_loopback(urlsplit(self.url).hostname or "")  # a proxy cannot reach our loopback
            try:
                answer = session.request(
                    method,
                    self.url + path,
                    data=body,
                    headers=headers,
                    auth=self._auth,
                    timeout=TIMEOUT_SECONDS,
                    allow_redirects=False,
                    stream=True,
                )
                content = read_limited(answer)
            except requests.RequestException as error:
                raise HubError(describe(error, self.url)) from error
        if not 200 <= answer.status_code < 300:
            raise read_error(answer, content, self.url)
        self.clock_ms = read_clock(answer)
        return content


def read_limited(answer: requests.Response) -> bytes:
    """The body, as far as a hub's answers ever go. A HubError says what a longer one means."""
    content, deadline = b"", time.monotonic() + LONGEST_ANSWER_SECONDS
    for part in answer.iter_content(65_536):
        content += part
        if len(content) > LARGEST_ANSWER:
            raise HubError("The answer is far too long for a Muster hub. Is the address right?")
        if time.monotonic() > deadline:
            raise HubError("The answer comes too slowly. Is the hub, or the network, overloaded?")
    return content


def read_clock(answer: requests.Response) -> int | None:
    """When the answer was made, by the clock of who made it, in milliseconds since 1970."""
    try:
        return wire.to_ms(parsedate_to_datetime(answer.headers["Date"]))
    except (KeyError, ValueError, TypeError):  # none, unreadable, or without a zone
        return None


def read_error(answer: requests.Response, content: bytes, url: str) -> HubError:
    """An answer that is no success, as an error with the hub's own sentence where it has one."""
    try:
        problem = msgspec.json.decode(content, type=dict[str, object])
    except msgspec.DecodeError:
        problem = {}
    code, detail = problem.get("code"), problem.get("detail")
    if answer.status_code == 401 and code == "device_revoked":
        return DeviceRevoked("The hub has ended the link.", status=401, code="device_revoked")
    if not isinstance(detail, str):
        moved = " It sends elsewhere; give that address instead." if answer.is_redirect else ""
        detail = f"{url} answers {answer.status_code} and no sentence of a Muster hub.{moved}"
    return HubError(detail, status=answer.status_code, code=code if isinstance(code, str) else None)


def describe(error: requests.RequestException, url: str) -> str:
    """Why there was no answer, and what to check."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"The certificate of {url} is not trusted on this machine."
    if isinstance(error, requests.Timeout):
        return f"{url} does not answer in time. Is the hub running, and can this machine reach it?"
    if isinstance(error, requests.ConnectionError):
        return f"Nothing answers at {url}. Is the hub running, and is this its address?"
    return f"{url} cannot be asked: {error}"


def normalise_hub_url(text: str) -> str:
    """`hub.example:8000/pairing` -> `http://hub.example:8000`; ValueError with a sentence if it is no address."""
    text = text.strip()
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or port in (-1, 0):
        raise ValueError(f"{text!r} is not a hub's address. It looks like http://127.0.0.1:8000.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def is_private_road(url: str) -> bool:
    """Whether nobody can listen on the way to the hub: TLS, or this machine itself."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")
