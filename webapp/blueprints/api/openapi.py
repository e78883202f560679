"""The OpenAPI 3.1 document, generated from the endpoints' own declarations, so that it cannot say something else."""

import re
from typing import Any

import msgspec
from flask import Flask
from werkzeug.routing import BaseConverter, Map

from webapp.blueprints.api.endpoint import JSON, Endpoint, Media, list_endpoints

PROBLEM_JSON = "application/problem+json"
REF = "#/components/schemas/{name}"
PART = re.compile(r"<(?:(?P<converter>[a-z_]+):)?(?P<name>[a-z_]+)>")

MEANINGS = {
    200: "Done.",
    201: "Made.",
    202: "Accepted; a job does it.",
    204: "Done; nothing to say.",
    400: "The request cannot be read, or names a host that is not this hub's.",
    401: "No credential, or one that opens nothing.",
    403: "Not allowed for this caller, or made by another site.",
    404: "It does not exist, or it is not yours.",
    409: "It is in a state in which this cannot be done.",
    413: "Too large; the detail names the limit.",
    415: "Not JSON, or compressed.",
    422: "Understood, but a value is not acceptable; the detail names the field and its limits.",
    429: "Too often. Retry-After says when to try again.",
    503: "The hub cannot do this at the moment. Retry-After says when to try again.",
}

ERRORS = [status for status in MEANINGS if status >= 400]
HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}

SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "people": [{"apiToken": []}, {"browserSession": []}],
    "collectors": [{"deviceToken": []}],
    "public": [],
}


class ProblemDetails(msgspec.Struct, kw_only=True):
    """An error as RFC 9457 has it. `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    field: str | None = None


def describe_api(app: Flask, version: str) -> dict[str, Any]:
    """The document for every declared endpoint of `app`."""
    endpoints = list_endpoints(app)
    kinds = _list_kinds(endpoints)
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_describe_other, ref_template=REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for name, made in endpoints:
        path = PART.sub(r"{\g<name>}", made.path)
        paths.setdefault(path, {})[made.method.lower()] = _describe_call(name, made, schema_of, app.url_map)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Muster", "version": version, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {str(status): _describe_error(status, schema_of[ProblemDetails]) for status in ERRORS},
            "securitySchemes": _describe_credentials(),
        },
    }


def list_errors(made: Endpoint) -> list[int]:
    """The error statuses that a call can answer with."""
    found = {400, 422, 503, *made.errors}
    if made.audience != "public":
        found |= {401, 403}
    if made.is_unsafe:
        found |= {403, 413, 415}
    if PART.search(made.path):
        found.add(404)
    return sorted(found)


def _list_kinds(endpoints: list[tuple[str, Endpoint]]) -> list[type]:
    kinds: list[type] = [ProblemDetails]
    for _name, made in endpoints:
        kinds += [kind for kind in (made.body, *made.answers.values()) if isinstance(kind, type)]
    return list(dict.fromkeys(kinds))


def _describe_call(name: str, made: Endpoint, schema_of: dict[type, Any], rules: Map) -> dict[str, Any]:
    call: dict[str, Any] = {
        "operationId": name.replace(".", "_"),
        "tags": [made.path.removeprefix("/api/").split("/")[0].lstrip("/")],
        "summary": made.summary,
        "security": SECURITY[made.audience],
        "parameters": [*_describe_path(made, rules), *_describe_query(made)],
        "responses": {str(status): _describe_answer(status, kind, schema_of) for status, kind in made.answers.items()},
    }
    if made.body is not None:
        call["requestBody"] = {"required": True, "content": {JSON: {"schema": schema_of[made.body]}}}
    for status in list_errors(made):
        call["responses"].setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    return call


def _describe_error(status: int, problem: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": MEANINGS[status], "content": {PROBLEM_JSON: {"schema": problem}}}
    if status in HEADERS:
        told["headers"] = {HEADERS[status]: {"required": True, "schema": {"type": "string"}}}
    return told


def _describe_answer(status: int, kind: Any, schema_of: dict[type, Any]) -> dict[str, Any]:
    if kind is None:
        return {"description": MEANINGS[status]}
    if isinstance(kind, Media):
        return {"description": MEANINGS[status], "content": {kind.content_type: {"schema": {"type": "string"}}}}
    return {"description": MEANINGS[status], "content": {JSON: {"schema": schema_of[kind]}}}


def _describe_path(made: Endpoint, rules: Map) -> list[dict[str, Any]]:
    return [
        {
            "name": part["name"],
            "in": "path",
            "required": True,
            "schema": _describe_part(rules.converters[part["converter"]]),
        }
        for part in PART.finditer(made.path)
    ]


def _describe_part(converter: type[BaseConverter]) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{converter.regex}$"}


def _describe_query(made: Endpoint) -> list[dict[str, Any]]:
    (schema,), _ = msgspec.json.schema_components([made.query], schema_hook=_describe_other, ref_template="{name}")
    properties = msgspec.json.schema(made.query, schema_hook=_describe_other)["$defs"][schema["$ref"]]["properties"]
    required = {field.encode_name for field in msgspec.structs.fields(made.query) if field.required}
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(kind)}
        for name, kind in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is left out is simply not there; it cannot be null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key != "default" or value is not None)}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _describe_other(kind: type) -> dict[str, Any]:
    """Anything at all, for the fields that are declared as `object`."""
    if kind is object:
        return {"description": "any JSON value"}
    raise NotImplementedError


def _describe_credentials() -> dict[str, Any]:
    return {
        "apiToken": {"type": "http", "scheme": "bearer", "description": "An API token from the settings page."},
        "browserSession": {"type": "apiKey", "in": "cookie", "name": "muster", "description": "A signed-in browser."},
        "deviceToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token that pairing gave to a collector.",
        },
    }
