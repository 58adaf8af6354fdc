"""The whole firmware of `boards/pico.toml` in the emulated Pico, with the gateway's own link.

Truth comes from the pins: sines of known amplitude, and the emulator's count of conversions
begun and dropped. Every second must come as one record, in order, once, with the right RMS.
"""

import asyncio
import json
import math
import os
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import firmware
import pio
import pytest
from adxl345 import Adxl345
from emulator import Meter, Pico
from flashtimes import TYPICAL_MS, WORST_MS

from clampdevice.hal.sim.errors import curve_of
from clampdevice.history import ERASE_US
from clampdevice.linear import PER_LSB, thresholds
from clamptools.boards import read_board
from clampwire.codec import Codec
from gateway import GAP, RECORD, Gateway

pytestmark = pytest.mark.timeout(7200)

CODEC = Codec()
SECONDS = int(os.environ.get("CLAMPWORK_HIL_SECONDS", "60"))
BIAS = 2110
# With the chip's mean errors in the converter and its table in the firmware; docs/accuracy.md.
RMS_SHARE = 0.002
PPM = 12345.0  # what the accelerometer's oscillator is off; the data sheet allows more
AMPLITUDES = (1000, 500, 100)  # LSB
LSB_A = 30 * 3.3 / 4096
# Past 2**30 us within the run, where times become numbers on the heap.
BEGIN_S = 1060
BOOT_MOST_US = 30e6
MAIN = Path(__file__).parent / "guest" / "firmware_main.py"


class Flash(NamedTuple):
    """How long pages and sectors take, and how often one of either is written; 0: never."""

    name: str
    times_ms: tuple[float, float]
    every_ms: int

    def __str__(self) -> str:
        return self.name


FLASHES = (
    Flash("idle", (0.0, 0.0), 0),
    Flash("typical", TYPICAL_MS, 300),
    Flash("worst", WORST_MS, 700),
)


def files(board: dict, begin_s: int, every_ms: int, asks: bool = False) -> dict[str, bytes]:
    found = firmware.device_files()
    main = MAIN.read_text().replace("SECONDS = 0", f"SECONDS = {begin_s}")
    assert f"\nERASE_US = {ERASE_US} " in main
    main = main.replace("EVERY_MS = 0", f"EVERY_MS = {every_ms}")
    main = main.replace("ASKS = False", f"ASKS = {asks}")
    found["main.py"] = main.encode()
    found["board.json"] = json.dumps(board).encode()
    return found


def connect(pico: Pico) -> None:
    """Three sines and the temperature at a converter with the mean errors of its chip type."""
    levels = [level / PER_LSB for level in thresholds(*curve_of("rp2040"))]
    pico.adc.thresholds = list(accumulate(reversed(levels), max))

    def sine(amplitude: int, phase: float) -> Callable[[float], float]:
        return lambda t: BIAS + amplitude * math.sin(2 * math.pi * 50 * t + phase)

    pico.adc.signals = {i: sine(a, 2.0944 * i) for i, a in enumerate(AMPLITUDES)}
    pico.adc.signals[4] = lambda t: 876


def shaken(pico: Pico) -> Adxl345:
    """The sensor of `pico-adxl345`, shaken along three axes; its clock is a little fast."""

    def frame(k: int) -> tuple[int, int, int]:
        t = k / (3200 * (1 + PPM / 1e6))
        x, y, z = (math.sin(2 * math.pi * f * t) for f in (50, 120, 300))
        return round(100 * x), round(40 * y), 256 + round(20 * z)

    return Adxl345(pico, 18, 19, 16, 17, 20, frame=frame, ppm=PPM)


