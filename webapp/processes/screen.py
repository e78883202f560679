"""The one screen that `make run` shows."""

import sys
from contextlib import suppress
from pathlib import Path

from webapp.config import Config


def screen(config: Config) -> str:
    """What a person needs to know, once everything runs."""
    lines = [("Open", config.base_url)]
    if config.setup_link_path.exists():
        lines.append(("First time", f"{config.base_url}/setup/{config.setup_link_path.read_text().strip()}"))
        lines.append(("", "makes your account; it works once"))
    lines.append(("Pair", f"{config.base_url}/pairing shows a code for this machine; another machine runs"))
    lines.append(("", f"{shown(Path(sys.executable))} -m collector pair {config.base_url} CODE"))
    lines.append(("Logs", f"{shown(config.data_dir / 'log')}/*.log"))
    lines.append(("Stop", "Ctrl-C"))
    return "\n".join(["", "  Muster runs.", "", *(f"  {name:<12}{text}" for name, text in lines), ""])


def shown(path: Path) -> str:
    """A path as short as it can be read from here."""
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def last_line(path: Path) -> str:
    """Where a log is and how it ends, for the line about a process that ended."""
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    end = next((line for line in reversed(lines) if line.strip()), "")
    return f"The end of {shown(path)}: {end[:200]}"


def last_words(path: Path) -> str:
    """The end of a log file, for a person whose hub does not start."""
    lines = path.read_text(errors="replace").splitlines()[-5:] if path.exists() else []
    return "\n".join([f"The end of {shown(path)}:", *lines])
