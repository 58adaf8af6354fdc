"""The ADXL345 at 3,200 Hz on the real firmware in the emulated Pico, emptied by PIO and DMA.

Truth is the sensor of `adxl345.py`: it numbers its frames, counts those that it lost and every
breach of its timing, and the guest checks each frame (`guest/vibration_probe.py`).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import firmware
import pio
import pytest
from adxl345 import Adxl345
from emulator import Meter, Pico
from flashtimes import TYPICAL_MS, WORST_MS

pytestmark = pytest.mark.timeout(3600)

PPM = 12345.0  # what the sensor's oscillator is off; the data sheet allows more
SPARE = 1024 * 1024
NEEDED = (
    "__init__", "hal/__init__", "hal/rp2/", "hal/openbus", "drivers/", "knownchips", "unpack",
)  # fmt: skip
START = f"""
import gc, rp2
import vibration_probe as v
gc.collect(); before = gc.mem_free()
s = v.make(v.SENSOR)
p = v.Probe(s, False)
gc.collect(); print("H", before, gc.mem_free())
p.start()
f = rp2.Flash(start={SPARE}, len=65536)
page = bytearray(256)
"""
WITH_ADC = """
import adc_probe
class Quiet(adc_probe.Probe):
    frames = lost = bad = 0
    def drain(self):
        n = 0
        while True:
            block = self.source.take(self.now_us())
            if block is None:
                return n
            buf, first, frames, end_us, lost = block
            self.bad += adc_probe.breaks(buf, first, frames, 4, self._wrong)
            self.frames += frames
            self.lost += lost
            n += 1
a = Quiet(adc_probe.make({"rate_hz": 6400, "slots": 4, "temperature_slot": 3}))
a.start()
def both(ms):
    end = a.now_us() + 1000 * ms
    while a.now_us() < end:
        if not a.drain() + p.drain():
            v.time.sleep_ms(10)
