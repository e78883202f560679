"""Why a session was not accepted, for people: a sentence, and the place in its text that it is about. Pure."""

import re
from dataclasses import dataclass

import msgspec

from collector import wire
from webapp.blueprints.api import wording

SHOWN = 3000
"""So many characters of a text are shown, around the place that is wrong."""
MARKED = 160
BYTE = re.compile(r"\(byte (\d+)\)$")
FIELD = re.compile(r"^([A-Za-z_]{1,64}): ")
OF_THE_SHAPE = (wording.UNKNOWN, wording.MISSING, wording.WRONG)
UNREADABLE = (
    ("surrogate", "It holds half of a character (a lone surrogate), which cannot be stored."),
    ("Input data was truncated", "It ends in the middle: the JSON is not complete."),
    ("'utf-8' codec", "It holds bytes that are no UTF-8 text."),
    ("Expected `object`", "It is no session but another kind of JSON value."),
    ("JSON is malformed", "It is no readable JSON."),
)


@dataclass(frozen=True)
class Excerpt:
    """Part of a text, with what is wrong in `marked`. `is_part` says that there is more of it than is shown."""

    before: str
    marked: str
    after: str
    is_part: bool


def explain(reason: str) -> str:
    """`reason` as a person reads it; a sentence of ours stays as it is."""
    if any(shape.search(reason) for shape in OF_THE_SHAPE):
        field, sentence = wording.explain(wire.FileSession, msgspec.ValidationError(reason))
        expected = sentence.removeprefix(f"{field}: ").removeprefix("missing; ").removesuffix(".")
        if field:
            is_missing = wording.MISSING.search(reason) is not None
            return f"{field} is {'missing' if is_missing else 'not acceptable'}. Expected: {expected}."
    named = FIELD.search(reason)
    ours = reason.replace(named[1], name_field(reason) or "", 1) if named else reason
    return next((sentence for sign, sentence in UNREADABLE if sign in reason), ours)


def cut_out(text: str, reason: str) -> Excerpt:
    """The part of `text` that `reason` is about, with its unprintable characters written out."""
    start, end = locate(text, reason)
    first = max(0, min(start - SHOWN // 3, len(text) - SHOWN))
    last = min(len(text), first + SHOWN)
    parts = (text[first:start], text[start:end], text[end:last])
    before, marked, after = (write_out(part) for part in parts)
    return Excerpt(before, marked, after, is_part=first > 0 or last < len(text))


def locate(text: str, reason: str) -> tuple[int, int]:
    """Where in `text` the fault is, `(0, 0)` when nobody can say."""
    if byte := BYTE.search(reason):
        at = len(text.encode()[: int(byte[1])].decode(errors="ignore"))
        return max(0, at - 1), min(len(text), at + 8)
    name = name_field(reason)
    found = re.search(rf'"{re.escape(name)}"\s*:\s*("(?:[^"\\]|\\.)*"?|[^,}}]*)', text) if name else None
    return (found.start(), min(found.end(), found.start() + MARKED)) if found else (0, 0)


def name_field(reason: str) -> str | None:
    """The field that `reason` names, as it is called in a session."""
    if wrong := wording.WRONG.search(reason):
        names = [step["name"] for step in wording.STEP.finditer(wrong["path"]) if step["name"]]
        return names[0] if names else None
    named = FIELD.search(reason)
    if named is None:
        return None
    first, *others = named[1].split("_")
    return first + "".join(other.title() for other in others)


def write_out(text: str) -> str:
    """`text` with characters that do not show, or turn the text around, as `\\u202e`."""
    return "".join(one if one.isprintable() or one in "\n\t" else f"\\u{ord(one):04x}" for one in text)
