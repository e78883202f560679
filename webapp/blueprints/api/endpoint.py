"""Declares an endpoint: what it reads, what it answers, for whom. From the same declaration comes its documentation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal

import msgspec
from flask import Blueprint, Flask, Response, g, request

from webapp.blueprints.api.bodies import MEBIBYTE, read_body, read_opaque_body
from webapp.blueprints.api.queries import NoQuery, read_query

Audience = Literal["people", "collectors", "public"]
View = Callable[..., Any]

JSON = "application/json"


class NoBody(msgspec.Struct, forbid_unknown_fields=True):
    """A request that needs no body; `{}` is accepted."""


@dataclass(frozen=True)
class Media:
    """An answer that is not JSON."""

    content_type: str


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What one call of the API reads and answers. `answers`: status -> struct, Media, or None for an empty answer.

    With `is_opaque` the view gets the body's bytes; `body` only documents them.
    """

    method: str
    path: str
    summary: str
    answers: Mapping[int, Any]
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] = NoQuery
    audience: Audience = "people"
    errors: tuple[int, ...] = ()
    body_limit: int = MEBIBYTE
    is_opaque: bool = False
    view: View = field(repr=False)

    @property
    def is_unsafe(self) -> bool:
        """Whether the call changes something, so that a body and its rules belong to it."""
        return self.method != "GET"

    def answer(self, **values: Any) -> Response:
        """Reads the request, calls the view, writes its answer."""
        if self.query is not NoQuery:
            values["query"] = read_query(self.query, request.args)
        else:
            read_query(NoQuery, request.args)
        if self.is_opaque:
            values["body"] = read_opaque_body(self.body_limit)
        elif self.is_unsafe:
            body, g.received = read_body(self.body or NoBody, self.body_limit, is_optional=self.body is None)
            if self.body is not None:
                values["body"] = body
        return self.write(self.view(**values))

    def write(self, value: Any) -> Response:
        """The view's value as the answer that was declared first; a Response passes as it is."""
        if isinstance(value, Response):
            return value
        status = next(iter(self.answers))
        if value is None:
            return Response(status=status)
        return Response(msgspec.json.encode(value), status, content_type=JSON)


def endpoint(blueprint: Blueprint, method: str, path: str, **declared: Any) -> Callable[[View], View]:
    """Decorates a view; takes the arguments of `Endpoint`. The view gets `query`, `body` and the parts of the path."""

    def declare(view: View) -> View:
        made = Endpoint(method=method, path=path, view=view, **declared)

        @wraps(view)
        def answer(**values: Any) -> Response:
            return made.answer(**values)

        answer.audience = made.audience  # type: ignore[attr-defined]
        answer.endpoint = made  # type: ignore[attr-defined]
        blueprint.add_url_rule(path, view.__name__, answer, methods=[method])
        return answer

    return declare


def list_endpoints(app: Flask) -> list[tuple[str, Endpoint]]:
    """`(name, declaration)` of every declared endpoint of `app`, in the order of their paths."""
    named = ((name, getattr(view, "endpoint", None)) for name, view in app.view_functions.items())
    found = [(name, made) for name, made in named if isinstance(made, Endpoint)]
    return sorted(found, key=lambda pair: (pair[1].path, pair[1].method))
