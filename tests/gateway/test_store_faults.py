"""The store over kill -9, failing writes, locks and damage. Power cuts are tests/faults."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway.model import EVENT, GAP, RECORD, Item, decode_gap
from clampgateway.store import Store, StoreDamagedError, StoreError, file, opening

# Appends batches without end and says each number only after its commit returned.
WRITER = """
import struct, sys
from pathlib import Path
from clampgateway.model import RECORD, Item
from clampgateway.store import Store

store = Store(Path(sys.argv[1]))
seq = int(sys.argv[2])
while True:
    batch = [
        Item("lathe", 1, n, RECORD, n, n, True, 7, struct.pack("<BII", RECORD, 1, n) + bytes(40))
        for n in range(seq, seq + 17)
    ]
    new, redelivered = store.append(batch, {"mqtt": seq})
    seq += 17
    print(seq, redelivered, flush=True)
"""


def item(seq: int, kind: int = RECORD, size: int = 40) -> Item:
    payload = struct.pack("<BII", kind, 1, seq) + bytes(size)
    return Item("lathe", 1, seq, kind, seq, seq, True, 7, payload)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_no_acknowledged_item_is_lost_over_eight_kills(
    tmp_path: Path, report_line: Callable[[str], None]
) -> None:
    path = tmp_path / "items.db"
    chance = random.Random(5)
    acknowledged = 0
    redelivered = 0
    for _ in range(8):
        # Two batches back: a device repeats what it saw no acknowledgement for, and more.
        again = max(0, acknowledged - 34)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(again)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert writer.stdout is not None
        line = writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.06))
        writer.send_signal(signal.SIGKILL)
        lines = [line, *writer.stdout.readlines()]
        writer.wait()
        writer.stdout.close()
        whole = [entry.split() for entry in lines if entry.endswith("\n")]
        assert whole
        acknowledged = max(acknowledged, *(int(seq) for seq, _n in whole))
        redelivered += sum(int(n) for _seq, n in whole)
        begun = time.monotonic()
        store = Store(path)
        assert time.monotonic() - begun < 5
        kept = store.read_after(0, 1_000_000)
        seqs = [stored.item.seq for stored in kept]
        assert seqs == list(range(len(seqs)))  # each once, in order, none left out
        assert len(seqs) >= acknowledged
        assert [stored.item for stored in kept[::50]] == [item(seq) for seq in seqs[::50]]
        assert store.cursor("mqtt") <= len(seqs)
        assert store.alarm == ""
        assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store.close()
    assert redelivered >= 7 * 34
    report_line(f"store: 8 kill -9, {acknowledged} items acknowledged, 0 lost")


def test_the_lock_ends_with_a_killed_gateway(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "0"], stdout=subprocess.PIPE, env=environment()
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    with pytest.raises(StoreError, match="another gateway"):
        Store(path)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    Store(path).close()


# Files that may grow no further fail like a full disk, without root.
FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2].split(":")
from test_store_faults import item
from clampgateway.store import Store, StoreError

store = Store(Path(sys.argv[1]))
assert len(store.append([item(n) for n in range(50)], {})[0]) == 50
_soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (store.stats()["bytes"] + 4096, hard))
failures = 0
for _ in range(5):
    try:
        store.append([item(n) for n in range(50, 2000)], {"mqtt": 9})
    except StoreError:
        failures += 1
assert failures == 5, failures
assert store.last_id() == 50 and store.cursor("mqtt") == 0
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
new, redelivered = store.append([item(n) for n in range(40, 2000)], {"mqtt": 9})
assert [stored.item.seq for stored in new] == list(range(50, 2000)), len(new)
assert redelivered == 10
assert store.cursor("mqtt") == 9 and store.alarm == ""
assert store.stats()["reopened"] >= 1
store.close()
store = Store(Path(sys.argv[1]))
assert [s.item.seq for s in store.read_after(0, 5000)] == list(range(2000))
print("survived")
"""


def test_a_write_that_fails_commits_nothing_and_heals_when_there_is_room(tmp_path: Path) -> None:
    assert hasattr(resource, "RLIMIT_FSIZE")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "items.db"), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.stdout.strip() == "survived", done.stderr


