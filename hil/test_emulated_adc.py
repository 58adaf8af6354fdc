"""The ADC's ring on the real firmware in the emulated Pico: nothing lost, or counted exactly.

Truth is the ramp on input 0, one code a frame: it shows each missing or doubled frame, and the
constants on the other inputs each sample in a wrong slot. Only the block source runs here, with
`guest/adc_probe.py`; the whole firmware is in `test_emulated_firmware.py`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import firmware
import pytest
from emulator import Meter, Pico
from flashtimes import TYPICAL_MS, WORST_MS

pytestmark = pytest.mark.timeout(3600)

CODES = 4096
# Far up in the file system, where the few files of a fresh board do not lie.
SPARE = 1024 * 1024
FOUR_SLOTS = {"rate_hz": 6400, "slots": 4, "temperature_slot": 3}
FLASH = f"f = rp2.Flash(start={SPARE}, len=65536)\npage = bytearray(256)\n"


class Found:
    """What the lines of a probe say, checked against the ramp.

    Attributes:
        frames, lost: handed out, and told as lost.
        wrong: frames inside a block that break the ramp or carry a wrong constant.
        unexplained: frames that the ramp misses between two blocks beyond those told, with sign.
        counters: overruns, lost_frames, laps, fifo_overruns, slips, silences, torn.
        said: other lines.
    """

    def __init__(self, lines: str, lost_to_full_fifo: bool = False) -> None:
        self.frames = self.lost = self.wrong = self.unexplained = 0
        self.counters: tuple[int, ...] = ()
        self.said: list[str] = []
        expected = None
        for line in lines.splitlines():
            kind, *rest = line.split() or [""]
            if kind == "C":
                self.counters = tuple(map(int, rest))
            elif kind == "B":
                first, last, frames, _end_us, lost, breaks, wrong = map(int, rest)
                self.wrong += breaks + wrong + ((last - first - frames + 1) % CODES != 0)
                if expected is not None:
                    off = (first - expected - lost + CODES // 2) % CODES - CODES // 2
                    self.unexplained += abs(off)
                self.frames += frames
                self.lost += lost
                expected = last + 1
            elif line.strip():
                self.said.append(line)


def ramp(pico: Pico, rate_hz: float, slots: int) -> None:
    """One code a frame on input 0; what `adc_probe.CONSTANTS` says on the others."""
    pico.adc.signals = {0: lambda t: int(t * rate_hz) % CODES}
    if slots > 1:
        pico.adc.signals.update({1: lambda t: 2071, 2: lambda t: 2072, 4: lambda t: 876})


def files() -> dict[str, bytes]:
    found = firmware.device_files()
    probe = Path(__file__).parent / "guest" / "adc_probe.py"
    found["adc_probe.py"] = probe.read_bytes()
    return found


def begin(config: dict) -> str:
    return f"from adc_probe import *\np = Probe(make({config}))\np.start()\n" + FLASH


def test_stalls_of_a_flash_that_takes_its_time_cost_nothing(
    emulated: Callable, measured: Callable
) -> None:
    async def run() -> None:
        async with emulated(files()) as pico:
            ramp(pico, FOUR_SLOTS["rate_hz"], 4)
            await pico.run(begin(FOUR_SLOTS))
            for name, times_ms in (("typical", TYPICAL_MS), ("worst", WORST_MS)):
                pico.flash.set(times_ms)
                pico.flash.clear()
                found = Found(
                    await pico.run(
                        "for i in range(5):\n    p.run(200)\n    f.ioctl(6, i)\n    p.drain()\n"
                        "    f.writeblocks(i, page, 0)\np.run(200)\np.tell()"
                    )
                )
                assert pico.flash.sectors == 5
                assert pico.flash.pages == 5
                assert (found.lost, found.wrong, found.unexplained) == (0, 0, 0)
                assert not any(found.counters)
                measured(
                    f"{name} flash, 5 sectors and 5 pages, stalled {pico.flash.stalled_ms:.0f} ms:"
                    f" {found.frames} frames of 4 slots, 0 lost"
                )

    asyncio.run(run())


def test_a_stall_beyond_the_ring_is_counted_to_the_frame(
    emulated: Callable, measured: Callable
) -> None:
    async def run() -> None:
        async with emulated(files()) as pico:
            ramp(pico, FOUR_SLOTS["rate_hz"], 4)
            await pico.run(begin(FOUR_SLOTS))
            for stall_ms in (700, 2000):
                pico.flash.set((0, stall_ms))
                found = Found(await pico.run("p.run(100)\nf.ioctl(6, 0)\np.run(300)\np.tell()"))
                assert found.lost > 0
                assert (found.wrong, found.unexplained) == (0, 0)
                measured(f"stalled {stall_ms} ms: {found.lost} frames lost, all of them told")

    asyncio.run(run())


def test_a_foreign_read_and_a_full_fifo_are_seen_and_the_order_is_right_after(
    emulated: Callable, measured: Callable
) -> None:
    foreign = "p.run(100)\nmachine.ADC(1).read_u16()\np.run(300)\np.tell()"
    # The DMA's data channel waits, as behind a bus that is held: the FIFO fills and drops.
    full = (
        "p.run(100)\nr = p.source._ring._data_regs[0]\nr[4] = r[4] & ~1\ntime.sleep_us(700)\n"
        "r[4] = r[4] | 1\np.run(300)\np.tell()"
    )
    stopped = "p.run(100)\nmachine.mem32[0x4004c000] = 3\np.run(1000)\np.tell()"

    async def run() -> None:
        async with emulated(files()) as pico:
            ramp(pico, FOUR_SLOTS["rate_hz"], 4)
            await pico.run(begin(FOUR_SLOTS))
            before = (0,) * 7
            for name, code in (("foreign read", foreign), ("full FIFO", full), ("halt", stopped)):
                found = Found(await pico.run(code))
                assert found.lost > 0, name
                assert (found.wrong, found.unexplained) == (0, 0), name
                seen = sum(found.counters[2:6]) - sum(before[2:6])
                assert seen == 1, name
                before = found.counters
                measured(f"{name}: {found.lost} frames lost, all of them told")

    asyncio.run(run())


def test_seventy_six_thousand_samples_a_second_survive_erases(
    emulated: Callable, measured: Callable
) -> None:
    config = FOUR_SLOTS | {"rate_hz": 19200, "ring_ms": 426}

    async def run() -> None:
        async with emulated(files()) as pico:
            ramp(pico, config["rate_hz"], 4)
            await pico.run(begin(config))
            pico.flash.set(WORST_MS)
            found = Found(
                await pico.run(
                    "for i in range(3):\n    p.run(300, 5)\n"
                    "    if p.source.headroom_us() < 405000:\n        print('no headroom')\n"
                    "    f.ioctl(6, i)\n    p.drain()\n    f.writeblocks(i, page, 0)\n"
                    "p.run(300, 5)\np.tell()"
                )
            )
            assert not found.said
            assert (found.lost, found.wrong, found.unexplained) == (0, 0, 0)
            measured(f"3 erases of 400 ms: {found.frames} frames of 4 slots, 0 lost")

    asyncio.run(run())


def test_half_a_million_samples_a_second_for_a_second(
    emulated: Callable, measured: Callable
) -> None:
    config = {"rate_hz": 500000, "slots": 1, "ring_ms": 65}

    async def run() -> None:
        async with emulated(files()) as pico:
            ramp(pico, config["rate_hz"], 1)
            await pico.run(begin(config))
            with Meter(pico) as meter:
                found = Found(await pico.run("p.run(1000, 2)\np.tell()"))
            assert found.frames > 480_000
            assert (found.lost, found.wrong, found.unexplained) == (0, 0, 0)
            assert not any(found.counters)
            measured(
                f"{found.frames} samples, 0 lost, every one looked at;"
                f" CPU share {100 * meter.share:.0f} %"
            )

    asyncio.run(run())