async def watch(pico: Pico, flash: Flash, measured: Callable, what: str) -> None:
    """Runs the board for `SECONDS` after its first record and checks all that came."""
    gateway = Gateway(pico)
    gateway.start()
    await pico.wait_until(lambda: bool(gateway.readings(RECORD)), BOOT_MOST_US)
    booted_us = pico.now_us
    dropped, begun = pico.adc.dropped, pico.adc.begun
    pico.flash.clear()
    with Meter(pico) as meter:
        await pico.wait(SECONDS * 1e6)
    await pico.wait(11e6)  # a last Status, made after all of it
    records = gateway.readings(RECORD)
    assert pico.adc.dropped == dropped
    assert not gateway.readings(GAP)
    ends_ms = [
        CODEC.decode(gateway.items[record.boot, record.seq].payload)[1].end_ms
        for record in records
    ]
    assert len(records) >= SECONDS + 9
    assert ends_ms == [ends_ms[0] + 1000 * i for i in range(len(records))]
    assert ends_ms[-1] > 1000 * BEGIN_S
    assert gateway.redelivered == 0
    worst = 0.0
    for record in records[1:]:
        for channel, amplitude in enumerate(AMPLITUDES):
            expected = amplitude / math.sqrt(2) * LSB_A
            found = record.channels[f"current{channel + 1}"]["rms"]
            assert found is not None
            worst = max(worst, abs(found / expected - 1))
    assert worst < RMS_SHARE
    assert bool(pico.flash.sectors) == bool(flash.every_ms)
    status = gateway.status
    assert status["overruns"] == status["lost_samples"] == status["dropped"] == 0
    measured(
        f"{what}, flash {flash}: {SECONDS} s, {pico.adc.begun - begun} conversions, "
        f"{len(records)} records, 0 lost; CPU share {100 * meter.share:.1f} %, "
        f"heap free {status['heap_free']:.0f} bytes, "
        f"flash: {pico.flash.sectors} sectors, {pico.flash.pages} pages, stalled "
        f"{pico.flash.stalled_ms:.0f} ms; RMS within {100 * worst:.2f} %; "
        f"first record {booted_us / 1e6:.1f} s after reset"
    )


def run(
    emulated: Callable,
    board: dict,
    flash: Flash,
    measured: Callable,
    what: str,
    asks: bool = False,
) -> None:
    """One board from reset to the last check, with an accelerometer if it has one.

    `asks`: flash is written when the sampler has time for it, not whenever it falls.
    """

    async def scene() -> None:
        async with emulated(files(board, BEGIN_S, flash.every_ms, asks)) as pico:
            connect(pico)
            sensor = None
            if "accelerometer" in board["sources"]:
                pio.install(pico.mcu)
                sensor = shaken(pico)
            pico.flash.set(flash.times_ms)
            await pico.reset()
            await watch(pico, flash, measured, what)
            if sensor is not None:
                assert sensor.lost == 0
                assert sensor.violations == {}
                measured(f"accelerometer: {sensor.read} entries read, FIFO at most {sensor.most}")

    asyncio.run(scene())


@pytest.mark.parametrize("flash", FLASHES, ids=str)
def test_four_slots_at_25600_samples_a_second(
    emulated: Callable, measured: Callable, flash: Flash
) -> None:
    run(emulated, read_board("pico"), flash, measured, "25,600 S/s")


@pytest.mark.parametrize("flash", FLASHES, ids=str)
def test_four_slots_at_76800_samples_a_second(
    emulated: Callable, measured: Callable, flash: Flash
) -> None:
    board = read_board("pico")
    board["sources"]["adc"].update(rate_hz=19200, ring_ms=426)
    del board["sources"]["adc"]["block_frames"]
    board["spool"] = {"ram_bytes": 8192, "ram_items": 128}
    # A ring of 426 ms lasts over an erase of 400 ms if it is empty when that begins.
    run(emulated, board, flash, measured, "76,800 S/s", asks=True)


@pytest.mark.parametrize("flash", FLASHES, ids=str)
def test_currents_and_an_accelerometer_at_3200_hz(
    emulated: Callable, measured: Callable, flash: Flash
) -> None:
    run(emulated, read_board("pico-adxl345"), flash, measured, "25,600 S/s and 3 axes")
