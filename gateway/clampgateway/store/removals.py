"""Devices that were removed: the row of each, from its removal until it comes back.

Owns the form of a row. What a removal means to bridges and people is `clampgateway.removals`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

READ = "SELECT device, up_to_id, told FROM removals"
WRITE = "INSERT OR REPLACE INTO removals VALUES (?, ?, ?)"
DELETE = "DELETE FROM removals WHERE device = ?"
_BETWEEN = ","


class Removal(NamedTuple):
    """One removed device.

    Attributes:
        up_to_id: All its items of before have ids up to this one.
        told: The bridges that have carried it out.
    """

    up_to_id: int
    told: frozenset[str] = frozenset()


def row_of(device: str, removal: Removal) -> tuple[str, int, str]:
    """The row of a device."""
    return device, removal.up_to_id, _BETWEEN.join(sorted(removal.told))


def removal_of(up_to_id: int, told: str) -> Removal:
    """What a row says."""
    return Removal(up_to_id, frozenset(filter(None, told.split(_BETWEEN))))


def write_all(db: sqlite3.Connection, removals: Mapping[str, Removal]) -> None:
    """Write all into a new file, in the caller's transaction."""
    db.executemany(WRITE, [row_of(*each) for each in removals.items()])


def merge(into: dict[str, Removal], rows: Iterable[tuple[str, int, str]]) -> None:
    """Add rows of a file; who is there already stays as it is."""
    for device, up_to_id, told in rows:
        into.setdefault(device, removal_of(up_to_id, told))
