"""The hub: `python app.py` serves it; `flask --app app` finds create_app here."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  (said before anything newer is imported)
    sys.exit("Muster needs Python 3.11 or newer; this is %d.%d." % sys.version_info[:2])  # noqa: UP031

from webapp import create_app
from webapp.config import ConfigError
from webapp.processes.hub import serve


def main() -> int:
    """Upgrades the database, then serves until it is told to stop."""
    try:
        return serve(create_app())
    except ConfigError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main())
