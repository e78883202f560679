"""How every process writes its log: one readable line per event on standard error."""

import logging


def configure(process: str) -> None:
    """Lines such as `2026-11-21 10:30:00 worker WARNING webapp.queue: ...`. Chatty libraries speak from WARNING up."""
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {process} %(levelname)s %(name)s: %(message)s", datefmt="%F %T"
    )
    for name in ("alembic", "rq", "urllib3", "waitress.queue"):
        logging.getLogger(name).setLevel(logging.WARNING)
