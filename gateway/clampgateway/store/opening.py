"""Bringing a store into memory: an old one, a new one, or what is left of a damaged one.

Owns the order of these steps; reading a damaged file is `salvage.py`, the file itself `file.py`.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from clampgateway.model import STORE_DAMAGED
from clampgateway.store import facts, file, ledgerrows
from clampgateway.store.drops import Drop
from clampgateway.store.kept import Kept, insert_whole
from clampgateway.store.salvage import salvage

_log = logging.getLogger(__name__)


def open_kept(path: Path, kept: Kept, quota_bytes: int) -> tuple[sqlite3.Connection, str]:
    """Open or make the store at `path` and read its small tables. Raises StoreError.

    Returns it and what to tell people, "" if all is well.
    """
    db = file.open_file(path)
    try:
        file.limit_size(db, quota_bytes)
        kept.read(db)
    except file.FAILURES as error:
        db.close()
        raise file.error_of(path, "cannot read", error) from error
    known_id = kept.last_id
    if not (kept.device_ids or kept.numbers or kept.descriptions) and facts.read(path, kept):
        name = facts.path_of(path).name
        _log.warning("a new store begins, unit ids and boots are known from %s", name)
        begin_with(db, path, kept, [], [])
    last_id = facts.read_heads(path, kept)
    if last_id <= known_id:
        return db, ""
    return db, _tell_missing_end(db, path, kept, last_id)


def _tell_missing_end(db: sqlite3.Connection, path: Path, kept: Kept, last_id: int) -> str:
    """A store that is older than what is said beside it: its write-ahead log was taken away."""
    facts.read(path, kept)
    kept.last_id = last_id
    query = "SELECT max(seq) FROM items WHERE device = ? AND boot = ?"
    lost = 0
    try:
        db.execute("BEGIN IMMEDIATE")
        for key, (boot, last) in kept.heads.items():
            device = kept.device_ids[key]
            found = db.execute(query, (device, boot)).fetchone()[0]
            first = 0 if found is None else found + 1
            if first > last:
                continue
            lost += last + 1 - first
            kept.last_id += 1
            row = Drop(kept.last_id, device, boot, first, last, STORE_DAMAGED, 0, 0, 0, 0)
            kept.dropped.apply([], [row])
        kept.write(db)
        db.execute("COMMIT")
    except file.FAILURES as error:
        db.close()
        raise file.error_of(path, "cannot note what is missing", error) from error
    told = (
        f"store {path}: its newest part is missing, as if its write-ahead log was removed:"
        f" {lost} items are told as lost"
    )
    _log.error("%s", told)
    return told


class Salvage(NamedTuple):
    """What was read of a damaged store: rows to go on with, and what to tell people."""

    items: list[tuple[Any, ...]]
    ledger: list[ledgerrows.Row]
    told: str


def put_aside(path: Path, kept: Kept, reason: Exception) -> Salvage:
    """Set a damaged store aside and read what can be read of it. Raises StoreError."""
    aside = file.set_aside(path)
    facts.read(path, kept)
    items, lost, ledger = salvage(aside, kept)
    told = (
        f"{reason}; set aside as {aside.name}; {kept.summary()} and {len(items)} items"
        f" not yet delivered; {lost} more are told as lost"
    )
    _log.error("%s", told)
    return Salvage(items, ledger, told)


def go_on(path: Path, kept: Kept, quota_bytes: int, salvaged: Salvage) -> sqlite3.Connection:
    """A new store with what was read; may be tried again. Raises StoreError."""
    db = file.open_file(path)
    file.limit_size(db, quota_bytes)
    begin_with(db, path, kept, salvaged.items, salvaged.ledger)
    return db


def begin_with(
    db: sqlite3.Connection,
    path: Path,
    kept: Kept,
    items: list[tuple[Any, ...]],
    ledger: list[ledgerrows.Row],
) -> None:
    """Write into a file what is kept; it is closed if that fails. Raises StoreError."""
    try:
        db.execute("BEGIN IMMEDIATE")
        insert_whole(db, items)
        kept.write(db)
        ledgerrows.save(db, ledger)
        db.execute("COMMIT")
    except file.FAILURES as error:
        db.close()
        raise file.error_of(path, "cannot start over", error) from error
