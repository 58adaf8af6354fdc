"""Runs in the emulated Pico: takes blocks from the real accelerometer source, checks each frame.

The sensor's frame k has k in x (13 bits) and 7 k in z (10 bits), y stands still; see
`adxl345.ramp` on the host's side.
"""

import sys
import time
from array import array

import micropython

from clampdevice.hal.rp2.chips import chip_of
from clampdevice.hal.rp2.hal import _Memory
from clampdevice.hal.rp2.sensors import accelerometer

SENSOR = {
    "driver": "adxl345",
    "rate_hz": 3200,
    "range_g": 16,
    "bits": 13,
    "int_pin": 20,
    "bus": {"kind": "spi", "sck_pin": 18, "mosi_pin": 19, "miso_pin": 16, "cs_pin": 17},
}


def make(part: dict):  # noqa: ANN201 - the source
    chip = chip_of(sys.implementation._machine)  # noqa: SLF001 - MicroPython's name of it
    return accelerometer(part, chip, _Memory)


@micropython.viper
def breaks(buf: ptr16, first: int, frames: int, slots: int, wrong: ptr32) -> int:
    """Frames whose x is not the one before plus 1; wrong[0] counts those with other axes wrong."""
    p = ptr16(uint(buf) + 2 * first)
    last = (p[0] - 1 - 0x7000) & 8191
    bad = 0
    for _ in range(frames):
        k = (p[0] - 0x7000) & 8191
        if ((k - last) & 8191) != 1:
            bad += 1
        last = k
        if p[1] != 0x8000 - 77 or p[2] != ((k * 7) & 1023) + 0x8000 - 512:
            wrong[0] += 1
        p = ptr16(uint(p) + 2 * slots)
    return bad


class Probe:
    """Blocks as lines: B, first k, last k, frames, end_us, lost, breaks, wrong; E with an error.

    Where `told` is False they are only added up: `tell` prints the sums.
    """

    def __init__(self, source, told: bool = True) -> None:  # noqa: ANN001 - a block source
        self.source = source
        self.told = told
        self._wrong = array("i", [0])
        self._zero = 0
        self.frames = self.bad = self.joints = 0
        self._next = -1

    def now_us(self) -> int:
        return time.ticks_diff(time.ticks_us(), self._zero)

    def start(self) -> None:
        self._zero = time.ticks_us()
        self.source.start(0)

    def drain(self) -> int:
        """Takes all that is there; the number of blocks."""
        count = 0
        while True:
            try:
                block = self.source.take(self.now_us())
            except OSError as error:
                print("E", error)
                return count
            if block is None:
                return count
            buf, first, frames, end_us, lost = block
            slots = self.source.slots
            bad = breaks(buf, first, frames, slots, self._wrong)
            k = (buf[first] - 0x7000) & 8191
            last = (buf[first + (frames - 1) * slots] - 0x7000) & 8191
            if self._next >= 0 and (k - self._next - lost) & 8191:
                self.joints += 1  # the count of what was lost is wrong
            self._next = (last + 1) & 8191
            self.frames += frames
            self.bad += bad
            if self.told:
                print("B", k, last, frames, end_us, lost, bad, self._wrong[0])
            count += 1

    def run(self, ms: int, every_ms: int = 10) -> None:
        end_us = self.now_us() + 1000 * ms
        while self.now_us() < end_us:
            if not self.drain():
                time.sleep_ms(every_ms)

    def tell(self) -> None:
        s = self.source
        print("S", self.frames, self.bad, self.joints, self._wrong[0])
        print("C", s.overruns, s.lost_frames, s.laps, s.slips, s.faults, s.resyncs, s.rate_hz)
