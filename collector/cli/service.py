"""`service`: how to start the collector at login, with this machine's real paths filled in."""

import sys
from collections.abc import Callable
from html import escape

import click

from collector.cli.setup import Setup, with_setup
from collector.invocation import ROOT

SYSTEMD = """\
1. Save this as ~/.config/systemd/user/muster-collector.service

[Unit]
Description=Muster collector
After=network.target

[Service]
WorkingDirectory={root}
Environment="MUSTER_COLLECTOR_DIR={directory}"
ExecStart="{python}" -m collector run
Restart=on-failure
RestartSec=5

[Install]
WantedBy=default.target

2. Start it, now and at every login:

systemctl --user daemon-reload
systemctl --user enable --now muster-collector

3. Its log: journalctl --user -u muster-collector -f"""

LAUNCHD = """\
1. Save this as ~/Library/LaunchAgents/io.muster.collector.plist

<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>Label</key><string>io.muster.collector</string>
  <key>WorkingDirectory</key><string>{root}</string>
  <key>EnvironmentVariables</key><dict><key>MUSTER_COLLECTOR_DIR</key><string>{directory}</string></dict>
  <key>ProgramArguments</key>
  <array><string>{python}</string><string>-m</string><string>collector</string><string>run</string></array>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
  <key>StandardErrorPath</key><string>{directory}/collector.log</string>
</dict></plist>

2. Start it, now and at every login:

launchctl load -w ~/Library/LaunchAgents/io.muster.collector.plist

3. Its log: {directory}/collector.log"""

WINDOWS = """\
1. Save this as muster-collector.cmd in the folder that opens with Win+R, shell:startup

@echo off
cd /d "{root}"
set "MUSTER_COLLECTOR_DIR={directory}"
start "" "{python}" -m collector run

2. Start it now: double-click the file. It runs without a window, now and after every logon."""

PLATFORMS: dict[str, tuple[str, Callable[[str], str]]] = {
    "linux": (SYSTEMD, lambda text: text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")),
    "macos": (LAUNCHD, escape),
    "windows": (WINDOWS, lambda text: text.replace("%", "%%")),
}


def this_platform() -> str:
    """The platform whose instructions are wanted."""
    return {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")


@click.command()
@click.option("--platform", type=click.Choice(list(PLATFORMS)), default=this_platform, help="Default: this one.")
@with_setup
def service(setup: Setup, platform: str) -> None:
    """Show how to start the collector at every login (systemd, launchd, Windows)."""
    click.echo(instructions(setup, platform))


def instructions(setup: Setup, platform: str) -> str:
    """The text, with the paths of this machine."""
    template, quote = PLATFORMS[platform]
    python = sys.executable.replace("python.exe", "pythonw.exe")  # the one without a window
    return template.format(root=quote(str(ROOT)), directory=quote(str(setup.config.directory)), python=quote(python))
