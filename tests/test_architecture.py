"""The rules of docs/architecture.md, checked on the source: imports go down, features know no HTTP."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp.features import LADDER

ROOT = Path(__file__).parent.parent
LONGEST_MODULE = 400
NO_HTTP = ("flask", "flask_login", "flask_wtf", "flask_limiter", "flask_htmx", "werkzeug", "jinja2", "wtforms")
FLASK_OF_FEATURES = ("current_app", "Flask")
VAGUE = {"utils", "util", "helpers", "helper", "manager", "managers", "handler", "handlers", "common", "misc", "base"}


def modules(*folders: str) -> list[Path]:
    """Every module below these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """`webapp/lib/clock.py` -> `webapp.lib.clock`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import, wherever in the module it stands; name is empty for `import x`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def imported_modules(path: Path) -> set[str]:
    """Every module that could be meant: `from a import b` may name the module a.b."""
    return {found for module, name in imports(path) for found in (module, f"{module}.{name}".rstrip("."))}


def within(module: str, package: str) -> bool:
    """Whether `module` is `package` or below it."""
    return module == package or module.startswith(f"{package}.")


SOURCE = modules("webapp", "collector")
FEATURES = modules("webapp/features")


def test_the_ladder_names_the_features_that_there_are() -> None:
    folders = {path.parent.name for path in (ROOT / "webapp/features").glob("*/__init__.py")}
    assert folders == set(LADDER)


@pytest.mark.parametrize("path", FEATURES, ids=name_of)
def test_a_feature_imports_only_features_below_it(path: Path) -> None:
    feature = path.relative_to(ROOT / "webapp/features").parts[0]
    if feature == "__init__.py":
        return
    above = LADDER[LADDER.index(feature) + 1 :]
    found = {
        module for module in imported_modules(path) for other in above if within(module, f"webapp.features.{other}")
    }
    assert not found, f"{path}: {found} stands higher in the ladder"


@pytest.mark.parametrize("path", FEATURES, ids=name_of)
def test_a_feature_knows_no_http(path: Path) -> None:
    used = {(module, name) for module, name in imports(path) if module.split(".")[0] in NO_HTTP}
    allowed = {("flask", name) for name in FLASK_OF_FEATURES}
    assert used <= allowed, f"{path}: {used - allowed}"
    assert not any(within(module, "webapp.blueprints") for module in imported_modules(path)), path


@pytest.mark.parametrize("path", modules("webapp/lib"), ids=name_of)
def test_lib_is_the_standard_library_and_our_errors(path: Path) -> None:
    allowed = {"webapp.lib", "webapp.errors"}
    for module, _ in imports(path):
        is_ours = any(within(module, package) for package in allowed)
        assert is_ours or module.split(".")[0] in sys.stdlib_module_names, f"{path}: {module}"


@pytest.mark.parametrize("path", modules("webapp/adapters"), ids=name_of)
def test_an_adapter_imports_no_feature_and_no_view(path: Path) -> None:
    for module in imported_modules(path):
        assert not within(module, "webapp.features") and not within(module, "webapp.blueprints"), f"{path}: {module}"


@pytest.mark.parametrize("path", modules("collector"), ids=name_of)
def test_the_collector_never_imports_the_hub(path: Path) -> None:
    assert not {module for module in imported_modules(path) if within(module, "webapp")}, path


@pytest.mark.parametrize("path", [*modules("webapp"), ROOT / "app.py", ROOT / "worker.py"], ids=name_of)
def test_the_hub_imports_only_the_wire_of_the_collector(path: Path) -> None:
    for module, name in imports(path):
        if within(module, "collector"):
            assert module == "collector.wire" or (module, name) == ("collector", "wire"), f"{path}: {module}"


@pytest.mark.parametrize("path", modules("webapp/blueprints"), ids=name_of)
def test_a_view_commits_nothing_and_calls_nobody_on_the_network(path: Path) -> None:
    found = {module for module in imported_modules(path) if within(module, "webapp.adapters") or module in NETWORK}
    assert not found, f"{path}: {found}"
    called = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert "commit" not in called, f"{path} commits; that is a service's work"


NETWORK = {"requests", "urllib3", "urllib.request", "http.client", "httpx"}


@pytest.mark.parametrize("path", [*SOURCE, *modules("tests", "bench"), ROOT / "migrations" / "env.py"], ids=name_of)
def test_a_module_says_its_job_and_stays_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_MODULE, f"{path} has {text.count(chr(10))} lines: split it"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is for"


@pytest.mark.parametrize("path", SOURCE, ids=name_of)
def test_names_are_exact(path: Path) -> None:
    assert path.stem not in VAGUE and path.parent.name not in VAGUE, path


@pytest.mark.parametrize("path", SOURCE, ids=name_of)
def test_nothing_is_left_for_later(path: Path) -> None:
    text = path.read_text()
    for word in ("TODO", "FIXME", "XXX"):
        assert word not in text, f"{path}: {word}"


@pytest.mark.parametrize("path", modules("webapp"), ids=name_of)
def test_rows_are_stored_the_fast_way(path: Path) -> None:
    """`.values([...])` compiles a bind per cell, nine times slower than rows as the second argument."""
    tree = ast.parse(path.read_text())
    for call in calls(tree, "values"):
        lists = (ast.List, ast.ListComp, ast.Starred)
        assert not any(isinstance(argument, lists) for argument in call.args), f"{path}:{call.lineno} .values([...])"
    for loop in (node for node in ast.walk(tree) if isinstance(node, ast.For | ast.While | ast.ListComp)):
        for call in calls(loop, "merge"):
            assert "session" not in ast.unparse(call.func), f"{path}:{call.lineno} merge in a loop"


def calls(tree: ast.AST, method: str) -> Iterator[ast.Call]:
    """Every call of a method of this name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            yield node


def test_the_programs_are_short() -> None:
    assert len((ROOT / "app.py").read_text().splitlines()) <= 30
    assert len((ROOT / "worker.py").read_text().splitlines()) <= 40
