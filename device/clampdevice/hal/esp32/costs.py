"""What flash writes and the radio cost the sampling, counted.

Owns two accounts beside one source: of every flash operation, and of the time with the radio on
and with it off. What is counted is slots without a sample, from the grid of the source itself; on
a source by DMA, frames lost.
"""

from clampdevice.ticks import ticks_diff


class FlashCost:
    """Counters of flash operations.

    Args:
        ticks_us: `time.ticks_us`.

    Attributes:
        writes, total_us, longest_us: of all operations.
        missed_slots: what the watched source missed meanwhile.
    """

    def __init__(self, ticks_us) -> None:
        self._ticks_us = ticks_us
        self._missed = None
        self.writes = self.total_us = self.longest_us = self.missed_slots = 0
        self._began = self._missed_before = 0

    def watch(self, missed) -> None:
        """`missed()` is how many slots the source has missed by now."""
        self._missed = missed

    def begin(self) -> None:
        """An operation begins."""
        self._missed_before = self._missed() if self._missed is not None else 0
        self._began = self._ticks_us()

    def end(self) -> None:
        """It is over, whether or not it did what it should."""
        us = ticks_diff(self._ticks_us(), self._began)
        self.writes += 1
        self.total_us += us
        self.longest_us = max(self.longest_us, us)
        if self._missed is not None:
            self.missed_slots += self._missed() - self._missed_before

    def report(self) -> dict:
        return {
            "writes": self.writes,
            "total_ms": self.total_us // 1000,
            "longest_ms": self.longest_us // 1000,
            "missed_slots": self.missed_slots,
        }


class RadioCost:
    """Slots missed in each state of the radio; `note` tells it of a change, and now and then.

    Args:
        ticks_us: `time.ticks_us`, which must be read every 8 minutes: `report` does.
        missed: see `FlashCost.watch`.
    """

    def __init__(self, ticks_us, missed) -> None:
        self._ticks_us = ticks_us
        self._missed = missed
        self._on = 0
        self._last = ticks_us()
        self._last_missed = missed()
        self.ms = [0, 0]  # off, on
        self.missed_slots = [0, 0]
        self._rest_us = [0, 0]

    def note(self, on: bool) -> None:
        """The radio is on, or not, from now on."""
        now, missed = self._ticks_us(), self._missed()
        state = self._on
        us = ticks_diff(now, self._last) + self._rest_us[state]
        self.ms[state] += us // 1000
        self._rest_us[state] = us % 1000
        self.missed_slots[state] += missed - self._last_missed
        self._last, self._last_missed = now, missed
        self._on = 1 if on else 0

    def report(self) -> dict:
        """Milliseconds and missed slots with the radio off and on."""
        self.note(bool(self._on))
        return {
            "off_ms": self.ms[0],
            "off_missed": self.missed_slots[0],
            "on_ms": self.ms[1],
            "on_missed": self.missed_slots[1],
        }
