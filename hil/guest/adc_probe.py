"""Runs in the emulated Pico: takes blocks from the real source and checks what is in them.

Input 0 carries a ramp of one code a frame, 1 and 2 constants, 4 the temperature; what the ramp
shows of each block goes to the host, which knows the truth.
"""

import sys
import time
from array import array

import machine
import micropython
import rp2

from clampdevice.hal.rp2.adc import AdcSource
from clampdevice.hal.rp2.chips import chip_of
from clampdevice.hal.rp2.hal import _Memory

CONSTANTS = (0, 2071, 2072, 876)


def make(config: dict) -> AdcSource:
    chip = chip_of(sys.implementation._machine)  # noqa: SLF001 - MicroPython's name of it
    source = AdcSource(config, chip, machine.mem32, rp2.DMA, _Memory, time.ticks_us)
    for number in source.converter.inputs:
        machine.ADC(4 if number == 4 else machine.Pin(26 + number))
    return source


@micropython.viper
def breaks(buf: ptr16, first: int, frames: int, slots: int, wrong: ptr32) -> int:
    """Frames whose ramp is not the one before plus 1, and frames with a wrong constant."""
    p = ptr16(uint(buf) + 2 * first)
    last = (p[0] - 1) & 4095
    bad = 0
    for _ in range(frames):
        if ((p[0] - last) & 4095) != 1:
            bad += 1
        last = p[0]
        if slots == 4:
            if p[1] != 2071 or p[2] != 2072 or p[3] != 876:
                wrong[0] += 1
        p = ptr16(uint(p) + 2 * slots)
    return bad


class Probe:
    """Blocks as lines: B, first ramp, last ramp, frames, end_us, lost, breaks, wrong."""

    def __init__(self, source: AdcSource) -> None:
        self.source = source
        self._wrong = array("i", [0])
        self._zero = 0

    def now_us(self) -> int:
        return time.ticks_diff(time.ticks_us(), self._zero)

    def start(self) -> None:
        self._zero = time.ticks_us()
        self.source.start(0)

    def drain(self) -> int:
        """Takes all that is there; the number of blocks."""
        count = 0
        while True:
            block = self.source.take(self.now_us())
            if block is None:
                return count
            buf, first, frames, end_us, lost = block
            self._wrong[0] = 0
            slots = self.source.slots
            bad = breaks(buf, first, frames, slots, self._wrong)
            last = buf[first + (frames - 1) * slots]
            print("B", buf[first], last, frames, end_us, lost, bad, self._wrong[0])
            count += 1

    def run(self, ms: int, every_ms: int = 10) -> None:
        end_us = self.now_us() + 1000 * ms
        while self.now_us() < end_us:
            if not self.drain():
                time.sleep_ms(every_ms)

    def tell(self) -> None:
        s = self.source
        print("C", s.overruns, s.lost_frames, s.laps, s.fifo_overruns, s.slips, s.silences, s.torn)
