"""The durable log of all items, with what must survive beside it.

Owns ids, deduplication by (device, boot, seq), descriptions, cursors of bridges, and numbers that
were given for good. A file that is found damaged is set aside and a new one goes on with what
could be read; `alarm` says so (`opened.py`). When to commit is decided by the committer.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clampgateway.model import Item, Parked, Stored
from clampgateway.store import file, ledgerrows
from clampgateway.store.eras import EraRow
from clampgateway.store.file import NumbersExhaustedError, StoreError
from clampgateway.store.insert import insert
from clampgateway.store.kept import LEDGER_CURSOR, write_parked
from clampgateway.store.opened import Opened
from clampgateway.store.removals import DELETE, WRITE, Removal, row_of
from clampgateway.store.restamp import Dating, Restamper
from clampgateway.utcclock import Era

RETENTION_H = 168
# Where readers may stand that took items from here a moment ago.
READS_REMEMBERED = 16
# How often the last numbers of all devices are written beside the store.
FACTS_S = 60.0
# Stretches of UTC that are remembered: machines that have run since.
ERAS_MAX = 1000
_SET_CURSOR = "INSERT INTO cursors VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET id = excluded.id"


class Store(Opened):
    """The store at `path`; its folder is made. Raises StoreError if it cannot be opened.

    One connection, for one thread at a time; a second Store on the same path is refused. After
    an error that leaves doubts the file is opened anew at the next call.
    """

    def __init__(
        self, path: Path, quota_bytes: int | None = None, retention_h: int = RETENTION_H
    ) -> None:
        super().__init__(path, quota_bytes, retention_h)
        self.redelivered = self.conflicts = 0
        self.redelivered_by: Counter[str] = Counter()
        self._handed_out: deque[int] = deque(maxlen=READS_REMEMBERED)
        self._restamper = Restamper(self._kept)

    # --- writing --------------------------------------------------------------------------------

    def append(
        self,
        items: Sequence[Item],
        cursors: Mapping[str, int],
        fences: Sequence[int] = (),
        parked: Mapping[str, Sequence[Parked]] | None = None,
    ) -> tuple[list[Stored], int]:
        """Commit items, cursors and what is parked in one transaction; durable when this returns.

        Returns the items that were new, in order with their ids, and how many were here before
        (same key; the first content stays). `fences` are the ids where readers stand: what is
        dropped at the quota is told to those that are before it. `parked` has the whole list of
        each reader whose list changed. The cursor "ledger" is `save_ledger`'s and is left alone.
        `redelivered_by` counts by device what was here before. Raises StoreError: then nothing was
        committed, or, if only the confirmation failed, the next call that succeeds returns it as
        new.
        """
        self._ready()
        kept = self._kept
        moved = {
            name: at
            for name, at in cursors.items()
            if kept.cursors.get(name) != at and name != LEDGER_CURSOR
        }
        parked = {
            name: list(rows)
            for name, rows in (parked or {}).items()
            if kept.parked.get(name, []) != list(rows)
        }
        if not (items or moved or parked):
            return self._reported([]), 0
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._room.make(self._db, items, fences, self._handed_out)
            done = insert(self._db, kept, items)
            self._db.executemany(_SET_CURSOR, moved.items())
            for name, rows in parked.items():
                write_parked(self._db, name, rows)
            self._db.execute("COMMIT")
            self._room.committed()
            done.enter(kept)
            kept.cursors.update(moved)
            kept.parked.update(parked)
            self._reading.keys.update({number: key for key, number in done.devices.items()})
            self._failed_in_row = 0
            self.redelivered_by.update(done.redelivered)
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

    def save_eras(self, eras: Sequence[Era]) -> None:
        """Keep eras of UTC, before anything is committed that is dated in them. StoreError."""
        if not eras:
            return
        self._ready()
        kept = self._kept.eras
        rows = []
        for era in eras:
            before = kept.get(era.number)
            rows.append(EraRow(*era, before.after_id if before else self._kept.last_id))
        surplus = sorted(set(kept) - {era.number for era in eras})[:-ERAS_MAX]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO eras VALUES (?, ?, ?, ?)", rows)
            self._db.executemany("DELETE FROM eras WHERE number = ?", [(n,) for n in surplus])
            self._db.execute("COMMIT")
        except file.FAILURES as error:
            raise self._failed("cannot note how UTC stands", error) from error
        kept.update((row.number, row) for row in rows)
        for number in surplus:
            del kept[number]

    def eras(self) -> list[Era]:
        """All that `save_eras` was given and that are still of use."""
        return [Era(*row[:3]) for row in self._kept.eras.values()]

    def restamp(
        self, dating: Dating | None, mono_s: float, fences: Sequence[int] = ()
    ) -> tuple[list[Stored], bool]:
        """Correct a step of what is dated wrongly or not at all, in one transaction.

        Returns RESTAMPED items, new in the log, that say which ranges have other times now, and
        whether there is more to do at once. Raises StoreError: see `append`.
        """
        self._ready()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._room.make(self._db, (), fences, self._handed_out)
            step = self._restamper.step(self._db, dating, mono_s)
            self._db.execute("COMMIT")
            self._room.committed()
            return self._reported(self._restamper.committed(step)), step.more
        except file.FAILURES as error:
            self._restamper.forget()
            raise self._no_commit(error, ()) from error

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

    def remove(self, device: str) -> Removal:
        """Note that a device is removed, with all it sent until now. Raises StoreError.

        Its items, its highest boot and the numbers given to it stay.
        """
        removal = Removal(self._kept.last_id)
        self._note_removal(device, removal)
        return removal

    def removal_told(self, device: str, bridge: str) -> None:
        """Note that a bridge has carried out a removal; nothing if the device is back."""
        removal = self._kept.removals.get(device)
        if removal is not None and bridge not in removal.told:
            self._note_removal(device, removal._replace(told=removal.told | {bridge}))

    def _note_removal(self, device: str, removal: Removal) -> None:
        self._write(WRITE, *row_of(device, removal))
        self._kept.removals[device] = removal
        self._write_facts()

    def take_back(self, device: str) -> None:
        """Note that a removed device has come back. Raises StoreError."""
        if device in self._kept.removals:
            self._write(DELETE, device)
            del self._kept.removals[device]
            self._write_facts()

    def save_ledger(self, rows: Sequence[tuple[str, int, bytes]], up_to_id: int) -> None:
        """Write (device, day, body) over those of before, and the cursor "ledger", as one.

        Day 0 holds what is not dated; of more than 400 days of a device the earliest are
        forgotten. Raises StoreError: then nothing was written.
        """
        self._ready()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            ledgerrows.save(self._db, rows)
            self._db.execute(_SET_CURSOR, (LEDGER_CURSOR, up_to_id))
            self._db.execute("COMMIT")
        except file.FAILURES as error:
            raise self._failed("cannot write the ledger", error) from error
        self._kept.cursors[LEDGER_CURSOR] = up_to_id

    def _write(self, statement: str, *values: object) -> None:
        self._ready()
        try:
            self._db.execute(statement, values)  # outside a transaction: its own commit
        except file.FAILURES as error:
            raise self._failed("cannot write", error) from error

    # --- reading --------------------------------------------------------------------------------

    def read_after(self, after: int, limit: int) -> list[Stored]:
        """At most `limit` items with an id above `after`, oldest first.

        What was dropped comes as a gap in the place of its last item; a range whose times were
        corrected as an item of kind RESTAMPED.
        """
        items = self._read(self._reading.after, after, limit)
        if items:
            self._handed_out.append(items[-1].id)
        return items

    def read_range(
        self, device: str, boot: int, first: int, last: int, after_seq: int, limit: int
    ) -> list[Stored]:
        """Items `first` to `last` of a boot with a seq above `after_seq`, at most `limit`, by seq.

        What was dropped of them comes as a gap, in the place of its last number; it may reach
        beyond what was asked for. Begin with `after_seq` -1, go on with the seq that came last.
        """
        return self._read(self._reading.range, device, boot, first, last, after_seq, limit)

    def read_ids(
        self, device: str, kinds: int, after_id: int, up_to_id: int, limit: int
    ) -> list[Stored]:
        """Items of a device with an id above `after_id` and up to `up_to_id`, at most `limit`.

        Of the kinds whose bit (1 << kind) is in `kinds`; what was dropped of the device there
        comes as a gap in any case.
        """
        return self._read(self._reading.ids, device, kinds, after_id, up_to_id, limit)

    def recent_events(self, limit: int) -> list[Stored]:
        """The last `limit` items of each device that are no records, oldest first."""
        return self._read(self._reading.recent_events, limit)

    def read_ledger(
        self, device: str | None = None, first_day: int | None = None, last_day: int | None = None
    ) -> list[tuple[str, int, bytes]]:
        """(device, day, body) of what `save_ledger` was given, by device and day."""
        return self._read(ledgerrows.read, device, first_day, last_day)

    def removals(self) -> dict[str, Removal]:
        """The devices that are removed."""
        return dict(self._kept.removals)

    def assigned(self, table: str, scope: str) -> dict[str, int]:
        """All numbers of (table, scope) by key: see `assign`; callable from any thread."""
        return dict(self._kept.numbers.get((table, scope), {}))

    def parked(self) -> dict[str, list[Parked]]:
        """What each reader has parked, as `append` was given it last."""
        return {name: list(rows) for name, rows in self._kept.parked.items() if rows}

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
            "restamped": self._restamper.corrected,
            "undatable": self._restamper.undatable,
            "unsound": self._reading.unsound,
            "facts_failures": self.facts_failures,
            "alarm": self.alarm,
        }
