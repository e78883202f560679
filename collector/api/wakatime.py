"""WakaTime's own protocol, so that every WakaTime editor plug-in works by its `api_url`. On disk first, then 201."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import tzlocal
from flask import Blueprint, Response, request

from collector import wire
from collector.api.problems import Problem
from collector.api.replies import reply
from collector.api.security import WAKATIME_PREFIX
from collector.running import current
from collector.sources import wakatime
from collector.timeline.observation import Observation
from collector.timeline.projects import Projects

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)
calls = Blueprint("wakatime", __name__, url_prefix=WAKATIME_PREFIX)


def for_editors(view: Callable[P, R]) -> Callable[P, R]:
    """Only with the key that `status` shows; 401 otherwise, and the client keeps its heartbeats for later."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        offered = request.headers.get("Authorization"), request.args.get("api_key")
        if not wakatime.is_key(*offered, current().store.wakatime_key()):
            raise Problem(401, "The api_key is not this collector's.", WWW_Authenticate="Basic")
        return view(*args, **kwargs)

    return checked


@calls.post("users/current/heartbeats.bulk")
@calls.post("users/current/heartbeats")
@for_editors
def receive_heartbeats() -> Response:
    """Keeps heartbeats. Unreadable ones are answered one by one: the client repeats a request that fails as a whole."""
    running, body = current(), request.get_data()
    latest = running.store.find_last_observation(wakatime.SOURCE)
    headers, projects = dict(request.headers), Projects(read_roots())
    results = wakatime.read_heartbeats(body, headers, wire.now_ms(), latest=latest, projects=projects)
    added = running.store.add_observations([result for result in results if isinstance(result, Observation)])
    if added:
        running.deriver.wake()
    if wakatime.is_single(body) and len(results) == 1:
        return reply(wakatime.single_answer(results[0]), 201)
    return reply(wakatime.bulk_answer(results), 201)


@calls.get("users/current/statusbar/today")
@for_editors
def show_today() -> Response:
    """What the editor's status bar shows."""
    zone = tzlocal.get_localzone()
    return reply(wakatime.statusbar_answer(current().store.today_seconds(zone), wire.now_ms(), zone))


@calls.post("plugins/errors")
@for_editors
def receive_error() -> Response:
    """A plug-in reports a crash of its own; it goes to the log, shortened, and nowhere else."""
    log.warning("An editor plug-in reports an error: %r", request.get_data()[:500])
    return reply({}, 201)


@calls.post("users/current/file_experts")
@for_editors
def show_experts() -> Response:
    """Who else knows a file: nobody, there are no teams here."""
    return reply({"data": []})


def read_roots() -> list[str]:
    """The watched folders: what lies right below one is a project."""
    return [path.path for path in current().store.list_paths()]
