"""The store over power cuts: every moment of recorded runs, with what a medium may hold then.

The run is the store's own code on the real SQLite; promises are noted when `append` returned.
An image passes if the store opens by itself, holds every item that was promised exactly once (as
itself, or inside a gap that it tells), and nothing that nobody gave it.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway.model import EVENT, GAP, RECORD, Item, decode_gap
from clampgateway.store import Store, StoreError
from support.faulttable import FaultTable
from support.powercut import (
    KEPT,
    LOST,
    OPERATIONS,
    SECTORS,
    FailingRecorder,
    Recorder,
    images,
    lay_out,
)
from support.sqlitevfs import installed

NAME = "store.db"
QUOTA = 192 << 10


def item(seq: int, device: str = "lathe", size: int = 80) -> Item:
    kind = EVENT if seq % 23 == 22 else RECORD
    payload = struct.pack("<BIIIBB", kind, 1, seq, 1000 * seq, 0, 5) + bytes([seq & 255]) * size
    return Item(device, 1, seq, kind, 1000 * seq, 1_700_000_000_000, True, 7, payload)


class Run:
    """A recorded run: what was given, in the order of the promises."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.recorder = recorder or Recorder()
        self.made: list[Item] = []
        self.start: dict[str, bytes] = {}

    def append(self, store: Store, items: list[Item], cursor: int) -> None:
        known = {one[:3] for one in self.made}
        self.made += [one for one in items if one[:3] not in known]  # given, though not promised
        store.append(items, {"mqtt": cursor}, (cursor,))
        self.recorder.mark(len(self.made))


def fresh_run(store_of: Callable[[], Store], run: Run) -> None:
    """A new store, batches of all sizes, repetitions, checkpoints between them, an orderly end."""
    chance = random.Random(7)
    store = store_of()
    store._db.execute("PRAGMA wal_autocheckpoint = 24")
    store.save_description("lathe", 7, [b"told" * 20])
    store.assign("unit", "", "lathe", 1, 246)
    seq = 0
    for turn in range(34):
        size = chance.choice((1, 1, 2, 5, 12))
        again = [item(number) for number in range(max(0, seq - 3), seq)] if turn % 5 == 4 else []
        run.append(store, again + [item(seq + at) for at in range(size)], max(0, seq - 9))
        seq += size
    store.close()


def full_run(store_of: Callable[[], Store], run: Run) -> None:
    """A store at its quota, filled before: each batch drops older items, a reader is behind."""
    store = store_of()
    store._db.execute("PRAGMA wal_autocheckpoint = 24")
    for turn in range(14):
        batch = [item(4000 + 20 * turn + at, size=600) for at in range(20)]
        run.append(store, batch, 290)
    store.close()


def fill(store: Store, run: Run) -> None:
    for first in range(0, 400, 40):
        run.append(store, [item(first + at, size=600) for at in range(40)], 290)


def check(folder: Path, run: Run, promises: int) -> tuple[int, int, int]:
    """(promised items that are silently missing, items there twice, items told as lost)."""
    store = Store(folder / NAME, QUOTA)
    try:
        assert store.set_aside == 0 or promises == 0, store.alarm
        found = store.read_after(0, 1_000_000)
        assert store.cursor("mqtt") <= store.last_id()
    finally:
        store.close()
    assert [each.id for each in found] == sorted({each.id for each in found})
    made = {one[:3]: one for one in run.made}
    there: set[tuple[str, int, int]] = set()
    told: set[tuple[str, int, int]] = set()
    doubled = 0
    for _id, one in found:
        if one.kind == GAP:
            gap = decode_gap(one, None)
            range_told = range(gap.first_seq, gap.last_seq + 1)
            told |= {(one.device, one.boot, seq) for seq in range_told}
            continue
        assert one == made[one[:3]], f"nobody made {one}"
        doubled += one[:3] in there
        there.add(one[:3])
    doubled += len(there & told)
    promised = {one[:3] for one in run.made[:promises]}
    return len(promised - there - told), doubled, len(told)


def tried(run: Run, folder: Path, modes: list[str], seed: int) -> tuple[int, int, int, int, float]:
    """(images, lost, doubled, told at most, slowest opening in s)."""
    count = lost = doubled = told = 0
    slowest_s = 0.0
    for _number, promises, files in images(run.recorder.operations, run.start, modes, seed):
        lay_out(files, folder)
        begun_s = time.monotonic()
        missing, twice, gaps = check(folder, run, promises)
        slowest_s = max(slowest_s, time.monotonic() - begun_s)
        count += 1
        lost += missing
        doubled += twice
        told = max(told, gaps)
    return count, lost, doubled, told, slowest_s


def recorded(
    folder: Path, body: Callable[[Callable[[], Store], Run], None], run: Run, quota: int | None
) -> None:
    with installed(run.recorder):
        body(lambda: Store(folder / NAME, quota), run)


