"""The small tables of the store: devices, descriptions, cursors, given numbers, drops, eras.

They are held in memory as well, so that a lookup costs nothing and a store that turns out to be
damaged can go on in a new file without losing them.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from clampgateway.model import STORE_DAMAGED, Item, Parked, Stored
from clampgateway.store.drops import Drop, Dropped, as_stored
from clampgateway.store.eras import EraRow, Restamp, Restamps
from clampgateway.store.removals import READ, Removal, merge, write_all

NEW_COLUMNS = "id, device, boot, seq, kind, end_ms, utc_ms, synced, describe_crc, payload"
ITEM_COLUMNS = f"{NEW_COLUMNS}, rev"
# Rows a statement: each one gives the interpreter's lock away and has to get it back.
ROWS = 100
_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT = f"INSERT INTO items ({NEW_COLUMNS}) VALUES"
_OR_NOT = "ON CONFLICT (device, boot, seq) DO NOTHING"
_INSERT_ROW = f"{_INSERT} {_VALUES} {_OR_NOT}"
_INSERT_ROWS = f"{_INSERT} {', '.join([_VALUES] * ROWS)} {_OR_NOT}"
_UINT32 = 0xFFFFFFFF
# The cursor that moves with the rows of the ledger; nobody waits for it.
LEDGER_CURSOR = "ledger"


@dataclass
class Kept:
    """Rows of the small tables, by their keys, and the highest id that was given.

    `heads` is the highest (boot, seq) of each device since the start; no table holds it. `clocks`
    is the links' own, of numbers and texts; the facts beside the store hold it as it is.
    """

    device_ids: dict[str, int] = field(default_factory=dict)
    boots: dict[str, int] = field(default_factory=dict)
    descriptions: dict[tuple[str, int], bytes] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    numbers: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    heads: dict[str, tuple[int, int]] = field(default_factory=dict)
    dropped: Dropped = field(default_factory=Dropped)
    hours: dict[int, int] = field(default_factory=dict)
    restamps: Restamps = field(default_factory=Restamps)
    restamping: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    eras: dict[int, EraRow] = field(default_factory=dict)
    parked: dict[str, list[Parked]] = field(default_factory=dict)
    removals: dict[str, Removal] = field(default_factory=dict)
    last_id: int = 0
    clocks: object = None

    def read(self, db: sqlite3.Connection) -> None:
        """Take the rows of a file over those of memory. Raises sqlite3.Error at a broken one."""
        for read in self._readers():
            read(db)

    def read_what_can_be(self, db: sqlite3.Connection) -> None:
        """The same of a damaged file: a table that breaks off does not hide the others."""
        for read in self._readers():
            with contextlib.suppress(sqlite3.Error):
                read(db)

    def _readers(self) -> tuple[Callable[[sqlite3.Connection], None], ...]:
        return (
            self._read_devices,
            self._read_numbers,
            self._read_given_ids,
            self._read_cursors,
            self._read_descriptions,
            self._read_dropped,
            self._read_restamps,
            self._read_parked,
            self._read_removals,
        )

    def _read_devices(self, db: sqlite3.Connection) -> None:
        taken = {number: key for key, number in self.device_ids.items()}
        for number, key, boot in typed_rows(
            db, "SELECT id, key, highest_boot FROM devices", "isi"
        ):
            # In a damaged file a number may stand there twice, or no longer be one.
            if taken.setdefault(number, key) != key or not 0 <= boot <= _UINT32:
                continue
            self.device_ids.setdefault(key, number)
            self.boots[key] = max(boot, self.boots.get(key, 0))

    def _read_descriptions(self, db: sqlite3.Connection) -> None:
        for device, crc, packed in typed_rows(
            db, "SELECT device, crc, payloads FROM descriptions ORDER BY rowid", "sib"
        ):
            self.descriptions.setdefault((device, crc), packed)

    def _read_cursors(self, db: sqlite3.Connection) -> None:
        for name, at in typed_rows(db, "SELECT name, id FROM cursors", "si"):
            self.cursors[name] = max(at, self.cursors.get(name, 0))

    def _read_numbers(self, db: sqlite3.Connection) -> None:
        for kind, scope, key, number in typed_rows(
            db, "SELECT kind, scope, key, number FROM assignments", "sssi"
        ):
            numbers = self.numbers.setdefault((kind, scope), {})
            if number not in numbers.values():
                numbers.setdefault(key, number)

    def _read_given_ids(self, db: sqlite3.Connection) -> None:
        given = "SELECT seq FROM sqlite_sequence WHERE name = 'items'"
        self.last_id = max([self.last_id, *(seq for (seq,) in typed_rows(db, given, "i"))])

    def _read_dropped(self, db: sqlite3.Connection) -> None:
        rows = typed_rows(db, "SELECT * FROM drops ORDER BY id", "iiiiiiiiii")
        known = {drop.id for drop in self.dropped}
        self.dropped.apply([], [drop for row in rows if (drop := Drop(*row)).id not in known])
        self.last_id = max([self.last_id, *(drop.id for drop in self.dropped)])
        self.hours.update(typed_rows(db, "SELECT number, last_id FROM hours", "ii"))

    def _read_restamps(self, db: sqlite3.Connection) -> None:
        rows = typed_rows(db, "SELECT id, device, boot, first, last FROM restamps", "iiiii")
        self.restamps.add(Restamp(*row) for row in rows)
        self.last_id = max(self.last_id, self.restamps.last_id)
        rows = typed_rows(db, "SELECT device, boot, first, last FROM restamping", "iiii")
        self.restamping.update(((row[0], row[1]), (row[2], row[3])) for row in rows)
        rows = typed_rows(db, "SELECT number, power_up, offset_ms, after_id FROM eras", "isii")
        self.eras.update((row[0], EraRow(*row)) for row in rows)

    def _read_parked(self, db: sqlite3.Connection) -> None:
        read: dict[str, list[Parked]] = {}
        for reader, *row in typed_rows(
            db,
            "SELECT reader, topic, device, kinds, first_id, last_id, reason FROM parked"
            " ORDER BY reader, place",
            "sssiiii",
        ):
            read.setdefault(reader, []).append(Parked(*row))
        self.parked.update(read)

    def _read_removals(self, db: sqlite3.Connection) -> None:
        merge(self.removals, typed_rows(db, READ, "sis"))

    def delivered(self) -> tuple[int, ...]:
        """How far each bridge is, of all that ever were; callable from any thread."""
        return tuple(at for name, at in tuple(self.cursors.items()) if name != LEDGER_CURSOR)

    def number_devices(self) -> None:
        """A number for every device that is known by its key alone."""
        for key in self.boots:
            if key not in self.device_ids:
                self.device_ids[key] = max(self.device_ids.values(), default=0) + 1

    def write(self, db: sqlite3.Connection) -> None:
        """Write all rows into a new file, within the caller's transaction."""
        db.executemany(
            "INSERT OR IGNORE INTO devices VALUES (?, ?, ?)",
            [(number, key, self.boots.get(key, 0)) for key, number in self.device_ids.items()],
        )
        db.executemany(
            "INSERT OR IGNORE INTO descriptions VALUES (?, ?, ?)",
            [(device, crc, packed) for (device, crc), packed in self.descriptions.items()],
        )
        db.executemany("INSERT OR IGNORE INTO cursors VALUES (?, ?)", self.cursors.items())
        db.executemany(
            "INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?)",
            [
                (kind, scope, key, number)
                for (kind, scope), numbers in self.numbers.items()
                for key, number in numbers.items()
            ],
        )
        db.executemany(
            "INSERT OR IGNORE INTO drops VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [tuple(drop) for drop in self.dropped],
        )
        db.executemany("INSERT OR IGNORE INTO hours VALUES (?, ?)", self.hours.items())
        db.executemany("INSERT OR IGNORE INTO restamps VALUES (?, ?, ?, ?, ?)", self.restamps)
        db.executemany(
            "INSERT OR IGNORE INTO restamping VALUES (?, ?, ?, ?)",
            [(*power_up, *span) for power_up, span in self.restamping.items()],
        )
        db.executemany("INSERT OR IGNORE INTO eras VALUES (?, ?, ?, ?)", self.eras.values())
        for reader, parked in self.parked.items():
            write_parked(db, reader, parked)
        write_all(db, self.removals)
        # Ids go on where they were, so that cursors stay true.
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'items'")
        db.execute("INSERT INTO sqlite_sequence VALUES ('items', ?)", (self.last_id,))

    def told(self) -> Iterator[tuple[str, int, list[bytes]]]:
        """All descriptions as (device, crc, Describe payloads), in the order they came."""
        for (device, crc), packed in tuple(self.descriptions.items()):
            payloads = []
            at = 0
            while at + 2 <= len(packed):
                size = struct.unpack_from("<H", packed, at)[0]
                payloads.append(packed[at + 2 : at + 2 + size])
                at += 2 + size
            yield device, crc, payloads

    def summary(self) -> str:
        return (
            f"kept {len(self.device_ids)} devices, {len(self.descriptions)} descriptions,"
            f" {len(self.cursors)} cursors, {sum(map(len, self.numbers.values()))} given numbers"
        )


