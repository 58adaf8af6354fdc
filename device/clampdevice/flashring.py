"""A ring of items in raw flash: sectors of 4 KB, pages of 256 bytes, no file system.

It owns the layout of pages, what is read of them after a power cut, and the order of operations:
`step` does one page program or one sector erase, so that its caller can look at the sampler's
headroom before each. What an item is, and what a lost one means, is `history.py`.

A page has a CRC-32, its number, its kind, where in it the first item begins, and how many bytes it
holds. Items (two bytes of length before each) follow each other across pages. Numbers rise for
ever and give the place: flash is worn out long before 2**32. Sectors 0 and 1 hold headers in turn,
a page each: where the oldest item is that is still needed, and the owner's note. A header that
puts the oldest item behind a sector is written before that sector is erased; so what an erase
leaves when the power fails in it is never read as an item.

After a power cut the page behind the last good one is not trusted even if it reads blank.
"""

import struct

from clampdevice.flashpages import (
    AFTER_CUT,
    AGAIN,
    BODY,
    DATA,
    HEAD_BYTES,
    HEADER,
    NO_ITEM,
    SECTOR_PAGES,
    Pages,
)

ITEM_MAX = 2 * BODY - 2
NOTE_MAX = 210
SECTORS_MIN = 5
# What `due` says that the next step does.
PROGRAM = 1
ERASE = 2

_HEADER = "<IBIIB"  # oldest page still needed, offset in it, erases, programs, bytes of the note
_HEADER_PAGES = 2 * SECTOR_PAGES


