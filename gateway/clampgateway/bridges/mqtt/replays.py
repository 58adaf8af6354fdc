"""Replays: what was asked for, what of it went out, and what is missing. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from clampgateway.model import EVENT, RECORD, Item, decode_gap
from clampgateway.topics import ReplayAnswer
from clampwire import messages

WAITING_MAX = 256
# More holes than that are told as one, from the first of the rest to the last.
MISSING_MAX = 100


class Replay:
    """Numbers `first` to `last` of a boot of a device; what was delivered of them."""

    def __init__(
        self,
        device: str,
        boot: int,
        first: int,
        last: int,
        on_end: Callable[[ReplayAnswer | str], None],
    ) -> None:
        self.device = device
        self.boot = boot
        self.first = first
        self.last = last
        self.on_end = on_end
        self.records = self.events = self.gaps = self.condensed = 0
        self._covered: list[tuple[int, int]] = []
        self._refused = ""

    def took(self, item: Item, before: int) -> None:
        """The broker has taken this item."""
        if item.kind == RECORD:
            self.records += 1
            self.condensed += before
        elif item.kind == EVENT:
            self.events += 1
        else:
            self.gaps += 1
            gap = decode_gap(item, None)
            if gap.of_boot == self.boot and not gap.samples and gap.first_seq <= gap.last_seq:
                self._cover(gap.first_seq, gap.last_seq)
        self._cover(item.seq - before, item.seq)

    def refused(self, item: Item, topic: str, reason: int) -> None:
        """The broker has not taken it."""
        del item
        self._refused = self._refused or f"the broker refuses {topic} with 0x{reason:02X}"

    def _cover(self, first: int, last: int) -> None:
        covered = self._covered
        if covered and covered[-1][0] <= first <= covered[-1][1] + 1:
            covered[-1] = (covered[-1][0], max(covered[-1][1], last))
        else:
            covered.append((first, last))

    def missing(self) -> list[list[int]]:
        """[first, last] of what nothing covers, up to what was asked for or is known."""
        covered = sorted(self._covered)
        last = self.last
        if last == messages.TO_THE_END:
            # To the end of the boot, wherever that is.
            known = [to for _first, to in covered if to != messages.TO_THE_END]
            last = max(known, default=self.first - 1)
        holes: list[list[int]] = []
        at = self.first
        for first, to in covered:
            if first > at:
                holes.append([at, min(first - 1, last)])
            at = max(at, to + 1)
        if at <= last:
            holes.append([at, last])
        if len(holes) > MISSING_MAX:
            holes[MISSING_MAX - 1 :] = [[holes[MISSING_MAX - 1][0], holes[-1][1]]]
        return holes

    def answer(self) -> ReplayAnswer | str:
        """What to answer; a text if the broker refused some of it."""
        if self._refused:
            return self._refused
        return ReplayAnswer(
            ok=True,
            records=self.records,
            events=self.events,
            gaps=self.gaps,
            condensed=self.condensed,
            missing=self.missing(),
        )


class Replays:
    """Those that wait, in order; one runs at a time."""

    def __init__(self) -> None:
        self._waiting: deque[Replay] = deque()
        self._running: Replay | None = None
        self.done = self.failed = 0

    def __len__(self) -> int:
        return len(self._waiting) + (self._running is not None)

    @property
    def waiting(self) -> bool:
        """Whether one may begin now."""
        return bool(self._waiting) and self._running is None

    def add(self, replay: Replay) -> bool:
        """Queue it; False if too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            return False
        self._waiting.append(replay)
        return True

    def begin(self) -> Replay:
        """The next one runs now."""
        self._running = self._waiting.popleft()
        return self._running

    def end(self, replay: Replay) -> None:
        """It is through: it is answered."""
        if replay is not self._running:
            return
        self._running = None
        answer = replay.answer()
        if isinstance(answer, str):
            self.failed += 1
        else:
            self.done += 1
        replay.on_end(answer)

    def restart(self) -> None:
        """The connection was lost: the one that ran begins again, with its counts at zero."""
        running, self._running = self._running, None
        if running is not None:
            again = Replay(
                running.device, running.boot, running.first, running.last, running.on_end
            )
            self._waiting.appendleft(again)
