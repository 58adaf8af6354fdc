"""Pages of raw flash, each with a checksum, a number and a kind, read back when it is written.

It owns the layout of a page and the count of what was done to the flash. Which page comes where is
`flashring.py`, what a power cut left of them `flashscan.py`.

A page: CRC-32 of all that follows, number, kind, where in its body the first item begins
(`NO_ITEM`: nowhere), bytes of the body that are used; little-endian. The rest is 0xFF.
"""

import binascii
import struct

PAGE = 256
SECTOR = 4096
SECTOR_PAGES = 16
HEAD_BYTES = 11
BODY = PAGE - HEAD_BYTES
NO_ITEM = 255
# Kinds of a page: one that holds items, with what is said of the pages before; or a header.
DATA = 1
AFTER_CUT = 2  # what an earlier page began ends here, unfinished
AGAIN = 4  # the pages right before failed to program; this one holds what was meant for them
HEADER = 8


class Pages:
    """`flash` has read(offset, buf), program(offset, page) and erase(sector).

    Attributes:
        page: the page read or written last; a body to be written goes there.
        erases, programs: so far; the owner may set what it knows of earlier.
        failed_programs: pages that did not read back as they were written.
    """

    def __init__(self, flash) -> None:
        self._flash = flash
        self.page = bytearray(PAGE)
        self.erases = self.programs = self.failed_programs = 0

    def read(self, place: int) -> int:
        """Read the page at `place` into `page`: its number, -1 if it is not good."""
        page = self.page
        self._flash.read(place * PAGE, page)
        crc, number = struct.unpack_from("<II", page, 0)
        return number if binascii.crc32(memoryview(page)[4:]) == crc else -1

    def write(self, place: int, number: int, kind: int, first: int, used: int) -> bool:
        """Program `page`, whose body is there, and read it back. False if it did not take."""
        page = self.page
        for i in range(HEAD_BYTES + used, PAGE):
            page[i] = 0xFF
        struct.pack_into("<IBBB", page, 4, number, kind, first, used)
        struct.pack_into("<I", page, 0, binascii.crc32(memoryview(page)[4:]))
        self._flash.program(place * PAGE, page)
        self.programs += 1
        if self.read(place) == number:
            return True
        self.failed_programs += 1
        return False

    def erase(self, sector: int) -> None:
        """Erase one sector."""
        self._flash.erase(sector)
        self.erases += 1
