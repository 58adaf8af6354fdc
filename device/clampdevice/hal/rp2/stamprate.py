"""The rate of a free-running sensor by the board's crystal, from stamps at the ends of its blocks.

Owns the period and what follows from it: durations, and how many periods a time is. Knows nothing
of rings or losses; the caller says which stamps are in step with the sensor.
"""

from clampdevice.ticks import ticks_diff

_FIRST_SPAN_US = 1 << 17
_LAST_SPAN_US = 1 << 24


class StampRate:
    """Period of a frame, learned over spans that grow up to 17 s.

    Args:
        rate_hz: what the sensor should do.
        block: frames from one stamp to the next.

    Attributes:
        settled: the period comes from stamps, no longer from the data sheet.
    """

    def __init__(self, rate_hz: float, block: int) -> None:
        self._period_q = int(65536000000 / rate_hz + 0.5)
        self._block = block
        self.settled = False
        self.forget()

    @property
    def rate_hz(self) -> float:
        """Frames a second."""
        return 65536000000 / self._period_q

    @property
    def half_us(self) -> int:
        """Half a period."""
        return self._period_q >> 17

    def us(self, frames: int) -> int:
        """Duration of `frames`, below 2**14 of them."""
        period_q = self._period_q
        return frames * (period_q >> 16) + (frames * (period_q & 0xFFFF) >> 16)

    def long_us(self, frames: int) -> int:
        """Duration of any number of frames; may allocate."""
        return frames * self._period_q >> 16

    def frames(self, us: int) -> int:
        """Periods in `us`, rounded, 0 for less than none; may allocate."""
        return max(0, ((us << 16) + (self._period_q >> 1)) // self._period_q)

    def in_step(self, spent_us: int, before_us: int) -> bool:
        """Whether a block took its time; while the rate is unknown, as long as the one before."""
        if self.settled:
            return spent_us > self.us(self._block) - self.half_us
        return 2 * spent_us > self.us(self._block) and abs(spent_us - before_us) < self.half_us

    def forget(self) -> None:
        """The next stamp begins a new span; the rate is kept."""
        self._base = -1
        self._base_stamp = self._span_us = 0

    def learn(self, block: int, stamp: int) -> None:
        """Takes the rate from the stamps since the span's first, at the end of its time."""
        if self._base < 0:
            self._base, self._base_stamp = block, stamp
            self._span_us = _LAST_SPAN_US if self.settled else _FIRST_SPAN_US
            return
        span_us = ticks_diff(stamp, self._base_stamp)
        if span_us >= self._span_us:
            self._period_q = (span_us << 16) // ((block - self._base) * self._block)
            self.settled = True
            if span_us >= _LAST_SPAN_US:
                self._base, self._base_stamp = block, stamp
            else:
                self._span_us <<= 1
