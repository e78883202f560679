"""On which file system a path lies."""

from pathlib import Path

import pytest

from webapp.lib.mounts import find_filesystem, find_network_filesystem

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 27 0:40 / /home rw shared:2 - nfs4 server:/home rw
31 30 0:41 / /home/ada/local\040disk rw - xfs /dev/sdb1 rw
32 27 0:42 / /mnt/far rw master:1 - fuse.sshfs ada@far:/ rw
33 32 0:43 / /mnt/far rw - cifs //far/share rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind", "far"),
    [
        ("/var/lib/muster", "ext4", None),
        ("/home/ada/muster", "nfs4", "nfs4"),
        ("/homely/muster", "ext4", None),
        ("/home/ada/local disk/muster", "xfs", None),
        ("/mnt/far/muster", "cifs", "cifs"),
    ],
)
def test_the_nearest_mount_counts(path: str, kind: str, far: str | None) -> None:
    assert find_filesystem(Path(path), MOUNTS) == kind
    assert find_network_filesystem(Path(path), MOUNTS) == far


def test_without_a_list_nothing_is_said() -> None:
    assert find_network_filesystem(Path("/home/ada"), "") is None


def test_fuse_file_systems_are_told_apart() -> None:
    assert find_network_filesystem(Path("/a"), "1 0 0:1 / / rw - fuse.sshfs x rw") == "fuse.sshfs"
    assert find_network_filesystem(Path("/a"), "1 0 0:1 / / rw - fuse.mergerfs x rw") is None
