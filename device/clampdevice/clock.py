"""Device time: microseconds since power-up in a count that does not wrap in a lifetime.

MicroPython's `ticks_us` wraps every 2**30 us (17.9 minutes); it has to be read at least that
often, which the link loop does a thousand times over. Device time never follows a calendar: the
gateway maps it to UTC.
"""

TICKS_PERIOD = 1 << 30
_MASK = TICKS_PERIOD - 1  # the largest number that is no object on a chip's heap


class Clock:
    """Extends a wrapping microsecond counter. `ticks_us` is a callable that returns it."""

    def __init__(self, ticks_us) -> None:
        self._ticks_us = ticks_us
        self._last = self.ticks()
        self._total_us = 0
        self._ms = self._rest_us = 0  # whole ms, and what has come since
        self._utc_offset_ms = 0

    def ticks(self) -> int:
        """Microseconds modulo `TICKS_PERIOD`: for a short time that may cost no heap."""
        return self._ticks_us() & _MASK

    def now_us(self) -> int:
        """Microseconds since this clock was made, never decreasing."""
        ticks = self.ticks()
        spent_us = (ticks - self._last) & _MASK
        self._last = ticks
        self._total_us += spent_us
        self._rest_us += spent_us
        return self._total_us

    def now_ms(self) -> int:
        """Whole milliseconds of `now_us`, counted on their own: a number that takes no heap.

        The quotient of a number on the heap is one too, and all that is reckoned with it.
        """
        self.now_us()
        if self._rest_us >= 1000:
            ms = self._rest_us // 1000
            self._ms += ms
            self._rest_us -= 1000 * ms
        return self._ms

    def learn_utc(self, utc_ms: int) -> None:
        """Note UTC as the gateway told it (0: it does not know); for display only."""
        self._utc_offset_ms = utc_ms - self.now_ms() if utc_ms else 0

    def utc_ms(self) -> int:
        """UTC in ms by the gateway's last word, 0 if it never knew."""
        return self.now_ms() + self._utc_offset_ms if self._utc_offset_ms else 0
