"""Sessions as seed 001's editor extension sends them."""

from typing import Any

from werkzeug.test import TestResponse

from tests.api.conftest import Caller


def make_session(**changes: Any) -> dict[str, Any]:
    """One session; five minutes of Python on 5 January 2026."""
    return {
        "id": "s-1",
        "filePath": "file:///home/ada/my%20code/app.py",
        "fileName": "app.py",
        "fileExtension": "py",
        "language": "Python",
        "projectName": "my code",
        "projectPath": "/home/ada/my code",
        "sessionStartTime": "2026-01-05T13:00:00.000Z",
        "sessionEndTime": "2026-01-05T13:05:00.000Z",
        "totalDuration": 300,
        "linesAdded": 3,
        "linesDeleted": 1,
        "linesModified": 2,
        "charactersAdded": 80,
        "charactersDeleted": 10,
        "charactersModified": 5,
        "totalEdits": 12,
        "isActive": False,
        **changes,
    }


def push(caller: Caller, editor: str = "vscode", **changes: Any) -> TestResponse:
    """Pushes one session."""
    body = {"session": make_session(**changes), "systemInfo": {"editor": editor, "platform": "linux"}}
    return caller.post("/api/sessions", json=body)