def test_a_lock_of_another_program_only_delays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.02)
    store = Store(tmp_path / "items.db")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        store.append([item(0)], {})
    other.execute("ROLLBACK")
    other.close()
    new, redelivered = store.append([item(0)], {})
    assert ([stored.id for stored in new], redelivered) == ([1], 0)
    assert store.stats()["reopened"] == 0
    store.close()


def test_a_commit_whose_confirmation_failed_is_reported_as_new_later(tmp_path: Path) -> None:
    store = Store(tmp_path / "items.db")
    store.append([item(0)], {})
    # The commit below reaches the file, but this process never hears of it.
    other = sqlite3.connect(store.path, isolation_level=None)
    columns = "id, device, boot, seq, kind, end_ms, utc_ms, synced, describe_crc, payload"
    other.execute(
        f"INSERT INTO items ({columns}) VALUES (2,1,1,1,4,1,1,1,7,?)", (item(1).payload,)
    )
    other.close()
    store._failure = StoreError("the sync failed")
    new, redelivered = store.append([item(1), item(2)], {})
    assert [stored.item.seq for stored in new] == [1, 2]
    assert new[0].id == 2
    assert redelivered == 1
    store.close()


# --- damage --------------------------------------------------------------------------------------


def fill(path: Path, items: int = 3000) -> Store:
    store = Store(path)
    store.save_description("lathe", 7, [b"told"])
    store.assign("unit", "", "lathe", 1, 246)
    store.append([item(seq, EVENT if seq == 9 else RECORD) for seq in range(items)], {})
    store.append([], {"mqtt": items - 10})
    return store


