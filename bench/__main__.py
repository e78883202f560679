"""`python -m bench [NAME ...]`: every benchmark, or those named, each in a process of its own."""

import subprocess
import sys

NAMES = ("pulls", "ingest", "upsert", "ingest_peer", "overview_peer", "poll", "fleet")


def main(names: list[str]) -> int:
    """Runs them in order; 1 if one could not run. A missed target is printed, not an error: machines differ."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"No such benchmark: {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}.")
        return 2
    codes = [subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode for name in names or NAMES]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
