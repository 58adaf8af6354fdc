"""Correcting times over power cuts: every moment of a recorded run, and what a medium may hold.

An image passes if the store opens by itself and, once the rest was corrected, every item is there
with its right time, corrected exactly once, and within a range that is told.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clampgateway.model import RESTAMPED, Item, Stored, restamped_range
from clampgateway.store import Store, restamp
from clampgateway.utcclock import Era
from support.datedlog import (
    HOUR_MS,
    OFFSET_MS,
    dating,
    item_of,
    items_of,
    ranges,
    right_ms,
    worked_off,
)
from support.faulttable import FaultTable
from support.powercut import KEPT, LOST, OPERATIONS, SECTORS, Recorder, images, lay_out
from support.sqlitevfs import installed

NAME = "store.db"
RIGHT = Era(3, "run", OFFSET_MS)
LINES = dating(("saw", 1), ("lathe", 1), era=3)
STEPS = 200


class Run:
    """What was given and what was told so far, at each mark of the recorder."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.items: list[Item] = []
        self.told: list[Stored] = []
        self.marks: list[tuple[int, int]] = [(0, 0)]

    def promised(self) -> None:
        self.marks.append((len(self.items), len(self.told)))
        self.recorder.mark(len(self.marks) - 1)

    def append(self, store: Store, items: list[Item]) -> None:
        store.append(items, {})
        self.items += items
        self.promised()

    def restamp(self, store: Store, mono_s: float) -> bool:
        told, more = store.restamp(LINES, mono_s)
        self.told += told
        self.promised()
        return more


def record(path: Path, run: Run) -> None:
    """Undated items, a wrong era, the step, and correcting with new items in between."""
    store = Store(path)
    store._db.execute("PRAGMA wal_autocheckpoint = 24")
    run.append(store, [item_of(seq, device) for seq in range(40) for device in ("saw", "lathe")])
    store.save_eras([Era(2, "run", OFFSET_MS - HOUR_MS)])
    for first in (40, 60):
        wrong = [item_of(seq, era=2, wrong_ms=-HOUR_MS) for seq in range(first, first + 20)]
        run.append(store, wrong)
    store.save_eras([RIGHT])
    more, turn = True, 0
    while more:
        more = run.restamp(store, float(turn))
        turn += 1
        if turn % 4 == 0:
            run.append(store, [item_of(100 + turn, era=3)])
        if turn == 8:
            run.append(store, [item_of(99, era=2, wrong_ms=-HOUR_MS)])  # was on its way
        assert turn < STEPS
    store.close()


def check(folder: Path, run: Run, mark: int) -> tuple[int, int]:
    """(items or ranges that were promised and are lost, items not corrected exactly once)."""
    store = Store(folder / NAME)
    try:
        assert store.set_aside == 0 or mark == 0, store.alarm
        before = {each for each in store.read_after(0, 99_999) if each.item.kind == RESTAMPED}
        if RIGHT.number not in {era.number for era in store.eras()}:
            store.save_eras([RIGHT])
        worked_off(store, LINES)
        found = items_of(store)
        told = ranges([one for one in store.read_after(0, 99_999) if one.item.kind == RESTAMPED])
        assert store.stats()["unsound"] == 0
    finally:
        store.close()
    items, tells = run.marks[mark]
    names = {one[:3] for one in found}
    lost = len({one[:3] for one in run.items[:items]} - names)
    lost += len(set(run.told[:tells]) - before)
    wrong = len(found) - len(names)
    for one in found:
        needed = int(one.seq < 100)
        covered = one.seq in told.get((one.device, one.boot), ())
        right = one.utc_ms == right_ms(one) and one.rev == needed and covered >= needed
        wrong += not right
    return lost, wrong


def test_power_cuts_at_every_write_while_times_are_corrected(
    folder: Path, faults: FaultTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restamp, "STEP_ROWS", 7)
    monkeypatch.setattr(restamp, "TELL_STEPS", 5)
    run = Run()
    with installed(run.recorder):
        record(folder / NAME, run)
    assert sum(len(each) for each in ranges(run.told).values()) >= 121
    assert all(restamped_range(one.item) for one in run.told)
    count = lost = wrong = 0
    slowest_s = 0.0
    modes = [KEPT, LOST, OPERATIONS, SECTORS]
    for _number, mark, files in images(run.recorder.operations, {}, modes, 13):
        lay_out(files, folder)
        begun_s = time.monotonic()
        missing, not_once = check(folder, run, mark)
        slowest_s = max(slowest_s, time.monotonic() - begun_s)
        count, lost, wrong = count + 1, lost + missing, wrong + not_once
    faults.add("power cut, correcting times", count, lost, wrong, 0, slowest_s, crash_images=True)
    assert count > 1000
