"""The layer below the spool in a device: with a ring, without, with one that may not be used."""

import asyncio

from fakes_flash import Flash
from fakes_history import CODEC, DESCRIBED, Device

from clampdevice import layers as module
from clampdevice.board import BoardError, check
from clampdevice.clock import Clock
from clampdevice.hal.rp2.flash import RingFlash, ring_problem
from clampdevice.layers import Layers
from clampdevice.spool import POWER_CUT, Spool
from clampwire.messages import TO_THE_END

SIZE = 6 * 4096
PART = {"flash_start": 1048576, "flash_bytes": SIZE}


class Hal:
    def __init__(self, flash: Flash | None) -> None:
        self.flash = flash

    def ring_flash(self, start: int, size: int) -> Flash:
        assert (start, size) == (1048576, SIZE)
        if self.flash is None:
            raise ValueError("the file system reaches into the ring")
        return self.flash


class Source:
    def __init__(self) -> None:
        self.headroom = 0
        self.asked = 0

    def headroom_us(self) -> int:
        self.asked += 1
        return self.headroom


class Measure:
    """Stands for the sampler: a window ends, and each turn of it is noted."""

    def __init__(self, flash: Flash) -> None:
        self.window_end_us = 1 << 40
        self.drains: list = []
        self._flash = flash

    def drain(self, clock) -> None:
        self.drains.append(self._flash.wear[2])


def test_without_a_ring_there_is_no_layer_and_a_cut_is_told_all_the_same():
    for layers in (Layers({"ram_bytes": 1}, None), Layers(PART, Hal(None)), Layers(PART, None)):
        layers.open(Spool(2600, 64), DESCRIBED, 3)
        assert layers.history is None and layers.highest_boot == 0
        cut = layers.cut()
        assert (cut.reason, cut.boot, cut.first, cut.last) == (POWER_CUT, 1, 0, TO_THE_END)
    assert "reaches into" in Layers(PART, Hal(None)).problem
    assert "this chip" in Layers(PART, None).problem


def test_the_ring_of_the_power_up_before_is_found():
    device = Device(sectors=6)
    for _ in range(150):
        device.second()
    layers = Layers(PART, Hal(device.flash))
    assert layers.highest_boot == device.boot == 1
    layers.open(Spool(2600, 64), DESCRIBED, 2)
    cut = layers.cut()
    assert cut.boot == 1 and 0 < cut.first < 100 and cut.last == TO_THE_END


def test_it_works_while_the_sampler_has_time_and_only_then():
    flash = Flash(6)
    source = Source()
    ticks = [0]
    clock = Clock(lambda: ticks[0])
    measure = Measure(flash)
    spool = Spool(2600, 64)
    layers = Layers(PART, Hal(flash))
    layers.open(spool, DESCRIBED, 1)
    history = layers.history
    assert history is not None

    async def passing(seconds: int) -> None:
        task = asyncio.create_task(layers.run(clock, (source, object()), lambda: 0, measure))
        for _ in range(seconds):
            ticks[0] = (ticks[0] + 1000000) & 0x3FFFFFFF
            now_ms = clock.now_ms()
            spool.put(CODEC.encode("Record", 1, spool.next_seq, now_ms, 5, 0, b"", bytes(6)))
            for _ in range(20):
                await asyncio.sleep(0)
            if history.ring.due():
                break
        task.cancel()

    idle_s, module.IDLE_S = module.IDLE_S, 0
    try:
        asyncio.run(passing(200))
    finally:
        module.IDLE_S = idle_s
    assert history.ring.due() and source.asked
    assert not flash.wear[2] and history.ring.head == 0
    source.headroom = 1000000

    async def working() -> None:
        task = asyncio.create_task(layers.run(clock, (source,), lambda: 0, measure))
        for _ in range(50):
            await asyncio.sleep(0)
        task.cancel()

    measure.window_end_us = clock.now_us() + module.LATE_US - 1
    asyncio.run(working())
    assert not flash.wear[2], "begun although a window is about to end"
    measure.window_end_us = clock.now_us() + module.LATE_US
    measure.drains = []
    asyncio.run(working())
    assert history.ring.head == 1 and flash.wear[2] == 1
    # Emptied before garbage is collected, again before the erase, and at once after it.
    assert measure.drains[:3] == [0, 0, 1]


def test_board_json_is_checked():
    board = {
        "board": "x", "chip": "sim", "name": "x",
        "sources": {"inputs": {}},
        "channels": [{"key": "input1", "quantity": "input", "index": 0}],
    }  # fmt: skip
    assert "flash_bytes" not in check(board)["spool"]
    board["spool"] = {"flash_start": 1048576, "flash_bytes": 409600}
    assert check(board)["spool"]["ram_items"] == 1024
    for bad in ({"flash_bytes": 409600}, {"flash_start": 5, "flash_bytes": 409600},
                {"flash_start": 0, "flash_bytes": 4096}):  # fmt: skip
        board["spool"] = bad
        try:
            check(board)
        except BoardError as error:
            assert "multiple of 4096" in str(error)
        else:
            raise AssertionError("taken")


class Storage:
    """What `rp2.Flash` does, noted."""

    def __init__(self) -> None:
        self.calls: list = []

    def ioctl(self, op: int, arg: int) -> int:
        self.calls.append(("ioctl", op, arg))
        return 40 if op == 4 else 0

    def readblocks(self, block: int, buf: bytearray, offset: int) -> None:
        self.calls.append(("read", block, offset, len(buf)))

    def writeblocks(self, block: int, buf: bytearray, offset: int) -> None:
        self.calls.append(("write", block, offset, len(buf)))


def test_a_page_is_programmed_without_an_erase():
    storage = Storage()
    flash = RingFlash(storage)
    assert flash.sectors == 40
    flash.read(4096 * 3 + 512, bytearray(256))
    flash.program(4096 * 39 + 3840, bytearray(256))
    flash.erase(7)
    assert storage.calls[1:] == [("read", 3, 512, 256), ("write", 39, 3840, 256), ("ioctl", 6, 7)]


def test_a_file_system_that_reaches_into_the_ring_is_left_alone():
    # 60 sectors behind the two of the first file system: to the ring at 62 and no further.
    files = (4096, 4096, 60, 0)
    assert ring_problem(62 * 4096, 10 * 4096, 72, files) == ""
    for start, of in ((61, files), (62, (4096, 4096, 61, 0)), (62, (4096, 4096, 72, 0))):
        problem = ring_problem(start * 4096, 10 * 4096, 72, of)
        assert "clampwork prepare PORT" in problem and len(problem) < 256


def test_a_ring_that_is_larger_than_the_storage_is_not_used():
    problem = ring_problem(62 * 4096, 11 * 4096, 72, (4096, 4096, 60, 0))
    assert "ends at 292 KB" in problem and "has 288 KB" in problem and len(problem) < 256
