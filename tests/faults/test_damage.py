"""A store that a medium has damaged: overwritten, cut short, its write-ahead log gone.

Each injection starts from a copy of a good store with bridges at different places. It must open
(a damaged one set aside), take new items, keep unit ids and boots, and every item that a bridge
has not delivered must come to it, or be told to it as lost. Items that were delivered may be
anywhere. Truth is what was appended.
"""

from __future__ import annotations

import random
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway.model import GAP, RECORD, Item, decode_gap
from clampgateway.store import Store
from support.faulttable import FaultTable

DEVICES = {"lathe": 300, "mill": 240, "saw": 60}
Spoil = Callable[[Path, random.Random], None]
CURSORS = {"fast": 560, "slow": 330}


def item(device: str, seq: int) -> Item:
    payload = struct.pack("<BIIIBB", RECORD, 3, seq, 1000 * seq, 0, 5) + bytes([seq & 255]) * 80
    return Item(device, 3, seq, RECORD, 1000 * seq, 1_700_000_000_000, True, 7, payload)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store; items of the devices take turns."""
    folder = tmp_path_factory.mktemp("good")
    store = Store(folder / "store.db")
    store.save_description("lathe", 7, [b"told"])
    for number, device in enumerate(DEVICES, 1):
        assert store.assign("unit", "", device, 1, 246) == number
    left = [
        (seq / count, device, seq) for device, count in DEVICES.items() for seq in range(count)
    ]
    items = [item(device, seq) for _share, device, seq in sorted(left)]
    for at in range(0, len(items), 20):
        store.append(items[at : at + 20], {})
    store.append([], CURSORS)
    store.close()
    return folder


def undelivered(good: Path, cursor: int) -> set[tuple[str, int, int]]:
    store = Store(good / "store.db")
    out = {stored.item[:3] for stored in store.read_after(cursor, 10_000)}
    store.close()
    return out


def heard(store: Store, cursor: int) -> tuple[set, set, int]:
    """(keys that came, keys told as lost, keys that came twice)."""
    came: set[tuple[str, int, int]] = set()
    told: set[tuple[str, int, int]] = set()
    doubled = 0
    for _id, one in store.read_after(cursor, 100_000):
        if one.kind == GAP:
            gap = decode_gap(one, None)
            seqs = range(gap.first_seq, gap.last_seq + 1)
            told |= {(one.device, one.boot, seq) for seq in seqs}
            continue
        assert one == item(one.device, one.seq), "a wrong item came out of a damaged store"
        doubled += one[:3] in came
        came.add(one[:3])
    return came, told, doubled


def damaged(
    good: Path,
    tmp_path: Path,
    spoil: Spoil,
    injections: int,
) -> tuple[int, int, int, float, int]:
    """(lost, doubled, most that was told as lost, slowest opening, how many were set aside)."""
    lost = doubled = most = aside = 0
    slowest_s = 0.0
    truth = {name: undelivered(good, at) for name, at in CURSORS.items()}
    for seed in range(injections):
        folder = tmp_path / f"damage{seed}"
        shutil.copytree(good, folder)
        spoil(folder / "store.db", random.Random(seed))
        begun_s = time.monotonic()
        store = Store(folder / "store.db")
        slowest_s = max(slowest_s, time.monotonic() - begun_s)
        aside += store.set_aside
        assert bool(store.alarm) == bool(store.set_aside)
        assert len(list(folder.glob("store.db.corrupt-*Z"))) == store.set_aside
        cursors = {name: store.cursor(name) for name in CURSORS}
        for name, expected in truth.items():
            assert cursors[name] in (0, CURSORS[name])
            came, told, twice = heard(store, cursors[name])
            lost += len(expected - came - told)
            doubled += twice
            most = max(most, len(told - came))
        for number, device in enumerate(DEVICES, 1):
            assert store.assign("unit", "", device, 1, 246) == number
        assert store.highest_boots() == dict.fromkeys(DEVICES, 3)
        new, _again = store.append([item("lathe", 9000)], {})
        assert new[-1].item == item("lathe", 9000)
        store.close()
        store = Store(folder / "store.db")
        assert store.alarm == ""
        store.close()
        shutil.rmtree(folder)
    return lost, doubled, most, slowest_s, aside


def pages(path: Path, chance: random.Random) -> None:
    """Whole pages hold something else: a worn block of flash."""
    content = bytearray(path.read_bytes())
    for page in chance.sample(range(len(content) // 4096), chance.choice((1, 2, 5, 12))):
        content[4096 * page : 4096 * (page + 1)] = chance.randbytes(4096)
    path.write_bytes(content)


def zeros(path: Path, chance: random.Random) -> None:
    """A stretch reads as zeros: blocks that were never written, as after a lost file table."""
    content = bytearray(path.read_bytes())
    at = 512 * chance.randrange(len(content) // 512)
    size = 4096 * chance.choice((1, 4, 16))
    content[at : at + size] = bytes(len(content[at : at + size]))
    path.write_bytes(content)


def cut_short(path: Path, chance: random.Random) -> None:
    """The end is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(1, len(content))])


@pytest.mark.parametrize("spoil", [pages, zeros, cut_short])
def test_what_a_damaged_store_loses_is_told(
    good: Path,
    tmp_path: Path,
    faults: FaultTable,
    spoil: Spoil,
) -> None:
    count = 40
    lost, doubled, told, slowest_s, aside = damaged(good, tmp_path, spoil, count)
    assert aside > count // 2
    name = {"pages": "pages overwritten", "zeros": "zeros read", "cut_short": "file cut short"}
    faults.add(f"store: {name[spoil.__name__]}", count, lost, doubled, told, slowest_s)


def test_a_write_ahead_log_that_was_deleted_is_told(tmp_path: Path, faults: FaultTable) -> None:
    """With what is written beside the store once a minute at hand: the last second before."""
    lost = doubled = most = 0
    count = 20
    for seed in range(count):
        folder = tmp_path / f"run{seed}"
        store = Store(folder / "store.db")
        made: set[tuple[str, int, int]] = set()
        store.append([item("lathe", seq) for seq in range(40)], {"slow": 10})
        made |= {("lathe", 3, seq) for seq in range(40)}
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for seq in range(40, 41 + 7 * seed):
            device = ("lathe", "mill")[seq % 2]
            store.append([item(device, seq)], {})
            made.add((device, 3, seq))
        store._write_facts()
        left = tmp_path / f"left{seed}"
        left.mkdir()
        for name in ("store.db", "store.db.facts"):  # as after a kill, and without the log
            shutil.copy(folder / name, left / name)
        store.close()
        store = Store(left / "store.db")
        assert "its newest part is missing" in store.alarm
        came, told, twice = heard(store, 0)
        lost += len(made - came - told)
        doubled += twice + len(came & told)
        most = max(most, len(told))
        last_id = store.last_id()
        new, _again = store.append([item("lathe", 9000), item("lathe", 41)], {})
        assert [stored.item.seq for stored in new] == [9000, 41]  # what comes again is welcome
        assert new[0].id > last_id
        store.close()
        store = Store(left / "store.db")
        assert store.alarm == ""
        assert store.append([item("lathe", 9001)], {})[0][0].id == new[-1].id + 1
        store.close()
    faults.add("store: write-ahead log deleted", count, lost, doubled, most)
