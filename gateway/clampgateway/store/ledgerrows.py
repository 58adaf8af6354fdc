"""The table of completeness: one row a device and UTC day, whose content is the ledger's own.

Owns its statements and how many days are kept. Days are counted, never compared with a clock.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence

from clampgateway.store.kept import typed_rows

# Rows a device, so that the table stays small: a year and some.
DAYS_MAX = 400

Row = tuple[str, int, bytes]
_SAVE = (
    "INSERT INTO ledger VALUES (?, ?, ?)"
    " ON CONFLICT (device, day) DO UPDATE SET body = excluded.body"
)
# Day 0 is no day: what is not dated yet is counted there.
_FORGET = (
    "DELETE FROM ledger WHERE device = ? AND day > 0 AND day <="
    " (SELECT day FROM ledger WHERE device = ? AND day > 0 ORDER BY day DESC LIMIT 1 OFFSET ?)"
)


def save(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write rows over those of the same device and day; of too many days the earliest go."""
    db.executemany(_SAVE, rows)
    devices = {device for device, _day, _body in rows}
    db.executemany(_FORGET, [(device, device, DAYS_MAX) for device in devices])


def read(
    db: sqlite3.Connection,
    device: str | None = None,
    first_day: int | None = None,
    last_day: int | None = None,
) -> list[Row]:
    """Rows by device and day, of one device or all, from `first_day` to `last_day`."""
    query = (
        "SELECT device, day, body FROM ledger WHERE (?1 IS NULL OR device = ?1)"
        " AND (?2 IS NULL OR day >= ?2) AND (?3 IS NULL OR day <= ?3) ORDER BY device, day"
    )
    return list(db.execute(query, (device, first_day, last_day)))


def read_what_can_be(db: sqlite3.Connection) -> list[Row]:
    """The rows of a damaged file up to where it breaks off."""
    rows: list[Row] = []
    with contextlib.suppress(sqlite3.Error):
        for device, day, body in typed_rows(db, "SELECT device, day, body FROM ledger", "sib"):
            rows.append((device, day, body))  # one by one: what follows may be unreadable
    return rows
