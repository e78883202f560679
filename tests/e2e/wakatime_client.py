"""Sends a heartbeat with the real WakaTime client from PyPI (`wakatime`), as an editor plug-in runs it.

Usage: python wakatime_client.py --entity FILE --key KEY --api-url URL [...]. The 2020 client expects names that Python
has moved to collections.abc; giving them back is all that it needs.
"""

import collections
import collections.abc
import sys

for name in ("Callable", "Hashable", "Iterable", "Mapping", "MutableMapping", "MutableSet", "Sequence", "Set"):
    setattr(collections, name, getattr(collections.abc, name))

from wakatime import execute  # noqa: E402

if __name__ == "__main__":
    sys.exit(execute(sys.argv[1:]))
