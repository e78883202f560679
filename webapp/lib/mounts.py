"""On which kind of file system a path lies, read from Linux' list of mounts. Pure but for reading that list."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
ESCAPED = re.compile(r"\\([0-7]{3})")
FAR = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "virtiofs",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "vboxsf",
    "prl_fs",
}
FAR_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.grpcfuse", "fuse.osxfs")


def find_network_filesystem(path: Path, mounts: str | None = None) -> str | None:
    """The name of the network (or virtual machine's shared) file system that holds `path`; None on a local one.

    `mounts` is the text of `/proc/self/mountinfo`; None on systems without that list too.
    """
    if mounts is None:
        mounts = MOUNTS.read_text(errors="replace") if MOUNTS.exists() else ""
    found = find_filesystem(path, mounts)
    return found if found in FAR or (found or "").startswith(FAR_FUSE) else None


def find_filesystem(path: Path, mounts: str) -> str | None:
    """The type of the file system that is mounted nearest above `path` (the last one where several are)."""
    nearest, kind = -1, None
    for line in mounts.splitlines():
        where, _, what = line.partition(" - ")
        fields = where.split(" ")
        if len(fields) < 5 or not what:
            continue
        point = Path(ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= nearest:
            nearest, kind = len(point.parts), what.split(" ")[0]
    return kind
