"""Correcting times in steps: their size, what fails in between, room, damage, and the cost."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway.model import RESTAMPED
from clampgateway.store import Store, StoreError, restamp
from clampgateway.utcclock import Era
from support.datedlog import (
    OFFSET_MS,
    dating,
    item_of,
    items_of,
    ranges,
    right_ms,
    worked_off,
    wrong_store,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.db"


def test_steps_are_small_and_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restamp, "STEP_ROWS", 7)
    monkeypatch.setattr(restamp, "STEP_IDS", 20)
    store = wrong_store(path)
    undated = [item_of(seq, "saw") for seq in range(30)]
    store.append(undated, {})
    done, mores, told = [0], [], []
    for _ in range(60):
        new, more = store.restamp(dating(("saw", 1), era=3), 0.0)
        told += new
        mores.append(more)
        done.append(int(store.stats()["restamped"]))
    assert max(after - before for before, after in itertools.pairwise(done)) == 7
    assert mores == sorted(mores, reverse=True)
    assert not mores[-1]
    assert all(one.utc_ms == right_ms(one) for one in items_of(store))
    assert all(one.rev <= 1 for one in items_of(store))
    assert len(told) == 4
    assert store.read_after(told[0].id - 1, 10_000) == told
    store.close()


def test_readers_are_told_now_and_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restamp, "STEP_ROWS", 5)
    monkeypatch.setattr(restamp, "TELL_STEPS", 4)
    store = Store(path)
    store.save_eras([Era(2, "run", OFFSET_MS)])
    store.append([item_of(seq) for seq in (*range(50), *range(5000, 5010))], {})
    told = [ranges(store.restamp(dating(("lathe", 1)), 0.0)[0]) for _ in range(16)]
    spans = [min(each["lathe", 1]) for each in told if each]
    assert spans == [0, 20, 40, 5000]
    store.close()


def test_what_was_not_told_is_told_after_a_restart(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restamp, "STEP_ROWS", 5)
    store = Store(path)
    store.save_eras([Era(2, "run", OFFSET_MS)])
    store.append([item_of(seq) for seq in range(30)], {})
    assert store.restamp(dating(("lathe", 1)), 0.0) == ([], True)
    store.close()
    store = Store(path)
    told = worked_off(store, dating(("lathe", 1)))
    assert ranges(told) == {("lathe", 1): set(range(30))}
    assert len(told) == 1
    store.close()


def test_the_quota_and_retention_take_restamps_along(path: Path) -> None:
    store = Store(path, retention_h=1)
    store.append([item_of(seq) for seq in range(20)], {"mqtt": 0})
    store.save_eras([Era(2, "run", OFFSET_MS)])
    told = worked_off(store, dating(("lathe", 1)))
    assert len(told) == 1
    store.append([item_of(seq, era=2) for seq in range(20, 30)], {"mqtt": 31})
    for hour in range(5):
        while store.upkeep(3600.0 * hour, (31,)):
            continue
    assert [one.item.kind for one in store.read_after(0, 99)].count(RESTAMPED) == 0
    store.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM restamps").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM items").fetchone() == (0,)
    db.close()


def test_a_failure_changes_nothing_and_the_next_step_does_it(path: Path) -> None:
    store = wrong_store(path)
    before = items_of(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._db.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(StoreError, match="locked"):
        store.restamp(None, 0.0)
    other.execute("ROLLBACK")
    other.close()
    assert items_of(store) == before
    worked_off(store, None)
    assert all(one.utc_ms == right_ms(one) for one in items_of(store))
    assert all(one.rev <= 1 for one in items_of(store))
    store.close()


def test_what_is_told_after_an_uncertain_commit_is_told_once(path: Path) -> None:
    store = wrong_store(path)
    last = store.last_id()
    store._failure = StoreError("the sync failed")
    told = worked_off(store, None)
    assert [one.id for one in told] == list(range(last + 1, last + 4))
    new, _ = store.append([item_of(170, era=3)], {})
    assert [one.item.seq for one in new] == [170]
    store.close()


def test_a_damaged_store_keeps_eras_revisions_and_what_was_told(path: Path) -> None:
    store = wrong_store(path)
    store.append([item_of(seq, "saw", era=3) for seq in range(3000)], {"mqtt": 5})
    told = worked_off(store, None)
    store.close()
    data = bytearray(path.read_bytes())
    page = 4096 * (len(data) // 4096 * 2 // 3)
    data[page : page + 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    store = Store(path)
    assert store.set_aside == 1
    assert [era.number for era in store.eras()] == [2, 3]
    found = store.read_after(0, 99_999)
    assert [one for one in found if one.item.kind == RESTAMPED] == told
    revised = [one for one in items_of(store) if one.device == "lathe" and one.rev]
    assert len(revised) > 30
    assert all(one.utc_ms == right_ms(one) for one in revised)
    assert worked_off(store, None) == []
    store.close()


def test_numbers_of_eras_are_not_given_again_when_their_table_is_lost(path: Path) -> None:
    store = Store(path)
    store.append([item_of(seq, "saw", era=7) for seq in range(3000)], {"mqtt": 5})
    store.close()  # of era 7 there is no row, as if its page had been unreadable
    data = bytearray(path.read_bytes())
    page = 4096 * (len(data) // 4096 * 2 // 3)
    data[page : page + 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    store = Store(path)
    assert store.set_aside == 1
    assert [era.number for era in store.eras()] == [7]
    store.save_eras([Era(8, "run", OFFSET_MS), Era(9, "run", OFFSET_MS + 5000)])
    assert worked_off(store, None) == []
    store.close()
    store = Store(path)
    assert [era.number for era in store.eras()] == [7, 8, 9]
    store.close()


def test_the_cost_of_a_hundred_thousand(
    tmp_path: Path, report_line: Callable[[str], None]
) -> None:
    store = Store(tmp_path / "items.db")
    devices = [f"device{number:03}" for number in range(100)]
    for first in range(0, 1000, 50):
        store.append(
            [item_of(seq, device) for seq in range(first, first + 50) for device in devices], {}
        )
    store.save_eras([Era(2, "run", OFFSET_MS)])
    how = dating(*((device, 1) for device in devices))
    took_s = []
    told = 0
    more = True
    cpu_s = time.process_time()
    while more:
        begun_s = time.perf_counter()
        rows, more = store.restamp(how, 0.0)
        took_s.append(time.perf_counter() - begun_s)
        told += len(rows)
    cpu_s = time.process_time() - cpu_s
    assert store.stats()["restamped"] == 100_000
    assert len(took_s) <= 202
    took_s.sort()
    report_line(
        f"store: 100,000 rows dated in {len(took_s)} steps, {1e6 * cpu_s / 1e5:.1f} us CPU a row,"
        f" a step {1000 * took_s[len(took_s) // 2]:.0f} ms (median), {1000 * took_s[-1]:.0f} ms"
        f" at most, {told} ranges told"
    )
    store.close()
