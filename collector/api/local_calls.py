"""What this machine's own user may ask: status, watched paths, configuration, a scan."""

from typing import Annotated

import msgspec
from flask import Blueprint, Response
from msgspec import Meta

from collector import wire
from collector.api.access import for_local_user
from collector.api.bodies import read_body
from collector.api.problems import Problem
from collector.api.replies import reply
from collector.paths import PathError, watch_path
from collector.running import current
from collector.status import describe
from collector.store import WatchedPath

LONGEST_PATH = 4096

calls = Blueprint("local_calls", __name__)


class PathRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /paths`. Folders are always watched with what is below them."""

    path: Annotated[str, Meta(min_length=1, max_length=LONGEST_PATH)]
    recursive: bool = True


class ScanRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /scan/trigger`. Every scan reads all watched paths and compares sizes and times anew."""

    path: Annotated[str, Meta(min_length=1, max_length=LONGEST_PATH)] | None = None
    force: bool = False


PATH_FIELDS = {"path": f"the full path of a folder, at most {LONGEST_PATH} characters", "recursive": "true"}
SCAN_FIELDS = {"path": "a watched path, or nothing for all", "force": "true or false"}


@calls.get("/status")
@for_local_user
def show_status() -> Response:
    """Everything about this collector but its local token."""
    running = current()
    return reply(describe(running.store, running.config, running))


@calls.get("/paths")
@for_local_user
def list_paths() -> Response:
    """The watched paths, oldest first."""
    return reply({"paths": [as_json(path) for path in current().store.list_paths()]})


@calls.post("/paths")
@for_local_user
def add_path() -> Response:
    """Watches another folder; the same one again gives the same entry."""
    asked = read_body(PathRequest, PATH_FIELDS)
    if not asked.recursive:
        raise Problem(422, "recursive: only true; a folder is watched with what is below it.", field="recursive")
    try:
        added = watch_path(current().store, asked.path)
    except PathError as error:
        raise Problem(422, f"path: {error}", field="path") from error
    current().filesystem.rescan()
    return reply(as_json(added), 201)


@calls.delete("/paths/<int:path_id>")
@for_local_user
def remove_path(path_id: int) -> Response:
    """Stops watching; what was recorded stays."""
    if not current().store.remove_path(path_id):
        raise Problem(404, "There is no such watched path.")
    current().filesystem.rescan()
    return Response(status=204)


@calls.post("/scan/trigger")
@for_local_user
def trigger_scan() -> Response:
    """Looks at the watched paths now."""
    asked = read_body(ScanRequest, SCAN_FIELDS)
    watched = [path.path for path in current().store.list_paths()]
    if asked.path is not None and asked.path not in watched:
        raise Problem(404, "path: this is not a watched path.", field="path")
    current().filesystem.rescan()
    return reply({"paths": watched}, 202)


@calls.get("/config")
@for_local_user
def show_config() -> Response:
    """What the collector was started with."""
    config, port = current().config, current().port
    return reply({"directory": str(config.directory), "host": config.host, "port": port})


def as_json(path: WatchedPath) -> dict[str, object]:
    """A watched path as the API tells it."""
    return {"id": path.id, "path": path.path, "recursive": True, "addedAt": wire.format_ms(path.added_at_ms)}