class FlashRing:
    """`flash` has read(offset, buf), program(offset, page), erase(sector), from 0 of the ring.

    Reads 32 pages, one of each sector, and 24 more, and keeps about 1.3 KB of buffers. A position
    is page * 256 + offset; positions rise. `on_drop(payload)` hears of each item that goes unread
    because the ring is full. `make_note()`, where it is set, gives the bytes that are kept with a
    header, at most `NOTE_MAX`.

    Attributes:
        tail: position of the oldest item that is still needed, see `free`.
        note: what was kept with the header written last.
        pages: counts erases and programs in the life of this ring, and failed programs.
        crc_errors: pages that were expected good and were not.
        begun: position at which the item that `read` gave begins.
        damaged: set when `read` stepped over a bad page that no power cut explains.
    """

    def __init__(self, flash, sectors: int, on_drop=None) -> None:
        if sectors < SECTORS_MIN:
            raise ValueError("a flash ring of " + str(sectors) + " sectors, at least 5 are needed")
        from clampdevice import flashscan

        self.pages = pages = Pages(flash)
        self._count = count = (sectors - 2) * SECTOR_PAGES
        self.on_drop = on_drop
        self._loaded = -1  # number of the page in `pages.page`
        self._item = bytearray(ITEM_MAX + 2)
        # Two bodies: the page being filled, and what already belongs to the one behind it.
        self._pending = bytearray(2 * BODY)
        self._fill = 0
        self._first = self._behind = NO_ITEM
        self._flush = self._again = False
        self._cut = True
        self._need = 0  # bytes that were refused for want of room
        # Of the page being looked at: buffer, base of its body, bytes used, first item, kind.
        self._at: tuple = (pages.page, HEAD_BYTES, 0, NO_ITEM, 0)
        self.note = b""
        self.make_note = None
        self.crc_errors = self.begun = self.tail = 0
        self.damaged = self._saving = False
        # Number and place of the header written last, and whether the page behind is blank.
        self._header, self._header_at, page = flashscan.find_header(pages)
        if page is not None:
            self._read_header(page)
        self._kept_tail = self.tail
        if self._header_at % SECTOR_PAGES != SECTOR_PAGES - 1:
            self._header_at += 1  # it may hold half of a header
        self._header_open = (self._header_at + 1) % SECTOR_PAGES != 0
        least = -1 if page is None else self.tail >> 8
        self.head, found = flashscan.find_head(pages, count, least)
        self._open = self.head % SECTOR_PAGES != 0
        oldest = self.first_page if found else self.head
        self.tail = min(max(self.tail, oldest << 8), self.head << 8)

    def _read_header(self, page: bytes) -> None:
        fields = struct.unpack_from(_HEADER, page, HEAD_BYTES)
        self.tail = fields[0] << 8 | fields[1]
        self.pages.erases, self.pages.programs = fields[2:4]
        at = HEAD_BYTES + struct.calcsize(_HEADER)
        self.note = page[at : at + fields[4]]

    @property
    def first_page(self) -> int:
        """The oldest page that may still be there."""
        end = -(-(self.head + self._open) // SECTOR_PAGES) * SECTOR_PAGES
        return max(0, end - self._count)

    # --- reading --------------------------------------------------------------------------------

    def _select(self, number: int) -> bool:
        """Look at page `number`, in flash or still in RAM. False if it is bad or not there."""
        ahead = number - self.head
        if ahead >= 0:
            if ahead > 1:
                return False
            used = min(BODY, max(0, self._fill - ahead * BODY))
            first = self._behind if ahead else self._first
            self._at = (self._pending, ahead * BODY, used, first, 0 if ahead else self._kind)
            return True
        page = self.pages.page
        if self._loaded != number:
            place = _HEADER_PAGES + number % self._count
            self._loaded = self.pages.read(place) if number >= 0 else -1
            if self._loaded != number or not page[8] & DATA:
                self._loaded = -1
                return False
        self._at = (page, HEAD_BYTES, page[10], page[9], page[8])
        return True

    @property
    def _kind(self) -> int:
        return DATA | (AFTER_CUT if self._cut else 0) | (AGAIN if self._again else 0)

    def _onward(self, number: int, bad: int) -> tuple:
        """(the next page that is good, whether what was begun goes on in it).

        `bad` is 1 if page `number` itself is.
        """
        while True:
            number += 1
            if number > self.head + 1:
                return number, False
            if self._select(number):
                break
            bad += 1
        kind = self._at[4]
        if bad and not kind & (AFTER_CUT | AGAIN):
            self.damaged = True
            self.crc_errors += bad
            return number, False
        return number, not kind & AFTER_CUT

    def read(self, at: int) -> tuple | None:
        """(payload, position behind it) of the item at `at` or the first behind; None at the end.

        The payload is valid until the next call. It may be changed: it is a copy.
        """
        at = max(at, self.first_page << 8)
        number, offset = at >> 8, at & 255
        good = number <= self.head + 1 and self._select(number)
        while number <= self.head + 1:
            if good:
                _data, _base, used, first, _kind = self._at
                if not offset:
                    offset = first
                if offset < used:
                    end = self._copy(number, offset)
                    if end:
                        self.begun = number << 8 | offset
                        size = self._item[0] | self._item[1] << 8
                        return memoryview(self._item)[2 : 2 + size], end
                    good = self._select(number)
            number, _goes_on = self._onward(number, 0 if good else 1)
            good, offset = True, 0
        return None

    def _copy(self, number: int, offset: int) -> int:
        """Copy an item into `_item`; the position behind it, 0 if its end is missing."""
        item = self._item
        have, need = 0, 2
        while have < need:
            data, base, used, _first, _kind = self._at
            if offset >= used:
                number, goes_on = self._onward(number, 0)
                if not goes_on:
                    return 0
                offset = 0
                continue
            count = min(need - have, used - offset)
            item[have : have + count] = memoryview(data)[base + offset : base + offset + count]
            have += count
            offset += count
            if have == 2:
                need = 2 + (item[0] | item[1] << 8)
                if need > len(item):
                    return 0
        return number << 8 | offset

    # --- writing --------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """Position behind the newest item."""
        ahead = self._fill > BODY
        return (self.head + ahead) << 8 | (self._fill - BODY if ahead else self._fill)

    def put(self, payload: bytes | memoryview) -> bool:
        """Take an item, into RAM first. False while there is no room: after a step or two."""
        size = len(payload)
        at = self._fill
        if size > ITEM_MAX:
            raise ValueError("an item of " + str(size) + " bytes is larger than two pages")
        self._need = 2 + size
        if at + self._need > len(self._pending):
            return False
        if at >= BODY:
            if self._behind == NO_ITEM:
                self._behind = at - BODY
        elif self._first == NO_ITEM:
            self._first = at
        struct.pack_into("<H", self._pending, at, size)
        self._pending[at + 2 : at + 2 + size] = payload
        self._fill = at + 2 + size
        self._need = 0
        return True

    def flush(self) -> None:
        """The page being filled is to be programmed as it is, padded."""
        self._flush = True

    def save(self) -> None:
        """A header with the present tail and note is to be written."""
        self._saving = True

    def free(self, at: int) -> None:
        """Nothing before position `at` is needed any more. Ends what `read` gave."""
        if at <= self.tail:
            return
        self.tail = at
        if at >= self.end or (not self._fill and self.read(at) is None):
            # All is free, also what is not in flash yet: it need not get there.
            self._cut = self._cut or self._fill > 0
            self._fill = 0
            self._first = self._behind = NO_ITEM
            self._flush = False
            self.tail = self.head << 8
            self._saving = self._saving or self.head > self._kept_tail >> 8
        elif at >> 12 > self._kept_tail >> 12:
            self._saving = True

    def due(self) -> int:
        """What the next step does: PROGRAM, ERASE, or 0 for nothing."""
        if not self._filled:
            if not self._saving:
                return 0
        elif self._open:
            if not self._saving:
                return PROGRAM
        elif self._kept_tail >= self._needed and not self._saving:
            return ERASE
        return PROGRAM if self._header_open else ERASE

    @property
    def _filled(self) -> bool:
        """Whether there is something to program."""
        fill = self._fill
        return fill >= BODY or (
            fill > 0 and (self._flush or fill + self._need > len(self._pending))
        )

    @property
    def _needed(self) -> int:
        """Position behind the sector that must be erased before the next page."""
        return max(0, self.head - self._count + SECTOR_PAGES) << 8

    def step(self) -> int:
        """Do what `due` says; returns that.

        Making room reads the items of the oldest sector, for `on_drop`.
        """
        due = self.due()
        if not due:
            return 0
        opening = self._filled and not self._open
        if self._saving or (opening and self._kept_tail < self._needed):
            self._saving = True
            if self._header_open:
                if opening:
                    self._drop_to(self._needed)
                self._write_header()
            else:
                self._header_at = (self._header_at // SECTOR_PAGES + 1) % 2 * SECTOR_PAGES - 1
                self._erase((self._header_at + 1) // SECTOR_PAGES)
                self._header_open = True
        elif opening:
            self._erase(2 + self.head % self._count // SECTOR_PAGES)
            self._open = True
        else:
            self._program()
        return due

    def _drop_to(self, behind: int) -> None:
        at = self.tail
        while at < behind:
            found = self.read(at)
            if found is None or self.begun >= behind:
                break
            if self.on_drop is not None:
                self.on_drop(found[0])
            at = found[1]
        self.tail = max(self.tail, behind)

    def _erase(self, sector: int) -> None:
        self._loaded = -1
        self.pages.erase(sector)

    def _write(self, place: int, number: int, kind: int, first: int, used: int) -> bool:
        self._loaded = -1
        return self.pages.write(place, number, kind, first, used)

    def _write_header(self) -> None:
        self._header_at += 1
        self._header_open = (self._header_at + 1) % SECTOR_PAGES != 0
        # What is not in flash yet is not free there: the page may come to hold other items.
        tail = min(self.tail, self.head << 8)
        pages = self.pages
        note = self.note if self.make_note is None else self.make_note()
        fields = (tail >> 8, tail & 255, pages.erases, pages.programs, len(note))
        size = struct.calcsize(_HEADER)
        struct.pack_into(_HEADER, pages.page, HEAD_BYTES, *fields)
        self.pages.page[HEAD_BYTES + size : HEAD_BYTES + size + len(note)] = note
        self._header += 1
        if self._write(self._header_at, self._header, HEADER, NO_ITEM, size + len(note)):
            self._kept_tail = tail
            self._saving = False
            self.note = note

    def _program(self) -> None:
        used = min(self._fill, BODY)
        self.pages.page[HEAD_BYTES : HEAD_BYTES + used] = memoryview(self._pending)[:used]
        head = self.head
        place = _HEADER_PAGES + head % self._count
        good = self._write(place, head, self._kind, self._first, used)
        self.head = head + 1
        self._open = self.head % SECTOR_PAGES != 0
        self._again = not good
        if not good:
            return
        rest = self._fill - used
        self._pending[:rest] = self._pending[used : used + rest]
        self._fill = rest
        self._first, self._behind = self._behind, NO_ITEM
        self._cut = False
        self._flush = self._flush and rest > 0
