"""Ways to tell the owner something outside of the log and the page: a desktop notice, and a POST to an address."""

import html
import logging
import shutil
import subprocess
from urllib.parse import urlsplit

import requests

from collector.config import is_loopback
from collector.link.hub import Bearer

TITLE = "Muster"
TIMEOUT_SECONDS = (4.0, 10.0)
NOTICE_SECONDS = 5.0
SCRIPT = ("on run argv", f'display notification (item 1 of argv) with title "{TITLE}"', "end run")

log = logging.getLogger(__name__)


class NotTold(Exception):
    """Nobody was told; the message says why, without the address, which may be a secret itself."""


def notify(sentence: str) -> None:
    """A notice on the desktop, where the system has a program for it; the log says when it does not work."""
    command = notice_command(sentence)
    if command is None:
        log.warning("No desktop notice: neither notify-send nor osascript is there.")
        return
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=NOTICE_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("No desktop notice: %s does not work (%s).", command[0], type(error).__name__)


def notice_command(sentence: str) -> list[str] | None:
    """The program and its words; None where there is none. The text is never part of a script."""
    if program := shutil.which("notify-send"):
        return [program, "--app-name", TITLE, "--", TITLE, html.escape(sentence, quote=False)]
    if program := shutil.which("osascript"):
        return [program, *(word for line in SCRIPT for word in ("-e", line)), sentence]
    return None


def post(url: str, sentence: str) -> None:
    """Sends the sentence as plain text, as ntfy and its like take it. NotTold when it was not taken."""
    host = urlsplit(url).hostname or ""
    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "muster-collector"}
    with requests.Session() as session:
        session.trust_env = not is_loopback(host)
        try:
            with session.post(
                url,
                data=sentence.encode(),
                headers=headers,
                auth=Bearer(None),
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            raise NotTold(f"{host} does not answer ({type(error).__name__}).") from error
    if not 200 <= status < 300:
        raise NotTold(f"{host} answers {status}.")
