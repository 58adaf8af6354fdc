"""The store's file: opening it safely, how large it may grow, its lock, setting it aside.

WAL with synchronous FULL: when COMMIT returns, the transaction survives a power cut, provided the
medium keeps what it was told to sync. Nothing here knows what the rows mean.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from pathlib import Path

from clampgateway.model import GatewayError
from clampgateway.store.schema import APPLICATION_ID, SCHEMA_VERSION, tables_of, upgrade

_log = logging.getLogger(__name__)

BUSY_TIMEOUT_S = 5.0
WAL_LIMIT_BYTES = 16 << 20
# A full check reads the whole file; larger ones would delay the start.
CHECKED_BYTES_MAX = 8 << 20
# Left on the volume for the write-ahead log and for everybody else.
VOLUME_RESERVE_BYTES = 64 << 20
QUOTA_MIN_BYTES = 16 << 20
QUOTA_DEFAULT_MAX_BYTES = 8 << 30
# What a statement fails with; SQLite's SQLITE_NOMEM comes as MemoryError.
Failure = sqlite3.Error | MemoryError
FAILURES = (sqlite3.Error, MemoryError)
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# A rollback leaves everything as it was. After a failed sync, too: the same connection writes the
# same place of the log again, whereas one that opens the file anew would take from it what the
# kernel shows and may never have written.
_HARMLESS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
}


class StoreError(GatewayError):
    """The store cannot do its work now; the text names the file, the reason and what to do."""


class NumbersExhaustedError(StoreError):
    """All numbers of a range are given; waiting does not help."""


class StoreDamagedError(StoreError):
    """The file's content is broken: it must be set aside."""


def error_of(path: Path, doing: str, error: Failure) -> StoreError:
    """The StoreError for an error of SQLite, or for a lack of memory."""
    text = f"store {path}: {doing}: {str(error) or 'no memory'}"
    return StoreDamagedError(text) if _code(error) in _DAMAGE else StoreError(text)


def is_full(error: Failure) -> bool:
    """Whether there was no room, by the quota or on the disk."""
    return _code(error) == sqlite3.SQLITE_FULL


def rolled_back(db: sqlite3.Connection, error: Failure) -> bool:
    """Undo what was begun; whether the connection is then as good as before the error.

    After a lack of memory nobody knows how far things came: it never is.
    """
    if _code(error) not in _HARMLESS:
        return False
    try:
        db.rollback()
    except sqlite3.Error:
        return False
    return True


def _code(error: Failure) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def quota_for(path: Path, wanted: int | None) -> int:
    """How many bytes the file at `path` may have: `wanted`, or half of the volume.

    Never more than the volume can hold with a reserve: on a full disk a write-ahead log takes no
    DELETE either, so the store could not even make room. Raises StoreError.
    """
    try:
        volume = os.statvfs(path.parent)
        own = path.stat().st_size if path.exists() else 0
    except OSError as error:
        raise StoreError(f"store {path}: cannot look at its volume: {error.strerror}") from error
    room = own + volume.f_bavail * volume.f_frsize - VOLUME_RESERVE_BYTES
    half = volume.f_blocks * volume.f_frsize // 2
    most = min(QUOTA_DEFAULT_MAX_BYTES, half) if wanted is None else wanted
    if wanted is not None and wanted > room:
        _log.warning(
            "quota_mb is more than the volume can hold, using what it can store=%s"
            " quota_mb=%d holds_mb=%d",
            path,
            wanted >> 20,
            max(room, QUOTA_MIN_BYTES) >> 20,
        )
    return max(min(most, room), min(most, QUOTA_MIN_BYTES))


def limit_size(db: sqlite3.Connection, quota_bytes: int) -> None:
    """Let SQLite itself refuse to grow the file beyond the quota."""
    pages = quota_bytes // _pragma(db, "page_size")
    db.execute(f"PRAGMA max_page_count = {pages}")


def sizes(db: sqlite3.Connection) -> tuple[int, int]:
    """(bytes in use, bytes of the largest file allowed)."""
    page = _pragma(db, "page_size")
    used = _pragma(db, "page_count") - _pragma(db, "freelist_count")
    return used * page, _pragma(db, "max_page_count") * page


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the store at `path`, made if it is not there, brought to our schema.

    Raises StoreDamagedError if the content is broken, StoreError if it is newer than this code,
    another program's, or cannot be opened.
    """
    try:
        db = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except FAILURES as error:
        raise error_of(path, "cannot open", error) from error
    try:
        _prepare(db, path)
    except FAILURES as error:
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
    if ours == APPLICATION_ID and not tables >= tables_of(version):
        missing = ", ".join(sorted(tables_of(version) - tables))
        raise StoreDamagedError(f"store {path}: has no table {missing}")
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"store {path}: its file system allows no write-ahead log ({mode})")
    db.execute("PRAGMA synchronous = FULL")
    # On macOS fsync alone does not reach the medium; elsewhere these two do nothing.
    db.execute("PRAGMA fullfsync = 1")
    db.execute("PRAGMA checkpoint_fullfsync = 1")
    db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    # Debian builds SQLite to overwrite what is deleted: more wear, and nothing here is secret.
    db.execute("PRAGMA secure_delete = OFF")
    if ours != 0 and path.stat().st_size <= CHECKED_BYTES_MAX:
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreDamagedError(f"store {path}: {verdict}")
    if version < SCHEMA_VERSION:
        upgrade(db, version if ours else 0)
        if ours:
            _log.info(
                "store was brought to schema %d from %d store=%s", SCHEMA_VERSION, version, path
            )


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def set_aside(path: Path) -> Path:
    """Rename a damaged store and its log to *.corrupt-<utc>; returns where. Raises StoreError."""
    name = f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    to = path.with_name(name)
    number = 1
    while to.exists():  # a clock that stands, or stepped back
        number += 1
        to = path.with_name(f"{name}-{number}")
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
