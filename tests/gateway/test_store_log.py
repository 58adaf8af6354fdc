"""What the store keeps beside items: what is parked, the ledger, reading by name and by id."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import pytest

from clampgateway.model import (
    EVENT,
    GAP,
    RECORD,
    Item,
    Parked,
    Stored,
    decode_gap,
    restamped,
    restamped_range,
)
from clampgateway.store import Removal, Store, ledgerrows

ALL = (1 << RECORD) | (1 << EVENT) | (1 << GAP)


def item(seq: int, boot: int = 1, device: str = "lathe", kind: int = RECORD, size: int = 40):
    payload = struct.pack("<BIII", kind, boot, seq, 1000 * seq) + bytes(size)
    return Item(device, boot, seq, kind, 1000 * seq, 1_760_000_000_000 + seq, 1, 7, payload)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.db"


# --- by name -------------------------------------------------------------------------------------


def test_a_range_is_read_by_name_in_pages(path: Path) -> None:
    store = Store(path)
    kinds = {5: EVENT, 9: GAP}
    made = [item(seq, kind=kinds.get(seq, RECORD)) for seq in range(20)]
    store.append([*made[10:], item(3, device="mill"), item(4, boot=2)], {})
    store.append(made[:10], {})  # what came late is in its place nevertheless
    assert [one.item for one in store.read_range("lathe", 1, 0, 99, -1, 99)] == made
    found: list[Item] = []
    after = -1
    while page := store.read_range("lathe", 1, 3, 17, after, 4):
        assert len(page) <= 4
        found += [one.item for one in page]
        after = page[-1].item.seq
    assert found == made[3:18]
    assert store.read_range("lathe", 9, 0, 99, -1, 9) == []
    assert store.read_range("unheard", 1, 0, 99, -1, 9) == []
    store.close()


def test_what_was_dropped_of_a_range_is_told_in_its_place(path: Path) -> None:
    store = Store(path, quota_bytes=192 << 10)
    for first in range(0, 400, 40):
        store.append([item(first + at, size=600) for at in range(40)], {"mqtt": 0}, (0,))
    left = [one.item.seq for one in store.read_after(0, 999) if one.item.kind == RECORD]
    gone = min(left)
    assert 40 < gone < 400
    told, *rest = store.read_range("lathe", 1, 10, gone + 5, -1, 99)
    gap = decode_gap(told.item, None)
    assert (gap.first_seq, gap.last_seq, gap.reason) == (0, gone - 1, "store_full")
    assert [one.item.seq for one in rest] == list(range(gone, gone + 6))
    assert store.read_range("lathe", 1, 10, gone + 5, told.item.seq, 99) == rest
    assert store.read_range("lathe", 1, 0, 99, -1, 1) == [told]
    assert store.read_range("lathe", 2, 0, 99, -1, 9) == []
    store.close()


def test_items_of_one_device_and_kind_between_two_ids(path: Path) -> None:
    store = Store(path)
    made = [
        item(seq, device=key, kind=EVENT if seq % 5 == 4 else RECORD)
        for seq in range(30)
        for key in ("lathe", "mill")
    ]
    new, _ = store.append(made, {})
    wanted = [one for one in new if one.item.device == "mill" and one.item.kind == EVENT]
    assert store.read_ids("mill", 1 << EVENT, 0, 60, 99) == wanted
    assert store.read_ids("mill", 1 << EVENT, wanted[0].id, wanted[-1].id, 2) == wanted[1:3]
    assert store.read_ids("mill", 1 << EVENT, wanted[0].id, wanted[1].id - 1, 9) == []
    both = [one for one in new if one.item.device == "mill"]
    assert store.read_ids("mill", ALL, 0, 1 << 40, 99) == both
    assert store.read_ids("unheard", ALL, 0, 60, 99) == []
    store.close()


# --- parked --------------------------------------------------------------------------------------


def parked(first: int, last: int, topic: str = "hall/lathe/data", kinds: int = ALL) -> Parked:
    return Parked(topic, "lathe", kinds, first, last, 0x87)


def test_what_is_parked_is_written_with_the_cursor_and_comes_back(path: Path) -> None:
    store = Store(path)
    store.append([item(seq) for seq in range(9)], {"mqtt": 0})
    rows = [parked(3, 5), parked(2, 2, "hall/lathe/event")]
    store.append([], {"mqtt": 7}, parked={"mqtt": rows})
    store.append([], {"mqtt": 8})  # those of whom nothing is said stay
    store.append([], {}, parked={"other": [parked(1, 1)]})
    assert store.parked() == {"mqtt": rows, "other": [parked(1, 1)]}
    store.close()
    store = Store(path)
    assert store.parked() == {"mqtt": rows, "other": [parked(1, 1)]}
    store.append([], {}, parked={"other": []})
    before = store.stats()["bytes"]
    for _ in range(20):
        store.append([], {"mqtt": 8}, parked={"mqtt": rows, "other": []})
    assert store.stats()["bytes"] == before
    store.close()
    store = Store(path)
    assert store.parked() == {"mqtt": rows}
    store.close()


def test_what_is_parked_does_not_expire_but_may_be_dropped_for_room(path: Path) -> None:
    store = Store(path, retention_h=1)
    store.append([item(seq) for seq in range(20)], {"mqtt": 0})
    store.append([], {"mqtt": 20}, parked={"mqtt": [parked(8, 10)]})
    for hour in range(5):
        while store.upkeep(3600.0 * hour, (20,)):
            continue
    left = store.read_after(0, 99)
    assert [one.id for one in left if one.item.kind == RECORD] == list(range(8, 21))
    assert store.stats()["expired"] == 7
    store.append([], {}, parked={"mqtt": []})
    store.append([item(99)], {"mqtt": 21})
    for hour in range(5, 9):
        while store.upkeep(3600.0 * hour, (21,)):
            continue
    assert store.stats()["expired"] == 21
    store.close()


def test_a_parked_range_that_is_dropped_is_told_where_it_is_looked_for(path: Path) -> None:
    store = Store(path, quota_bytes=216 << 10)
    store.append([item(seq, size=600) for seq in range(100)], {"mqtt": 0}, (0,))
    store.append([], {"mqtt": 100}, (100,), {"mqtt": [parked(41, 50)]})
    for first in range(100, 700, 40):
        store.append([item(first + at, size=600) for at in range(40)], {"mqtt": 100}, (100,))
    (told,) = store.read_ids("lathe", 1 << RECORD, 40, 50, 99)
    gap = decode_gap(told.item, None)
    assert (gap.first_seq, gap.last_seq, gap.reason) == (40, 49, "store_full")
    assert int(store.stats()["dropped_undelivered"]) >= 10
    assert "dropped before they were delivered" in store.alarm
    store.close()


# --- the ledger ----------------------------------------------------------------------------------


def test_the_ledger_is_written_with_its_cursor_and_read_by_device_and_day(path: Path) -> None:
    store = Store(path)
    store.append([item(seq) for seq in range(5)], {"mqtt": 3})
    store.save_ledger([("lathe", 20_000, b"a"), ("lathe", 0, b"u"), ("mill", 20_001, b"m")], 4)
    store.save_ledger([("lathe", 20_000, b"b")], 5)
    whole = [("lathe", 0, b"u"), ("lathe", 20_000, b"b"), ("mill", 20_001, b"m")]
    assert store.read_ledger() == whole
    assert store.read_ledger("lathe") == whole[:2]
    assert store.read_ledger(first_day=1) == whole[1:]
    assert store.read_ledger(None, 1, 20_000) == [whole[1]]
    # The feed's own idea of this cursor, behind or ahead, is not written over it.
    store.append([item(5)], {"mqtt": 5, "ledger": 2})
    assert store.cursors() == {"mqtt": 5, "ledger": 5}
    store.close()
    store = Store(path)
    assert (store.read_ledger(), store.cursor("ledger")) == (whole, 5)
    store.close()


def test_of_too_many_days_the_earliest_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgerrows, "DAYS_MAX", 3)
    store = Store(path)
    for day in (0, 9, 10, 11, 12, 13):
        store.save_ledger([("lathe", day, b"x"), ("mill", 7, b"y")], day)
    assert [day for _device, day, _body in store.read_ledger("lathe")] == [0, 11, 12, 13]
    assert store.read_ledger("mill") == [("mill", 7, b"y")]
    store.close()


# --- who sends again -----------------------------------------------------------------------------


def test_what_comes_again_is_counted_by_device(path: Path) -> None:
    store = Store(path)
    store.append([item(0), item(1), item(0, device="mill")], {})
    assert not store.redelivered_by
    store.append([item(0), item(1), item(2), item(0, device="mill"), item(1)], {})
    assert store.redelivered_by == {"lathe": 3, "mill": 1}
    assert store.redelivered == 4
    store.close()


def test_a_restamped_range_comes_back_from_its_item() -> None:
    one = restamped("lathe", 0xFFFFFFFF, 3, 0xFFFFFFFE)
    assert restamped_range(one) == (0xFFFFFFFF, 3, 0xFFFFFFFE)
    assert (one.device, one.boot, one.seq) == ("lathe", 0xFFFFFFFF, 0xFFFFFFFE)


# --- damage --------------------------------------------------------------------------------------


def spoil(path: Path) -> None:
    """One page in the middle of the items: the small tables stay readable."""
    data = bytearray(path.read_bytes())
    page = 4096 * (len(data) // 4096 * 3 // 4)
    data[page : page + 4096] = b"\xa5" * 4096
    path.write_bytes(data)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_damaged_store_goes_on_with_all_of_it(path: Path, version: int) -> None:
    store = Store(path)
    new, _ = store.append([item(seq) for seq in range(3000)], {"mqtt": 10})
    rows = [parked(3, 5)]
    if version > 2:
        store.append([], {"mqtt": 10}, parked={"mqtt": rows})
        store.save_ledger([("lathe", 20_000, b"a")], 10)
    if version == 4:
        store.remove("lathe")
        store.removal_told("lathe", "mqtt")
    store.close()
    facts = path.with_name(path.name + ".facts")
    facts.unlink()  # what the damaged file itself says is enough
    db = sqlite3.connect(path)
    if version < 4:
        db.execute("DROP TABLE removals")
        db.execute(f"PRAGMA user_version = {version}")
    if version == 2:
        tables = ("restamps", "restamping", "eras", "parked", "ledger")
        db.executescript("".join(f"DROP TABLE {name};" for name in tables))
        db.executescript("DROP INDEX undated; ALTER TABLE items DROP COLUMN rev; VACUUM;")
    db.close()
    spoil(path)
    store = Store(path)
    assert store.set_aside == 1
    there = {one.id: one for one in store.read_after(10, 99_999) if one.item.kind == RECORD}
    assert len(there) > 2500
    assert all(there[one.id] == one for one in new if one.id in there)
    gone = {"lathe": Removal(3000, frozenset({"mqtt"}))} if version == 4 else {}
    assert store.removals() == gone
    if version > 2:
        assert store.parked() == {"mqtt": rows}
        assert store.read_ledger() == [("lathe", 20_000, b"a")]
        assert store.cursor("ledger") == 10
    told = store.read_after(10, 99_999)
    assert [type(one) for one in told] == [Stored] * len(told)
    store.close()
