"""Answers as JSON."""

import msgspec
from flask import Response


def reply(value: object, status: int = 200) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, mimetype="application/json")
