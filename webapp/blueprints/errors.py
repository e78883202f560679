"""The one place where errors become answers: problem+json for programs, a page for people, a fragment for htmx."""

import dataclasses
import json
import logging
from http import HTTPStatus
from math import ceil
from time import time
from typing import Any

from flask import Flask, Response, g, make_response, redirect, render_template, request, url_for
from flask_limiter import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, NoResultFound, SQLAlchemyError
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge, Unauthorized

from webapp import errors
from webapp.blueprints.busy import describe_database_error
from webapp.blueprints.htmx import is_htmx
from webapp.blueprints.security import is_api
from webapp.extensions import limiter

log = logging.getLogger(__name__)

STATUS_OF: dict[type[errors.MusterError], int] = {
    errors.Unreadable: 400,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Invalid: 422,
    errors.TooMany: 429,
}

SENTENCES = {
    404: "There is nothing at this address, or it is not yours.",
    405: "This address does not accept that kind of request.",
    500: "Something went wrong in the hub. Its log says what, under this request id.",
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """One error as it is told: RFC 9457's fields, and the headers that go with it."""

    status: int
    code: str
    detail: str
    field: str | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def as_json(self) -> dict[str, Any]:
        """The body of `application/problem+json`."""
        told = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": g.get("request_id", ""),
        }
        return told | ({"field": self.field} if self.field else {})


def init_app(app: Flask) -> None:
    """Registers the translations."""
    app.register_error_handler(errors.MusterError, tell_muster_error)
    app.register_error_handler(HTTPException, tell_http_error)
    app.register_error_handler(DBAPIError, tell_database_error)
    for kind in (NoResultFound, ObjectDeletedError, StaleDataError):
        app.register_error_handler(kind, tell_gone)


def tell_muster_error(error: errors.MusterError) -> Response:
    """A named error of ours."""
    status = next((status for kind, status in STATUS_OF.items() if isinstance(error, kind)), 500)
    wait = getattr(error, "retry_after_seconds", None)
    headers = {} if wait is None else {"Retry-After": str(wait)}
    return tell(Problem(status, error.code, error.detail, getattr(error, "field", None), headers))


def tell_database_error(error: DBAPIError) -> Response:
    """A database that cannot answer now is 503 or 507; any other error in it is ours, and logged."""
    known = describe_database_error(error)
    if known is None:
        raise error
    log.warning("%s could not be answered: %s", request.path, known.code)
    return tell(Problem(known.status, known.code, known.detail, headers=known.headers))


def tell_gone(error: SQLAlchemyError) -> Response:
    """A row that somebody else deleted while this request was at it."""
    log.warning("%s met a row that is gone: %.200s", request.path, error)
    return tell(Problem(404, "not_found", "It was removed a moment ago."))


def tell_http_error(error: HTTPException) -> Response:
    """An error of Flask, Werkzeug or an extension."""
    if isinstance(error, Unauthorized) and not is_api():
        return _ask_to_sign_in()
    status = error.code or 500
    if isinstance(error, InternalServerError):
        return tell(Problem(500, "internal", SENTENCES[500]))
    return tell(Problem(status, _code_of(error, status), _detail_of(error, status), headers=_headers_of(error)))


def tell(problem: Problem) -> Response:
    """`problem` in the form that whoever asked can read."""
    if is_api():
        body = json.dumps(problem.as_json(), ensure_ascii=False)
        response = make_response(body, problem.status, {"Content-Type": "application/problem+json"})
    else:
        response = make_response(_render(problem), problem.status)
    response.headers.update(problem.headers)
    return response


def _render(problem: Problem) -> str:
    told = {"problem": problem, "request_id": g.get("request_id", "")}
    if problem.status >= 500:
        g.setdefault("account", None)  # the page of a broken database must not ask it who is signed in
        told["is_bare"] = True
        told["current_user"] = None
    template = "errors/_error.html" if is_htmx() else "errors/error.html"
    return render_template(template, **told)


def _ask_to_sign_in() -> Response:
    """To the sign-in page: the whole browser for htmx, so that no form lands in a fragment."""
    if is_htmx():
        return Response(status=401, headers={"HX-Redirect": url_for("accounts.show_sign_in")})
    after = request.full_path.rstrip("?") if request.method == "GET" else None
    return make_response(redirect(url_for("accounts.show_sign_in", next=after if after != "/" else None), code=303))


def _code_of(error: HTTPException, status: int) -> str:
    if isinstance(error, CSRFError):
        return "csrf"
    default = HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    return str(getattr(error, "code_word", default))


def _detail_of(error: HTTPException, status: int) -> str:
    if isinstance(error, CSRFError):
        return "This form is too old, or cookies are off. Reload the page and try again."
    if isinstance(error, RateLimitExceeded):
        return f"Too many tries: {error.description} at most. Wait a moment."
    if isinstance(error, RequestEntityTooLarge):
        return f"Too large. The limit here is {(request.max_content_length or 0) // 1024} KiB."
    is_ours = error.description is not None and error.description != type(error).description
    return str(error.description) if is_ours else SENTENCES.get(status, str(error.description))


def _headers_of(error: HTTPException) -> dict[str, str]:
    """What the standard wants with this status: Allow, WWW-Authenticate, Retry-After."""
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    if isinstance(error, RateLimitExceeded):
        reset_at = limiter.current_limit.reset_at if limiter.current_limit else time() + 60
        headers["Retry-After"] = str(max(1, ceil(reset_at - time())))
    return headers
