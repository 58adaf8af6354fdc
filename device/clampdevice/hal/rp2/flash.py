"""The part of a board's flash that the spool's ring has to itself, behind the file system.

Owns where it is, and the refusal to touch a file system that reaches into it. `rp2.Flash` stops
everything on both cores for a call: 0.4 ms for a page and 45 ms for a sector as a rule, 3 and
400 ms at worst.

Ref: MicroPython ports/rp2/rp2_flash.c: `writeblocks` with an offset programs and does not erase,
`ioctl` 6 erases one block of 4 KB, 4 gives their number.
"""

SECTOR = 4096
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


def ring_problem(start: int, file_system: tuple) -> str:
    """Why a ring from byte `start` on may not be used; "" if it may.

    Args:
        start: of the storage that `rp2.Flash()` is.
        file_system: `os.statvfs` of the root: it lies at the front of that storage.
    """
    size = file_system[1] * file_system[2]
    if size > start:
        return (
            "the file system has "
            + str(size // 1024)
            + " KB and reaches into the ring, which begins at "
            + str(start // 1024)
            + " KB: provision the board again"
        )
    return ""
