"""Corrects times in the log: of eras of UTC that turned out wrong, and of items without a time.

Owns which rows are next, what they get, and what readers are told. It works in steps within the
caller's transaction, in the order of ids, so that a step touches few pages. What is still to do
is told by the rows themselves: a row of a wrong era, or of none, is corrected once and is then of
another. Ranges that were corrected and not yet told are in a table of their own. So a power cut
in the middle leaves nothing undone and does nothing twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from clampgateway.clocksync import NO_ERA, Fit
from clampgateway.model import Stored, restamped
from clampgateway.store.eras import EraRow, Restamp
from clampgateway.store.kept import Kept, checked, is_sound
from clampgateway.utcclock import Era, corrections

# Rows corrected, and ids looked through, in one step: some tens of ms, so that no commit waits.
STEP_ROWS = 500
STEP_IDS = 20_000
# Steps after which readers are told even if there is more to do.
TELL_STEPS = 100
# Corrected numbers with no more than this between them are told as one range.
NEAR = 1000
# A row that a line cannot date well enough is tried again with what the line has learned by then.
AGAIN_S = 60.0
# Nothing is dated by a line that may be off by more than this there, nor into the future.
DOUBT_MAX_US = 1_000_000
# What was on its way when its era ended is committed by then: the era is forgotten.
LAST_LOOK_S = 120.0
_COLUMNS = "id, device, boot, seq, end_ms, utc_ms, describe_crc, payload, rev"
_UNDATED = (
    f"SELECT {_COLUMNS} FROM items INDEXED BY undated WHERE synced = 0 AND id > ?"
    " ORDER BY id LIMIT ?"
)
_OF_ERA = (
    f"SELECT {_COLUMNS} FROM items WHERE id > ? AND id <= ? AND synced = ? ORDER BY id LIMIT ?"
)
_CORRECT = "UPDATE items SET utc_ms = ?, synced = ?, rev = ?, describe_crc = ? WHERE id = ?"
_PENDING = "INSERT OR REPLACE INTO restamping VALUES (?, ?, ?, ?)"
_UINT32 = 0xFFFFFFFF
_PowerUp = tuple[int, int]
_Range = tuple[int, int]


class Dating(NamedTuple):
    """How ticks of devices become UTC now: `fits` by device and boot, lead to the monotonic clock.

    Those with `utc` lead to UTC of another run of the machine. `era` is the present one.
    """

    era: int
    utc_minus_mono_ms: float
    now_utc_ms: int
    fits: Mapping[str, Mapping[int, Fit]]


class Step(NamedTuple):
    """What one step did, for `Restamper.committed`; `more` if another may follow at once."""

    told: list[Restamp]
    pending: dict[_PowerUp, _Range]
    eras: list[EraRow]
    closed: list[int]
    rows: int
    more: bool


@dataclass
class _Search:
    """How far a wrong era is worked off; `done_s`: when it was for the first time."""

    at_id: int
    done_s: float | None = None


class Restamper:
    """Plans and carries out the steps for one log."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._searches: dict[int, _Search] = {}
        self._at_id = 0
        # Power-ups with rows that were passed over: the lowest of these, and when to try again.
        self._waiting: dict[_PowerUp, tuple[int, float]] = {}
        self._untold_steps = 0
        self.corrected = self.undatable = 0

    def forget(self) -> None:
        """A transaction came to nothing: look for everything again."""
        self._searches.clear()
        self._waiting.clear()
        self._at_id = 0

    def step(self, db: sqlite3.Connection, dating: Dating | None, mono_s: float) -> Step:
        """Correct at most STEP_ROWS rows. `more`: there may be others right now."""
        done = _Done(self._kept, db)
        more = self._eras(done, mono_s)
        if done.room and dating is not None and dating.era:
            more = self._dates(done, dating, mono_s) or more
        self._untold_steps += 1
        return done.step(more, tell=not more or self._untold_steps >= TELL_STEPS)

    def committed(self, step: Step) -> list[Stored]:
        """The step's transaction is durable; returns what is new in the log."""
        kept = self._kept
        self.corrected += step.rows
        kept.eras.update((row.number, row) for row in step.eras)
        for number in step.closed:
            kept.eras.pop(number, None)
        kept.restamping = step.pending
        if not step.pending:
            self._untold_steps = 0
        if not step.told:
            return []
        kept.restamps.add(step.told)
        kept.last_id = step.told[-1].id
        keys = {number: key for key, number in kept.device_ids.items()}
        return [
            Stored(each.id, restamped(keys[each.device], *each[2:]))
            for each in step.told
            if each.device in keys  # a damaged file may have lost its name
        ]

    # --- eras that were wrong -------------------------------------------------------------------

    def _eras(self, done: _Done, mono_s: float) -> bool:
        rows = self._kept.eras
        wrong = corrections(Era(*row[:3]) for row in rows.values())
        for number in set(self._searches) - set(wrong):
            del self._searches[number]  # a step back made it right again
        for number, (shift_ms, right) in wrong.items():
            search = self._searches.setdefault(number, _Search(rows[number].after_id))
            if self._work_off(done, number, shift_ms, right, search):
                return True
            if search.done_s is None:
                search.done_s = mono_s
            elif mono_s - search.done_s > LAST_LOOK_S:
                done.close(number)
        return False

    def _work_off(
        self, done: _Done, number: int, shift_ms: int, right: int, search: _Search
    ) -> bool:
        """A step for one wrong era; whether there is more at once."""
        looked = 0
        while search.at_id < self._kept.last_id:
            room = done.room
            if not room or looked >= STEP_IDS:
                return True
            end = min(search.at_id + STEP_IDS - looked, self._kept.last_id)
            found = done.db.execute(_OF_ERA, (search.at_id, end, number, room)).fetchall()
            if found:
                done.reach(right, self._kept.eras[number].after_id)
                done.correct(found, lambda row: (row[5] + shift_ms, right))
            until = end if len(found) < room else found[-1][0]
            looked += until - search.at_id
            search.at_id = until
        return False

    # --- items without a time -------------------------------------------------------------------

    def _dates(self, done: _Done, dating: Dating, mono_s: float) -> bool:
        dates = _Dates(self._kept, dating)
        for power_up, (lowest_id, due_s) in list(self._waiting.items()):
            if mono_s >= due_s and dates.fit_of(power_up) is not None:
                del self._waiting[power_up]
                self._at_id = min(self._at_id, lowest_id - 1)
        room = done.room
        found = done.db.execute(_UNDATED, (self._at_id, room)).fetchall()
        if not found:
            return False
        done.correct(found, dates.of)
        done.reach(dating.era, found[0][0] - 1)
        for power_up, (lowest_id, doubtful) in dates.passed_over.items():
            self.undatable += doubtful
            again_s = mono_s + AGAIN_S if doubtful else 0.0
            before_id, _due_s = self._waiting.get(power_up, (lowest_id, 0.0))
            self._waiting[power_up] = (min(before_id, lowest_id), again_s)
        self._at_id = found[-1][0]
        return len(found) == room


