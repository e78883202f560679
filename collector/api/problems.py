"""Errors as answers: RFC 9457 `application/problem+json` for programs, a plain sentence for a browser's page."""

import json
import logging
import secrets
import sqlite3
from http import HTTPStatus

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError

log = logging.getLogger(__name__)

SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not accept that kind of request.",
    500: "Something went wrong in the collector. Its log says what, under this request id.",
}


class Problem(HTTPException):
    """An error with a sentence for people, a code for programs and, where there is one, the field that is wrong."""

    def __init__(
        self, status: int, detail: str, *, code: str | None = None, field: str | None = None, **headers: str
    ) -> None:
        super().__init__(detail)
        self.code = status
        self.code_word = code or HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
        self.field = field
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def init_app(app: Flask) -> None:
    """Registers the translations."""
    app.register_error_handler(Problem, tell)
    app.register_error_handler(HTTPException, tell_http_error)
    app.register_error_handler(sqlite3.OperationalError, tell_busy_store)


def tell_http_error(error: HTTPException) -> Response:
    """An error of Flask or Werkzeug."""
    status = error.code or 500
    if isinstance(error, InternalServerError):
        return tell(Problem(500, SENTENCES[500]))
    problem = Problem(status, SENTENCES.get(status, error.description or HTTPStatus(status).phrase))
    problem.headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return tell(problem)


def tell_busy_store(error: sqlite3.OperationalError) -> Response:
    """A database that cannot be written now."""
    log.error("The database does not answer: %s", error)
    return tell(explain_store_error(error))


def explain_store_error(error: sqlite3.OperationalError) -> Problem:
    """Why not: somebody holds it for too long, or the disk is full."""
    if "full" in str(error):
        return Problem(507, "The disk of this machine is full. Make room; nothing that was accepted is lost.")
    return Problem(503, "The collector's database is busy. Try again.", Retry_After="2")


def tell(problem: Problem) -> Response:
    """`problem` in the form that whoever asked can read."""
    status, request_id = problem.code or 500, secrets.token_hex(8)
    if status >= 500:
        log.error("%s %s: %s (request %s)", request.method, request.path, problem.description, request_id)
    if wants_page():
        text = render_template("problem.html", problem=problem, title=HTTPStatus(status).phrase, request_id=request_id)
        response = Response(text, status, mimetype="text/html")
    else:
        response = Response(as_json(problem, status, request_id), status, mimetype="application/problem+json")
    response.headers.update(problem.headers)
    return response


def as_json(problem: Problem, status: int, request_id: str) -> str:
    """The body of `application/problem+json`."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": problem.description,
        "code": problem.code_word,
        "request_id": request_id,
    }
    if problem.field:
        body["field"] = problem.field
    return json.dumps(body)


def wants_page() -> bool:
    """Whether a browser is showing a page, rather than a program asking."""
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"] and not request.path.startswith("/api/")
