"""The device's files on a real littlefs, with a power cut at every operation of its flash.

    micropython -X heapsize=1m tests/device/littlefs_cuts.py [planted]

Runs under MicroPython alone: CPython has no littlefs. The boot slots, the counters and the
calibration are kept by the firmware's own code on a block device in RAM. Ahead of each program and
erase the device is copied as a cut would leave it, mounted beside, and read by the same code: each
kept thing must be what was kept last, or what was being written. Prints a JSON object of counts.
"""

import binascii
import json
import os
import sys

import vfs  # pyright: ignore[reportMissingImports] - MicroPython's

HERE = sys.argv[0].rsplit("/", 1)[0] if "/" in sys.argv[0] else "."
sys.path.insert(0, HERE)
sys.path.insert(0, HERE + "/../../device")

from fakes_flash import Random  # noqa: E402

from clampdevice.bootcount import BootCount  # noqa: E402 - the path comes first
from clampdevice.calibration import CalibrationStore  # noqa: E402
from clampdevice.counters import SAVE_MS, Counters  # noqa: E402
from clampdevice.files import Files  # noqa: E402
from clampdevice.hal.rp2.storage import BootSlots  # noqa: E402

BLOCK = 4096
BLOCKS = 24
PROG = 256
TEARS = ("not begun", "in part", "flipped", "finished")
ROUNDS = 60
# Another truth than what is written: the run must then fail, or it could not fail at all.
PLANTED = "planted" in sys.argv


class Disk:
    """A block device as `rp2.Flash` is one: extended, 4 KB erase, 256-byte program."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self.before: object = None
        self.operations = 0

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> None:
        at = block * BLOCK + offset
        buf[:] = memoryview(self.data)[at : at + len(buf)]

    def writeblocks(self, block: int, buf: bytes, offset: int = 0) -> None:
        """One program; more than a page is one all the same, as on the chip's driver."""
        self._change(block * BLOCK + offset, buf)

    def ioctl(self, op: int, arg: int) -> int | None:
        if op == 4:
            return len(self.data) // BLOCK
        if op == 5:
            return BLOCK
        if op == 6:
            self._change(arg * BLOCK, b"\xff" * BLOCK)
        return 0

    def _change(self, at: int, new: bytes) -> None:
        self.operations += 1
        if callable(self.before):
            self.before(at, new)
        self.data[at : at + len(new)] = new


class Kept:
    """What may be found after a cut: the values kept last, and those being written."""

    def __init__(self) -> None:
        self.boot = [0, 0]
        self.counts = [0, 0]
        self.gain = [1.0, 1.0]


def counter_of(folder: str) -> tuple:
    counters = Counters(Files(folder))
    return counters, counters.counter("current1")


def look(folder: str, kept: Kept) -> None:
    """Reads everything as a power-up does. Raises AssertionError for what nobody wrote."""
    boots = BootCount(BootSlots(folder))
    assert boots.value in kept.boot, (boots.value, kept.boot)
    _counters, counter = counter_of(folder)
    assert counter.counts[3] in kept.counts, (counter.counts, kept.counts)
    store = CalibrationStore(Files(folder))
    assert not store.problem, store.problem
    gain = store.get("current1").factor(1.0)
    assert gain in kept.gain, (gain, kept.gain)


def main() -> int:
    """Runs all rounds; 1 if anything was found that nobody wrote."""
    rng = Random(7)
    disk = Disk(bytearray(b"\xff" * (BLOCK * BLOCKS)))
    vfs.VfsLfs2.mkfs(disk, progsize=PROG)
    vfs.mount(vfs.VfsLfs2(disk, progsize=PROG), "/m")
    spare = bytearray(BLOCK * BLOCKS)
    kept = Kept()
    counts = {"operations": 0, "images": 0}

    def before(at: int, new: bytes) -> None:
        counts["operations"] += 1
        for tear in TEARS:
            spare[:] = disk.data
            size = len(new)
            done = size if tear == "finished" else 0 if tear == "not begun" else rng.below(size)
            spare[at : at + done] = new[:done]
            if tear == "flipped":
                for i in range(done, min(size, done + 64)):
                    if rng.below(3):
                        spare[at + i] = rng.below(256)
            counts["images"] += 1
            vfs.mount(vfs.VfsLfs2(Disk(spare), progsize=PROG), "/c")
            try:
                look("/c/", kept)
                # It can be written again, and the next power-up reads that.
                boots = BootCount(BootSlots("/c/"))
                boot = boots.raise_to(boots.value + 1)
                assert BootCount(BootSlots("/c/")).value == boot
            finally:
                vfs.umount("/c")

    files = Files("/m/")
    boots = BootCount(BootSlots("/m/"))
    for number in range(1, ROUNDS + 1):
        disk.before = before
        kept.boot[1] = number
        boots.raise_to(number)
        kept.boot[0] = number
        counters, counter = counter_of("/m/")
        counters.keep(1)
        counter.counts[3] += 1000
        kept.counts[1] = counter.counts[3]
        assert counters.keep(1 + SAVE_MS) and not counters.failed_saves
        kept.counts[0] = counter.counts[3]
        store = CalibrationStore(files)
        gain = 1.0 + number / 64
        record = {"id": "cal-" + str(number), "date": "2026-11-22", "gain": gain}
        kept.gain[1] = 1.5 if PLANTED and number == 9 else gain
        store.put("current1", record)
        kept.gain[0] = gain
        disk.before = None
        # Code and configuration are written beside it now and then: blocks move.
        with open("/m/filler", "wb") as file:
            file.write(binascii.hexlify(bytes(rng.below(4000))))
    look("/m/", kept)
    os.remove("/m/filler")
    vfs.umount("/m")
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
