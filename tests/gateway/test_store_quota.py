"""The store at its quota and beyond its retention: what goes, and who is told of it.

Truth is a list of what was appended. A reader must end with every item either as itself or inside
a gap, and never with both.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from clampgateway.model import EVENT, GAP, RECORD, Item, Stored, decode_gap
from clampgateway.store import Store, StoreError, file
from clampgateway.store.room import HOUR_S
from clampwire import messages
from clampwire.codec import Codec

CODEC = Codec()
QUOTA = 1 << 20


def item(seq: int, device: str = "lathe", boot: int = 1, size: int = 100) -> Item:
    end_ms = 1000 * (seq % 1_000_000 + 1)
    payload = struct.pack("<BIIIBB", RECORD, boot, seq, end_ms, 0, 5) + bytes(size)
    return Item(device, boot, seq, RECORD, end_ms, 1_700_000_000_000, True, 7, payload)


def gap_item(seq: int, first: int, last: int, of_boot: int = 0) -> Item:
    fields = (1, seq, 1000 * seq, 1, messages.NO_CHANNEL, first, last, 0, 0, 0, of_boot)
    return Item("lathe", 1, seq, GAP, 1000 * seq, 5, True, 7, CODEC.encode("Gap", *fields))


class Reader:
    """What a bridge sees. `told` holds keys of announced gaps, `got` those of items."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.at = 0
        self.got: set[tuple[str, int, int]] = set()
        self.told: set[tuple[str, int, int]] = set()
        self.reasons: set[str] = set()

    def take(self, read: list[Stored]) -> None:
        for stored in read:
            assert stored.id > self.at
            self.at = stored.id
            one = stored.item
            if one.kind == GAP:
                gap = decode_gap(one, None)
                self.reasons.add(gap.reason)
                assert gap.seq == gap.last_seq or gap.reason == "spool_full"
                self.told |= {
                    (one.device, one.boot, seq) for seq in range(gap.first_seq, gap.last_seq + 1)
                }
                if gap.reason == "spool_full":
                    self.got.add(one[:3])
            else:
                assert one[:3] not in self.got
                self.got.add(one[:3])


def count(store: Store, name: str) -> float:
    """One of the store's counters."""
    value = store.stats()[name]
    assert not isinstance(value, str)
    return value


def fill(store: Store, first: int, count: int, reader: Reader | None = None) -> None:
    for seq in range(first, first + count, 200):
        fences = () if reader is None else (reader.at,)
        cursors = {} if reader is None else {reader.name: reader.at}
        store.append([item(n) for n in range(seq, min(seq + 200, first + count))], cursors, fences)


def test_the_ledger_is_no_reader_that_anything_is_delivered_to(tmp_path: Path) -> None:
    """It reads ahead of bridges: what they have not got is dropped undelivered all the same."""
    store = Store(tmp_path / "items.db", QUOTA)
    for first in range(0, 20_000, 200):
        fill(store, first, 200)
        store.save_ledger([("lathe", 20_000, b"x")], store.last_id())
    assert count(store, "dropped_undelivered") == count(store, "dropped") > 10_000
    assert "before they were delivered" in store.alarm


def test_the_file_stays_below_its_quota_and_what_went_is_told_in_its_place(tmp_path: Path) -> None:
    store = Store(tmp_path / "items.db", QUOTA)
    fill(store, 0, 30_000)
    assert store.path.stat().st_size <= QUOTA
    assert count(store, "used_bytes") <= QUOTA
    assert count(store, "drop_ranges") == 1
    reader = Reader("mqtt")
    kept = store.read_after(0, 100_000)
    reader.take(kept)
    assert (kept[0].item.kind, decode_gap(kept[0].item, None).reason) == (GAP, "store_full")
    assert reader.told.isdisjoint(reader.got)
    assert reader.told | reader.got == {("lathe", 1, seq) for seq in range(30_000)}
    assert len(reader.got) > 2000
    gap = decode_gap(kept[0].item, None)
    assert (gap.first_seq, gap.from_ms - gap.t_ms) == (0, -1000 * (gap.last_seq + 1))
    assert "items were dropped before they were delivered" in store.alarm
    store.close()
    store = Store(tmp_path / "items.db", QUOTA)
    assert store.read_after(0, 100_000) == kept
    # What was dropped and comes again was acknowledged and told: it does not come back to life.
    assert store.append([item(5), item(29_999)], {}) == ([], 2)
    store.close()


