"""NOR flash in RAM whose every operation can be seen cut short by a power failure."""

PAGE = 256
SECTOR = 4096


class Random:
    """The same numbers on both interpreters."""

    def __init__(self, seed: int) -> None:
        self._state = seed * 2654435761 & 0xFFFFFFFF | 1

    def below(self, limit: int) -> int:
        self._state = (self._state * 1664525 + 1013904223) & 0xFFFFFFFF
        return (self._state >> 8) % limit


def _nothing(flash: "Flash", op: str, place: int, page: bytes) -> None:
    """The power stays."""


class Flash:
    """`sectors` of 4 KB; programming only clears bits, as NOR does.

    `before(flash, op, place, page)` is called ahead of each operation, "program" (a page number)
    or "erase" (a sector), with what will be programmed.
    """

    def __init__(self, sectors: int) -> None:
        self.data = bytearray(b"\xff" * (sectors * SECTOR))
        self.before = _nothing
        self.reads = 0
        self.wear = [0] * sectors
        self.fails: set = set()  # pages that do not take what is programmed

    def read(self, offset: int, buf: bytearray) -> None:
        self.reads += 1
        buf[:] = self.data[offset : offset + len(buf)]

    def program(self, offset: int, page: bytearray) -> None:
        assert offset % PAGE == 0 and len(page) == PAGE
        self.before(self, "program", offset // PAGE, page)
        if offset // PAGE in self.fails:
            page = page[:20]
        for i in range(len(page)):
            self.data[offset + i] &= page[i]

    def erase(self, sector: int) -> None:
        self.before(self, "erase", sector, b"")
        at = sector * SECTOR
        self.data[at : at + SECTOR] = b"\xff" * SECTOR
        self.wear[sector] += 1


TEARS = ("not begun", "in part", "flipped", "finished")


def torn(data: bytearray, op: str, place: int, page: bytes, tear: str, rng: Random) -> bytearray:
    """`data` as a cut in the operation leaves it.

    "in part": up to some byte done, the rest as before. "flipped": between the two a stretch in
    which each bit is what it was, what it should be, or anything.
    """
    out = bytearray(data)
    if tear == "not begun":
        return out
    size = SECTOR if op == "erase" else PAGE
    at = place * size
    want = b"\xff" * size
    if op == "program":
        want = bytes(old & new for old, new in zip(out[at : at + size], page))
    done = size if tear == "finished" else rng.below(size)
    out[at : at + done] = want[:done]
    if tear == "flipped":
        for i in range(at + done, min(at + size, at + done + 1 + rng.below(size // 2))):
            kind = rng.below(3)
            if kind == 0:
                out[i] = want[i - at]
            elif kind == 1:
                out[i] = rng.below(256)
    return out
