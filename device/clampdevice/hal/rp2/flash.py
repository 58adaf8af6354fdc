"""The part of a board's flash that the spool's ring has to itself, behind the file system.

Owns where it is, and the refusal to touch a file system that reaches into it. A prepared board has
two: a first one of two sectors, which mounts the second, of the files, in its place (docs/spool.md
says why). `rp2.Flash` stops everything on both cores for a call: 0.4 ms for a page and 45 ms for a
sector as a rule, 3 and 400 ms at worst.

Ref: MicroPython ports/rp2/rp2_flash.c: `writeblocks` with an offset programs and does not erase,
`ioctl` 6 erases one block of 4 KB, 4 gives their number.
"""

SECTOR = 4096
FRONT_BYTES = 8192
_BLOCKS = 4
_ERASE = 6


class RingFlash:
    """`flash` is an `rp2.Flash(start=, len=)` of whole sectors."""

    def __init__(self, flash) -> None:
        self._flash = flash
        self.sectors = flash.ioctl(_BLOCKS, 0)

    def read(self, offset: int, buf: bytearray) -> None:
        """Fill `buf`, which stays within one sector, from byte `offset`."""
        self._flash.readblocks(offset // SECTOR, buf, offset % SECTOR)

    def program(self, offset: int, page: bytes | bytearray) -> None:
        """Program one page of 256 bytes."""
        self._flash.writeblocks(offset // SECTOR, page, offset % SECTOR)

    def erase(self, sector: int) -> None:
        """Erase one sector."""
        self._flash.ioctl(_ERASE, sector)


def ring_problem(start: int, size: int, sectors: int, file_system: tuple) -> str:
    """Why a ring of `size` bytes from byte `start` on may not be used; "" if it may.

    Args:
        start: in the storage that `rp2.Flash()` is.
        size: of the ring.
        sectors: of that storage.
        file_system: `os.statvfs` of the root. A prepared board's begins behind the first one; any
            other begins with the storage and takes all of it.
    """
    if start + size > SECTOR * sectors:
        return (
            "spool: the ring ends at "
            + str((start + size) // 1024)
            + " KB, this board has "
            + str(SECTOR * sectors // 1024)
            + " KB of storage: use a board file with a smaller flash_start and flash_bytes"
        )
    files = file_system[1] * file_system[2]
    if FRONT_BYTES + files > start:
        return (
            "spool: no ring in flash, which begins at "
            + str(start // 1024)
            + " KB, since the file system has "
            + str(files // 1024)
            + " KB: run clampwork prepare PORT --board NAME, then copy the files again"
        )
    return ""
