"""How every process writes its log: one readable line per event on standard error."""

import logging

from flask import g, has_request_context


def configure(process: str) -> None:
    """Lines such as `2026-11-21 10:30:00 worker WARNING webapp.queue: ...`. Chatty libraries speak from WARNING up."""
    logging.basicConfig(level=logging.INFO, handlers=[make_handler(process)])
    for name in ("alembic", "rq"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of every request that waits for a thread


def make_handler(process: str) -> logging.Handler:
    """What writes those lines; one about a request ends with the id that the request's answer carries."""
    handler = logging.StreamHandler()
    handler.addFilter(name_request)
    layout = f"%(asctime)s {process} %(levelname)s %(name)s: %(message)s%(request)s"
    handler.setFormatter(logging.Formatter(layout, datefmt="%F %T"))
    return handler


def name_request(record: logging.LogRecord) -> bool:
    """Adds `request` to the record; keeps every record."""
    record.request = f" (request {g.request_id})" if has_request_context() and "request_id" in g else ""
    return True