def test_power_cuts_at_every_write_of_a_new_store(folder: Path, faults: FaultTable) -> None:
    run = Run()
    recorded(folder, fresh_run, run, None)
    kinds = {(each.what, each.name) for each in run.recorder.operations}
    assert {("write", NAME), ("write", f"{NAME}-wal"), ("sync", NAME)} <= kinds
    modes = [KEPT, LOST, OPERATIONS, OPERATIONS, SECTORS, SECTORS, SECTORS]
    count, lost, doubled, told, slowest_s = tried(run, folder, modes, 1)
    assert told == 0
    faults.add("power cut, store", count, lost, doubled, told, slowest_s, crash_images=True)
    assert count >= 3200


def test_power_cuts_at_every_write_of_a_store_at_its_quota(
    folder: Path, faults: FaultTable
) -> None:
    run = Run()
    store = Store(folder / NAME, QUOTA)
    fill(store, run)
    store.close()
    del run.recorder.operations[:-1]  # of the promises before, their number
    run.start = {path.name: path.read_bytes() for path in folder.iterdir()}
    recorded(folder, full_run, run, QUOTA)
    modes = [KEPT, LOST, SECTORS]
    count, lost, doubled, told, slowest_s = tried(run, folder, modes, 2)
    assert told > 100
    faults.add("power cut, full store", count, lost, doubled, told, slowest_s, crash_images=True)
    assert count >= 1200


def test_power_cuts_while_an_old_store_is_brought_forward(
    folder: Path, faults: FaultTable
) -> None:
    run = Run()
    store = Store(folder / NAME)
    fill(store, run)
    # What version 1 left: the same tables without all that later ones brought.
    tables = (
        "drops", "hours", "restamps", "restamping", "eras", "parked", "ledger", "removals",
    )  # fmt: skip
    drops = "".join(f"DROP TABLE {name};" for name in tables)
    store._db.executescript(
        f"{drops} DROP INDEX undated; ALTER TABLE items DROP COLUMN rev; PRAGMA user_version = 1;"
    )
    store.close()
    del run.recorder.operations[:-1]
    run.start = {path.name: path.read_bytes() for path in folder.iterdir()}
    recorded(folder, lambda store_of, _run: store_of().close(), run, None)
    modes = [KEPT, LOST, OPERATIONS, OPERATIONS, OPERATIONS, SECTORS, SECTORS, SECTORS]
    count, lost, doubled, told, slowest_s = tried(run, folder, modes, 3)
    faults.add("power cut, upgrade", count, lost, doubled, told, slowest_s, crash_images=True)
    assert count >= 50


def test_power_cuts_after_syncs_that_failed(folder: Path, faults: FaultTable) -> None:
    """The worst that a failed sync may mean: nothing of it ever reaches the medium."""
    count = lost = doubled = failed = 0
    slowest_s = 0.0
    for seed in range(2):
        for old in folder.iterdir():
            old.unlink()
        recorder = FailingRecorder(0.25, seed)
        run = Run(recorder)

        def body(store_of: Callable[[], Store], run: Run) -> None:
            store = opened(store_of)
            store._db.execute("PRAGMA wal_autocheckpoint = 24")
            seq = 0
            while seq < 16:
                try:
                    run.append(store, [item(seq), item(seq + 1)], 0)
                    seq += 2
                except StoreError:
                    continue  # as the committer does: the same again, nothing acknowledged
            store.close()

        recorded(folder, body, run, None)
        result = tried(run, folder, [LOST, SECTORS], seed)
        count += result[0]
        lost += result[1]
        doubled += result[2]
        slowest_s = max(slowest_s, result[4])
        failed += recorder.failed
    assert failed > 5
    faults.add(
        f"power cut after {failed} failed syncs", count, lost, doubled, 0, slowest_s,
        crash_images=True,
    )  # fmt: skip


def opened(store_of: Callable[[], Store]) -> Store:
    """A store whose making may fail, as a start of the service does."""
    while True:
        try:
            return store_of()
        except StoreError:
            continue


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_simulator_finds_the_loss_of_a_store_that_syncs_less(
    folder: Path, synchronous: str
) -> None:
    """A test that cannot fail would be none: with a weaker setting it must find losses."""
    run = Run()

    def weaker(store_of: Callable[[], Store], run: Run) -> None:
        store = store_of()
        store._db.execute(f"PRAGMA synchronous = {synchronous}")
        for seq in range(60):
            run.append(store, [item(seq)], 0)
        store.close()

    recorded(folder, weaker, run, None)
    lost = 0
    for number, promises, files in images(run.recorder.operations, {}, [LOST], 1):
        if number % 10 == 0:
            lay_out(files, folder)
            store = Store(folder / NAME)
            lost += len(store.read_after(0, 1000)) < promises
            store.close()
    assert lost > 10


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_many_more_power_cuts(folder: Path, faults: FaultTable, seed: int) -> None:
    run = Run()
    recorded(folder, fresh_run, run, None)
    count, lost, doubled, told, slowest_s = tried(run, folder, [OPERATIONS, SECTORS], 100 + seed)
    faults.add(f"power cut, seed {seed}", count, lost, doubled, told, slowest_s, crash_images=True)
