"""Whether the gateway does its work: named checks, and one report for people and monitors.

Owns the verdict, not the causes: each check asks the part that knows. *Failing* means that the
gateway itself does not do its work (nothing can be committed, a part of it crashes); *degraded*,
that something outside is away (an unplugged port, an absent broker) and nothing is lost for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

_log = logging.getLogger(__name__)

Check = Callable[[], str]


class Reason(NamedTuple):
    """One thing that is not as it should be. `vital`: the gateway itself fails for it."""

    part: str
    text: str
    vital: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict with all its reasons."""

    status: Literal["ok", "degraded", "failing"]
    reasons: tuple[Reason, ...]

    @property
    def vital(self) -> tuple[Reason, ...]:
        return tuple(reason for reason in self.reasons if reason.vital)


class Health:
    """Collects checks. A check returns why its part is not well, or ""."""

    def __init__(self) -> None:
        self._checks: list[tuple[str, Check, bool]] = []

    def watch(self, part: str, check: Check, *, vital: bool) -> None:
        self._checks.append((part, check, vital))

    def report(self) -> Report:
        found = ((part, check(), vital) for part, check, vital in self._checks)
        reasons = tuple(Reason(part, text, vital) for part, text, vital in found if text)
        if any(reason.vital for reason in reasons):
            return Report("failing", reasons)
        return Report("degraded" if reasons else "ok", reasons)


class LoopLag:
    """How late the event loop calls: a long lag means that something blocks it.

    `tick` is called every `period_s`; the lag is how much more time than that has gone by.
    """

    LIMIT_S = 1.0

    def __init__(self, period_s: float, mono: Callable[[], float]) -> None:
        self._period_s = period_s
        self._mono = mono
        self._last = mono()
        self.lag_s = 0.0
        self.max_s = 0.0
        self.late = 0

    def tick(self) -> None:
        now = self._mono()
        self.lag_s = max(0.0, now - self._last - self._period_s)
        self._last = now
        self.max_s = max(self.max_s, self.lag_s)
        self.late += self.lag_s > self.LIMIT_S

    def problem(self) -> str:
        """Why the loop is not well: its last call was late."""
        if self.lag_s <= self.LIMIT_S:
            return ""
        return f"the event loop was blocked for {self.lag_s:.1f} s"


class LoopErrors:
    """Errors of callbacks that nobody waits for, and of accepting: each is logged and counted.

    `on_memory` is called at a MemoryError, before anything else.
    """

    def __init__(self, on_memory: Callable[[], None]) -> None:
        self._on_memory = on_memory
        self.count = 0

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, MemoryError):
            self._on_memory()
        self.count += 1
        # An error of the system has said all; of one of ours the place matters.
        known = isinstance(error, OSError | MemoryError)
        _log.error(
            "%s: %s",
            context.get("message", "error in the event loop"),
            error if isinstance(error, OSError) else type(error).__name__,
            exc_info=None if known else error,
        )


class Progress:
    """Whether waiting work is done: a count of finished attempts that must move while some waits.

    A failed attempt is progress too: something answered. No answer at all is what only a restart
    may cure.
    """

    LIMIT_S = 20.0

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._attempts = -1
        self._moved = mono()
        self._waiting = 0

    def saw(self, attempts: int, waiting: int) -> None:
        if attempts != self._attempts or not waiting:
            self._attempts = attempts
            self._moved = self._mono()
        self._waiting = waiting

    def problem(self) -> str:
        """Why work stands still, or ""."""
        still_s = self._mono() - self._moved
        if still_s <= self.LIMIT_S:
            return ""
        return f"{self._waiting} items wait, nothing was committed for {still_s:.0f} s"
