"""Keeps the log below its quota, and forgets what is old enough and delivered.

Owns what is dropped, when and why; `drops.py` knows how a dropped range is told. The oldest goes
first, in the transaction that needs the room, so that a power cut leaves either both or neither.
Age is counted in hours of running, never by a wall clock: a step of it can expire nothing.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clampgateway.model import EXPIRED, STORE_FULL, Item
from clampgateway.store import file
from clampgateway.store.drops import Drop, rows_of
from clampgateway.store.kept import Kept

_log = logging.getLogger(__name__)

HOUR_S = 3600.0
# Kept free below the quota for what one transaction and the small tables may need.
RESERVE_BYTES = 8 << 20
# What an item takes in the file besides its payload, indexes included; only to look ahead.
ITEM_BYTES = 160
# Items dropped in one transaction: some milliseconds, so that no commit waits long.
STEP_ITEMS = 1000
STEP_ITEMS_MAX = 8000
# Ranges remembered; beyond, the oldest that every reader has passed are forgotten.
RANGES_MAX = 20_000

_OLDEST = (
    "SELECT id, device, boot, seq, kind, end_ms, utc_ms, synced, payload FROM items"
    " WHERE id <= ? ORDER BY id LIMIT ?"
)
_ADD = "INSERT OR REPLACE INTO drops VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class _Begun(NamedTuple):
    """A drop whose transaction is not yet durable, and how it can be taken back."""

    went: list[Drop]
    come: list[Drop]
    items: int
    lost: int
    last_id: int


class Room:
    """Quota and retention of one log. Works within the caller's transaction.

    `fences` are the places where readers stand; the lowest is how far all have delivered. `taken`
    are further places where one may stand by now. Call `committed` or `undone` after each
    transaction.
    """

    def __init__(self, kept: Kept, quota_bytes: int, retention_h: int) -> None:
        self._kept = kept
        self._retention_h = retention_h
        self._begun_s: float | None = None
        self._begun: _Begun | None = None
        self._squeezed = False
        self._undelivered_id = 0
        self.quota_bytes = quota_bytes
        self.used_bytes = 0
        self.dropped = 0
        self.undelivered = 0
        self.expired = 0

    def make(
        self,
        db: sqlite3.Connection,
        items: Sequence[Item],
        fences: Sequence[int],
        taken: Iterable[int],
    ) -> None:
        """Drop as much as these items need, and twice that until the file is below its limit."""
        need = sum(len(item.payload) + ITEM_BYTES for item in items)
        used, most = file.sizes(db)
        self.used_bytes = used
        reserve = min(RESERVE_BYTES, self.quota_bytes // 8)
        if used + need <= most - reserve and not self._squeezed:
            return
        step = min(STEP_ITEMS_MAX, max(STEP_ITEMS, 2 * len(items)))
        self._drop(db, self._kept.last_id, step, STORE_FULL, fences, taken)

    def squeeze(self, db: sqlite3.Connection, items: Sequence[Item]) -> None:
        """A transaction found no room: if that is the quota and not the disk, drop some next."""
        need = sum(len(item.payload) + ITEM_BYTES for item in items)
        used, most = file.sizes(db)
        self._squeezed = used + 4 * need + (1 << 16) > most

    def expire(
        self,
        db: sqlite3.Connection,
        mono_s: float,
        fences: Sequence[int],
        taken: Iterable[int],
    ) -> bool:
        """Count the hours, and drop what is delivered and old enough; whether more is left."""
        kept = self._kept
        if self._begun_s is None:
            self._begun_s = mono_s
        if mono_s - self._begun_s >= HOUR_S:
            self._begun_s = mono_s
            number = max(kept.hours, default=0) + 1
            db.execute("INSERT OR REPLACE INTO hours VALUES (?, ?)", (number, kept.last_id))
            kept.hours[number] = kept.last_id
        old = [number for number in kept.hours if number <= max(kept.hours) - self._retention_h]
        if not old:
            return False
        passed = self._passed(fences)
        up_to = min(kept.hours[max(old)], passed)
        if self._drop(db, up_to, STEP_ITEMS, EXPIRED, fences, taken):
            return True
        if kept.hours[max(old)] <= passed:
            db.execute("DELETE FROM hours WHERE number <= ?", (max(old),))
            for number in old:
                del kept.hours[number]
        return False

    def _drop(
        self,
        db: sqlite3.Connection,
        up_to: int,
        limit: int,
        reason: int,
        fences: Sequence[int],
        taken: Iterable[int],
    ) -> int:
        oldest = db.execute("SELECT id FROM items ORDER BY id LIMIT 1").fetchone()
        if oldest is None or oldest[0] > up_to:
            return 0
        delivered = self._kept.delivered()
        passed = self._passed(fences or delivered)
        fences = [*fences, *taken, *delivered, *self._parked_edges()]
        # A range must not reach over the place of a reader.
        up_to = min([up_to, *(fence for fence in fences if fence >= oldest[0])])
        rows = db.execute(_OLDEST, (up_to, limit)).fetchall()
        db.execute("DELETE FROM items WHERE id <= ?", (rows[-1][0],))
        gone, come = self._kept.dropped.change(rows_of(rows, reason), fences)
        gone += self._forgotten(passed, set(gone))
        db.executemany("DELETE FROM drops WHERE id = ?", [(number,) for number in gone])
        db.executemany(_ADD, come)
        lost = sum(row[0] > passed for row in rows) if reason == STORE_FULL else 0
        # Readers before these ids are told that the items themselves are gone.
        db.execute("DELETE FROM restamps WHERE id <= ?", (rows[-1][0],))
        went = self._kept.dropped.apply(gone, come)  # at once: what comes again may be among it
        self._begun = _Begun(went, come, len(rows), lost, rows[-1][0])
        return len(rows)

    def _passed(self, fences: Sequence[int]) -> int:
        """How far all is delivered; what is parked is not."""
        parked = [each.first_id - 1 for rows in self._kept.parked.values() for each in rows]
        return min([*fences, *parked]) if fences else 0

    def _parked_edges(self) -> list[int]:
        """A range must not reach over these either: what is parked is read by its ids."""
        parked = [each for rows in self._kept.parked.values() for each in rows]
        return [edge for each in parked for edge in (each.first_id - 1, each.last_id)]

    def _forgotten(self, passed: int, gone: set[int]) -> list[int]:
        """Of too many ranges, the oldest: nobody is left to be told of them."""
        surplus = len(self._kept.dropped) - RANGES_MAX
        if surplus <= 0:
            return []
        oldest = self._kept.dropped.after(0, surplus)
        return [drop.id for drop in oldest if drop.id <= passed and drop.id not in gone]

    def committed(self) -> None:
        """The transaction is durable."""
        begun, self._begun = self._begun, None
        self._squeezed = False
        if begun is None:
            return
        self._kept.restamps.forget(begun.last_id)
        if begun.come[0].reason == EXPIRED:
            self.expired += begun.items
            return
        self.dropped += begun.items
        if begun.lost:
            if not self.undelivered:
                _log.error("the store is full: the oldest items go before they are delivered")
            self.undelivered += begun.lost
            self._undelivered_id = begun.last_id

    def undone(self) -> None:
        """The transaction came to nothing."""
        begun, self._begun = self._begun, None
        if begun is not None:
            self._kept.dropped.apply([drop.id for drop in begun.come], begun.went)

    def alarm(self) -> str:
        """Why somebody should look, as long as a reader is behind what was dropped."""
        delivered = self._kept.delivered()
        behind = any(at < self._undelivered_id for at in delivered)
        if not self._undelivered_id or (delivered and not behind):
            return ""
        return (
            f"the store is full ({self.quota_bytes >> 20} MB): {self.undelivered} items were"
            " dropped before they were delivered, told as gaps; see store.quota_mb"
        )
