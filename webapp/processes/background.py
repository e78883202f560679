"""Threads beside the web server's loop: each does one thing whenever it is asked to, so that nobody waits for it."""

import logging
import threading
from collections.abc import Callable

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from webapp.extensions import db

END_SECONDS = 5.0

log = logging.getLogger(__name__)


class Background:
    """A thread that does `do` in the app's context, once for all that ask while it is at it."""

    def __init__(self, app: Flask, name: str, do: Callable[[], object]) -> None:
        self._app = app
        self._do = do
        self._asked = threading.Event()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def ask(self) -> None:
        """Have it done soon. Never waits."""
        self._asked.set()

    def end(self) -> None:
        """Lets it finish what it is at."""
        self._is_ending = True
        self._asked.set()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        while self._asked.wait() and not self._is_ending:
            self._asked.clear()
            with self._app.app_context():
                try:
                    self._do()
                except SQLAlchemyError:  # the database is gone for a moment: who asks next has better luck
                    log.exception("%s failed", self._thread.name)
                finally:
                    db.session.remove()
