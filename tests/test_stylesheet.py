"""The stylesheet keeps AA contrast in both themes, has every colour a picture may ask for, and loads nothing."""

import re
from pathlib import Path

import pytest

from webapp.blueprints.formatting import COLOUR_COUNT

CSS = (Path(__file__).parent.parent / "webapp" / "static" / "app.css").read_text(encoding="utf-8")
TEXT = ("text", "soft", "faint", "accent", "ok", "late", "problem", "off")
GROUNDS = ("bg", "side", "raised", "hover")
PICTURE = [f"p{index}" for index in range(COLOUR_COUNT)]


def read_tokens() -> dict[str, dict[str, str]]:
    """Theme -> token -> `#rrggbb`."""
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.S)
    themes = {
        name: dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", body))
        for name, body in (("light", light), ("dark", dark))
    }
    return {"light": themes["light"], "dark": themes["light"] | themes["dark"]}


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_on_every_ground(theme: str) -> None:
    tokens = read_tokens()[theme]
    pairs = [(text, ground) for text in TEXT for ground in GROUNDS]
    pairs += [("accent-text", "accent"), ("accent", "accent-soft")]
    pairs += [(state, f"{state}-soft") for state in ("ok", "late", "problem")]
    poor = {pair: round(contrast(tokens[pair[0]], tokens[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_projects_stand_out_from_the_ground(theme: str) -> None:
    tokens = read_tokens()[theme]
    assert {name for name in PICTURE if contrast(tokens[name], tokens["bg"]) < 2.9} == set()


def test_every_colour_has_its_class() -> None:
    for name in [*PICTURE, "px", *(f"h{shade}" for shade in range(5))]:
        assert f".{name} {{ fill: var(--{name}); }}" in CSS


def test_nothing_is_loaded_and_motion_can_be_turned_off() -> None:
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert "prefers-reduced-motion: reduce" in CSS
