"""Times in the log that were wrong or missing: what is corrected, and what is told."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from clampgateway.model import RECORD
from clampgateway.store import Dating, Store, restamp
from clampgateway.utcclock import Era
from support.datedlog import (
    HOUR_MS,
    OFFSET_MS,
    dating,
    fits,
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


# --- items without a time ------------------------------------------------------------------------


def test_what_came_without_a_time_is_dated_by_the_clock_of_its_power_up(path: Path) -> None:
    store = Store(path)
    made = [item_of(seq, device) for seq in range(50) for device in ("lathe", "mill")]
    new, _ = store.append([*made, item_of(3, boot=2), item_of(7, boot=3, era=2)], {})
    assert worked_off(store, None) == []
    store.save_eras([Era(2, "run", OFFSET_MS)])
    told = worked_off(store, dating(("lathe", 1), ("mill", 1), ("lathe", 3)))
    assert ranges(told) == {("lathe", 1): set(range(50)), ("mill", 1): set(range(50))}
    assert [one.id for one in told] == [store.last_id() - 1, store.last_id()]
    for one in items_of(store):
        if one.boot == 2:
            assert (one.utc_ms, one.synced, one.rev) == (0, 0, 0)  # nobody heard its clock
        else:
            assert (one.utc_ms, one.synced, one.rev) == (right_ms(one), 2, int(one.boot == 1))
    assert store.read_after(new[-1].id, 9) == told
    assert store.read_after(told[0].id, 9) == told[1:]
    assert store.stats()["unsound"] == 0
    store.close()
    store = Store(path)
    assert store.read_after(new[-1].id, 9) == told
    assert store.last_id() == told[-1].id
    more, _ = store.append([item_of(60, era=2)], {})
    assert more[0].id == told[-1].id + 1
    assert worked_off(store, dating(("lathe", 1), ("mill", 1))) == []  # nothing twice
    assert [one.rev for one in items_of(store) if one.boot == 1 and one.seq < 50] == [1] * 100
    store.close()


def test_a_line_that_may_be_off_by_a_second_dates_nothing(path: Path) -> None:
    store = Store(path)
    store.save_eras([Era(2, "run", OFFSET_MS)])
    store.append([item_of(seq) for seq in (0, 40_000)], {})
    fit = fits(("lathe", 1))["lathe"][1]._replace(at_us=4e10, drift_sigma=9e-6)
    how = Dating(2, OFFSET_MS, OFFSET_MS + 99 * HOUR_MS, {"lathe": {1: fit}})
    assert ranges(worked_off(store, how)) == {("lathe", 1): {40_000}}
    better = fit._replace(drift_sigma=1e-6)
    how = how._replace(fits={"lathe": {1: better}})
    assert worked_off(store, how, restamp.AGAIN_S / 2) == []
    assert ranges(worked_off(store, how, restamp.AGAIN_S + 1)) == {("lathe", 1): {0}}
    assert store.stats()["undatable"] == 1
    store.close()


def test_nothing_is_dated_into_the_future(path: Path) -> None:
    store = Store(path)
    store.save_eras([Era(2, "run", OFFSET_MS)])
    store.append([item_of(seq) for seq in (1, 9000)], {})
    how = dating(("lathe", 1))._replace(now_utc_ms=OFFSET_MS + 500_000)
    assert ranges(worked_off(store, how)) == {("lathe", 1): {1}}
    store.close()


def test_a_line_of_another_run_of_the_machine_leads_to_utc_itself(path: Path) -> None:
    store = Store(path)
    store.save_eras([Era(5, "run", OFFSET_MS + 77)])
    store.append([item_of(1)], {})
    fit = fits(("lathe", 1))["lathe"][1]
    fit = fit._replace(offset_us=fit.offset_us + 1000.0 * OFFSET_MS, utc=True)
    how = Dating(5, OFFSET_MS + 77, OFFSET_MS + 99 * HOUR_MS, {"lathe": {1: fit}})
    worked_off(store, how)
    (one,) = items_of(store)
    # Of no era: a step of this run does not make it wrong.
    assert (one.utc_ms, one.synced, one.rev) == (right_ms(one), 1, 1)
    store.close()


# --- eras that were wrong ------------------------------------------------------------------------


def test_all_of_a_wrong_era_is_corrected_and_nothing_else(path: Path) -> None:
    store = wrong_store(path)
    told = worked_off(store, None)  # no line is needed: by how much it was wrong is known
    assert ranges(told) == {
        ("lathe", 1): set(range(100, 160)),
        ("mill", 1): set(range(100, 150)),
        ("mill", 2): {0},
    }
    for one in items_of(store):
        assert one.utc_ms == right_ms(one)
        assert one.rev == int(100 <= one.seq < 160 or one.boot == 2)
    assert store.stats()["unsound"] == 0
    # Those that were on their way for long.
    store.append([item_of(161, era=2, wrong_ms=-HOUR_MS), item_of(162, era=3)], {})
    assert ranges(worked_off(store, None, 20.0)) == {("lathe", 1): {161}}
    assert worked_off(store, None, 20.0) == []
    assert [era.number for era in store.eras()] == [2, 3]
    worked_off(store, None, 1000.0)
    assert [era.number for era in store.eras()] == [3]  # that is closed
    store.close()


def test_a_step_back_makes_right_what_was_right(path: Path) -> None:
    store = Store(path)
    store.save_eras([Era(2, "run", OFFSET_MS)])
    store.append([item_of(seq, era=2) for seq in range(30)], {})
    store.save_eras([Era(3, "run", OFFSET_MS + HOUR_MS)])
    store.append([item_of(seq, era=3, wrong_ms=HOUR_MS) for seq in range(30, 50)], {})
    worked_off(store, None)
    assert {one.rev for one in items_of(store)} == {0, 1}
    assert {one.utc_ms - right_ms(one) for one in items_of(store)} == {HOUR_MS}
    store.save_eras([Era(4, "run", OFFSET_MS)])
    told = worked_off(store, None, 1.0)
    assert ranges(told) == {("lathe", 1): set(range(50))}
    assert all(one.utc_ms == right_ms(one) for one in items_of(store))
    assert [one.rev for one in items_of(store)] == [2] * 30 + [1] * 20
    store.close()


def test_a_step_back_in_the_middle_corrects_only_what_is_wrong(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restamp, "STEP_ROWS", 10)
    store = Store(path)
    store.save_eras([Era(2, "run", OFFSET_MS)])
    store.append([item_of(seq, era=2) for seq in range(30)], {})
    store.save_eras([Era(3, "run", OFFSET_MS + HOUR_MS)])
    told, more = store.restamp(None, 0.0)
    assert (told, more) == ([], True)  # told in fewer, larger ranges
    assert store.stats()["restamped"] == 10
    store.save_eras([Era(4, "run", OFFSET_MS)])
    assert ranges(worked_off(store, None)) == {("lathe", 1): set(range(10))}
    assert store.stats()["restamped"] == 20
    assert all(one.utc_ms == right_ms(one) for one in items_of(store))
    assert [one.rev for one in items_of(store)] == [2] * 10 + [0] * 20
    store.close()


def test_an_era_of_another_run_is_corrected_by_its_own_last(path: Path) -> None:
    store = wrong_store(path)
    store.close()
    store = Store(path)  # the machine was started anew in the middle
    store.save_eras([Era(4, "next run", OFFSET_MS - 5 * HOUR_MS)])
    worked_off(store, None)
    assert all(one.utc_ms == right_ms(one) for one in items_of(store))
    store.close()


def test_damaged_rows_stay_lost_and_are_not_made_sound(path: Path) -> None:
    store = wrong_store(path)
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE items SET utc_ms = utc_ms + 1 WHERE seq = 120")
    db.close()
    store = Store(path)
    told = worked_off(store, None)
    assert store.stats()["unsound"] == 0
    found = store.read_range("lathe", 1, 120, 120, -1, 9)
    assert [one.item.kind for one in found] != [RECORD]
    assert store.stats()["unsound"] == 1
    assert store.stats()["restamped"] == 109
    assert len(told) == 3
    store.close()
