"""The directory of a run, with one directory in it for each process.

Where the keeper may mount, it is a file system in memory, whose size and number of files the kernel bounds;
it goes as a whole when the run is over. Elsewhere it is a plain directory that is measured while the run
lasts: what can be written between two measurements is beyond the limit.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from menon.sandbox.kernel import mount, unmount
from menon.sandbox.limits import MIB, Limits
from menon.sandbox.tidy import empty, measure

MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_REC, MS_SLAVE = 2, 4, 32, 1 << 14, 1 << 19
SPARE_BYTES, SPARE_FILES = MIB, 16
"""How far the kernel's bound is above the limit, so that a run which goes over the limit is seen to."""


class Private:
    """`root`: an empty directory, used for one run after the other. `in_memory`: this process may mount there
    (`can_mount`)."""

    def __init__(self, root: str, in_memory: bool) -> None:
        self.root = root
        self.in_memory = in_memory
        self.mounted = (0, 0)
        """Bytes and files of the file system in memory; 0 if there is none at the moment."""
        self.removed = 0
        """Directories of earlier runs that the kernel has not let go yet."""
        self.folders: dict[str, str] = {}
        """Role of a process -> its directory."""

    def begin(self, limits: Limits, roles: Sequence[str]) -> None:
        """Makes the directories of a run; the limits hold for each of them."""
        self.bytes = len(roles) * limits.disk_mb * MIB
        self.files = len(roles) * (limits.files + 1)
        self.largest = limits.output_mb * MIB
        if self.in_memory:
            self.mount(self.bytes + SPARE_BYTES, self.files + SPARE_FILES)
        # Without file rules a program finds the test's directory neither by its name nor in a list.
        secret = os.urandom(8).hex()
        names = {role: f"{role}-{secret}" if role == "test" else role for role in roles}
        self.folders = {role: os.path.join(self.root, name) for role, name in names.items()}
        for folder in self.folders.values():
            os.mkdir(folder, 0o700)
        os.chmod(self.root, 0o100)

    def mount(self, size: int, files: int) -> None:
        if self.mounted != (0, 0) and self.used()[0] > SPARE_FILES / 2:
            self.close()
        if self.mounted != (size, files):
            again = 0 if self.mounted == (0, 0) else MS_REMOUNT
            options = f"size={size},nr_inodes={files},mode=700"
            mount("tmpfs", self.root, MS_NOSUID | MS_NODEV | again, options)
            self.mounted = size, files
        self.removed = self.used()[0]

    def is_over(self, members: Sequence[int]) -> bool:
        """Whether the run has more files or bytes than it may; `members`: its processes that still run."""
        if self.in_memory:
            number, size = self.used()
            number -= self.removed
        else:
            found = [measure(folder, self.files) for folder in self.folders.values()]
            number, size = map(sum, zip(*found, strict=True))
            number += len(self.folders)
            size += sum(nameless_bytes(pid, self.root, self.largest) for pid in members)
        return number > self.files or size > self.bytes

    def used(self) -> tuple[int, int]:
        """Files and bytes in the file system in memory, without its root."""
        found = os.statvfs(self.root)
        return found.f_files - found.f_ffree - 1, (found.f_blocks - found.f_bfree) * found.f_frsize

    def end(self) -> None:
        """Removes all that a run has left. A file system that the run left empty serves the next one."""
        if not self.in_memory:
            os.chmod(self.root, 0o700)
            empty(self.root)
            return
        with suppress(OSError):  # not empty
            for folder in self.folders.values():
                os.rmdir(folder)
        if os.listdir(self.root) or self.used()[1]:
            self.close()

    def close(self) -> None:
        if self.mounted != (0, 0):
            unmount(self.root)
            self.mounted = (0, 0)


def can_mount(root: str) -> bool:
    """Whether this process has mounts of its own and may add to them."""
    try:
        mount(None, "/", MS_REC | MS_SLAVE)
        mount("tmpfs", root, MS_NOSUID | MS_NODEV, "size=4096")
        unmount(root)
    except OSError:
        return False
    return True


def nameless_bytes(pid: int, root: str, most: int) -> int:
    """The bytes of files below `root` that have no name any longer and that a process holds by a descriptor
    or a mapping. The size of a file that is only mapped cannot be read, so it counts as `most`, the largest
    that a file may be. 0 if the process has ended."""
    try:
        device = os.stat(root).st_dev
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0
    for thread in threads:  # they share what they hold; but the first one may have ended alone
        with suppress(OSError):
            here = Path(f"/proc/{pid}/task/{thread}")
            if maps := here.joinpath("maps").read_bytes().splitlines():
                sizes = _by_descriptors(here / "fd", device)
                for line in maps:
                    _, _, _, _, inode, *path = line.split(maxsplit=5)
                    if path and path[0].startswith(os.fsencode(root)) and path[0].endswith(b" (deleted)"):
                        sizes.setdefault(int(inode), most)
                return sum(sizes.values())
    return 0


def _by_descriptors(links: Path, device: int) -> dict[int, int]:
    """Inode -> bytes of the files of a device without a name that a process has open."""
    sizes: dict[int, int] = {}
    for link in links.iterdir():
        with suppress(OSError):
            found = link.stat()
            if found.st_dev == device and found.st_nlink == 0 and stat.S_ISREG(found.st_mode):
                sizes[found.st_ino] = 512 * found.st_blocks
    return sizes
