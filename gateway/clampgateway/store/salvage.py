"""What can be had of a damaged store: the small tables, items not yet delivered, what is missing.

Reads the file that was set aside and never writes to it. Items are read around what is broken;
which others there were is told by the index, a second place that holds every key, and, where that
is broken too, by the last number known of each device. What is lost is told as a gap, rather too
much than too little: an item that comes again after such a gap is taken.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from bisect import bisect_left
from pathlib import Path
from typing import Any, NamedTuple

from clampgateway.clocksync import NO_ERA
from clampgateway.model import STORE_DAMAGED
from clampgateway.store import ledgerrows
from clampgateway.store.drops import Drop, joined_runs
from clampgateway.store.eras import EraRow
from clampgateway.store.kept import ITEM_COLUMNS, NEW_COLUMNS, Kept, is_sound, typed_rows

ITEMS_MAX = 200_000
# Ids passed over where nothing can be read, at first; doubled until something can.
SKIP_IDS = 16
_HEAD = struct.Struct("<BII")
_INDEX = "sqlite_autoindex_items_1"


class Salvaged(NamedTuple):
    """Rows of items behind the slowest cursor, how many more of them are told as lost, ledger."""

    items: list[tuple[Any, ...]]
    lost: int
    ledger: list[ledgerrows.Row]


def salvage(path: Path, kept: Kept) -> Salvaged:
    """Add what can be read of the damaged file at `path` to `kept`, gaps included."""
    items: list[tuple[Any, ...]] = []
    ledger: list[ledgerrows.Row] = []
    census = _Census(kept, items)
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_open_to_read(path)) as db:
        kept.read_what_can_be(db)
        ledger += ledgerrows.read_what_can_be(db)
        delivered = kept.delivered()
        if delivered:
            items += _items(db, kept, min(delivered))
            census.take(db)
    kept.last_id = max([kept.last_id, *kept.cursors.values(), *(row[0] for row in items)])
    kept.number_devices()
    highest = max([0, *(row[7] for row in items)])
    if highest > max(kept.eras, default=NO_ERA):
        # The table of eras is lost: the number is not given again, and says nothing.
        kept.eras[highest] = EraRow(highest, "", 0, kept.last_id)
    return Salvaged(items, census.tell(), ledger)


def _open_to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _items(db: sqlite3.Connection, kept: Kept, delivered: int) -> list[tuple[Any, ...]]:
    devices = set(kept.device_ids.values())
    names = {row[1] for row in db.execute("PRAGMA table_info(items)")}
    columns = ITEM_COLUMNS if "rev" in names else f"{NEW_COLUMNS}, 0"
    query = f"SELECT {columns} FROM items NOT INDEXED WHERE id > ? ORDER BY id LIMIT ?"
    out: list[tuple[Any, ...]] = []
    at, skip = delivered, SKIP_IDS
    # Of a file whose given ids cannot be read, as far as the ids are dense.
    end = max(kept.last_id, delivered + ITEMS_MAX)
    while at < end and len(out) < ITEMS_MAX:
        before = at
        try:
            for row in typed_rows(db, query, "iiiiiiiiibi", at, ITEMS_MAX - len(out)):
                at = row[0]
                skip = SKIP_IDS
                if _sound(row, devices):
                    out.append(row)
            return out
        except sqlite3.Error:
            at = max(at, before) + skip
            skip *= 2
    return out


def _sound(row: tuple[Any, ...], devices: set[int]) -> bool:
    """The payload repeats kind, boot and seq, so that a mixed-up row shows without a check."""
    _id, device, boot, seq, kind, _end_ms, utc_ms, _synced, column, payload, rev = row
    if device not in devices or len(payload) < _HEAD.size:
        return False
    same = _HEAD.unpack_from(payload) == (kind, boot, seq)
    return same and is_sound(device, utc_ms, column, payload, rev)


class _Census:
    """Which items there were besides those that could be read: ranges of keys, and their loss."""

    def __init__(self, kept: Kept, items: list[tuple[Any, ...]]) -> None:
        self._kept = kept
        self._items = items
        self._whole = False
        # (device, boot) to ranges that are no loss; (device, boot, segment) to those that are.
        self._there: dict[tuple[int, int], list[list[int]]] = {}
        self._lost: dict[tuple[int, int, int], list[list[int]]] = {}

    def take(self, db: sqlite3.Connection) -> None:
        """Read the index, of each device from both ends as far as that goes."""
        have = {row[1:4] for row in self._items}
        fences = sorted(self._kept.delivered())
        self._whole = True
        for device in self._kept.device_ids.values():
            for order in ("", "DESC"):
                query = (
                    f"SELECT device, boot, seq, id FROM items INDEXED BY {_INDEX}"
                    f" WHERE device = ? ORDER BY boot {order}, seq {order}"
                )
                try:
                    for _device, boot, seq, number in typed_rows(db, query, "iiii", device):
                        segment = bisect_left(fences, number)
                        if segment == 0 or (device, boot, seq) in have:
                            _extend(self._there.setdefault((device, boot), []), seq, number)
                        else:
                            lost = self._lost.setdefault((device, boot, segment), [])
                            _extend(lost, seq, number)
                    break
                except sqlite3.Error:
                    self._whole = False

    def tell(self) -> int:
        """Put the lost where readers are told of them; how many items that is."""
        kept = self._kept
        fences = sorted(kept.delivered())
        taken = {row[0] for row in self._items}
        segments: dict[int, list[Drop]] = {}
        unplaced = [] if self._whole else self._unknown()
        for (device, boot, segment), ranges in self._lost.items():
            for first, last, number in ranges:
                drop = Drop(number, device, boot, first, last, STORE_DAMAGED, 0, 0, 0, 0)
                if number in taken:  # two keys of one id: the file is broken in a subtle way
                    unplaced.append(drop)
                else:
                    taken.add(number)
                    segments.setdefault(segment, []).append(drop)
        lost = [*unplaced, *(drop for rows in segments.values() for drop in rows)]
        for rows in segments.values():
            kept.dropped.apply(*kept.dropped.change(rows, fences))
        for run in joined_runs(unplaced):
            kept.last_id += 1  # behind everything: all readers hear of it
            kept.dropped.apply([], [run._replace(id=kept.last_id)])
        return sum(drop.last - drop.first + 1 for drop in lost)

    def _unknown(self) -> list[Drop]:
        """Up to the last number known of each device, what nobody knows anything of."""
        out = []
        for name, (boot, last) in self._kept.heads.items():
            device = self._kept.device_ids[name]
            known = [each[:2] for each in self._there.get((device, boot), [])]
            known += [
                each[:2] for key, ranges in self._lost.items() for each in ranges
                if key[:2] == (device, boot)
            ]  # fmt: skip
            known += [[row[3], row[3]] for row in self._items if row[1:3] == (device, boot)]
            known += self._kept.dropped.ranges(device, boot)
            at = 0
            for first, end in [*sorted(known), [last + 1, last + 1]]:
                if first > at:
                    out.append(Drop(0, device, boot, at, first - 1, STORE_DAMAGED, 0, 0, 0, 0))
                at = max(at, end + 1)
        return out


def _extend(ranges: list[list[int]], seq: int, number: int) -> None:
    """Add a number that comes in rising or falling order."""
    if ranges and ranges[-1][0] - 1 <= seq <= ranges[-1][1] + 1:
        first, last, highest = ranges[-1]
        ranges[-1] = [min(first, seq), max(last, seq), max(highest, number)]
    else:
        ranges.append([seq, seq, number])
