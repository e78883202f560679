"""The hub's log: a line about a request carries the id that whoever asked was given."""

import logging

import pytest
from flask import Flask

from webapp.blueprints.access import public
from webapp.processes.logs import make_handler


def test_an_unexpected_error_is_found_in_the_log_by_its_request_id(
    app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    app.testing = False
    app.add_url_rule("/broken", view_func=public(lambda: str(1 // 0)), endpoint="broken")
    handler = make_handler("hub")
    logging.getLogger().addHandler(handler)
    try:
        answer = app.test_client().get("/broken")
    finally:
        logging.getLogger().removeHandler(handler)
    request_id = answer.headers["X-Request-ID"]
    assert answer.status_code == 500 and request_id in answer.text
    lines = capsys.readouterr().err.splitlines()
    assert any(f"Exception on /broken [GET] (request {request_id})" in line for line in lines)
    assert "ZeroDivisionError: integer division or modulo by zero" in lines


def test_a_line_outside_of_a_request_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    make_handler("worker").handle(logging.LogRecord("webapp.queue", logging.WARNING, "", 1, "it rained", (), None))
    assert capsys.readouterr().err.endswith(" worker WARNING webapp.queue: it rained\n")
