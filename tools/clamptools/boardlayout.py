"""How a board's storage is divided: a file system that ends before the spool's ring.

Owns the places and what the board runs to make them. Stock MicroPython mounts the whole storage
at each start and formats it if that fails, and littlefs does not mount on a device of another
size than its own. So the file system of the whole storage stays and holds nothing but a
`boot.py`, small enough to lie within its first two blocks. That mounts the real one in its stead,
which begins behind and ends before the ring. Nobody writes the first one again, so nothing of it
ever lies elsewhere. docs/spool.md has what was read and tried.

| bytes of the storage | |
| --- | --- |
| 0 to 8191 | the first file system: superblock, root and `boot.py` |
| 8192 to `flash_start` | the files |
| `flash_start` to `flash_start + flash_bytes` | the ring |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clamptools.boardprompt import MARK
from clamptools.errors import UserError

# As `clampdevice.hal.rp2.flash` has them.
SECTOR = 4096
FRONT_BYTES = 2 * SECTOR
FILES_MIN = 16 * SECTOR
# What littlefs keeps beside a name in the root, at its block size; else it takes blocks elsewhere.
BOOT_MOST_BYTES = 512

# The old one goes before the new one is there: whatever interrupts this, nobody can write into a
# file system that lies over both the other and the ring.
_BOOT = """\
# Made by `clampwork prepare`: files lie behind this file system, and end before the spool's ring.
# Docs: spool.md. Nothing else may be written here.
import rp2, vfs

vfs.umount("/")
vfs.mount(vfs.VfsLfs2(rp2.Flash(start={front}, len={size}), progsize=256), "/")
del rp2, vfs
"""

_MAKE = """
import rp2, vfs
try:
    vfs.umount("/")
except OSError:
    pass
vfs.VfsLfs2.mkfs(rp2.Flash(start=FRONT, len=SIZE), progsize=256)
flash = rp2.Flash()
vfs.VfsLfs2.mkfs(flash, progsize=256)
front = vfs.VfsLfs2(flash, progsize=256)
with front.open("boot.py", "w") as file:
    file.write(BOOT)
about = front.statvfs("/")
print(MARK + str(about[2] - about[3]))
"""


@dataclass(frozen=True)
class Layout:
    """Where the ring lies in MicroPython's storage, in bytes; the files end where it begins."""

    ring_start: int
    ring_bytes: int

    @property
    def files_bytes(self) -> int:
        """Size of the file system for the files."""
        return self.ring_start - FRONT_BYTES

    @property
    def boot(self) -> str:
        """The `boot.py` of the first file system."""
        return _BOOT.format(front=FRONT_BYTES, size=self.files_bytes)

    @property
    def make(self) -> str:
        """Code that makes both file systems; it erases all files."""
        return named(MARK=MARK, FRONT=FRONT_BYTES, SIZE=self.files_bytes, BOOT=self.boot) + _MAKE


def layout_of(board: Mapping[str, Any]) -> Layout | None:
    """What a board asks for, by the content of its board.json; None if its spool is RAM alone.

    Raises:
        UserError: The files would have next to no room.
    """
    spool = board["spool"]
    if "flash_bytes" not in spool or "flash_start" not in spool:
        return None
    layout = Layout(spool["flash_start"], spool["flash_bytes"])
    if layout.files_bytes < FILES_MIN:
        raise UserError(
            f"board {board['board']}: spool.flash_start {layout.ring_start} leaves "
            f"{layout.files_bytes // 1024} KB for files, {FILES_MIN // 1024} KB at least"
        )
    return layout


def named(**values: object) -> str:
    """Code that gives each name its value."""
    return "".join(f"{name} = {value!r}\n" for name, value in values.items())
