"""What goes wrong with a meter, told in good time and not too often: faults and gaps.

Pure. One `Trouble` for the meter as a whole and one for each channel. A reading that failed is
part of a gap, which is told when a reading succeeds again, and while it lasts once a minute if
anybody hears it. A fault is told at the third failure in a row, because a line of RS-485 loses a
frame now and then, and cleared by the first success.
"""

from __future__ import annotations

from typing import Protocol

from clampwire import messages

FAULT_AFTER = 3
TELL_MS = 60_000
FAULT = messages.code_of(messages.EVENT_KINDS, "fault")
FAULT_CLEARED = messages.code_of(messages.EVENT_KINDS, "fault_cleared")
SENSOR_FAULT = messages.code_of(messages.GAP_REASONS, "sensor_fault")
OVERRUN = messages.code_of(messages.GAP_REASONS, "overrun")


class Teller(Protocol):
    """Who numbers events and gaps: the meter's device."""

    @property
    def connected(self) -> bool:
        """Whether what is told goes out now."""
        ...

    def event(self, kind: int, channel: int, text: str) -> None:
        """An Event, now."""
        ...

    def gap(self, reason: int, channel: int, from_ms: int, to_ms: int, samples: int) -> None:
        """A Gap of readings."""
        ...


class Losses:
    """Readings that are missing for one reason and are not told yet. Times in ms of the device."""

    def __init__(self, teller: Teller, reason: int, channel: int) -> None:
        self._teller = teller
        self._reason = reason
        self._channel = channel
        self._samples = 0
        self._from_ms = self._to_ms = 0

    def add(self, from_ms: int, to_ms: int, samples: int) -> None:
        """So many readings between two times."""
        if not samples:
            return
        if not self._samples:
            self._from_ms = from_ms
        self._samples += samples
        self._to_ms = to_ms

    def tell_old(self) -> None:
        """Tell them if they have waited for a minute."""
        if self._to_ms - self._from_ms >= TELL_MS and self._teller.connected:
            self.tell()

    def tell(self) -> None:
        """Tell them as one gap, if there are any."""
        samples, self._samples = self._samples, 0
        if samples:
            self._teller.gap(self._reason, self._channel, self._from_ms, self._to_ms, samples)
            self._from_ms = self._to_ms


class Trouble:
    """Failures of one channel, or of the meter as a whole (`messages.NO_CHANNEL`).

    `why` is the reason of the last one, "" when all is well; `faults` counts those told.
    """

    def __init__(self, teller: Teller, channel: int) -> None:
        self._teller = teller
        self._channel = channel
        self._losses = Losses(teller, SENSOR_FAULT, channel)
        self._in_row = 0
        self.why = ""
        self.faults = 0

    def __bool__(self) -> bool:
        """Whether the last reading failed."""
        return self._in_row > 0

    @property
    def lasts(self) -> bool:
        """Whether it is a fault by now, and not a lost frame."""
        return self._in_row >= FAULT_AFTER

    def failed(self, why: str, from_ms: int, to_ms: int, samples: int) -> None:
        """Readings failed: the last one for this reason."""
        self._losses.add(from_ms, to_ms, samples)
        self._in_row += 1
        self.why = why
        if self._in_row == FAULT_AFTER:
            self.faults += 1
            self._teller.event(FAULT, self._channel, why)
        self._losses.tell_old()

    def succeeded(self, from_ms: int = 0, to_ms: int = 0, samples: int = 0) -> None:
        """A reading came; before it `samples` more had not been tried."""
        if not self._in_row:
            return
        self._losses.add(from_ms, to_ms, samples)
        self._losses.tell()
        if self.lasts:
            self._teller.event(FAULT_CLEARED, self._channel, f"answers again, after: {self.why}")
        self._in_row, self.why = 0, ""

    def tell(self) -> None:
        """What is known of the gap so far, at the end."""
        self._losses.tell()
