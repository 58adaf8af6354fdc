"""What is in a board's storage, and how it is divided anew, with a look before and after.

Owns what is checked: that it is the right chip and a MicroPython new enough, that the ring fits,
that no file is erased unasked, and that the board comes up after a reset with what was made and
nothing else changed. Where things lie is `boardlayout.py`, the way to the board `boardprompt.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clamptools.boardlayout import FRONT_BYTES, SECTOR, Layout, named
from clamptools.boardprompt import MARK, Prompt
from clamptools.errors import UserError

VERSION_MIN = (1, 24)
_SHOWN = 20

_LOOK = """
import binascii, json, os, sys
me = sys.implementation
said = dict(name=me.name, version=me.version[:3], machine=getattr(me, "_machine", sys.platform))
try:
    import rp2, vfs
    flash = rp2.Flash()
except (ImportError, AttributeError):
    flash = None
if flash is not None:
    count = flash.ioctl(4, 0)
    said["storage"] = count * SECTOR
    said["boot"], said["front_blocks"] = "", 0
    try:
        front = vfs.VfsLfs2(flash, progsize=256)
        about = front.statvfs("/")
        said["front_blocks"] = about[2] - about[3]
        with front.open("boot.py", "r") as file:
            said["boot"] = file.read()
    except OSError:
        pass
    crc = 0
    page = bytearray(SECTOR)
    for block in range(BEYOND // SECTOR, count):
        flash.readblocks(block, page)
        crc = binascii.crc32(page, crc)
    said["beyond"] = crc
files = []
def walk(folder):
    for entry in os.ilistdir(folder):
        name = folder + entry[0]
        if entry[1] & 0x4000:
            walk(name + "/")
        else:
            files.append((name, os.stat(name)[6]))
try:
    about = os.statvfs("/")
    said["size"], said["free"] = about[1] * about[2], about[1] * about[3]
    walk("/")
except OSError:
    said["size"] = said["free"] = 0
said["files"] = files
print(MARK + json.dumps(said))
"""


@dataclass(frozen=True)
class Storage:
    """What was found on a board.

    Attributes:
        machine: What MicroPython calls the board and its chip.
        version: MicroPython's.
        bytes: Of MicroPython's storage.
        size: Bytes of the mounted file system, 0 without any. free: of these.
        files: Name and bytes of each file.
        boot: Text of the first file system's `boot.py`; front_blocks: what it takes in all.
        beyond: CRC-32 of all behind the files.
    """

    machine: str
    version: tuple[int, ...]
    bytes: int
    size: int
    free: int
    files: tuple[tuple[str, int], ...]
    boot: str
    front_blocks: int
    beyond: int

    def is_prepared(self, layout: Layout) -> bool:
        """Whether the file systems are those of the layout, and nothing else is in the first."""
        alone = self.front_blocks * SECTOR == FRONT_BYTES
        return alone and self.boot == layout.boot and self.size == layout.files_bytes

    @property
    def kept(self) -> bool:
        """Whether there are files that would be erased, or may be, in one that does not mount."""
        return bool(self.files) or not self.size


def look(prompt: Prompt, board: Mapping[str, Any], layout: Layout) -> Storage:
    """What is on the board at the prompt.

    Raises:
        UserError: It is another chip, another Python or too old, or the ring does not fit.
    """
    code = named(SECTOR=SECTOR, BEYOND=layout.ring_start, MARK=MARK) + _LOOK
    said = json.loads(prompt.run(code))
    version = tuple(said["version"])
    at = f"{prompt.port}: {said['machine']}"
    if said["name"] != "micropython" or version[:2] < VERSION_MIN:
        least = ".".join(map(str, VERSION_MIN))
        raise UserError(
            f"{at} runs {said['name']} {'.'.join(map(str, version))}, but MicroPython {least} or "
            "later is needed: flash a newer one"
        )
    if board["chip"] not in said["machine"].lower() or "storage" not in said:
        raise UserError(
            f"{at}, but board {board['board']} is for the chip {board['chip']}: name another "
            "board, or another port"
        )
    end = layout.ring_start + layout.ring_bytes
    if end > said["storage"]:
        raise UserError(
            f"{at} has {said['storage'] // 1024} KB of storage, but the ring of board "
            f"{board['board']} ends at {end // 1024} KB: use a board file with a smaller "
            "spool.flash_start and spool.flash_bytes"
        )
    return Storage(
        said["machine"], version, said["storage"], said["size"], said["free"],
        tuple((name, size) for name, size in said["files"]),
        said["boot"], said["front_blocks"], said["beyond"],
    )  # fmt: skip


def prepare(
    prompt: Prompt, board: Mapping[str, Any], layout: Layout, erase: bool
) -> tuple[Storage, bool]:
    """Divides the storage of a board, unless it is so already.

    Args:
        prompt: The board's.
        board: Content of its board.json.
        layout: What `layout_of` says of it.
        erase: Whether files may be erased.

    Returns:
        What is on the board in the end, and whether anything was changed.

    Raises:
        UserError: The board cannot take it, has files that may not be erased, or did not come up
            with what was made.
    """
    before = look(prompt, board, layout)
    if before.is_prepared(layout):
        return before, False
    if before.kept and not erase:
        raise UserError(_refusal(prompt.port, before))
    blocks = int(prompt.run(layout.make))
    if blocks * SECTOR != FRONT_BYTES:
        raise UserError(
            f"{prompt.port}: boot.py takes {blocks * SECTOR} bytes of the first file system "
            f"instead of {FRONT_BYTES}; this MicroPython's littlefs differs, please report it"
        )
    prompt.reset()
    after = look(prompt, board, layout)
    wrong = []
    if not after.is_prepared(layout):
        wrong.append(f"a file system of {after.size} bytes, not {layout.files_bytes}")
    if after.files:
        wrong.append(f"{len(after.files)} files in a file system that was just made")
    if after.beyond != before.beyond:
        wrong.append("what lies behind the files was changed")
    if wrong:
        raise UserError(
            f"{prompt.port}: after a reset the board has {', '.join(wrong)}: run it again; if it "
            "stays so, the flash is worn out or this MicroPython starts otherwise"
        )
    return after, True


def _refusal(port: str, found: Storage) -> str:
    """Why nothing was done, with the files in question."""
    if not found.files:
        return f"{port}: its file system cannot be read; --yes makes it anew, without its files"
    lines = [f"  {size:8,}  {name}" for name, size in found.files[:_SHOWN]]
    if len(found.files) > _SHOWN:
        lines.append(f"  and {len(found.files) - _SHOWN} more")
    total = sum(size for _name, size in found.files)
    what = (
        f"{port}: {total:,} bytes in {len(found.files)} files would be erased, and what a ring of "
        "another place or size still holds would not be delivered: --yes does it"
    )
    return "\n".join([what, *lines])