class _Dates:
    """Dates rows by the lines of their power-ups."""

    def __init__(self, kept: Kept, dating: Dating) -> None:
        self._dating = dating
        self._keys = {number: key for key, number in kept.device_ids.items()}
        # Those left without a date: the lowest id, and how many a line could not date well enough.
        self.passed_over: dict[_PowerUp, tuple[int, int]] = {}

    def fit_of(self, power_up: _PowerUp) -> Fit | None:
        device, boot = power_up
        return self._dating.fits.get(self._keys.get(device, ""), {}).get(boot)

    def of(self, row: Any) -> tuple[int, int] | None:  # noqa: ANN401 - a row
        """(UTC ms, era), or None."""
        power_up = row[1:3]
        fit = self.fit_of(power_up)
        device_us = 1000 * row[4]
        if fit is not None and fit.doubt_us(device_us) <= DOUBT_MAX_US:
            dating = self._dating
            shift_ms = 0.0 if fit.utc else dating.utc_minus_mono_ms
            utc_ms = round(fit.to_mono_us(device_us) / 1000 + shift_ms)
            if 0 < utc_ms <= dating.now_utc_ms + DOUBT_MAX_US // 1000:
                return utc_ms, NO_ERA if fit.utc else dating.era
        lowest_id, doubtful = self.passed_over.get(power_up, (row[0], 0))
        self.passed_over[power_up] = (lowest_id, doubtful + (fit is not None))
        return None


