"""The RP2040's ADC as the datasheet tells it, in place of the emulator's.

Owns conversions, pacing, round robin and the FIFO, and the truth about them: how many
conversions were begun, how many of them the full FIFO threw away. Stock rp2040py sticks on one
channel in round robin, and starts an extra conversion at any write to CS.

Ref: RP2040 datasheet, 4.9.2 and 4.9.6: a conversion takes 96 cycles of the 48 MHz ADC clock; with
START_MANY one begins every max(96, 1 + DIV) cycles; a full FIFO drops the new sample and sets
OVER; after each conversion AINSEL moves to the next channel of RROBIN.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from rp2040py.peripherals import adc
from rp2040py.rp2040 import RP2040
from rp2040py.utils.fifo import FIFO

CYCLE_NS = 1000 / 48
CONVERSION_CYCLES = 96
FIFO_DEPTH = 4  # by the datasheet; some have seen 8, and 4 is the harder case

Signal = Callable[[float], float]


class Adc(adc.RPADC):
    """`signals` maps an input (0 to 3: GPIO 26 to 29, 4: temperature) to a function of seconds.

    Attributes:
        thresholds: the signal at which each code begins, rising; None is an ideal converter.
        begun: conversions begun since power-up.
        dropped: samples that found the FIFO full.
        pushed: samples that went into the FIFO.
    """

    def __init__(self, rp2040: RP2040) -> None:
        super().__init__(rp2040, "ADC")
        self.fifo = FIFO(FIFO_DEPTH)
        self.signals: dict[int, Signal] = {}
        self.thresholds: Sequence[float] | None = None
        self.begun = self.dropped = self.pushed = 0
        self._clock = rp2040.clock
        self._channel = 0
        self._due = False  # a paced conversion waits for the one that runs
        self._pace = self._clock.create_alarm(self._on_pace)
        self._done = self._clock.create_alarm(self._on_done)

    def reset(self) -> None:
        super().reset()
        if hasattr(self, "_pace"):
            self._pace.cancel()
            self._done.cancel()
            self._due = False

    def _period_ns(self) -> float:
        cycles = 1 + (self.clock_div >> 8 & 0xFFFF) + (self.clock_div & 0xFF) / 256
        return max(CONVERSION_CYCLES, cycles) * CYCLE_NS

    def _on_pace(self) -> None:
        if self.cs & adc.CS_START_MANY:
            self._pace.schedule(self._period_ns())
            self._due = self.busy
            if not self.busy:
                self._begin()

    def _begin(self) -> None:
        self.busy = True
        self.begun += 1
        self._channel = self.cs >> adc.CS_AINSEL_SHIFT & adc.CS_AINSEL_MASK
        self._done.schedule(CONVERSION_CYCLES * CYCLE_NS)

    def _on_done(self) -> None:
        channel = self._channel
        signal = self.signals.get(channel)
        if signal is None:
            value = self.channel_values[channel]
        else:
            # sampled at the beginning of the conversion
            at_s = (self._clock.nanos - CONVERSION_CYCLES * CYCLE_NS) * 1e-9
            value = self._code(signal(at_s))
        self.busy = False
        self.result = value
        self._advance(channel)
        if self.fcs & adc.FCS_EN:
            if self.fifo.full:
                self.fcs |= adc.FCS_OVER
                self.dropped += 1
            else:
                self.pushed += 1
                self.fifo.push(value >> 4 if self.fcs & adc.FCS_SHIFT else value)
                self._update_dma()
        self.check_interrupts()
        if self._due:
            self._due = False
            self._begin()

    def _code(self, level: float) -> int:
        if self.thresholds is not None:
            return max(0, bisect_right(self.thresholds, level) - 1)
        return min(4095, max(0, round(level)))

    def _advance(self, channel: int) -> None:
        chosen = self.cs >> adc.CS_RROBIN_SHIFT & adc.CS_RROBIN_MASK
        if chosen:
            channel = (channel + 1) % self.num_channels
            while not chosen >> channel & 1:
                channel = (channel + 1) % self.num_channels
            rest = self.cs & ~(adc.CS_AINSEL_MASK << adc.CS_AINSEL_SHIFT)
            self.cs = rest | channel << adc.CS_AINSEL_SHIFT

    def write_uint32(self, offset: int, value: int) -> None:
        if offset != adc.CS:
            super().write_uint32(offset, value)
            return
        self.cs &= ~(value & adc.CS_ERR_STICKY)
        was_many = self.cs & adc.CS_START_MANY
        once = value & adc.CS_START_ONE
        self.cs = (self.cs & ~adc.CS_WRITE_MASK) | (value & adc.CS_WRITE_MASK & ~adc.CS_START_ONE)
        if not self.cs & adc.CS_START_MANY:
            self._pace.cancel()
            self._due = False
        if not self.cs & adc.CS_EN:
            return
        if self.cs & adc.CS_START_MANY and not was_many:
            self._on_pace()
        elif once and not self.busy:
            self._begin()
