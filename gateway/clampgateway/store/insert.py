"""Items into the log, within the caller's transaction: which of them are new, and under which ids.

Owns deduplication by (device, boot, seq). What it found is returned and enters `Kept` only when
the transaction is durable.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clampgateway.model import Item, Stored
from clampgateway.store.kept import Kept, checked, insert_items

_log = logging.getLogger(__name__)

_NO_HEAD = (-1, -1)


@dataclass(slots=True)
class Inserted:
    """What one transaction brings: new items, devices, and higher boots and last numbers.

    `conflicts`: items that came again with another content; the first stays. `redelivered`: how
    many came again, by device.
    """

    new: list[Stored] = field(default_factory=list)
    devices: dict[str, int] = field(default_factory=dict)
    boots: dict[str, int] = field(default_factory=dict)
    heads: dict[str, tuple[int, int]] = field(default_factory=dict)
    conflicts: int = 0
    redelivered: dict[str, int] = field(default_factory=dict)

    def came_again(self, device: str) -> None:
        self.redelivered[device] = self.redelivered.get(device, 0) + 1

    def enter(self, kept: Kept) -> None:
        """The transaction is durable. May be called again after a MemoryError."""
        kept.device_ids.update(self.devices)
        kept.boots.update(self.boots)
        kept.heads.update(self.heads)
        if self.new:
            kept.last_id = self.new[-1].id


def insert(db: sqlite3.Connection, kept: Kept, items: Sequence[Item]) -> Inserted:
    """Insert what is not there yet. Raises sqlite3.Error."""
    done = Inserted()
    first = number = kept.last_id + 1
    rows: list[tuple[Any, ...]] = []
    entered: list[Item] = []
    dropped = kept.dropped
    device, last, head, boots = 0, None, _NO_HEAD, -1
    for item in items:
        key, boot, seq, kind, end_ms, utc_ms, synced, crc, payload, _rev = item
        if key != last:  # one device's items come together
            last = key
            device = kept.device_ids.get(key) or done.devices.get(key) or _added(db, done, key)
            head = done.heads.get(key, kept.heads.get(key, _NO_HEAD))
            boots = done.boots.get(key, kept.boots.get(key, -1))
        if boot > boots:
            boots = done.boots[key] = boot
        if (boot, seq) > head:
            head = done.heads[key] = (boot, seq)
        if dropped and dropped.covers(device, boot, seq):
            done.came_again(key)
            continue  # acknowledged long ago, and told as a gap to whoever missed it
        column = checked(device, utc_ms, crc, payload)
        rows.append((number, device, boot, seq, kind, end_ms, utc_ms, synced, column, payload))
        entered.append(item)
        number += 1
    all_new = insert_items(db, rows) == len(rows)
    db.executemany(
        "UPDATE devices SET highest_boot = ? WHERE key = ?",
        [(boot, key) for key, boot in done.boots.items()],
    )
    if all_new:
        done.new = [Stored(first + index, item) for index, item in enumerate(entered)]
        return done
    query = "SELECT id FROM items WHERE id >= ?"
    inserted = {number for (number,) in db.execute(query, (first,))}
    for row, item in zip(rows, entered, strict=True):
        if row[0] in inserted:
            done.new.append(Stored(row[0], item))
        else:
            done.came_again(item.device)
            done.conflicts += _conflicts(db, row, item)
    return done


def _added(db: sqlite3.Connection, done: Inserted, key: str) -> int:
    """The number of a device that was not known."""
    added = db.execute("INSERT INTO devices (key) VALUES (?)", (key,))
    number = done.devices[key] = added.lastrowid or 0
    return number


def _conflicts(db: sqlite3.Connection, row: tuple[Any, ...], item: Item) -> bool:
    """Whether a key that came again brings another content."""
    query = "SELECT payload FROM items WHERE device = ? AND boot = ? AND seq = ?"
    found = db.execute(query, row[1:4]).fetchone()
    if found is None or found[0] == item.payload:
        return False
    _log.error("an item came again with another content, the first stays %s", item[:3])
    return True
