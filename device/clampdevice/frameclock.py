"""When the frames of a free-running sensor end, by the device's own clock.

Owns phase and true rate of a sensor that samples by its own oscillator, from nothing but how many
frames are there at which moment. A frame seen at a moment ended before it, and the next one had
not: each look bounds the phase from both sides, and over seconds the rate is known to parts per
million of the board's crystal. It tells how many frames must have come, so how many were lost.

Times are ticks, microseconds modulo 2**30. Numbers stay below 2**30, where the chips keep them
off the heap, for periods up to 16 ms and looks less than 4 s apart; beyond they are right, too.
"""

TICKS_MASK = 0x3FFFFFFF
_HALF = 0x20000000
_FRAC_BITS = 16
_FRAC_MASK = 0xFFFF
_FIRST_SPAN_US = 1 << 17
_LAST_SPAN_US = 1 << 24


def ticks_diff(end: int, start: int) -> int:
    """`end` - `start` of two ticks, signed."""
    return ((end - start + _HALF) & TICKS_MASK) - _HALF


class FrameClock:
    """Phase and rate.

    Args:
        rate_hz: what the sensor should do.

    Attributes:
        end: ticks at which the newest frame known ended.
        frames: since `start`.
        settled: the rate comes from this clock's own count, no longer from the data sheet.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_q = int(1000000 * (1 << _FRAC_BITS) / rate_hz + 0.5)
        self.end = self._frac = 0
        self.frames = 0
        self.settled = False
        self._base = self._base_frames = 0
        self._span_us = _FIRST_SPAN_US

    @property
    def rate_hz(self) -> float:
        """Frames a second of the device's clock."""
        return 1000000 * (1 << _FRAC_BITS) / self._period_q

    @property
    def period_us(self) -> int:
        """Whole microseconds between two frames."""
        return self._period_q >> _FRAC_BITS

    def start(self, ticks: int) -> None:
        """The sensor begins its first frame at `ticks`, more or less. The rate is kept."""
        self.end = self._base = ticks & TICKS_MASK
        self._frac = self.frames = self._base_frames = 0
        self._span_us = _FIRST_SPAN_US

    def span_us(self, frames: int) -> int:
        """Duration of `frames`."""
        period_q = self._period_q
        return frames * (period_q >> _FRAC_BITS) + (frames * (period_q & _FRAC_MASK) >> _FRAC_BITS)

    def due(self, ticks: int) -> int:
        """Whole frames that have ended since `end`, by `ticks`."""
        span_us = ticks_diff(ticks, self.end)
        return (span_us << 8) // (self._period_q >> 8) if span_us > 0 else 0

    def phase_us(self, ticks: int) -> int:
        """Time since the last of those ended."""
        return ticks_diff(ticks, self.end) - self.span_us(self.due(ticks))

    def observe(self, frames: int, before: int, after: int) -> None:
        """`frames` more have ended: seen by a look that began and ended at these ticks."""
        frac = frames * (self._period_q & _FRAC_MASK) + self._frac
        whole = frames * (self._period_q >> _FRAC_BITS) + (frac >> _FRAC_BITS)
        self._frac = frac & _FRAC_MASK
        end = (self.end + whole) & TICKS_MASK
        if self.frames + frames:
            early = ticks_diff(end, after)
            late = ticks_diff(before, end) - (self._period_q >> _FRAC_BITS) - 1
            if early > 0:  # it had ended when it was seen
                end -= early
            elif late > 0:  # the next one had not
                end += late
        self.end = end & TICKS_MASK
        if not self.frames and frames:
            self._base, self._base_frames = self.end, frames
        self.frames += frames
        if ticks_diff(self.end, self._base) >= self._span_us:
            self._learn()

    def _learn(self) -> None:
        """Takes the rate from the frames since the base; seldom, so it may allocate."""
        frames = self.frames - self._base_frames
        if not frames:
            return
        span_us = ticks_diff(self.end, self._base)
        self._period_q = ((span_us << _FRAC_BITS) + (frames >> 1)) // frames
        self.settled = True
        if self._span_us < _LAST_SPAN_US:
            self._span_us <<= 1
        else:
            self._base, self._base_frames = self.end, self.frames
