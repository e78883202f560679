"""Every template compiles and keeps the house's rules: no inline code, no `safe`, links beside htmx, small partials."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask

WEBAPP = Path(__file__).parent.parent / "webapp"
TEMPLATES = sorted(path.relative_to(WEBAPP / "templates").as_posix() for path in (WEBAPP / "templates").rglob("*.html"))
PARTIALS = [name for name in TEMPLATES if name.rsplit("/", 1)[-1].startswith("_")]
PARTIAL_LINES = 40
TEMPLATE_LINES = 60

FORBIDDEN = {
    "the safe filter": r"\|\s*safe\b|autoescape\s+false|Markup\(",
    "an inline script": r"<script(?![^>]*\bsrc=)",
    "an inline style": r"<style|\sstyle\s*=",
    "an inline handler": r"\son[a-z]+\s*=",
    "hx-on": r"hx-on|data-hx-on",
    "code in an attribute": r"javascript:|hx-vals='js|hx-headers='js",
    "a file from elsewhere": r"(?:src|href)=\"(?:https?:)?//",
    "status 286": r"\b286\b",
}


class Tags(HTMLParser):
    """The start tags of a template, with Jinja's own marks taken out."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(re.sub(r"{%.*?%}|{#.*?#}", "", re.sub(r"{{.*?}}", "x", source, flags=re.S), flags=re.S))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def read(name: str) -> str:
    return (WEBAPP / "templates" / name).read_text(encoding="utf-8")


def test_there_are_templates() -> None:
    assert len(TEMPLATES) > 30
    assert PARTIALS


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_compiles(app: Flask, name: str) -> None:
    app.jinja_env.get_template(name)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_template_has(what: str) -> None:
    found = [name for name in TEMPLATES if re.search(FORBIDDEN[what], read(name), re.IGNORECASE)]
    assert not found, f"{what} in {found}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_htmx_fetches_works_without_it(name: str) -> None:
    for tag, attributes in Tags(read(name)).tags:
        if "hx-get" in attributes or "hx-post" in attributes:
            is_poll = (attributes.get("hx-trigger") or "").startswith("every")
            assert "href" in attributes or "action" in attributes or is_poll, f"<{tag}> has no plain way: {attributes}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_poll_stands_on_the_root_that_it_replaces(name: str) -> None:
    for _, attributes in Tags(read(name)).tags:
        if (attributes.get("hx-trigger") or "").startswith("every"):
            assert attributes.get("id"), "a poll's root needs an id: the answer is chosen by it"
            assert attributes.get("hx-swap") == "outerHTML"
            assert name in PARTIALS, "page and poll render the same partial"


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_form_is_fetched_with_its_token_in_the_address(name: str) -> None:
    assert not [tag for tag, attributes in Tags(read(name)).tags if tag == "form" and "hx-get" in attributes]


@pytest.mark.parametrize("name", TEMPLATES)
def test_forms_that_post_carry_the_token(name: str) -> None:
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", read(name), re.S):
        assert "csrf_field()" in form


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_is_small(name: str) -> None:
    limit = PARTIAL_LINES if name in PARTIALS else TEMPLATE_LINES
    assert len(read(name).splitlines()) <= limit


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_import_is_used(name: str) -> None:
    source = read(name)
    for names in re.findall(r"{%-?\s*from\s+\S+\s+import\s+(.*?)\s*-?%}", source):
        for word in re.split(r"\s*,\s*", names):
            assert len(re.findall(rf"\b{word}\b", source)) > 1, f"{word} is imported for nothing"


def test_every_partial_is_included_or_answered() -> None:
    sources = "\n".join(read(name) for name in TEMPLATES)
    sources += "\n".join(path.read_text(encoding="utf-8") for path in (WEBAPP / "blueprints").rglob("*.py"))
    assert [name for name in PARTIALS if f'"{name}"' not in sources] == []


def test_htmx_is_told_to_be_strict() -> None:
    config = read("base.html")
    for word in ('"historyCacheSize":0', '"allowEval":false', '"allowScriptTags":false', '"selfRequestsOnly":true'):
        assert word in config
    for word in ('"includeIndicatorStyles":false', '"historyRestoreAsHxRequest":false', '{"code":"422","swap":true}'):
        assert word in config
    assert 'hx-history="false"' in config


def test_vendored_files_are_the_recorded_ones() -> None:
    folder = WEBAPP / "static" / "vendor"
    recorded = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert recorded == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "SHA256SUMS"
    }
    assert all(name in read("base.html") for name in recorded if name.endswith(".js"))


def test_own_script_stays_small_and_plain() -> None:
    script = (WEBAPP / "static" / "app.js").read_text(encoding="utf-8")
    assert len(script.splitlines()) < 100
    assert not re.search(r"\beval\(|new Function|innerHTML|\.style\b|document\.write", script)