def test_rubbish_instead_of_a_store_is_set_aside_and_ingest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    path.write_bytes(random.Random(1).randbytes(50_000))
    store = Store(path)
    assert "set aside as items.db.corrupt-" in store.alarm
    (aside,) = tmp_path.glob("items.db.corrupt-*Z")
    assert aside.stat().st_size == 50_000
    assert len(store.append([item(0)], {})[0]) == 1
    store.close()
    path.write_bytes(b"rubbish again" * 1000)
    store = Store(path)
    assert store.set_aside == 1
    assert len(list(tmp_path.glob("items.db.corrupt-*"))) == 2
    store.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_store_goes_on_with_what_can_be_read(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "items.db"
    fill(path).close()
    chance = random.Random(seed)
    whole = bytearray(path.read_bytes())
    pages = len(whole) // 4096
    # Everything behind the small tables' pages, which come first in the file.
    for page in chance.sample(range(pages // 2, pages), pages // 4):
        whole[4096 * page : 4096 * (page + 1)] = chance.randbytes(4096)
    path.write_bytes(whole)
    store = Store(path)
    assert store.set_aside == 1
    assert "kept 1 devices, 1 descriptions, 1 cursors, 1 given numbers" in store.alarm
    assert list(store.descriptions()) == [("lathe", 7, [b"told"])]
    assert store.assign("unit", "", "lathe", 1, 246) == 1
    assert store.assign("unit", "", "mill", 1, 246) == 2
    assert store.cursor("mqtt") == 2990
    assert store.highest_boots() == {"lathe": 1}
    told = set()
    for stored in store.read_after(0, 5000):
        assert stored.id > 2990
        if stored.item.kind == GAP:
            gap = decode_gap(stored.item, None)
            assert gap.reason == "store_damaged"
            told |= set(range(gap.first_seq, gap.last_seq + 1))
        else:
            assert stored.item == item(stored.item.seq)
            told.add(stored.item.seq)
    assert told >= set(range(2990, 3000))  # each is there, or told to be lost
    new, _ = store.append([item(9000)], {})
    assert new[0].id > 3000 - 10  # ids go on, so the cursor stays true
    store.close()
    assert Store(path).alarm == ""


def test_a_store_that_turns_out_damaged_while_it_runs_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    store = fill(path, 60_000)  # more than SQLite keeps in memory
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as opened:
        for page in range(20, path.stat().st_size // 4096):
            opened.seek(4096 * page)
            opened.write(b"\xa5" * 4096)
    old = [item(seq) for seq in range(0, 60_000, 100)]
    with pytest.raises(StoreDamagedError):
        store.append(old, {})
    new, _ = store.append([item(70_000)], {"mqtt": 59_995})
    assert "set aside" in store.alarm
    assert new[-1].item.seq == 70_000
    assert new[-1].id > 60_000
    assert store.assign("unit", "", "lathe", 1, 246) == 1
    assert list(store.descriptions()) == [("lathe", 7, [b"told"])]
    store.close()
    store = Store(path)
    assert store.alarm == ""
    assert store.cursor("mqtt") == 59_995
    store.close()


def test_a_new_store_that_cannot_be_made_yet_is_tried_again_and_set_aside_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "items.db"
    store = fill(path)
    store._failure = StoreDamagedError("found damaged")
    tries = 0

    def begin_with(*_arguments: object) -> None:
        nonlocal tries
        tries += 1
        raise StoreError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(opening, "begin_with", begin_with)
        for _ in range(3):
            with pytest.raises(StoreError, match="no room"):
                store.append([item(9000)], {})
    assert tries == 3
    new, _ = store.append([item(9000)], {})
    assert new[-1].item == item(9000)
    assert store.set_aside == 1
    assert len(list(tmp_path.glob("items.db.corrupt-*Z"))) == 1
    # What no bridge had delivered is still there.
    assert [one.item.seq for one in store.read_after(2990, 100)] == [*range(2990, 3000), 9000]
    store.close()


def test_a_store_that_was_deleted_keeps_unit_ids_and_tells_what_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    fill(path).close()
    path.unlink()
    store = Store(path)
    assert "its newest part is missing" in store.alarm
    assert store.assign("unit", "", "mill", 1, 246) == 2
    assert store.highest_boots() == {"lathe": 1}
    (gap,) = [decode_gap(one.item, None) for one in store.read_after(0, 100)]
    assert (gap.reason, gap.first_seq, gap.last_seq) == ("store_damaged", 0, 2999)
    new, _ = store.append([item(3000)], {})
    assert new[0].id > 3000
    store.close()


def test_ids_go_on_above_all_that_was_delivered(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    store = fill(path, 100)
    store.append([], {"mqtt": 100})
    store.close()
    db = sqlite3.connect(path)
    db.execute("DROP TABLE assignments")
    db.close()
    store = Store(path)
    assert store.read_after(0, 1000) == []  # all of it was delivered and is in the old file
    store.close()
    store = Store(path)
    assert store.append([item(100)], {})[0][0].id == 101
    store.close()


def test_a_damaged_store_is_set_aside_whole(tmp_path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f"items.db{ending}").write_text(f"old{ending}")
    aside = file.set_aside(tmp_path / "items.db")
    assert re.fullmatch(r"items\.db\.corrupt-\d{8}T\d{6}Z", aside.name)
    kept = {entry.name: entry.read_text() for entry in tmp_path.iterdir()}
    assert kept == {f"{aside.name}{end}": f"old{end}" for end in ("", "-wal", "-shm")}


def test_the_log_of_a_damaged_store_is_not_played_into_the_next(tmp_path: Path) -> None:
    store = fill(tmp_path / "running.db", 100)
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.append([item(100)], {})
    path = tmp_path / "items.db"  # as a kill leaves it, and with a broken medium
    path.with_name("items.db-wal").write_bytes((tmp_path / "running.db-wal").read_bytes())
    path.write_bytes(b"\xff" * store.path.stat().st_size)
    store.close()
    store = Store(path)
    assert store.set_aside == 1
    store.append([item(500)], {})
    store.close()
    store = Store(path)
    assert 500 in [stored.item.seq for stored in store.read_after(0, 1000)]
    assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()


def test_a_lost_table_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    fill(path, 100).close()
    db = sqlite3.connect(path)
    db.execute("DROP TABLE assignments")
    db.close()
    store = Store(path)
    assert "no table assignments" in store.alarm
    assert "1 devices" in store.alarm
    # What no bridge has delivered yet is still to be delivered, under its old ids.
    undelivered = store.read_after(store.cursor("mqtt"), 1000)
    assert [(stored.id, stored.item) for stored in undelivered] == [
        (seq + 1, item(seq)) for seq in range(90, 100)
    ]
    assert store.append([item(100)], {})[0][0].id == 101
    store.close()
