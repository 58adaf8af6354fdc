"""A device, a store and a ledger over it, played from a seed: for tests of the ledger's numbers.

The model makes power-ups with records, events and gaps, loses some, condenses some, brings them in
any order, drops some in the gateway, corrects times, and kills the ledger at any point. The log
and the rows stand for the store's; `ledgertruth` counts what came of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from clampgateway import model
from clampgateway.ledger import Ledger, Need
from clampgateway.ledger.content import UNSYNCED, Day, day_number, unpack
from clampgateway.ledger.ledger import is_empty
from clampgateway.model import EXPIRED, GAP, STORE_FULL, Item, Stored
from clampwire import messages
from clampwire.codec import Codec
from support.ledgertruth import DAY_MS, Came

CODEC = Codec()
DEVICE = "lathe"
START_MS = 20_000 * DAY_MS + 80_000_000
MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Play:
    """The knobs of a run; shares are of 1, `step_s` the mean time between two numbers."""

    seed: int
    power_ups: int = 4
    items: int = 40
    step_s: float = 2000.0
    lose: float = 0.2
    tell: float = 0.6
    condense: float = 0.3
    shuffle: int = 60
    unsynced: float = 0.2
    drop: float = 0.05
    correct: float = 0.5
    kill: float = 0.1
    save: float = 0.15
    wrap: bool = False


def record(boot: int, number: int, end_ms: int, before: int = 0) -> bytes:
    fields = (boot, number & MASK, end_ms, 5 * (before + 1), 7, b"\x00", b"1234", before)
    return CODEC.encode("Record", *fields)


def event(boot: int, number: int, at_ms: int) -> bytes:
    return CODEC.encode("Event", boot, number & MASK, at_ms, messages.NO_CHANNEL, 2, 1, "door")


def gap(
    boot: int, number: int, at_ms: int, reason: int, first: int, last: int, of_boot: int = 0
) -> bytes:
    channel = messages.NO_CHANNEL
    head = (boot, number & MASK, at_ms, reason, channel, first & MASK, last & MASK)
    return CODEC.encode("Gap", *head, 0, 0, 0, of_boot)


class Device:
    """Makes what is delivered, in the order it was made; what is lost is not in `out`."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.random = random.Random(play.seed)
        self.out: list[Came] = []
        self.at_ms = START_MS
        self.boot = self.zero_ms = self.number = 0
        self.synced = True
        self._lost: list[int] = []

    def make(self) -> list[Came]:
        play, chance = self.play, self.random.random
        for boot in range(1, play.power_ups + 1):
            ended_at = self.number
            self.boot, self.zero_ms, self._lost = boot, self.at_ms, []
            self.number = (MASK - 15 if play.wrap else 0) + self.random.randrange(3)
            self.synced = chance() >= play.unsynced
            end = self.number + self.random.randint(1, play.items)
            if boot > 1 and chance() < play.tell:
                first = max(0, ended_at - self.random.randint(1, 20))
                self._gap(4, first, messages.TO_THE_END, boot - 1)
            while self.number < end:
                self._step()
            self.at_ms += int(1000 * self.random.expovariate(1 / (10 * play.step_s)))
        return self.out

    def _step(self) -> None:
        play, chance = self.play, self.random.random
        size = self.random.randint(2, 9) if chance() < play.condense else 1
        gone = chance() < play.lose
        for number in range(self.number, self.number + size):
            self.at_ms += 1 + int(1000 * self.random.expovariate(1 / play.step_s))
            is_last = number == self.number + size - 1
            end_ms = self.at_ms - self.zero_ms
            if gone:
                self._lost.append(number)
            elif is_last and size > 1:
                self._came(number, record(self.boot, number, end_ms, size - 1))
            elif size > 1 and chance() < 0.7:
                continue  # a second that the condensed record stands for
            elif size > 1 or chance() < 0.2:
                self._came(number, event(self.boot, number, end_ms))
            else:
                self._came(number, record(self.boot, number, end_ms))
        self.number += size
        if self._lost and chance() < play.tell / 2:
            wide = self.random.choice((0, 0, 0, 1))
            self._gap(self.random.randint(1, 5), self._lost[0], self._lost[-1] + wide)
            if chance() < 0.8:
                self._lost = []

    def _gap(self, reason: int, first: int, last: int, of_boot: int = 0) -> None:
        payload = gap(
            self.boot, self.number, self.at_ms - self.zero_ms, reason, first, last, of_boot
        )
        self._came(self.number, payload, first, last)
        self.number += 1

    def _came(self, number: int, payload: bytes, first: int = 0, last: int = 0) -> None:
        times = (self.at_ms - self.zero_ms, self.at_ms if self.synced else 0, self.synced)
        item = Item(DEVICE, self.boot, number & MASK, payload[0], *times, 7, payload)
        self.out.append(Came(number, item, 0, first, last, true_ms=self.at_ms))


