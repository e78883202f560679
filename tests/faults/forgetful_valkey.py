"""A Valkey that writes nothing down: what it held is gone when it is killed. On a private socket, for fault tests."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from webapp import embedded_queue

START_SECONDS = 10


class ForgetfulValkey:
    """`with ForgetfulValkey() as valkey:` runs one at `valkey.url`; `kill`, then `start` it again, empty."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="muster-queue-", dir="/tmp"))
        self.socket = self.home / "valkey.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.socket.unlink(missing_ok=True)
        command = [str(embedded_queue.find_server()), "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.home), "--appendonly", "no", "--save", ""]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not embedded_queue.is_live(self.socket):
            assert time.monotonic() < deadline, "Valkey did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> "ForgetfulValkey":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.home)
