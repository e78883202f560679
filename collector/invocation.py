"""How a person starts this program again: the command to show in sentences."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def command(*words: str) -> str:
    """`command("open")` -> `.venv/bin/python -m collector open`, as it is typed in the folder where Muster is."""
    return " ".join((python_path(), "-m", "collector", *words))


def python_path() -> str:
    """The interpreter, relative to Muster's folder where it lies inside."""
    executable = Path(sys.executable)
    return str(executable.relative_to(ROOT)) if executable.is_relative_to(ROOT) else "python"