class World:
    """The log of a gateway, what a store keeps of the ledger, and the ledger that runs."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.random = random.Random(play.seed + 1)
        self.entries: list[Came] = []
        self.rows: dict[int, bytes] = {}
        self.saved_to = 0
        self.kills = self.saves = self.restamps = 0
        self._log: list[tuple[Came | None, Item, int]] = []
        self.ledger = Ledger()

    def play_all(self) -> None:
        """Everything comes; at the end it is saved."""
        coming = Device(self.play).make()
        reach = self.play.shuffle
        # Live first, history behind it: anything may come this many places late.
        order = sorted(range(len(coming)), key=lambda at: at + self.random.random() * reach)
        now_ms = START_MS
        while order:
            batch = [coming[at] for at in order[: self.random.randint(1, 12)]]
            del order[: len(batch)]
            now_ms = max(now_ms, *(each.true_ms for each in batch)) + self.random.randint(
                1, 90_000
            )
            for made in batch:
                made.committed_ms = now_ms
                gone = self.random.random() < self.play.drop
                came = self._dropped(made) if gone else made
                self.entries.append(came)
                self._log.append((came, came.item, now_ms))
                came.id = len(self._log)
            if self.random.random() < self.play.correct:
                self._correct(now_ms)
            self._go_on(now_ms)
        self.save()

    def _dropped(self, came: Came) -> Came:
        """The gateway had to drop it before the ledger read it, and tells so in its place."""
        item = came.item
        reason = self.random.choice((STORE_FULL, EXPIRED))
        payload = gap(item.boot, came.number, item.end_ms, reason, came.number, came.number)
        told = item._replace(kind=GAP, payload=payload)
        return Came(came.number, told, came.committed_ms, came.number, came.number, came.true_ms)

    def _correct(self, now_ms: int) -> None:
        """What the store does when it learns UTC: rows in place, and an entry for their range."""
        undated = [
            each
            for each in self.entries
            if not each.item.synced and not (each.item.kind == GAP and each.item.payload[14] > 127)
        ]
        if not undated:
            return
        boot = self.random.choice(undated).item.boot
        numbers = sorted(each.item.seq for each in undated if each.item.boot == boot)
        first = self.random.choice(numbers)
        last = numbers[min(len(numbers) - 1, numbers.index(first) + self.random.randint(0, 20))]
        for each in undated:
            item = each.item
            if item.boot == boot and first <= item.seq <= last:
                each.item = item._replace(utc_ms=each.true_ms, synced=True, rev=item.rev + 1)
        self._log.append((None, model.restamped(DEVICE, boot, first, last), now_ms))

    def _go_on(self, now_ms: int) -> None:
        chance = self.random.random
        if chance() < self.play.kill:
            self.kills += 1
            self.ledger = Ledger(self.saved_to)
        if chance() < 0.9:
            self.read()
        if chance() < self.play.save:
            self.save()

    def read(self) -> None:
        """The ledger reads the log from where it is, as its task does."""
        while self.ledger.up_to < len(self._log):
            at = self.ledger.up_to
            now_ms = self._log[at][2]
            batch = []
            while at < len(self._log) and self._log[at][2] == now_ms:
                came, item, _now_ms = self._log[at]
                at += 1
                batch.append(Stored(at, came.item if came is not None else item))
            while (need := self.ledger.take(batch, now_ms)) is not None:
                self._bring(need)

    def _bring(self, need: Need) -> None:
        if need.boot < 0:
            first = need.device not in self.ledger.devices()
            self.ledger.load(need.device, self.rows)
            if first:
                self.ledger.close_old(need.device)
            return
        self.restamps += 1
        first, last = self.ledger.first_of_restamp(need)
        # The rows of the store, which knows all that was ever committed.
        here = [
            Stored(each.id, each.item)
            for each in self.entries
            if each.item.boot == need.boot and first <= each.item.seq <= last
        ]
        here.sort(key=lambda stored: stored.item.seq)
        self.ledger.restamp(self.ledger.up_to + 1, need, here)

    def save(self) -> None:
        """Rows and cursor in one transaction; then the old days are let go."""
        self.read()
        self.saves += 1
        for device in self.ledger.devices():
            changed = self.ledger.changed(device)
            self.rows.update(changed)
            self.ledger.wrote(device, changed)
            self.ledger.close_old(device)
        self.saved_to = self.ledger.up_to

    def days(self) -> dict[int, Day]:
        """All days, as the rows have them."""
        days = {number: unpack(DEVICE, number, body).day for number, body in self.rows.items()}
        assert all(number == day_number(day.day) for number, day in days.items())
        assert all((day.day == UNSYNCED) == (number == 0) for number, day in days.items())
        return {number: day for number, day in sorted(days.items()) if not is_empty(day)}


def as_truth(days: dict[int, Day], start: int) -> dict[int, dict[str, Any]]:
    """Days in the form of the truth. `start`: numbers are unwound near it."""
    out: dict[int, dict[str, Any]] = {}
    for number, day in days.items():
        missing = {}
        for each in (*day.lost_ranges, *day.pending_ranges):
            reason = _REASONS[each.reason]
            for seq in range(each.first, each.last + 1):
                unwound = seq + MASK + 1 if seq < start // 2 else seq
                missing[each.boot, unwound] = reason
        out[number] = {
            "received": day.received,
            "condensed": day.condensed,
            "late": day.late,
            "lost": day.lost,
            "pending": day.pending,
            "absent_s": day.absent_s,
            "missing": missing,
            "expected": day.expected,
        }
    return out


_REASONS = {"": 0} | {word: code for code, word in model.GAP_REASONS}