"""


class Told:
    """What `Probe.tell` says."""

    def __init__(self, lines: str) -> None:
        self.errors: list[str] = []
        for line in lines.splitlines():
            kind, *rest = line.split() or [""]
            if kind == "S":
                self.frames, self.breaks, self.joints, self.wrong = map(int, rest)
            elif kind == "C":
                self.overruns, self.lost, self.laps, self.slips, self.faults, self.resyncs = map(
                    int, rest[:6]
                )
                self.rate_hz = float(rest[6])
            elif kind == "E":
                self.errors.append(" ".join(rest))

    def expect_whole(self) -> None:
        """Every frame in order, all that is missing told."""
        assert (self.breaks, self.joints, self.wrong) == (0, 0, 0)


def files(*probes: str) -> dict[str, bytes]:
    found = {
        name: content
        for name, content in firmware.device_files().items()
        if name.startswith(tuple("clampdevice/" + part for part in NEEDED))
    }
    for name in probes:
        found[name] = (Path(__file__).parent / "guest" / name).read_bytes()
    return found


def sensor(pico: Pico) -> Adxl345:
    """At the pins of `vibration_probe.SENSOR`; and the PIO of the datasheet."""
    pio.install(pico.mcu)
    return Adxl345(pico, sck=18, mosi=19, miso=16, cs=17, int1=20, ppm=PPM)


def test_stalls_of_the_core_cost_nothing(emulated: Callable, measured: Callable) -> None:
    async def run() -> None:
        async with emulated(files("vibration_probe.py")) as pico:
            chip = sensor(pico)
            heap = (await pico.run(START)).split()
            with Meter(pico) as meter:
                quiet = Told(await pico.run("p.run(3000)\np.tell()"))
            pico.flash.clear()
            for times_ms in (TYPICAL_MS, WORST_MS):
                pico.flash.set(times_ms)
                told = Told(
                    await pico.run(
                        "for i in range(5):\n    p.run(200)\n    f.ioctl(6, i)\n    p.drain()\n"
                        "    f.writeblocks(i, page, 0)\np.run(200)\np.tell()"
                    )
                )
            assert pico.flash.sectors == 10
            told.expect_whole()
            assert chip.lost == 0
            assert chip.violations == {}
            assert not any((told.overruns, told.lost, told.laps, told.slips, told.resyncs))
            assert told.frames > 3240 * 7
            assert abs(told.rate_hz / chip.rate_hz - 1) < 20e-6
            measured(
                f"3,200 Hz alone: {told.frames} frames, {pico.flash.stalled_ms:.0f} ms of stalls, "
                f"0 lost, fullest FIFO {chip.most} of 32, CPU {100 * meter.share:.1f} % with "
                f"{quiet.frames} frames checked one by one; rate measured {told.rate_hz:.3f}, "
                f"true {chip.rate_hz:.3f} Hz; heap before and after {heap[1]}, {heap[2]}"
            )

    asyncio.run(run())


def test_with_the_adc_at_full_rate(emulated: Callable, measured: Callable) -> None:
    async def run() -> None:
        async with emulated(files("vibration_probe.py", "adc_probe.py")) as pico:
            chip = sensor(pico)
            pico.adc.signals = {0: lambda t: int(t * 6400) % 4096, 4: lambda _t: 876}
            pico.adc.signals.update({1: lambda _t: 2071, 2: lambda _t: 2072})
            await pico.run(START + WITH_ADC)
            with Meter(pico) as meter:
                await pico.run("both(3000)")
            pico.flash.set(WORST_MS)
            lines = await pico.run(
                "for i in range(3):\n    both(300)\n    f.ioctl(6, i)\n"
                "both(300)\np.tell()\nprint('A', a.frames, a.lost, a.bad, a._wrong[0])"
            )
            told = Told(lines)
            told.expect_whole()
            adc = next(line.split() for line in lines.splitlines() if line.startswith("A"))
            assert adc[2:] == ["0", "0", "0"]
            assert chip.lost == told.lost == told.resyncs == told.slips == 0
            assert chip.violations == {}
            assert pico.adc.dropped == 0
            measured(
                f"with 4 x 6,400 S/s of the ADC: {told.frames} entries, {adc[1]} frames, stalls "
                f"of 400 ms, 0 lost of either; CPU {100 * meter.share:.1f} %, all samples checked"
            )

    asyncio.run(run())


def test_what_is_overwritten_is_counted_exactly(emulated: Callable, measured: Callable) -> None:
    async def run() -> None:
        async with emulated(files("vibration_probe.py")) as pico:
            chip = sensor(pico)
            await pico.run(START + "p.run(500)")
            lost = 0
            for ms in (5, 12, 40, 90):
                before = chip.lost

                def cut(on: bool) -> None:
                    chip.int1_cut = on

                pico.at(100_000, lambda: cut(True))
                pico.at(100_000 + 1000 * ms, lambda: cut(False))
                told = Told(await pico.run("p.run(400)\np.tell()"))
                told.expect_whole()
                assert (chip.lost > before) == (ms > 10)
                assert told.lost == chip.lost
                lost = chip.lost
            assert chip.violations == {}
            measured(f"INT1 cut for 5 to 90 ms: {lost} frames overwritten and counted, in place")

    asyncio.run(run())


def test_a_dip_of_the_supply_and_a_silent_bus(emulated: Callable, measured: Callable) -> None:
    async def run() -> None:
        async with emulated(files("vibration_probe.py")) as pico:
            chip = sensor(pico)
            await pico.run(START + "p.run(300)")
            pico.at(50_000, chip.power_cycle)
            told = Told(await pico.run("p.run(1500)\np.tell()"))
            assert told.faults == 1
            assert "it was reset" in told.errors[0]
            assert chip.violations == {}
            frames = told.frames
            chip.silent = True
            pico.at(1000, chip.power_cycle)
            told = Told(await pico.run("p.run(500)\np.tell()"))
            assert "no chip answers" in told.errors[0]
            chip.silent = False
            lines = await pico.run("p.run(1500)\np.tell()\nprint('T', p.now_us())")
            told = Told(lines)
            assert told.frames > frames + 1000
            assert told.breaks == told.wrong == 0
            assert chip.violations == {}
            # What is missing is counted by time, also that of the silence.
            elapsed_us = int(lines.rsplit("T ", 1)[1])
            due = elapsed_us * chip.rate_hz / 1e6
            assert abs(told.frames + told.lost - due) < 0.05 * chip.rate_hz
            measured(
                f"a dip, then silence for 0.5 s: {told.faults} faults told; {told.frames} frames "
                f"and {told.lost} counted as missing in {elapsed_us / 1e6:.2f} s, {due:.0f} due"
            )

    asyncio.run(run())