def test_a_reader_that_is_past_hears_of_no_gap_and_one_that_is_behind_does(tmp_path: Path) -> None:
    store = Store(tmp_path / "items.db", QUOTA)
    fill(store, 0, 1000)
    behind, past = Reader("behind"), Reader("past")
    behind.take(store.read_after(0, 300))
    for seq in range(1000, 20_000, 100):
        past.take(store.read_after(past.at, 10_000))
        cursors = {"behind": behind.at, "past": past.at}
        store.append([item(n) for n in range(seq, seq + 100)], cursors, (behind.at, past.at))
    past.take(store.read_after(past.at, 10_000))
    assert past.told == set()
    assert past.got == {("lathe", 1, seq) for seq in range(20_000)}
    while read := store.read_after(behind.at, 500):
        behind.take(read)
    assert behind.told.isdisjoint(behind.got)
    assert behind.told | behind.got == past.got
    assert min(seq for _d, _b, seq in behind.told) == 300
    assert count(store, "dropped") > count(store, "dropped_undelivered") > 10_000
    store.append([], {"behind": behind.at})
    assert store.alarm == ""
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_devices_history_and_readers(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "items.db"
    store = Store(path, QUOTA)
    readers = [Reader(f"bridge{number}") for number in range(3)]
    made: set[tuple[str, int, int]] = set()
    order: list[tuple[str, int, int]] = []
    next_seq = {"lathe": 0, "mill": 0xFFFFFF00, "saw": 0}
    history: list[Item] = []
    for _turn in range(160):
        batch = []
        for device, seq in list(next_seq.items()):
            count = chance.randrange(60)
            next_seq[device] = seq + count & 0xFFFFFFFF
            for number in range(seq, seq + count):
                one = item(number & 0xFFFFFFFF, device, size=200)
                (history if chance.random() < 0.1 else batch).append(one)
        if chance.random() < 0.3:
            chance.shuffle(history)
            batch += history
            history = []
        batch += [
            item(each[2], each[0], size=200) for each in chance.sample(order, len(order) and 3)
        ]
        for reader in readers[: chance.randrange(4)]:
            reader.take(store.read_after(reader.at, chance.randrange(1, 400)))
        places = {reader.name: reader.at for reader in readers}
        store.append(batch, places, tuple(places.values()))
        made |= {one[:3] for one in batch}
        order += [one[:3] for one in batch]
        if chance.random() < 0.05:
            store.close()
            store = Store(path, QUOTA)
    for reader in readers:
        while read := store.read_after(reader.at, 1000):
            reader.take(read)
        assert reader.told.isdisjoint(reader.got)
        assert reader.told | reader.got == made
    assert len(readers[2].told) > 100
    assert path.stat().st_size <= QUOTA
    store.close()


def test_a_gap_that_is_dropped_hands_on_what_it_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "items.db", QUOTA)
    store.append([item(0), gap_item(50, 10, 19), item(51), gap_item(52, 5, 8, of_boot=700)], {})
    for boot in range(2, 160):
        store.append([item(seq, boot=boot) for seq in range(100)], {})
    reader = Reader("mqtt")
    reader.take(store.read_after(0, 100_000))
    boot_1 = {seq for _device, boot, seq in reader.told if boot == 1}
    assert boot_1 == {0, 50, 51, 52, *range(10, 20)}
    assert {seq for _device, boot, seq in reader.told if boot == 700} == {5, 6, 7, 8}
    store.close()


def test_a_condensed_record_that_is_dropped_takes_its_parts_along(tmp_path: Path) -> None:
    store = Store(tmp_path / "items.db", QUOTA)
    layout = (1, 30, 30_000, 50, 7, b"", bytes(44), 9)
    whole = item(30)._replace(payload=CODEC.encode("Record", *layout), end_ms=30_000)
    store.append([whole], {})
    for boot in range(2, 160):
        store.append([item(seq, boot=boot) for seq in range(100)], {})
    told = decode_gap(store.read_after(0, 1)[0].item, None)
    assert (told.boot, told.first_seq, told.last_seq, told.seconds) == (1, 21, 30, 10.0)
    # Events between its seconds have numbers of their own, and may come later.
    event = item(25)._replace(kind=EVENT)
    assert [stored.item for stored in store.append([event], {})[0]] == [event]
    store.close()


def test_an_event_flood_in_a_small_quota_never_stops_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "items.db", QUOTA)
    wide = [item(seq, size=900)._replace(kind=EVENT) for seq in range(20_000)]
    refused = 0
    for at in range(0, len(wide), 500):
        while True:
            try:
                store.append(wide[at : at + 500], {})
                break
            except StoreError:
                refused += 1
                assert refused < 100
    assert store.path.stat().st_size <= QUOTA
    reader = Reader("mqtt")
    reader.take(store.read_after(0, 100_000))
    assert len(reader.got | reader.told) == 20_000
    store.close()


def test_what_is_delivered_and_older_than_the_retention_goes(tmp_path: Path) -> None:
    store = Store(tmp_path / "items.db", retention_h=2)
    slow, fast = Reader("slow"), Reader("fast")
    now_s = 1e6
    store.upkeep(now_s, (0, 0))
    for hour in range(6):
        store.append([item(seq) for seq in range(100 * hour, 100 * hour + 100)], {})
        fast.take(store.read_after(fast.at, 1000))
        slow.at = min(150, fast.at)
        now_s += HOUR_S
        while store.upkeep(now_s, (slow.at, fast.at)):
            pass
    assert store.stats()["expired"] == 150  # never what somebody still waits for
    slow.at = fast.at
    while store.upkeep(now_s, (slow.at, fast.at)):
        pass
    kept = [one.item.seq for one in store.read_after(0, 1000) if one.item.kind == RECORD]
    assert kept == list(range(400, 600))
    late = Reader("new")  # a bridge that comes later hears what is no longer there
    late.take(store.read_after(0, 1000))
    assert late.reasons == {"expired"}
    assert late.told | late.got == {("lathe", 1, seq) for seq in range(600)}
    assert store.alarm == ""
    store.close()
    # Without any bridge nothing counts as delivered.
    store = Store(tmp_path / "items.db", retention_h=1)
    store.upkeep(now_s, ())
    for _ in range(5):
        now_s += HOUR_S
        assert not store.upkeep(now_s, ())
    assert store.stats()["expired"] == 0
    store.close()


def test_the_quota_is_bounded_by_the_volume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "items.db"
    half = file.quota_for(path, None)
    assert file.QUOTA_MIN_BYTES <= half <= file.QUOTA_DEFAULT_MAX_BYTES
    assert file.quota_for(path, 20 << 20) == 20 << 20
    assert not caplog.records
    most = file.quota_for(path, 1 << 60)
    assert most < 1 << 60
    assert "quota_mb is more than the volume can hold" in caplog.text
