"""The task that keeps the ledger: reads the log, saves the books with its place in it, tells.

Owns when is read, written and told, and which books are let go. The rows and the cursor "ledger"
are written in one transaction, so a ledger that is killed at any point goes on exactly where its
rows are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from clampgateway.devices import Device, Devices
from clampgateway.feed import Feed
from clampgateway.ledger import content
from clampgateway.ledger.book import KEPT_DAYS
from clampgateway.ledger.content import Content, Day, LedgerError
from clampgateway.ledger.ledger import Ledger, Need, is_empty
from clampgateway.ledger.spans import DAY_MS
from clampgateway.model import Stored
from clampgateway.store import StoreError

_log = logging.getLogger(__package__)

NAME = "ledger"
# Each save writes a page a device; what was not saved is read again after a restart.
SAVE_S = 60.0
SAVE_ITEMS = 500_000
# How often a topic is told anew at most.
TELL_S = 10.0
# Devices with all their days in memory at a time.
WHOLE_MAX = 64
READ_ITEMS = 2000
# How often is looked for what is new. It is no bridge: a quarter of a second is soon enough.
POLL_S = 0.25

Row = tuple[str, int, bytes]


@dataclass(frozen=True, slots=True)
class LedgerStore:
    """What the ledger needs of the store, all in its thread; see the methods of these names."""

    read_ledger: Callable[[str | None, int | None, int | None], Awaitable[list[Row]]]
    save_ledger: Callable[[list[Row], int], Awaitable[None]]
    read_range: Callable[[str, int, int, int, int, int], Awaitable[list[Stored]]]


class LedgerKeeper:
    """Keeps the ledger until cancelled; then what has come is saved.

    Args:
        feed: The log. The ledger is no reader of it that others wait for: nothing is kept longer
            because of it.
        cursor: The cursor "ledger" of the store.
        store: Where rows and items are.
        redelivered: Items that came again, by device, since the start.
        utc_ms: UTC, 0 while it is not known.
        devices: Who is told of; one that leaves is told of no more, its days stay.
        save_s: Seconds between two saves.
        tell_s: Seconds between two looks whether a device's topic says something else.
    """

    def __init__(
        self,
        feed: Feed,
        cursor: int,
        store: LedgerStore,
        redelivered: Callable[[], Mapping[str, int]],
        utc_ms: Callable[[], int],
        devices: Devices,
        save_s: float = SAVE_S,
        tell_s: float = TELL_S,
    ) -> None:
        self._feed = feed
        self._store = store
        self._redelivered = redelivered
        self._utc_ms = utc_ms
        self._devices = devices
        self._save_s = save_s
        self._tell_s = tell_s
        # What is read up to here was committed before we ran.
        self._started_at = feed.last_id
        self._ledger: Ledger | None = None
        self._counted: dict[str, int] = {}
        self._watchers: list[Callable[[str], None]] = []
        self._told: dict[str, bytes] = {}
        self._saved_at = cursor
        self._whole = 0
        self.saves = self.save_failures = self.rows_unreadable = self.loads = self.tells = 0
        self.alarm = ""
        devices.watch(self._on_change)

    def _on_change(self, device: Device, what: str) -> None:
        if what == "removed":
            self._told.pop(device.key, None)

    # --- for bridges and the API ----------------------------------------------------------------

    def watch(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback(device)` whenever its payload is another; returns how to stop it."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)

    def devices(self) -> list[str]:
        """Those that have a payload."""
        return sorted(self._told)

    def payload(self, device: str) -> bytes:
        """The JSON for the topic `ledger` of a device; empty before anything is known of it."""
        return self._told.get(device, b"")

    async def read(
        self, device: str | None, first_day: int | None, last_day: int | None
    ) -> list[Content]:
        """The days of all devices or one, from and to these days since 1970, as they are now.

        Raises StoreError.
        """
        days: dict[str, dict[int, Day]] = {}
        for key, number, body in await self._store.read_ledger(device, first_day, last_day):
            kept = self._unpack(key, number, body)
            if kept is not None:
                days.setdefault(key, {})[number] = kept.day
        ledger = self._ledger
        for key in ledger.devices() if ledger is not None else ():
            if ledger is None or key != (device or key):
                continue
            for number, day in ledger.days(key).items():
                if (first_day or 0) <= number <= (number if last_day is None else last_day):
                    days.setdefault(key, {})[number] = day
        return [
            Content(
                key,
                [of[number] for number in sorted(of) if not is_empty(of[number])],
                *(ledger.head(key) if ledger is not None else (0, 0)),
            )
            for key, of in sorted(days.items())
        ]

    # --- the task -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the ledger. Raises StoreError if a row that is needed cannot be read."""
        self._ledger = ledger = Ledger(self._saved_at)
        now_s = time.monotonic()
        save_due_s, tell_due_s = now_s + self._save_s, now_s
        await self._begin(ledger)
        try:
            while True:
                batch: list[Stored] = []
                if ledger.up_to < self._feed.last_id:
                    batch = await self._feed.after(ledger.up_to, READ_ITEMS)
                await self._take(ledger, batch)
                now_s = time.monotonic()
                much = ledger.up_to - self._saved_at >= SAVE_ITEMS or self._whole > WHOLE_MAX
                if now_s >= save_due_s or much:
                    await self._save(ledger)
                    save_due_s = time.monotonic() + self._save_s
                if now_s >= tell_due_s:
                    await self._tell(ledger)
                    tell_due_s = time.monotonic() + self._tell_s
                # Others first: a batch may have come without waiting.
                await asyncio.sleep(0 if len(batch) == READ_ITEMS else POLL_S)
        finally:
            await self._finish(ledger)

    async def _begin(self, ledger: Ledger) -> None:
        """Devices that sent something in the last days can be told of at once."""
        today = self._utc_ms() // DAY_MS
        if today:
            rows = await self._store.read_ledger(None, today - KEPT_DAYS, None)
            for device in sorted({row[0] for row in rows}):
                await self._load(ledger, device)

    async def _finish(self, ledger: Ledger) -> None:
        """Takes in and saves what has come until now: the next start need not read it again."""
        left = await self._feed.after(ledger.up_to, READ_ITEMS)
        await self._take(ledger, left)
        await self._save(ledger)

    async def _take(self, ledger: Ledger, batch: list[Stored]) -> None:
        while batch:
            live = batch[0].id > self._started_at
            need = ledger.take(batch, self._utc_ms() if live else 0)
            if need is None:
                return
            if need.boot < 0:
                await self._load(ledger, need.device)
            else:
                await self._restamp(ledger, batch, need)

    async def _load(self, ledger: Ledger, device: str) -> None:
        first = device not in ledger.devices()
        rows = await self._store.read_ledger(device, None, None)
        readable = {
            day: body for _key, day, body in rows if self._unpack(device, day, body) is not None
        }
        ledger.load(device, readable)
        self.loads += 1
        if first:
            # As a rule only the last days are of interest; the others come when they are needed.
            ledger.close_old(device)
        else:
            self._whole += 1

    async def _restamp(self, ledger: Ledger, batch: list[Stored], need: Need) -> None:
        first, last = ledger.first_of_restamp(need)
        items: list[Stored] = []
        after = -1
        while found := await self._store.read_range(
            need.device, need.boot, first, last, after, READ_ITEMS
        ):
            items += found
            after = found[-1].item.seq
        number = next(stored.id for stored in batch if stored.id > ledger.up_to)
        ledger.restamp(number, need, items)

    def _unpack(self, device: str, day: int, body: bytes) -> content.Kept | None:
        try:
            return content.unpack(device, day, body)
        except LedgerError as error:
            self.rows_unreadable += 1
            _log.error("a day of the ledger begins anew: %s", error)
            return None

    async def _save(self, ledger: Ledger) -> None:
        await self._count_redelivered(ledger)
        rows: dict[str, dict[int, bytes]] = {}
        for device in ledger.devices():
            changed = ledger.changed(device)
            if changed:
                rows[device] = changed
                await asyncio.sleep(0)  # nothing but this task changes the books
        up_to = ledger.up_to
        if rows or up_to != self._saved_at:
            flat = [(device, day, body) for device in rows for day, body in rows[device].items()]
            try:
                await self._store.save_ledger(flat, up_to)
            except StoreError as error:
                self.save_failures += 1
                self.alarm = str(error)
                _log.warning("the ledger cannot be saved, trying again: %s", error)
                return
            self.alarm = ""
            self.saves += 1
            self._saved_at = up_to
        for device, written in rows.items():
            ledger.wrote(device, written)
        for device in ledger.devices():
            ledger.close_old(device)
        self._whole = 0

    async def _count_redelivered(self, ledger: Ledger) -> None:
        day = self._utc_ms() // DAY_MS
        for device, count in list(self._redelivered().items()):
            more = count - self._counted.get(device, 0)
            if more <= 0:
                continue
            while not ledger.redelivered(device, day, more):
                await self._load(ledger, device)
            self._counted[device] = count

    async def _tell(self, ledger: Ledger) -> None:
        for device in ledger.devices():
            if self._devices.get(device) is None:
                continue
            said = ledger.payload(device)
            if said == self._told.get(device):
                continue
            self._told[device] = said
            self.tells += 1
            for callback in tuple(self._watchers):
                callback(device)
            await asyncio.sleep(0)

    def stats(self) -> dict[str, object]:
        """Counters; see docs/ledger.md."""
        ledger = self._ledger
        return {
            **(ledger.stats() if ledger is not None else {}),
            "saves": self.saves,
            "save_failures": self.save_failures,
            "rows_unreadable": self.rows_unreadable,
            "loads": self.loads,
            "tells": self.tells,
            "alarm": self.alarm,
        }
