"""When UTC is known here, and which times that were given are wrong by now.

Pure: clocks and the kernel's status come in as callables. An *era* is a stretch of one run of the
machine in which UTC kept its distance to the steady clock. A step of UTC by a second or more ends
it and begins the next; whoever is dated in an era carries its number. All eras of one run count
by the same steady clock, so the distance that is believed last says by how much each one before
was wrong (`corrections`). A slow change is followed within the era.

What is believed, in this order (docs/decisions/0008-time.md says why):
- the kernel calls the clock synchronised;
- somebody set the clock while we ran; if it was synchronised before, only after a while without
  being set right, since a time service steps a clock that was set by mistake back again;
- the clock has a plausible time, and nothing speaks against it: it is not before what was UTC
  here already, and the machine did not take it from a file at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from clampgateway.kernelclock import ClockStatus

# 2025-01-01: a Pi without a clock battery starts in 1970 or at its last shutdown.
EARLIEST_UTC_MS = 1_735_689_600_000
STEP_MS = 1000
# Between two readings of one clock; longer, and something kept us from reading the other at once.
READ_US = 20_000
READS_MAX = 5
HOLD_US = 300_000_000
# A clock that was set back a little, or a battery's that runs slow, is not behind the times.
BEHIND_MS = 60_000
# How often the kernel is asked.
ASK_US = 1_000_000
# The number of the first one is above it: 1 is `clocksync.NO_ERA`.
FIRST_ERA = 2

UNKNOWN, ASSUMED, SET, SYNCHRONISED = "unknown", "assumed", "set", "synchronised"


class Era(NamedTuple):
    """From one step of UTC to the next, within one run of the machine, which `power_up` names.

    `offset_ms` is UTC less the steady clock of that run.
    """

    number: int
    power_up: str
    offset_ms: int


def corrections(eras: Iterable[Era]) -> dict[int, tuple[int, int]]:
    """{number of an era whose times are wrong: (ms to add to them, number of the right era)}."""
    last: dict[str, Era] = {}
    eras = sorted(eras)
    for era in eras:
        last[era.power_up] = era
    out = {}
    for era in eras:
        right = last[era.power_up]
        shift_ms = right.offset_ms - era.offset_ms
        if era.power_up and abs(shift_ms) >= STEP_MS:
            out[era.number] = (shift_ms, right.number)
    return out


class UtcClock:
    """UTC as far as it is known. `eras` are those of before, `seen_ms` the last UTC then.

    `power_up` names the run of the machine; "" if nobody knows, then nothing is taken over.
    """

    def __init__(
        self,
        steady_us: Callable[[], int],
        wall_ms: Callable[[], int],
        status: Callable[[], ClockStatus],
        power_up: str = "",
        eras: Iterable[Era] = (),
        seen_ms: int = 0,
    ) -> None:
        self._steady_us = steady_us
        self._wall_ms = wall_ms
        self._status = status
        self._power_up = power_up
        self._seen_ms = seen_ms
        eras = sorted(eras)
        self._last_number = max((era.number for era in eras), default=FIRST_ERA - 1)
        own = [era for era in eras if power_up and era.power_up == power_up]
        self._era = own[-1] if own else None
        self._offset_ms = float(own[-1].offset_ms) if own else 0.0
        # Where the system's UTC stands now, believed or not.
        self._wall_offset_ms: float | None = None
        self._was_set = self._was_synchronised = False
        self._held_us: int | None = None
        self._asked_us: int | None = None
        self._news: list[Era] = []
        self.why = SET if own else UNKNOWN
        self.steps = self.held = self.reads_late = 0

    @property
    def era(self) -> int:
        """The number of the present era, 0 while UTC is not known."""
        return self._era.number if self._era is not None else 0

    def utc_ms(self) -> int:
        """UTC now in ms, 0 while it is not known. Sees steps: dates are given right after it."""
        now_us, wall_offset_ms = self._read()
        before_ms = self._wall_offset_ms
        self._wall_offset_ms = wall_offset_ms
        stepped = before_ms is not None and abs(wall_offset_ms - before_ms) >= STEP_MS
        if stepped:
            self.steps += 1
            self._was_set = True
        if stepped or self._asked_us is None or now_us - self._asked_us >= ASK_US:
            self._asked_us = now_us
            self._judge(now_us, wall_offset_ms)
        if self._era is None:
            return 0
        if self._agrees(wall_offset_ms):
            self._offset_ms = wall_offset_ms
        return round(now_us / 1000 + self._offset_ms)

    def _read(self) -> tuple[int, float]:
        """(steady clock, UTC of the system less it): of one moment, whoever interrupts us."""
        before_us = self._steady_us()
        wall_ms = self._wall_ms()
        after_us = self._steady_us()
        late = 0
        while after_us - before_us > READ_US:
            self.reads_late += 1
            late += 1
            if late == READS_MAX and self._wall_offset_ms is not None:
                return after_us, self._wall_offset_ms  # as it was: next time will tell
            before_us = self._steady_us()
            wall_ms = self._wall_ms()
            after_us = self._steady_us()
        return after_us, wall_ms - after_us / 1000

    def _agrees(self, offset_ms: float) -> bool:
        return self._era is not None and abs(offset_ms - self._offset_ms) < STEP_MS

    def _judge(self, now_us: int, offset_ms: float) -> None:
        status = self._status()
        wall_ms = now_us / 1000 + offset_ms
        plausible = wall_ms >= EARLIEST_UTC_MS
        if status.synchronised and plausible:
            self._was_synchronised = True
            self._believe(offset_ms, SYNCHRONISED)
        elif self._agrees(offset_ms):
            self._held_us = None
            if self.why in (UNKNOWN, ASSUMED) and self._was_set:
                self.why = SET
        elif not plausible:
            self._hold(now_us)
        elif self._era is not None:
            # Set since, or while we were not there.
            if not self._was_synchronised or self._hold(now_us):
                self._believe(offset_ms, SET)
        elif self._was_set:
            self._believe(offset_ms, SET)
        elif not status.restored and wall_ms >= self._seen_ms - BEHIND_MS:
            self._believe(offset_ms, ASSUMED)

    def _hold(self, now_us: int) -> bool:
        """Go on from what was known before; whether that has been for long enough."""
        if self._held_us is None:
            self._held_us = now_us
            self.held += self._era is not None
        return now_us - self._held_us >= HOLD_US

    def _believe(self, offset_ms: float, why: str) -> None:
        self.why = why
        self._held_us = None
        if why != SYNCHRONISED:
            self._was_synchronised = False
        if self._agrees(offset_ms):
            return
        if self._era is not None:
            # What it became in the end is what the last times were given by.
            self._news.append(self._era._replace(offset_ms=round(self._offset_ms)))
        self._last_number += 1
        self._era = Era(self._last_number, self._power_up, round(offset_ms))
        self._offset_ms = offset_ms
        self._news.append(self._era)

    def news(self) -> list[Era]:
        """Eras that began or ended, once: to be kept before anything that is dated in them."""
        news, self._news = self._news, []
        return news

    def problem(self) -> str:
        """Why UTC is not known, or not what the system says; empty if all is well."""
        if self._wall_offset_ms is None or (self._era is not None and self._held_us is None):
            return ""
        shows = round((self._steady_us() / 1000 + self._wall_offset_ms) / 1000)
        if self._era is not None:
            return (
                f"the system clock was set to Unix time {shows} and is not believed yet:"
                " it was synchronised before"
            )
        return (
            f"UTC is not known: the system clock shows Unix time {shows}, which is not"
            " synchronised and may be that of the last shutdown; set it, or start a time service"
        )

    def stats(self) -> Mapping[str, float | str]:
        """State and counters."""
        return {
            "known_by": self.why if self._era is not None else UNKNOWN,
            "era": self.era,
            "steps": self.steps,
            "held": self.held,
            "reads_late": self.reads_late,
        }
