"""An ADXL345 and the PIO program that empties it, on the register file of `fakes_rp2`.

It samples by its own oscillator, and an entry is read when the FIFO holds the watermark; the
register file's ADC FIFO stands in for that of the PIO.
"""

from fakes_rp2 import FakeRp2

from clampdevice.hal.rp2.entries import WATERMARK

FORM = 0x0B
ENTRY_US = 36


class Sensor:
    """The driver, the reader and the chip in one; time is that of the register file."""

    entry_format = FORM
    int_pin = 20
    read_us = 30
    name = "adxl345"

    def __init__(self, machine: FakeRp2, ppm: int, nominal_hz: int) -> None:
        self.machine = machine
        self.fifo_words = machine.fifo
        self.fifo = machine.chip.adc_base + 12
        self.dreq = machine.chip.dreq_adc
        self.period_us = 1000000 / nominal_hz / (1 + ppm / 1000000)
        self.made = self.lost = self.first = 0
        self.reading = self.cut = self.silent = False
        self.overrun = self.mangle = False
        self.free_us = self.next_us = 0.0
        self.running = False
        self.checks = self.starts = 0
        machine.fcs = 1 << 3

    # the driver
    def configure(self, rate_hz: float, range_g: float) -> None:
        self.check()
        self.running = False

    def check(self) -> None:
        self.checks += 1
        if self.silent:
            raise OSError("identity 0xFF in register 0x00: no chip answers")

    def measuring(self) -> bool:
        return self.running

    def start(self, watermark: int) -> None:
        assert watermark == WATERMARK
        self.starts += 1
        self.first = self.made
        self.overrun = False
        self.running = True
        self.next_us = self.machine.now_us + self.period_us

    # the reader
    def arm(self) -> None:
        self.reading = False
        del self.machine.fifo[:]
        self.machine.fcs = 1 << 3

    def run(self) -> None:
        self.reading = True
        self.free_us = self.machine.now_us

    def halt(self) -> None:
        self.reading = False

    def close(self) -> None:
        self.reading = False

    # the chip
    def advance(self, us: int) -> None:
        """Samples and reads for that long; the DMA takes each word as it comes."""
        machine = self.machine
        end_us = machine.now_us + us
        while True:
            sample_us = self.next_us if self.running else 1e18
            read_us = 1e18
            if self.reading and not self.cut and self.made - self.first >= WATERMARK:
                read_us = max(self.free_us, machine.now_us)
            event_us = min(sample_us, read_us)
            if event_us > end_us:
                break
            self._to(event_us)
            if sample_us <= read_us:
                self.made += 1
                self.next_us += self.period_us
                if self.made - self.first > 32:
                    self.first += 1
                    self.lost += 1
                    self.overrun = True
            else:
                self._read()
        self._to(end_us)

    def _to(self, us: float) -> None:
        ahead = int(us) - self.machine.now_us
        if ahead > 0:
            self.machine.advance(ahead)

    def _read(self) -> None:
        k = self.first
        self.first += 1
        self._to(self.machine.now_us + self.read_us)
        status = 0x8200 | FORM
        if self.overrun:
            status |= 0x0100
        if self.mangle:
            status ^= 0x0004
        self.overrun = False
        fifo = self.machine.fifo
        fifo.append(status)
        for value in (k, ~k, 77):
            fifo.append(value >> 8 & 0xFF | (value & 0xFF) << 8)
        self.machine.serve()
        self.free_us = self.machine.now_us + ENTRY_US - self.read_us
