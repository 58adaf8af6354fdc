"""Stands for a Pico at the prompt: runs code after a soft reset, on a flash that is a file.

    micropython rp2board.py FLASH MACHINE VERSION OPERATIONS CODE

Runs under MicroPython alone, whose littlefs is the one of the boards. FLASH is the storage that
`rp2.Flash()` is; MACHINE and VERSION (1.28.0) are what `sys.implementation` says, MACHINE without
"RP2" has no module `rp2`. First what the frozen `_boot.py` does on an RP2: mount all of it, or
else format and mount it; then `boot.py`, then the code in the file CODE. The power fails ahead of
the flash operation after the first OPERATIONS; -1 for never.
"""

import sys

import vfs  # pyright: ignore[reportMissingImports] - MicroPython's

SECTOR = 4096
CUT = 99  # exit code


class Power:
    """Counts what is done to the flash, and fails."""

    def __init__(self, left: int) -> None:
        self.left = left

    def used(self) -> None:
        if not self.left:
            raise SystemExit(CUT)
        self.left -= 1


class Flash:
    """`rp2.Flash`: the whole storage, or a part of it."""

    def __init__(self, *, start: int = 0, len: int = -1) -> None:  # noqa: A002 - its name
        size = STORAGE if len < 0 else len
        if start % SECTOR or size % SECTOR or not 0 <= start < start + size <= STORAGE:
            raise ValueError
        self._start, self._size = start, size

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> None:
        at = block * SECTOR + offset
        assert at + len(buf) <= self._size
        FILE.seek(self._start + at)
        FILE.readinto(buf)

    def writeblocks(self, block: int, buf: bytes, offset: int | None = None) -> None:
        if offset is None:
            self.ioctl(6, block)
        at = self._start + block * SECTOR + (offset or 0)
        assert at + len(buf) <= self._start + self._size
        old = bytearray(len(buf))
        FILE.seek(at)
        FILE.readinto(old)
        for i, byte in enumerate(buf):
            old[i] &= byte
        POWER.used()
        FILE.seek(at)
        FILE.write(old)

    def ioctl(self, op: int, arg: int) -> int:
        if op == 4:
            return self._size // SECTOR
        if op == 5:
            return SECTOR
        if op == 6:
            assert 0 <= arg < self._size // SECTOR
            POWER.used()
            FILE.seek(self._start + arg * SECTOR)
            FILE.write(b"\xff" * SECTOR)
        return 0


class Module:
    """What an import is to find."""


class Sys(Module):
    """`sys`, of another machine."""

    def __getattr__(self, name: str) -> object:
        return getattr(sys, name)


class About:
    name = "micropython"


def start_up() -> None:
    """`_boot.py` and `boot.py`."""
    flash = Flash()
    try:
        found = vfs.VfsLfs2(flash, progsize=256)
    except OSError:
        vfs.VfsLfs2.mkfs(flash, progsize=256)
        found = vfs.VfsLfs2(flash, progsize=256)
    vfs.mount(found, "/")
    try:
        with open("/boot.py") as file:
            text = file.read()
    except OSError:
        return
    try:
        exec(text, {"__name__": "__main__"})
    except OSError as error:
        sys.print_exception(error)  # pyright: ignore[reportAttributeAccessIssue]


machine, version, operations = sys.argv[2:5]
with open(sys.argv[5]) as code_file:
    code = code_file.read()
FILE = open(sys.argv[1], "r+b")
STORAGE = FILE.seek(0, 2)
POWER = Power(-1)
about = About()
about._machine = machine  # pyright: ignore[reportAttributeAccessIssue]
about.version = tuple(int(part) for part in version.split("."))  # pyright: ignore[reportAttributeAccessIssue]
shown = Sys()
shown.implementation = about  # pyright: ignore[reportAttributeAccessIssue]
sys.modules["sys"] = shown  # pyright: ignore[reportArgumentType]
if "RP2" in machine:
    rp2 = Module()
    rp2.Flash = Flash  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["rp2"] = rp2  # pyright: ignore[reportArgumentType]
    vfs.umount("/")
    start_up()
POWER.left = int(operations)
exec(code, {"__name__": "__main__"})
