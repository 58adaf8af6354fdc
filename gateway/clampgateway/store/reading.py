"""Queries of the log: by id, by name, by device. Every one tells what is no longer there.

Owns how rows, dropped ranges and corrected ranges become one sequence. Errors of SQLite go to the
caller, who knows what they mean for the file.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable

from clampgateway.model import RECORD, Stored, restamped
from clampgateway.store.drops import Drop, as_stored
from clampgateway.store.kept import ITEM_COLUMNS, Kept, stored_of

_log = logging.getLogger(__name__)


class Reading:
    """What can be asked of a log. `keys` maps the number of a device to its key.

    `unsound` counts rows that the medium has changed: they are told as lost.
    """

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.keys: dict[int, str] = {}
        self.unsound = 0

    def number_keys(self) -> None:
        """Take the devices from what is kept."""
        self.keys = {number: key for key, number in self._kept.device_ids.items()}

    def after(self, db: sqlite3.Connection, after: int, limit: int) -> list[Stored]:
        """Items, gaps of what was dropped, and corrected ranges with an id above `after`."""
        items = self._select(db, "WHERE id > ? ORDER BY id LIMIT ?", after, limit)
        told = self._gaps(self._kept.dropped.after(after, limit))
        told += self._restamps(after, limit)
        return sorted([*items, *told])[:limit] if told else items  # ids differ

    def recent_events(self, db: sqlite3.Connection, limit: int) -> list[Stored]:
        """The last `limit` items of each device that are no records, oldest first."""
        out: list[Stored] = []
        for device in list(self.keys):
            where = f"WHERE device = ? AND kind <> {RECORD} ORDER BY id DESC LIMIT ?"
            out += self._select(db, where, device, limit)
        return sorted(out)

    def range(
        self,
        db: sqlite3.Connection,
        device: str,
        boot: int,
        first: int,
        last: int,
        after_seq: int,
        limit: int,
    ) -> list[Stored]:
        """See Store.read_range."""
        number = self._kept.device_ids.get(device)
        if number is None:
            return []
        where = (
            "WHERE device = ? AND boot = ? AND seq >= ? AND seq <= ? AND seq > ?"
            " ORDER BY seq LIMIT ?"
        )
        items = self._select(db, where, number, boot, first, last, after_seq, limit)
        dropped = self._kept.dropped.within(number, boot, first, last)
        told = self._gaps(drop for drop in dropped if drop.last > after_seq)
        return sorted([*items, *told], key=_seq_of)[:limit] if told else items

    def ids(
        self,
        db: sqlite3.Connection,
        device: str,
        kinds: int,
        after_id: int,
        up_to_id: int,
        limit: int,
    ) -> list[Stored]:
        """See Store.read_ids."""
        number = self._kept.device_ids.get(device)
        if number is None:
            return []
        where = "WHERE id > ? AND id <= ? AND device = ? AND (1 << kind) & ? ORDER BY id LIMIT ?"
        items = self._select(db, where, after_id, up_to_id, number, kinds, limit)
        dropped = self._kept.dropped.between(after_id, up_to_id)
        told = self._gaps(drop for drop in dropped if drop.device == number)
        return sorted([*items, *told])[:limit] if told else items

    def _select(self, db: sqlite3.Connection, where: str, *values: object) -> list[Stored]:
        keys = self.keys
        rows = db.execute(f"SELECT {ITEM_COLUMNS} FROM items {where}", values)
        found = [stored_of(row, keys[row[1]]) for row in rows]
        unsound = sum(not sound for _stored, sound in found)
        if unsound and not self.unsound:
            _log.error("damaged rows are told as lost; more are counted")
        self.unsound += unsound
        return [stored for stored, _sound in found]

    def _gaps(self, dropped: Iterable[Drop]) -> list[Stored]:
        return [as_stored(drop, self.keys[drop.device]) for drop in dropped
                if drop.device in self.keys]  # fmt: skip

    def _restamps(self, after: int, limit: int) -> list[Stored]:
        found = self._kept.restamps.after(after, limit)
        return [
            Stored(each.id, restamped(self.keys[each.device], each.boot, each.first, each.last))
            for each in found
            if each.device in self.keys
        ]


def _seq_of(stored: Stored) -> int:
    return stored.item.seq
