"""The slots of a paced source: which moment belongs to which, how late it was, what was missed.

Owns the grid and its account; pure, in ticks (microseconds modulo 2**30). The ESP32 offers no
hard interrupt and no ADC that runs by itself: a timer asks for a sample, and MicroPython takes it
when it next can. So each sample has a slot on the grid of the timer, a lateness, and there are
slots without a sample. All of it is counted; nothing is filled in.
"""

from math import sqrt

from clampdevice.ticks import TICKS_MASK, ticks_diff

# One slot in 50 may be missed, and four at a time, without being told as lost. A missing sample
# takes at most its own square out of a mean square, so a share p of them, however they fall with
# the mains, changes an RMS by at most p / 2: 1.2 % of a record of 1,000 slots with its 24. What
# goes beyond is told, which flags the record. One hole alone costs a window of 200 ms at most
# 1 / (2 pi f) = 3.2 ms of its mean square at 50 Hz, 0.9 % of its RMS.
ALLOWED_ONE_IN = 50
BURST = 4


class Pacer:
    """Grid of one source.

    Args:
        period_us: between two slots.

    Attributes:
        due: ticks of the slot that was used last.
        taken: slots with a sample; `missed`: slots without; `bursts`: calls refused, since their
            slot was used already (callbacks that had queued up behind a pause).
        late_max_us: the latest sample.
    """

    def __init__(self, period_us: int) -> None:
        self.period_us = period_us
        self._half = period_us // 2
        self._square_us2 = 0.0
        self._debt = 0  # in 50ths of a slot
        self.due = self.taken = self.missed = self.bursts = self.late_max_us = 0

    def start(self, stamp: int) -> None:
        """The slot of `stamp` is the first, and counts as used by nobody; counters go on."""
        self.due = (stamp - self.period_us) & TICKS_MASK

    def slot(self, stamp: int) -> int:
        """Slots from the last used one to that of `stamp`: 1 if none was missed, 0 to refuse."""
        off = ticks_diff(stamp, self.due)
        step = (off + self._half) // self.period_us
        if step <= 0:
            self.bursts += 1
            return 0
        late = off - step * self.period_us
        if late < 0:
            late = -late
        if late > self.late_max_us:
            self.late_max_us = late
        self._square_us2 += late * late
        self.due = (self.due + step * self.period_us) & TICKS_MASK
        self.taken += 1
        self.missed += step - 1
        return step

    def to_tell(self, step: int) -> int:
        """Missed slots of the last `step` to be told as lost: none within the allowance."""
        debt = self._debt - step
        if debt < 0:
            debt = 0
        missed = step - 1
        debt += ALLOWED_ONE_IN * missed
        if missed and debt > ALLOWED_ONE_IN * BURST:
            self._debt = ALLOWED_ONE_IN * BURST
            return missed
        self._debt = debt
        return 0

    def missed_by(self, stamp: int) -> int:
        """Slots without a sample up to `stamp`; the one of `stamp` may still get its own."""
        passed = (ticks_diff(stamp, self.due) + self._half) // self.period_us
        return self.missed + max(0, passed - 1)

    @property
    def jitter_us(self) -> float:
        """RMS distance of the samples from their slots."""
        return sqrt(self._square_us2 / self.taken) if self.taken else 0.0

    @property
    def achieved_hz(self) -> float:
        """Samples a second, over all slots since the first."""
        slots = self.taken + self.missed
        return 1000000 / self.period_us * self.taken / slots if slots else 0.0


def period_for(rate_hz: float, cost_us: float, share: float) -> int:
    """Whole microseconds from slot to slot.

    Args:
        rate_hz: frames a second that the board asks for.
        cost_us: what one frame costs the CPU, measured.
        share: of the CPU that sampling may take.

    Raises:
        ValueError: the converter is too slow for it.
    """
    period_us = int(1000000 / rate_hz + 0.5)
    if cost_us > share * period_us:
        most = int(share * 1000000 / cost_us)
        raise ValueError(
            f"sources.adc.rate_hz: {rate_hz:g}; a frame takes {cost_us:.0f} us here, and at most "
            f"{100 * share:.0f} % of the time may go into it: {most} at most, or fewer slots"
        )
    return period_us