def write_parked(db: sqlite3.Connection, reader: str, parked: Iterable[Parked]) -> None:
    """Replace what a reader has parked, in the caller's transaction."""
    db.execute("DELETE FROM parked WHERE reader = ?", (reader,))
    db.executemany(
        "INSERT INTO parked VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(reader, place, *each) for place, each in enumerate(parked)],
    )


def checked(device: int, utc_ms: int, describe_crc: int, payload: bytes, rev: int = 0) -> int:
    """`describe_crc` as the column holds it: a check of the row above its 32 bits, never 0.

    The file has no checksums of its own: what a medium changes within a row would come out.
    """
    check = zlib.crc32(payload, (utc_ms ^ device ^ rev << 16) & _UINT32) & 0x7FFFFFFF
    return describe_crc | (check or 1) << 32


def is_sound(device: int, utc_ms: int, column: int, payload: bytes, rev: int) -> bool:
    """Whether a row is as it was written; rows of schema 1 carry no check."""
    return column <= _UINT32 or column == checked(device, utc_ms, column & _UINT32, payload, rev)


def stored_of(row: tuple[Any, ...], key: str) -> tuple[Stored, bool]:
    """(a row of ITEM_COLUMNS as an item of the log, True); of a damaged one (its loss, False)."""
    number, device, boot, seq, kind, end_ms, utc_ms, synced, column, payload, rev = row
    if is_sound(device, utc_ms, column, payload, rev):
        crc = column & _UINT32
        item = Item(key, boot, seq, kind, end_ms, utc_ms, synced, crc, payload, rev)
        return Stored(number, item), True
    lost = Drop(number, device, boot, seq, seq, STORE_DAMAGED, 0, 0, 0, 0)
    return as_stored(lost, key), False


def insert_whole(db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows of ITEM_COLUMNS, in the caller's transaction."""
    insert_items(db, [row[:-1] for row in rows])
    revised = [(row[-1], row[0]) for row in rows if row[-1]]
    db.executemany("UPDATE items SET rev = ? WHERE id = ?", revised)


def insert_items(db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> int:
    """Insert rows of NEW_COLUMNS whose (device, boot, seq) is new; returns how many those are.

    In the caller's transaction.
    """
    before = db.total_changes
    whole = len(rows) - len(rows) % ROWS
    for at in range(0, whole, ROWS):
        db.execute(_INSERT_ROWS, list(chain.from_iterable(rows[at : at + ROWS])))
    db.executemany(_INSERT_ROW, rows[whole:])
    return db.total_changes - before


_KINDS = {"i": int, "s": str, "b": bytes}


def typed_rows(
    db: sqlite3.Connection, query: str, kinds: str, *values: object
) -> Iterator[tuple[Any, ...]]:
    """Rows whose values have the types they should have; a damaged file may hold others."""
    types = [_KINDS[kind] for kind in kinds]
    for row in db.execute(query, values):
        if all(isinstance(value, kind) for value, kind in zip(row, types, strict=True)):
            yield row
