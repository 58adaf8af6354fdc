"""The durable log of all items, with what must survive beside it.

Owns ids, deduplication by (device, boot, seq), descriptions, cursors of bridges, and numbers that
were given for good. A file that is found damaged is set aside and a new one goes on with what
could be read; `alarm` says so. It decides nothing about when to commit: that is the committer.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clampgateway.model import RECORD, Item, Stored
from clampgateway.store import facts, file, opening
from clampgateway.store.drops import as_stored
from clampgateway.store.file import NumbersExhaustedError, StoreDamagedError, StoreError
from clampgateway.store.insert import insert
from clampgateway.store.kept import ITEM_COLUMNS, Kept, stored_of
from clampgateway.store.room import Room

_log = logging.getLogger(__name__)

RETENTION_H = 168
# Where readers may stand that took items from here a moment ago.
READS_REMEMBERED = 16
UNREPORTED_MAX = 1_000_000
# How often the last numbers of all devices are written beside the store.
FACTS_S = 60.0
# So many failures in a row, and the file is opened anew: its medium may have gone and come back.
FAILURES_PATIENT = 5
_SET_CURSOR = "INSERT INTO cursors VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET id = excluded.id"


class Store:
    """The store at `path`; its folder is made. Raises StoreError if it cannot be opened.

    One connection, for one thread at a time; a second Store on the same path is refused. After
    an error that leaves doubts the file is opened anew at the next call.
    """

    def __init__(
        self, path: Path, quota_bytes: int | None = None, retention_h: int = RETENTION_H
    ) -> None:
        self.path = path
        self.redelivered = self.conflicts = 0
        self.set_aside = self.reopened = 0
        self._kept = Kept()
        self._device_keys: dict[int, str] = {}
        self._failure: StoreError | None = None
        self._failed_in_row = self._reported_id = 0
        self._unreported: list[Stored] = []
        self._handed_out: deque[int] = deque(maxlen=READS_REMEMBERED)
        self._damage = ""
        self._salvaged: opening.Salvage | None = None
        self._facts_due_s: float | None = None
        self.facts_failures = self.unsound = 0
        self._lock = file.lock(path)
        try:
            quota_bytes = file.quota_for(path, quota_bytes)
            self._room = Room(self._kept, quota_bytes, retention_h)
            self._db = self._open()
        except BaseException:
            os.close(self._lock)
            raise
        self._reported_id = self._kept.last_id

    @property
    def alarm(self) -> str:
        """What somebody should look at; empty if all is well."""
        return "; ".join(filter(None, (self._damage, self._room.alarm())))

    # --- writing --------------------------------------------------------------------------------

    def append(
        self, items: Sequence[Item], cursors: Mapping[str, int], fences: Sequence[int] = ()
    ) -> tuple[list[Stored], int]:
        """Commit items and cursors in one transaction; durable when this returns.

        Returns the items that were new, in order with their ids, and how many were here before
        (same key; the first content stays). `fences` are the ids where readers stand: what is
        dropped at the quota is told to those that are before it. Raises StoreError: then nothing
        was committed, or, if only the confirmation failed, the next call that succeeds returns
        it as new.
        """
        self._ready()
        kept = self._kept
        moved = {name: at for name, at in cursors.items() if kept.cursors.get(name) != at}
        if not (items or moved):
            return self._reported([]), 0
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._room.make(self._db, items, fences, self._handed_out)
            done = insert(self._db, kept, items)
            self._db.executemany(_SET_CURSOR, moved.items())
            self._db.execute("COMMIT")
            self._room.committed()
            done.enter(kept)
            kept.cursors.update(moved)
            self._device_keys.update({number: key for key, number in done.devices.items()})
            self._failed_in_row = 0
            self.conflicts += done.conflicts
            self.redelivered += (redelivered := len(items) - len(done.new))
            if done.devices or done.boots:
                self._write_facts()
            return self._reported(done.new), redelivered
        except file.FAILURES as error:
            raise self._no_commit(error, items) from error

    def _reported(self, new: list[Stored]) -> list[Stored]:
        """What is told as new now: with what an earlier call committed without telling."""
        told = [*self._unreported, *new]
        if new:
            self._reported_id = new[-1].id
        self._unreported = []
        return told

    def keep_clocks(self, clocks: object) -> None:
        """Hold on to this, of numbers and texts; it is written with the facts, once a minute."""
        self._kept.clocks = clocks

    def clocks(self) -> object:
        """What `keep_clocks` was given last, perhaps before the gateway's end; or None."""
        return self._kept.clocks

    def upkeep(self, mono_s: float, fences: Sequence[int], clocks: object = None) -> bool:
        """Forget a step of what is delivered and older than the retention; whether more is left.

        `mono_s` is a monotonic clock: age is hours of running. `clocks`: see `keep_clocks`.
        Raises StoreError.
        """
        if clocks is not None:
            self.keep_clocks(clocks)
        self._ready()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            more = self._room.expire(self._db, mono_s, fences, self._handed_out)
            self._db.execute("COMMIT")
            self._room.committed()
        except file.FAILURES as error:
            raise self._no_commit(error, ()) from error
        self._facts_due_s = self._facts_due_s or mono_s + FACTS_S
        if mono_s >= self._facts_due_s:
            self._write_facts()
        return more

    def _no_commit(self, error: file.Failure, items: Sequence[Item]) -> StoreError:
        self._room.undone()
        reason = self._failed("cannot commit", error)
        if self._failure is None and file.is_full(error):
            self._room.squeeze(self._db, items)
        return reason

    def save_description(self, device: str, crc: int, payloads: Sequence[bytes]) -> None:
        """Keep the Describe payloads of a description; the first under a crc stays."""
        if (device, crc) in self._kept.descriptions:
            return
        packed = b"".join(struct.pack("<H", len(payload)) + payload for payload in payloads)
        self._write("INSERT OR IGNORE INTO descriptions VALUES (?, ?, ?)", device, crc, packed)
        self._kept.descriptions[device, crc] = packed

    def assign(self, table: str, scope: str, key: str, lowest: int, highest: int) -> int:
        """The number of `key` in (table, scope): given at first sight, never to another key.

        The lowest that is free from `lowest` to `highest`; NumbersExhaustedError if none is.
        """
        numbers = self._kept.numbers.setdefault((table, scope), {})
        if key in numbers:
            return numbers[key]
        taken = set(numbers.values())
        free = (number for number in range(lowest, highest + 1) if number not in taken)
        number = next(free, None)
        if number is None:
            raise NumbersExhaustedError(
                f"store {self.path}: no {table} {scope} left for {key}: all from {lowest} to"
                f" {highest} are given"
            )
        self._write("INSERT INTO assignments VALUES (?, ?, ?, ?)", table, scope, key, number)
        numbers[key] = number
        self._write_facts()
        return number

    def _write_facts(self) -> None:
        self._facts_due_s = None
        self.facts_failures += not facts.write(self.path, self._kept)

    def _write(self, statement: str, *values: object) -> None:
        self._ready()
        try:
            self._db.execute(statement, values)  # outside a transaction: its own commit
        except file.FAILURES as error:
            raise self._failed("cannot write", error) from error

    # --- reading --------------------------------------------------------------------------------

    def read_after(self, after: int, limit: int) -> list[Stored]:
        """At most `limit` items with an id above `after`, oldest first.

        What was dropped comes as a gap in the place of its last item.
        """
        self._ready()
        items = self._select("WHERE id > ? ORDER BY id LIMIT ?", after, limit)
        if items:
            self._handed_out.append(items[-1].id)
        return self._with_gaps(items, after, limit)

    def _with_gaps(self, items: list[Stored], after: int, limit: int) -> list[Stored]:
        dropped = self._kept.dropped.after(after, limit)
        if not dropped:
            return items
        keys = self._device_keys
        told = [as_stored(drop, keys[drop.device]) for drop in dropped if drop.device in keys]
        return sorted([*items, *told])[:limit]  # ids differ

    def recent_events(self, limit: int) -> list[Stored]:
        """The last `limit` items of each device that are no records, oldest first."""
        self._ready()
        out: list[Stored] = []
        for device in list(self._device_keys):
            where = f"WHERE device = ? AND kind <> {RECORD} ORDER BY id DESC LIMIT ?"
            out += self._select(where, device, limit)
        return sorted(out)

    def _select(self, where: str, *values: object) -> list[Stored]:
        keys = self._device_keys
        try:
            rows = self._db.execute(f"SELECT {ITEM_COLUMNS} FROM items {where}", values)
            found = [stored_of(row, keys[row[1]]) for row in rows]
        except file.FAILURES as error:
            raise self._failed("cannot read", error) from error
        unsound = sum(not sound for _stored, sound in found)
        if unsound and not self.unsound:
            _log.error("damaged rows are told as lost store=%s; more are counted", self.path)
        self.unsound += unsound
        return [stored for stored, _sound in found]

    def descriptions(self) -> Iterator[tuple[str, int, list[bytes]]]:
        """All descriptions as (device, crc, Describe payloads), in the order they came."""
        return self._kept.told()

    def highest_boots(self) -> dict[str, int]:
        """The highest committed boot of every device that was ever here."""
        return dict(self._kept.boots)

    def cursor(self, name: str) -> int:
        """How far a bridge is: the id up to which all is delivered; 0 for a new one."""
        return self._kept.cursors.get(name, 0)

    def cursors(self) -> dict[str, int]:
        """All cursors by name."""
        return dict(self._kept.cursors)

    def last_id(self) -> int:
        """The highest id given so far; 0 for an empty store."""
        return self._kept.last_id

    # --- the file -------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            return self._open_and_read()
        except StoreDamagedError as error:
            return self._start_over(error)

    def _open_and_read(self) -> sqlite3.Connection:
        db, told = opening.open_kept(self.path, self._kept, self._room.quota_bytes)
        self._damage = told or self._damage
        self._number_keys()
        return db

    def _start_over(self, reason: StoreError) -> sqlite3.Connection:
        if self._salvaged is None:
            self._salvaged = opening.put_aside(self.path, self._kept, reason)
            self._damage = self._salvaged.told
            self.set_aside += 1
        db = opening.go_on(self.path, self._kept, self._room.quota_bytes, self._salvaged)
        self._salvaged = None
        self._number_keys()
        return db

    def _number_keys(self) -> None:
        self._device_keys = {number: key for key, number in self._kept.device_ids.items()}

    def _failed(self, doing: str, error: file.Failure) -> StoreError:
        reason = file.error_of(self.path, doing, error)
        self._failed_in_row += 1
        patient = self._failed_in_row < FAILURES_PATIENT or file.is_full(error)
        if not (patient and file.rolled_back(self._db, error)):
            self._failed_in_row = 0
            self._failure = reason
        return reason

    def _ready(self) -> None:
        """After an error of the medium: open the file anew, or set it aside if it is damaged.

        A commit that failed may be in the log nevertheless. So the log is checkpointed (written
        and synced elsewhere) before anything is built on it, and rows that were not reported as
        new yet will be.
        """
        failure = self._failure
        if failure is None:
            return
        self._db.close()  # rolls back what was begun
        damaged = isinstance(failure, StoreDamagedError)
        self._db = self._start_over(failure) if damaged else self._open()
        self._failure = None
        self.reopened += 1
        try:
            busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except file.FAILURES as error:
            raise self._failed("cannot reopen", error) from error
        if busy:
            self._failure = StoreError(f"store {self.path}: another program blocks a checkpoint")
            raise self._failure
        newer = self._select("WHERE id > ? ORDER BY id", self._reported_id)
        self._unreported += self._with_gaps(newer, self._reported_id, UNREPORTED_MAX)
        self._reported_id = self._kept.last_id

    def close(self) -> None:
        """Write the log back into the file and give it free."""
        try:
            if self._failure is None:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._write_facts()
        except file.FAILURES as error:
            _log.warning("no checkpoint at the end store=%s: %s", self.path, error)
        finally:
            self._db.close()
            os.close(self._lock)

    def stats(self) -> dict[str, float | str]:
        """Counters and sizes; callable from any thread."""
        log = self.path.with_name(self.path.name + "-wal")
        return {
            "last_id": self._kept.last_id,
            "devices": len(self._kept.device_ids),
            "bytes": sum(part.stat().st_size for part in (self.path, log) if part.exists()),
            "redelivered": self.redelivered,
            "conflicts": self.conflicts,
            "set_aside": self.set_aside,
            "reopened": self.reopened,
            "quota_bytes": self._room.quota_bytes,
            "used_bytes": self._room.used_bytes,
            "dropped": self._room.dropped,
            "dropped_undelivered": self._room.undelivered,
            "expired": self._room.expired,
            "drop_ranges": len(self._kept.dropped),
            "unsound": self.unsound,
            "facts_failures": self.facts_failures,
            "alarm": self.alarm,
        }
