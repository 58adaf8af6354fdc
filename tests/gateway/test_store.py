"""The store against a dictionary: what it keeps, in which order, and over every reopening."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clampgateway.model import EVENT, GAP, RECORD, Item
from clampgateway.store import SCHEMA_VERSION, Store, StoreError


def item(seq: int, boot: int = 1, device: str = "lathe", kind: int = RECORD, more: bytes = b"x"):
    payload = struct.pack("<BII", kind, boot, seq) + more
    return Item(device, boot, seq, kind, 1000 * seq, 1_760_000_000_000 + seq, True, 7, payload)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "items.db"


def test_new_items_get_rising_ids_and_come_back_as_they_were(path: Path) -> None:
    store = Store(path)
    items = [item(0), item(1), item(0, device="mill", kind=EVENT), item(2, boot=0xFFFFFFFF)]
    new, redelivered = store.append(items, {})
    assert [stored.item for stored in new] == items
    assert [stored.id for stored in new] == [1, 2, 3, 4]
    assert redelivered == 0
    assert store.read_after(0, 10) == new
    assert store.read_after(2, 1) == new[2:3]
    assert store.last_id() == 4
    store.close()
    store = Store(path)
    assert store.read_after(0, 10) == new
    assert store.highest_boots() == {"lathe": 0xFFFFFFFF, "mill": 1}
    more, _ = store.append([item(9)], {})
    assert more[0].id == 5
    store.close()


def test_what_came_before_is_counted_and_the_first_content_stays(path: Path) -> None:
    store = Store(path)
    store.append([item(0), item(1)], {})
    again = item(1)._replace(utc_ms=5, synced=False)
    new, redelivered = store.append([item(0), again, item(2), item(2)], {})
    assert [stored.item.seq for stored in new] == [2]
    assert redelivered == 3
    assert store.conflicts == 0
    new, redelivered = store.append([item(1, more=b"other")], {})
    assert (new, redelivered, store.conflicts) == ([], 1, 1)
    assert [kept.item for kept in store.read_after(0, 10)] == [item(0), item(1), item(2)]
    assert store.stats()["redelivered"] == 4
    store.close()


def test_a_batch_of_many_statements_with_repetitions_everywhere(path: Path) -> None:
    store = Store(path)
    store.append([item(seq) for seq in range(0, 300, 3)], {})
    batch = [item(seq) for seq in range(350)] + [item(seq) for seq in range(300, 340)]
    new, redelivered = store.append(batch, {})
    expected = [seq for seq in range(350) if seq % 3 or seq >= 300]
    assert [stored.item.seq for stored in new] == expected
    assert redelivered == 100 + 40
    assert store.read_after(100, 1000) == new
    store.close()


KEYS = st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 3), st.integers(0, 12), st.booleans())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(KEYS, max_size=12), max_size=10), st.lists(st.booleans(), max_size=10))
def test_any_batches_and_reopenings_equal_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[tuple[str, int, int, bool]]],
    reopen: list[bool],
) -> None:
    path = tmp_path_factory.mktemp("store") / "items.db"
    store = Store(path)
    expected: dict[tuple[str, int, int], Item] = {}
    for number, batch in enumerate(batches):
        items = [item(seq, boot, device, RECORD, bytes([odd])) for device, boot, seq, odd in batch]
        fresh = []
        for one in items:
            if one[:3] not in expected:
                expected[one[:3]] = one
                fresh.append(one)
        new, redelivered = store.append(items, {})
        assert [stored.item for stored in new] == fresh
        assert redelivered == len(items) - len(fresh)
        if number < len(reopen) and reopen[number]:
            store.close()
            store = Store(path)
    kept = store.read_after(0, 1000)
    assert [stored.item for stored in kept] == list(expected.values())
    ids = [stored.id for stored in kept]
    assert ids == sorted(set(ids))
    boots = {device: 0 for device, _boot, _seq in expected}
    for device, boot, _seq in expected:
        boots[device] = max(boot, boots[device])
    assert store.highest_boots() == boots
    paged = []
    at = 0
    while page := store.read_after(at, 3):
        paged += page
        at = page[-1].id
    assert paged == kept
    store.close()


def test_an_id_is_never_given_twice_even_if_the_newest_rows_are_gone(path: Path) -> None:
    store = Store(path)
    store.append([item(seq) for seq in range(5)], {})
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM items")
    db.close()
    store = Store(path)
    new, _ = store.append([item(9)], {})
    assert new[0].id == 6
    store.close()


def test_cursors_move_with_the_commit_and_only_with_it(path: Path) -> None:
    store = Store(path)
    store.append([item(0)], {"mqtt": 0})
    store.append([item(1)], {"mqtt": 1, "fleet": 0})
    store.append([], {"mqtt": 2})
    assert store.cursor("mqtt") == 2
    assert store.cursor("unheard") == 0
    store.close()
    store = Store(path)
    assert store.cursors() == {"mqtt": 2, "fleet": 0}
    store.close()


def test_an_append_that_changes_nothing_writes_nothing(path: Path) -> None:
    store = Store(path)
    store.append([item(0)], {"mqtt": 1})
    before = store.stats()["bytes"]
    for _ in range(20):
        assert store.append([], {"mqtt": 1}) == ([], 0)
    assert store.stats()["bytes"] == before
    store.close()


def test_numbers_are_given_once_and_for_all(path: Path) -> None:
    store = Store(path)
    assert store.assign("unit", "", "lathe", 1, 3) == 1
    assert store.assign("unit", "", "mill", 1, 3) == 2
    assert store.assign("unit", "", "lathe", 1, 3) == 1
    assert store.assign("slot", "lathe", "current1", 0, 15) == 0
    assert store.assign("slot", "mill", "current1", 0, 15) == 0
    store.close()
    store = Store(path)
    assert store.assign("unit", "", "mill", 1, 3) == 2
    assert store.assign("unit", "", "saw", 1, 3) == 3
    with pytest.raises(StoreError, match="no unit  left for drill: all from 1 to 3 are given"):
        store.assign("unit", "", "drill", 1, 3)
    assert store.assign("unit", "", "drill", 1, 4) == 4
    store.close()


def test_descriptions_come_back_whole_and_the_first_of_a_crc_stays(path: Path) -> None:
    store = Store(path)
    parts = [b"", b"one", bytes(range(256)) * 4]
    store.save_description("lathe", 0xFFFFFFFF, parts)
    store.save_description("lathe", 7, [b"second"])
    store.save_description("lathe", 7, [b"another"])
    store.close()
    store = Store(path)
    assert list(store.descriptions()) == [
        ("lathe", 0xFFFFFFFF, parts),
        ("lathe", 7, [b"second"]),
    ]
    store.close()


def test_recent_events_of_each_device_come_from_an_index(path: Path) -> None:
    store = Store(path)
    for seq in range(50):
        kinds = {10: EVENT, 20: GAP, 30: EVENT}
        store.append([item(seq, device=key, kind=kinds.get(seq, RECORD)) for key in "ab"], {})
    recent = store.recent_events(2)
    assert [(one.item.device, one.item.seq) for one in recent] == [
        ("a", 20),
        ("b", 20),
        ("a", 30),
        ("b", 30),
    ]
    query = f"SELECT id FROM items WHERE device = 1 AND kind <> {RECORD} ORDER BY id DESC LIMIT 2"
    (plan,) = store._db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
    assert "INDEX others" in plan[-1]
    assert "TEMP" not in plan[-1]
    store.close()


def test_it_syncs_every_commit(path: Path) -> None:
    store = Store(path)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    store.close()
    assert not path.with_name("items.db-wal").exists()  # checkpointed at the end


# --- files it must not touch ---------------------------------------------------------------------


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=f"schema {SCHEMA_VERSION + 1}.*knows {SCHEMA_VERSION}"):
        Store(path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "items.db",
        "items.db.facts",
        "items.db.lock",
    ]


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_second_gateway_is_kept_out_while_the_first_runs(path: Path) -> None:
    store = Store(path)
    with pytest.raises(StoreError, match="another gateway uses it"):
        Store(path)
    store.close()
    Store(path).close()


def test_a_path_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"):
        Store(tmp_path / "file" / "items.db")
