"""What a subscriber does about holes: it finds them by number and asks the gateway for a replay.

Pure core and one task. It knows only what came by MQTT: a number that is passed over in a boot is
a hole, and so is the end of a boot that a later one says was cut off. No side file helps it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from clamptools.demo.account import Account, Key
from clampwire import messages

LOOK_S = 1.0
# A hole is asked for when it is so old, and again after as long: live messages overtake others.
AGE_S = 3.0
# And again after this, where the gateway had nothing: the device may still bring it.
AGAIN_S = 10.0
ANSWERS_SHOWN = 5
COMMAND = "replay"


class Hole(NamedTuple):
    """Numbers `first` to `last` of a boot that did not come."""

    device: str
    boot: int
    first: int
    last: int


def holes(account: Account) -> list[Hole]:
    """Holes in what was received, oldest first, without what gaps and condensed records tell."""
    known: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for key, got in account.received.items():
        before = got.content.get("before", 0)
        known[key.device, key.boot].update(range(key.seq - before, key.seq + 1))
    gaps = list(account.gaps())
    newest: dict[str, int] = {}
    for device, boot in known:
        newest[device] = max(boot, newest.get(device, 0))
    found: list[Hole] = []
    for device, boot in sorted(known):
        numbers = known[device, boot]
        for first, last in _runs(set(range(max(numbers))) - numbers):
            if not all(
                any(gap.reason and gap.last != messages.TO_THE_END and gap.covers(key)
                    for gap in gaps)
                for key in (Key(device, boot, seq) for seq in range(first, last + 1))
            ):  # fmt: skip
                found.append(Hole(device, boot, first, last))
        if boot < newest[device]:
            found.append(Hole(device, boot, max(numbers) + 1, messages.TO_THE_END))
    return found


def _runs(numbers: set[int]) -> list[tuple[int, int]]:
    """Runs of successive numbers as (first, last)."""
    runs: list[tuple[int, int]] = []
    for _, group in itertools.groupby(
        enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]
    ):
        members = [number for _index, number in group]
        runs.append((members[0], members[-1]))
    return runs


class Recovery:
    """Asks for holes until each is filled or the gateway says that it has nothing there.

    Args:
        account: What was received.
        publish: Sends (topic below the device, payload); whether it went out.
        now_s: A monotonic clock.
    """

    def __init__(
        self,
        account: Account,
        publish: Callable[[str, str, bytes], Awaitable[bool]],
        now_s: Callable[[], float],
    ) -> None:
        self._account = account
        self._publish = publish
        self._now_s = now_s
        self._seen_s: dict[Hole, float] = {}
        self._asked: dict[str, Hole] = {}
        self._empty: set[Hole] = set()
        self._looked = False
        self.asked = self.answered = self.refused = self.replayed = self.strange = 0
        self._tries = 0
        self.refusals: list[dict[str, Any]] = []

    @property
    def idle(self) -> bool:
        """Whether the gateway has nothing for any hole that was left when it looked last."""
        return self._looked and self._empty.issuperset(self._seen_s)

    async def run(self) -> None:
        """Look and ask until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Ask for every hole that is old enough."""
        now_s = self._now_s()
        self._seen_s = {hole: self._seen_s.get(hole, now_s) for hole in holes(self._account)}
        self._looked = True
        for hole, since_s in list(self._seen_s.items()):
            if now_s - since_s < (AGAIN_S if hole in self._empty else AGE_S):
                continue
            self._seen_s[hole] = now_s
            # Its own for every try: what was not confirmed may be answered all the same.
            ident = f"r{self._tries}"
            self._tries += 1
            self._asked[ident] = hole
            request = {"id": ident, "boot": hole.boot, "first": hole.first, "last": hole.last}
            if await self._publish(hole.device, COMMAND, json.dumps(request).encode()):
                self.asked += 1

    def took_answer(self, content: dict[str, Any]) -> None:
        """The gateway's answer to one of our requests."""
        hole = self._asked.pop(str(content.get("id")), None)
        if hole is None:
            self.strange += 1
            return
        self.answered += 1
        if not content.get("ok"):
            self.refused += 1
            self.refusals.append(content)
            return
        found = sum(content.get(name, 0) for name in ("records", "events", "gaps", "condensed"))
        self.replayed += found
        if not found:
            self._empty.add(hole)

    def summary(self) -> dict[str, Any]:
        """For the result."""
        return {
            "asked": self.asked,
            "answered": self.answered,
            "refused": self.refused,
            "strange": self.strange,
            "replayed": self.replayed,
            "open": [hole._asdict() for hole in self._seen_s],
            "refusals": self.refusals[:ANSWERS_SHOWN],
        }
