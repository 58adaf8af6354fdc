"""Stores of older versions are brought forward with all they hold; newer ones are left alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from clampgateway.model import GAP, RECORD, Item, Parked, Stored, decode_gap
from clampgateway.store import Store, StoreError

# As these versions made them; not derived from the code that is tested.
VERSION_1 = """
CREATE TABLE devices (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
  highest_boot INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, device INTEGER NOT NULL,
  boot INTEGER NOT NULL, seq INTEGER NOT NULL, kind INTEGER NOT NULL, end_ms INTEGER NOT NULL,
  utc_ms INTEGER NOT NULL, synced INTEGER NOT NULL, describe_crc INTEGER NOT NULL,
  payload BLOB NOT NULL, UNIQUE (device, boot, seq)) STRICT;
CREATE INDEX others ON items (device) WHERE kind <> 4;
CREATE TABLE descriptions (device TEXT NOT NULL, crc INTEGER NOT NULL, payloads BLOB NOT NULL,
  PRIMARY KEY (device, crc)) STRICT;
CREATE TABLE cursors (name TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT;
CREATE TABLE assignments (kind TEXT NOT NULL, scope TEXT NOT NULL, key TEXT NOT NULL,
  number INTEGER NOT NULL, PRIMARY KEY (kind, scope, key), UNIQUE (kind, scope, number)) STRICT;
INSERT INTO devices VALUES (1, 'lathe', 17);
INSERT INTO items VALUES (41, 1, 17, 5, 4, 1000, 1700000000000, 1, 7, x'0411000000050000000a');
INSERT INTO descriptions VALUES ('lathe', 7, x'0300616263');
INSERT INTO cursors VALUES ('mqtt', 40);
INSERT INTO assignments VALUES ('unit', '', 'lathe', 3);
PRAGMA application_id = 1129074775;
PRAGMA user_version = 1;
"""
VERSION_2 = f"""{VERSION_1}
CREATE TABLE drops (id INTEGER PRIMARY KEY, device INTEGER NOT NULL, boot INTEGER NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, reason INTEGER NOT NULL,
  from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, utc_ms INTEGER NOT NULL,
  synced INTEGER NOT NULL) STRICT;
CREATE TABLE hours (number INTEGER PRIMARY KEY, last_id INTEGER NOT NULL) STRICT;
UPDATE items SET describe_crc = 68526740078592007;
INSERT INTO items VALUES (42, 1, 17, 6, 4, 2000, 0, 0, 7, x'0411000000060000000a');
INSERT INTO drops VALUES (40, 1, 17, 2, 4, 128, 100, 900, 1699999999900, 1);
INSERT INTO hours VALUES (3, 39);
PRAGMA user_version = 2;
"""
VERSION_3 = f"""{VERSION_2}
ALTER TABLE items ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
CREATE INDEX undated ON items (synced) WHERE synced = 0;
CREATE TABLE restamps (id INTEGER PRIMARY KEY, device INTEGER NOT NULL, boot INTEGER NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;
CREATE TABLE restamping (device INTEGER NOT NULL, boot INTEGER NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, PRIMARY KEY (device, boot)) STRICT;
CREATE TABLE eras (number INTEGER PRIMARY KEY, power_up TEXT NOT NULL,
  offset_ms INTEGER NOT NULL, after_id INTEGER NOT NULL) STRICT;
CREATE TABLE parked (reader TEXT NOT NULL, place INTEGER NOT NULL, topic TEXT NOT NULL,
  device TEXT NOT NULL, kinds INTEGER NOT NULL, first_id INTEGER NOT NULL,
  last_id INTEGER NOT NULL, reason INTEGER NOT NULL, PRIMARY KEY (reader, place)) STRICT;
CREATE TABLE ledger (device TEXT NOT NULL, day INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (device, day)) STRICT;
INSERT INTO eras VALUES (1, 'run-1', 1699999999000, 0);
INSERT INTO parked VALUES ('mqtt', 0, 'a/data', 'lathe', 16, 41, 42, 135);
INSERT INTO ledger VALUES ('lathe', 20000, x'01');
PRAGMA user_version = 3;
"""


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_store_is_brought_forward_with_all_it_holds(tmp_path: Path, version: int) -> None:
    path = tmp_path / "items.db"
    db = sqlite3.connect(path)
    db.executescript({1: VERSION_1, 2: VERSION_2, 3: VERSION_3}[version])
    db.close()
    for _ in range(2):
        store = Store(path)
        payload = bytes.fromhex("0411000000050000000a")
        old = Item("lathe", 17, 5, RECORD, 1000, 1_700_000_000_000, True, 7, payload)
        undated = old._replace(seq=6, end_ms=2000, utc_ms=0, synced=0,
                               payload=bytes.fromhex("0411000000060000000a"))  # fmt: skip
        after = [Stored(41, old), Stored(42, undated)][:version]
        last_id = 41 if version == 1 else 42
        assert store.read_after(40, 10) == after
        assert store.highest_boots() == {"lathe": 17}
        assert list(store.descriptions()) == [("lathe", 7, [b"abc"])]
        assert (store.cursor("mqtt"), store.last_id(), store.alarm) == (40, last_id, "")
        assert store.assign("unit", "", "lathe", 1, 246) == 3
        if version >= 2:
            (told, *_rest) = store.read_range("lathe", 17, 0, 99, -1, 9)
            assert (told.id, told.item.kind) == (40, GAP)
            gap = decode_gap(told.item, None)
            assert (gap.first_seq, gap.last_seq, gap.reason) == (2, 4, "store_full")
        told = (store.parked(), store.read_ledger(), [era.number for era in store.eras()])
        if version == 3:
            parked = {"mqtt": [Parked("a/data", "lathe", 16, 41, 42, 135)]}
            assert told == (parked, [("lathe", 20000, b"\1")], [1])
        else:
            assert told == ({}, [], [])
        assert store.removals() == {}
        store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (4,)
    db.close()


def test_a_newer_store_is_refused_in_one_sentence_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"has schema 9, this gateway knows 4: update") as caught:
        Store(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
