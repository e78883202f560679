"""Makes the first revision again from the models: `python -m tests.make_migration`. For use until the first release."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flask_migrate import revision

from tests.databases import MIGRATIONS, bare_app

FIRST = "0001_first_tables.py"


def main() -> None:
    """Generates in a copy and moves the file in place, so that tests running meanwhile always find one."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "migrations"
        shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("versions", "__pycache__"))
        (copy / "versions").mkdir()
        with bare_app(f"sqlite:///{name}/empty.db").app_context():
            revision(directory=str(copy), message="First tables", autogenerate=True, rev_id="0001")
        made = copy / "versions" / FIRST
        made.write_text("".join(line for line in made.open() if "# ###" not in line))
        for words in (["check", "--fix", "-q", "--select", "F401,I"], ["format", "-q"]):
            subprocess.run([sys.executable, "-m", "ruff", *words, str(made)], check=True, cwd=MIGRATIONS.parent)
        target = MIGRATIONS / "versions" / FIRST
        shutil.copyfile(made, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)


if __name__ == "__main__":
    main()
