"""The store's file: opening it safely, its schema and version, its lock, setting it aside.

WAL with synchronous FULL: when COMMIT returns, the transaction survives a power cut, provided the
medium keeps what it was told to sync. Nothing here knows what the rows mean.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from clampgateway.model import RECORD, GatewayError

SCHEMA_VERSION = 1
# "CLPW": tells our file from any other SQLite database.
APPLICATION_ID = 0x434C5057
BUSY_TIMEOUT_S = 5.0
WAL_LIMIT_BYTES = 16 << 20
# A full check reads the whole file; larger ones would delay the start.
CHECKED_BYTES_MAX = 32 << 20
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Nothing reached the medium, and a rollback leaves everything as it was.
_HARMLESS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}

# Devices are numbered, because their ids would otherwise fill a third of every row. AUTOINCREMENT,
# because an id must never be given twice, not even after the newest rows were deleted.
_SCHEMA = f"""
CREATE TABLE devices (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  highest_boot INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE items (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  end_ms INTEGER NOT NULL,
  utc_ms INTEGER NOT NULL,
  synced INTEGER NOT NULL,
  describe_crc INTEGER NOT NULL,
  payload BLOB NOT NULL,
  UNIQUE (device, boot, seq)
) STRICT;
CREATE INDEX others ON items (device) WHERE kind <> {RECORD};
CREATE TABLE descriptions (
  device TEXT NOT NULL,
  crc INTEGER NOT NULL,
  payloads BLOB NOT NULL,
  PRIMARY KEY (device, crc)
) STRICT;
CREATE TABLE cursors (name TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT;
CREATE TABLE assignments (
  kind TEXT NOT NULL,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (kind, scope, key),
  UNIQUE (kind, scope, number)
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
_TABLES = {"devices", "items", "descriptions", "cursors", "assignments"}


class StoreError(GatewayError):
    """The store cannot do its work now; the text names the file, the reason and what to do."""


class NumbersExhaustedError(StoreError):
    """All numbers of a range are given; waiting does not help."""


class StoreDamagedError(StoreError):
    """The file's content is broken: it must be set aside."""


def error_of(path: Path, doing: str, error: sqlite3.Error) -> StoreError:
    """The StoreError for an error of SQLite."""
    text = f"store {path}: {doing}: {error}"
    return StoreDamagedError(text) if _code(error) in _DAMAGE else StoreError(text)


def rolled_back(db: sqlite3.Connection, error: sqlite3.Error) -> bool:
    """Undo what was begun; whether the connection is then as good as before the error."""
    if _code(error) not in _HARMLESS:
        return False
    try:
        db.rollback()
    except sqlite3.Error:
        return False
    return True


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the store at `path`, made if it is not there.

    Raises StoreDamagedError if the content is broken, StoreError if it is newer than this code,
    another program's, or cannot be opened.
    """
    try:
        db = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise error_of(path, "cannot open", error) from error
    try:
        _prepare(db, path)
    except sqlite3.Error as error:
        db.close()
        raise error_of(path, "cannot open", error) from error
    except StoreError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    ours = _pragma(db, "application_id")
    version = _pragma(db, "user_version")
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    if ours not in (0, APPLICATION_ID) or (ours == 0 and tables):
        raise StoreError(f"store {path}: is a database of another program; move it away")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"store {path}: has schema {version}, this gateway knows {SCHEMA_VERSION}:"
            " update the gateway, or move the file away"
        )
    # The header is unharmed but the schema is not: no normal state of our file.
    if ours == APPLICATION_ID and not tables >= _TABLES:
        missing = ", ".join(sorted(_TABLES - tables))
        raise StoreDamagedError(f"store {path}: has no table {missing}")
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"store {path}: its file system allows no write-ahead log ({mode})")
    db.execute("PRAGMA synchronous = FULL")
    # On macOS fsync alone does not reach the medium; elsewhere these two do nothing.
    db.execute("PRAGMA fullfsync = 1")
    db.execute("PRAGMA checkpoint_fullfsync = 1")
    db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    if ours == 0:
        db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
    elif path.stat().st_size <= CHECKED_BYTES_MAX:
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreDamagedError(f"store {path}: {verdict}")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def set_aside(path: Path) -> Path:
    """Rename a damaged store and its log; returns the new name. Raises StoreError."""
    number = 1
    while (to := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    try:
        # The log first: left beside a new file, SQLite would play it into that one.
        for ending in ("-wal", "-shm", ""):
            old = path.with_name(path.name + ending)
            if old.exists():
                old.rename(to.with_name(to.name + ending))
    except OSError as error:
        raise StoreError(
            f"store {path}: is damaged and cannot be set aside: {error.strerror}"
        ) from error
    return to


def lock(path: Path) -> int:
    """Keep every other gateway off this store; returns the descriptor to close. Raises StoreError.

    The lock ends with the process, however it ends.
    """
    name = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"store {path}: cannot open: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(f"store {path}: another gateway uses it; stop that one first") from None
    return descriptor
