"""An open store: its connection, what is kept of it in memory, and what an error does to both.

Owns when the file is opened anew, when it is set aside, and which rows must be told as new after
that. What is written and read is `store.py`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from clampgateway.model import Stored
from clampgateway.store import facts, file, opening
from clampgateway.store.file import StoreDamagedError, StoreError
from clampgateway.store.kept import Kept
from clampgateway.store.reading import Reading
from clampgateway.store.room import Room

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

UNREPORTED_MAX = 1_000_000
# So many failures in a row, and the file is opened anew: its medium may have gone and come back.
FAILURES_PATIENT = 5


class Opened:
    """The file at `path` and all that stands on it. Raises StoreError if it cannot be opened."""

    def __init__(self, path: Path, quota_bytes: int | None, retention_h: int) -> None:
        self.path = path
        self.set_aside = self.reopened = 0
        self._kept = Kept()
        self._reading = Reading(self._kept)
        self._failure: StoreError | None = None
        self._failed_in_row = self._reported_id = 0
        self._unreported: list[Stored] = []
        self._damage = ""
        self._salvaged: opening.Salvage | None = None
        self._facts_due_s: float | None = None
        self.facts_failures = 0
        self._lock = file.lock(path)
        try:
            quota_bytes = file.quota_for(path, quota_bytes)
            self._room = Room(self._kept, quota_bytes, retention_h)
            self._db = self._open()
        except BaseException:
            os.close(self._lock)
            raise
        self._reported_id = self._kept.last_id

    @property
    def alarm(self) -> str:
        """What somebody should look at; empty if all is well."""
        return "; ".join(filter(None, (self._damage, self._room.alarm())))

    def _open(self) -> sqlite3.Connection:
        try:
            return self._open_and_read()
        except StoreDamagedError as error:
            return self._start_over(error)

    def _open_and_read(self) -> sqlite3.Connection:
        db, told = opening.open_kept(self.path, self._kept, self._room.quota_bytes)
        self._damage = told or self._damage
        self._reading.number_keys()
        return db

    def _start_over(self, reason: StoreError) -> sqlite3.Connection:
        if self._salvaged is None:
            self._salvaged = opening.put_aside(self.path, self._kept, reason)
            self._damage = self._salvaged.told
            self.set_aside += 1
        db = opening.go_on(self.path, self._kept, self._room.quota_bytes, self._salvaged)
        self._salvaged = None
        self._reading.number_keys()
        return db

    def _failed(self, doing: str, error: file.Failure) -> StoreError:
        reason = file.error_of(self.path, doing, error)
        self._failed_in_row += 1
        patient = self._failed_in_row < FAILURES_PATIENT or file.is_full(error)
        if not (patient and file.rolled_back(self._db, error)):
            self._failed_in_row = 0
            self._failure = reason
        return reason

    def _ready(self) -> None:
        """After an error of the medium: open the file anew, or set it aside if it is damaged.

        A commit that failed may be in the log nevertheless. So the log is checkpointed (written
        and synced elsewhere) before anything is built on it, and rows that were not reported as
        new yet will be.
        """
        failure = self._failure
        if failure is None:
            return
        self._db.close()  # rolls back what was begun
        damaged = isinstance(failure, StoreDamagedError)
        self._db = self._start_over(failure) if damaged else self._open()
        self._failure = None
        self.reopened += 1
        try:
            busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except file.FAILURES as error:
            raise self._failed("cannot reopen", error) from error
        if busy:
            self._failure = StoreError(f"store {self.path}: another program blocks a checkpoint")
            raise self._failure
        newer = self._read(self._reading.after, self._reported_id, UNREPORTED_MAX)
        self._unreported += newer
        self._reported_id = self._kept.last_id

    def _read(self, query: Callable[..., list[_T]], *values: object) -> list[_T]:
        self._ready()
        try:
            return query(self._db, *values)
        except file.FAILURES as error:
            raise self._failed("cannot read", error) from error

    def _write_facts(self) -> None:
        self._facts_due_s = None
        self.facts_failures += not facts.write(self.path, self._kept)

    def close(self) -> None:
        """Write the log back into the file and give it free."""
        try:
            if self._failure is None:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._write_facts()
        except file.FAILURES as error:
            _log.warning("no checkpoint at the end store=%s: %s", self.path, error)
        finally:
            self._db.close()
            os.close(self._lock)
