"""When the frames of a free-running sensor end, by the device's own clock.

Owns phase and true rate of a sensor that samples by its own oscillator, from nothing but how many
frames are there at which moment. A frame seen at a moment had ended by then, and the next one had
not: each look bounds the phase from both sides. Between looks the bounds widen by what is not
known of the rate; over seconds the rate is known to tens of ppm of the board's crystal. So it can
say how many frames must have come, and whether that is certain, hence how many were lost.

Times are ticks, microseconds modulo 2**30. In `observe` numbers stay below 2**30, where the chips
keep them off the heap, while looks are less than 20 ms apart; beyond they are right, too.
"""

from clampdevice.ticks import TICKS_MASK, ticks_diff

_FRAC_BITS = 16
_FRAC_MASK = 0xFFFF
_FIRST_SPAN_US = 1 << 17
_LAST_SPAN_US = 1 << 24
# What data sheets allow an oscillator, and what temperature does to one in some seconds.
_UNKNOWN_PPM = 50000
_DRIFT_PPM = 20
_GOOD_PPM = 200


class FrameClock:
    """Phase and rate.

    Args:
        rate_hz: what the sensor should do.

    Attributes:
        frames: since `start`.
        ppm: bound of the rate's error.
        settled: the rate comes from this clock's own count, no longer from the data sheet.
        slips: how often looks contradicted one another, because the rate had changed.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_q = int(1000000 * (1 << _FRAC_BITS) / rate_hz + 0.5)
        self.ppm = _UNKNOWN_PPM
        self.settled = False
        self.frames = self.slips = 0
        # The newest frame ended between `_low` (and a fraction) and `_width_q` / 256 us after.
        self._low = self._frac = self._width_q = 0
        self._base = self._base_frames = self._base_width_q = 0
        self._span_us = _FIRST_SPAN_US

    @property
    def rate_hz(self) -> float:
        """Frames a second of the device's clock."""
        return 1000000 * (1 << _FRAC_BITS) / self._period_q

    @property
    def period_us(self) -> int:
        """Whole microseconds between two frames."""
        return self._period_q >> _FRAC_BITS

    @property
    def end(self) -> int:
        """Ticks at which the newest frame known ended, the middle of what is possible."""
        return (self._low + (self._width_q >> 9)) & TICKS_MASK

    def start(self, ticks: int) -> None:
        """The sensor begins its first frame at `ticks`, more or less. The rate is kept."""
        self._low = ticks & TICKS_MASK
        self._frac = self._width_q = self.frames = 0
        self._span_us = _FIRST_SPAN_US

    def span_us(self, frames: int) -> int:
        """Duration of `frames`."""
        period_q = self._period_q
        return frames * (period_q >> _FRAC_BITS) + (frames * (period_q & _FRAC_MASK) >> _FRAC_BITS)

    def fewest(self, before: int) -> int:
        """Frames that have ended for certain since the newest one known, by `before`."""
        span_us = ticks_diff(before, self._low) - (self._width_q >> 8) - 1
        return self._count(span_us - self._slack_us(span_us))

    def most(self, after: int) -> int:
        """Frames that can have ended since the newest one known, by `after`."""
        span_us = ticks_diff(after, self._low)
        return self._count(span_us + self._slack_us(span_us))

    def likely(self, ticks: int) -> int:
        """The number between the two that fits best."""
        return self._count(ticks_diff(ticks, self.end))

    def _count(self, span_us: int) -> int:
        return (span_us << _FRAC_BITS) // self._period_q if span_us > 0 else 0

    def _slack_us(self, span_us: int) -> int:
        return abs(span_us) * self.ppm // 1000000 + 1

    def observe(self, frames: int, before: int, after: int) -> None:
        """`frames` more have ended: seen by a look that began and ended at these ticks."""
        period_q = self._period_q
        if not self.frames:
            if frames:
                self.frames = frames
                self._begin(before, after)
            return
        elapsed_us = ticks_diff(after, self._low)
        slack_q = elapsed_us * self.ppm // 3906 + 1
        frac = frames * (period_q & _FRAC_MASK) + self._frac - (slack_q << 8)
        low = self._low + frames * (period_q >> _FRAC_BITS) + (frac >> _FRAC_BITS)
        width_q = self._width_q + (slack_q << 1)
        late = ticks_diff(before, low) - (period_q >> _FRAC_BITS) - 1
        if late > 0:  # the next one had not ended
            low += late
            width_q -= late << 8
        most_q = ticks_diff(after, low) << 8
        if width_q > most_q:  # it had ended when it was seen
            width_q = most_q
        self.frames += frames
        if width_q < 0:
            self.slips += 1
            self.ppm = min(_UNKNOWN_PPM, self.ppm << 1)
            self._begin(before, after)
            return
        self._low = low & TICKS_MASK
        self._frac = frac & _FRAC_MASK
        self._width_q = width_q
        if ticks_diff(self._low, self._base) >= self._span_us:
            self._learn()

    def _begin(self, before: int, after: int) -> None:
        """Nothing is known but this look."""
        self._low = (before - (self._period_q >> _FRAC_BITS) - 1) & TICKS_MASK
        self._frac = 0
        self._width_q = ticks_diff(after, self._low) << 8
        self._span_us = _FIRST_SPAN_US
        self._rebase()

    def _rebase(self) -> None:
        self._base, self._base_frames = self._low, self.frames
        self._base_width_q = self._width_q

    def _learn(self) -> None:
        """Takes the rate from the frames since the base; seldom, so it may allocate."""
        frames = self.frames - self._base_frames
        width_q = self._width_q
        # 256ths of microseconds between the middles
        span_q = (ticks_diff(self._low, self._base) << 8) + ((width_q - self._base_width_q) >> 1)
        if not frames or span_q <= 0:
            return
        error_q = (width_q + self._base_width_q >> 1) + 512  # the looks' own microseconds
        ppm = error_q * 1000000 // span_q + _DRIFT_PPM
        last = self._span_us >= _LAST_SPAN_US
        if ppm < self.ppm or (last and ppm < _GOOD_PPM):
            self._period_q = ((span_q << 8) + (frames >> 1)) // frames
            self.ppm = ppm
            self.settled = True
        if last or self._base_width_q > width_q << 1:
            self._rebase()  # a better phase to count from
        else:
            self._span_us <<= 1
