"""Which language a file is in, by its name alone, under one canonical display name."""

from fnmatch import fnmatchcase
from functools import cache, lru_cache

from pygments.lexers import get_all_lexers

UNKNOWN = "Unknown"

RENAMED = {
    "Batchfile": "Batch",
    "GAS": "Assembly",
    "NASM": "Assembly",
    "Org Mode": "Org",
    "Text only": "Text",
    "TSX": "TypeScript",
    "JSX": "JavaScript",
    "VimL": "Vim Script",
    "verilog": "Verilog",
    "VB.net": "Visual Basic",
    "Protocol Buffer": "Protocol Buffers",
    "S": "R",
}
"""Names of the table that people would not recognise, or that would split one language in two."""

BY_EXTENSION = {
    "adoc": "AsciiDoc", "as": "ActionScript", "asm": "Assembly", "astro": "Astro", "bas": "Visual Basic",
    "cl": "Common Lisp", "csv": "CSV", "env": "Shell", "feature": "Gherkin", "frag": "GLSL", "fs": "F#",
    "gd": "GDScript", "glsl": "GLSL", "h": "C", "hh": "C++", "inc": "PHP", "ipynb": "Jupyter Notebook", "j2": "Jinja",
    "jinja": "Jinja", "jsonc": "JSON", "lean": "Lean", "m": "Objective-C", "mdx": "Markdown", "mm": "Objective-C++",
    "p": "Pawn", "pl": "Perl", "pm": "Perl", "prisma": "Prisma", "pro": "Prolog", "r": "R", "s": "Assembly",
    "sc": "SuperCollider", "sql": "SQL", "svelte": "Svelte", "svg": "SVG", "t": "Perl", "tex": "LaTeX",
    "ttl": "Turtle", "v": "Verilog", "vert": "GLSL", "wgsl": "WGSL", "xsl": "XSLT", "xslt": "XSLT",
}  # fmt: skip
"""Where the table knows several languages for an extension, or none: the one that a developer means most often."""

BY_NAME = {
    ".env": "Shell", ".gitattributes": "Git Config", ".gitignore": "Git Config", "go.mod": "Go", "go.sum": "Go",
    "jenkinsfile": "Groovy", "justfile": "Just", "license": "Text", "readme": "Text", "gemfile": "Ruby",
    "rakefile": "Ruby",
}  # fmt: skip

BY_EDITOR_ID = {
    "typescriptreact": "TypeScript", "javascriptreact": "JavaScript", "shellscript": "Bash", "plaintext": "Text",
    "text": "Text", "jsonc": "JSON", "objective-c": "Objective-C", "dockerfile": "Docker", "viml": "Vim Script",
    "markdown": "Markdown",
}  # fmt: skip


@lru_cache(maxsize=4096)
def find_language(file_name: str) -> str:
    """The language of a base name, or `Unknown`."""
    names, extensions, patterns = read_table()
    lowered = file_name.lower()
    if lowered in BY_NAME:
        return BY_NAME[lowered]
    if file_name in names:
        return names[file_name]
    parts = lowered.split(".")[1:]
    for start in range(len(parts)):
        extension = ".".join(parts[start:])
        if extension in BY_EXTENSION:
            return BY_EXTENSION[extension]
        if extension in extensions:
            return extensions[extension]
    return next((language for pattern, language in patterns if fnmatchcase(file_name, pattern)), UNKNOWN)


def canonical_language(name: str | None) -> str | None:
    """An editor's word for a language in our spelling (`typescriptreact` -> `TypeScript`); unknown words stay."""
    if name is None or not name.strip():
        return None
    name = name.strip()
    return BY_EDITOR_ID.get(name.lower()) or read_aliases().get(name.lower()) or name


@cache
def read_table() -> tuple[dict[str, str], dict[str, str], list[tuple[str, str]]]:
    """Pygments' table as languages by whole name, by lower-case extension, and by pattern; the first entry wins."""
    names: dict[str, str] = {}
    extensions: dict[str, str] = {}
    patterns: list[tuple[str, str]] = []
    for language, _, globs, _ in get_all_lexers(plugins=False):
        display = RENAMED.get(language, language)
        for glob in globs:
            if glob.startswith("*.") and not is_pattern(glob[2:]):
                extensions.setdefault(glob[2:].lower(), display)
            elif is_pattern(glob):
                patterns.append((glob, display))
            else:
                names.setdefault(glob, display)
    return names, extensions, patterns


@cache
def read_aliases() -> dict[str, str]:
    """Every name and short name that Pygments knows, in lower case."""
    aliases: dict[str, str] = {}
    for language, short_names, _, _ in get_all_lexers(plugins=False):
        for name in (language, *short_names):
            aliases.setdefault(name.lower(), RENAMED.get(language, language))
    return aliases


def is_pattern(glob: str) -> bool:
    """Whether a glob has wildcards in it."""
    return any(character in glob for character in "*?[")