class _Done:
    """What one step has done so far."""

    def __init__(self, kept: Kept, db: sqlite3.Connection) -> None:
        self._kept = kept
        self.db = db
        self.rows = self._looked = 0
        self._pending = dict(kept.restamping)
        self._told: list[Restamp] = []
        self._eras: dict[int, EraRow] = {}
        self._closed: list[int] = []

    @property
    def room(self) -> int:
        """How many rows this step may still look at."""
        return max(0, STEP_ROWS - self._looked)

    def correct(self, rows: list[Any], date: Callable[[Any], tuple[int, int] | None]) -> None:
        """Give rows the (UTC, era) that `date` says, if any.

        A row that the medium has changed stays as it is, and is told as lost.
        """
        self._looked += len(rows)
        values = []
        for row in rows:
            number, device, boot, seq, _end_ms, utc_ms, column, payload, rev = row
            dated = date(row) if is_sound(device, utc_ms, column, payload, rev) else None
            if dated is None:
                continue
            right_ms, era = dated
            column = checked(device, right_ms, column & _UINT32, payload, rev + 1)
            values.append((right_ms, era, rev + 1, column, number))
            self._note((device, boot), seq)
        self.db.executemany(_CORRECT, values)
        self.rows += len(values)

    def _note(self, power_up: _PowerUp, seq: int) -> None:
        first, last = self._pending.get(power_up, (seq, seq))
        if first - NEAR <= seq <= last + NEAR:
            self._pending[power_up] = (min(first, seq), max(last, seq))
        else:
            self._tell(power_up)
            self._pending[power_up] = (seq, seq)

    def _tell(self, power_up: _PowerUp) -> None:
        number = self._kept.last_id + len(self._told) + 1
        self._told.append(Restamp(number, *power_up, *self._pending.pop(power_up)))

    def reach(self, era: int, after_id: int) -> None:
        """Items of `era` may now begin behind `after_id` already."""
        row = self._eras.get(era) or self._kept.eras.get(era)
        if row is not None and row.after_id > after_id:
            self._eras[era] = row._replace(after_id=after_id)

    def close(self, era: int) -> None:
        """Nothing of this era is left."""
        self._closed.append(era)

    def step(self, more: bool, *, tell: bool) -> Step:
        """Write what is to be remembered of it; `tell` all that is pending."""
        if tell:
            for power_up in list(self._pending):
                self._tell(power_up)
        db, before = self.db, self._kept.restamping
        db.executemany("INSERT INTO restamps VALUES (?, ?, ?, ?, ?)", self._told)
        gone = [power_up for power_up in before if power_up not in self._pending]
        db.executemany("DELETE FROM restamping WHERE device = ? AND boot = ?", gone)
        come = [(*key, *span) for key, span in self._pending.items() if before.get(key) != span]
        db.executemany(_PENDING, come)
        reaches = [(row.after_id, row.number) for row in self._eras.values()]
        db.executemany("UPDATE eras SET after_id = ? WHERE number = ?", reaches)
        db.executemany("DELETE FROM eras WHERE number = ?", [(n,) for n in self._closed])
        eras = list(self._eras.values())
        return Step(self._told, self._pending, eras, self._closed, self.rows, more)
