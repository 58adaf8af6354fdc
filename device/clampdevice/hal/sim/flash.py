"""The flash of a simulated board: a file or RAM that behaves like NOR, for the ring of the spool.

Programming only clears bits, as on a chip: what a page did not have erased stays wrong, and the
ring's own check finds it.
"""

PAGE = 256
SECTOR = 4096


class RamFlash:
    """`size` bytes that last as long as the object. Counts `programs` and `erases`."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.erases = 0
        for at in range(0, size, SECTOR):
            self.erase(at // SECTOR)
        self.programs = self.erases = 0

    def read(self, offset: int, buf: bytearray) -> None:
        """Fill `buf` from byte `offset`."""
        buf[:] = memoryview(self.data)[offset : offset + len(buf)]

    def program(self, offset: int, page: bytes | bytearray) -> None:
        """Clear the bits that are 0 in one page."""
        self.programs += 1
        data = self.data
        for i in range(len(page)):
            data[offset + i] &= page[i]

    def erase(self, sector: int) -> None:
        """Set all bits of one sector of 4 KB."""
        self.erases += 1
        at = sector * SECTOR
        self.data[at : at + SECTOR] = b"\xff" * SECTOR


class FileFlash:
    """The same in the file `name`, which is made with `size` bytes if it is not there."""

    def __init__(self, name: str, size: int) -> None:
        try:
            self._file = open(name, "r+b")
        except OSError:
            with open(name, "wb") as file:
                for _ in range(size // SECTOR):
                    file.write(b"\xff" * SECTOR)
            self._file = open(name, "r+b")
        self._old = bytearray(PAGE)

    def read(self, offset: int, buf: bytearray) -> None:
        """Fill `buf` from byte `offset`."""
        self._file.seek(offset)
        self._file.readinto(buf)

    def program(self, offset: int, page: bytes | bytearray) -> None:
        """Clear the bits that are 0 in one page."""
        self.read(offset, self._old)
        for i in range(PAGE):
            self._old[i] &= page[i]
        self._write(offset, self._old)

    def erase(self, sector: int) -> None:
        """Set all bits of one sector of 4 KB."""
        self._write(sector * SECTOR, b"\xff" * SECTOR)

    def _write(self, offset: int, data: bytes | bytearray) -> None:
        self._file.seek(offset)
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        """The power is off."""
        self._file.close()
