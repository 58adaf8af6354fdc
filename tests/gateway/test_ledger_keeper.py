"""The ledger beside a real store: saved with its place, told, killed, restarted, corrected."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from clampgateway.committer import StoreThread
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.feed import Feed
from clampgateway.ledger import Day, LedgerKeeper, day_name
from clampgateway.ledger.keeper import LedgerStore
from clampgateway.model import Item, Stored
from clampgateway.store import Store, StoreError
from clampgateway.utcclock import Era
from support.datedlog import OFFSET_MS, dating, item_of, right_ms, worked_off
from support.gateway_parts import stop, until
from support.ledgermodel import event, gap, record
from support.ledgertruth import DAY_MS

NOW_MS = 20_000 * DAY_MS + 43_200_000
DAY = 20_000


def item(
    seq: int,
    *,
    device: str = "lathe",
    boot: int = 1,
    at_ms: int | None = None,
    synced: bool = True,
    payload: bytes | None = None,
) -> Item:
    utc_ms = NOW_MS + 1000 * seq if at_ms is None else at_ms
    payload = payload or record(boot, seq, 1000 * seq)
    zero = (utc_ms, True) if synced else (0, False)
    return Item(device, boot, seq, payload[0], 1000 * seq, *zero, 7, payload)


class Bench:
    """Store, feed and keeper over one file; `put` commits and publishes as the committer does."""

    def __init__(self, path: Path, **store: Any) -> None:  # noqa: ANN401 - as Store takes them
        self.path = path
        self.store = Store(path, **store)
        self.thread = StoreThread(self.store)
        self.devices = Devices()
        self.feed = Feed(
            self.devices,
            Descriptions(()),
            self.thread.read_after,
            lambda: 0.0,
            self.store.cursors(),
            self.store.last_id(),
        )
        self.now_ms = NOW_MS + 1000
        self.redelivered: dict[str, int] = {}
        self.fail = ""
        self.task: asyncio.Task[None] | None = None
        self.keeper = LedgerKeeper(
            self.feed,
            self.store.cursor("ledger"),
            LedgerStore(self.thread.read_ledger, self._save, self.thread.read_range),
            lambda: self.redelivered,
            lambda: self.now_ms,
            self.devices,
            save_s=0.05,
            tell_s=0.02,
        )

    async def _save(self, rows: list[tuple[str, int, bytes]], up_to: int) -> None:
        if self.fail:
            raise StoreError(self.fail)
        await self.thread.save_ledger(rows, up_to)

    async def put(self, *items: Item) -> list[Stored]:
        self.now_ms = max([self.now_ms, *(each.utc_ms + 500 for each in items)])
        fences = self.feed.fences()
        new, _ = await self.thread.run(self.store.append, items, self.feed.cursors(), fences)
        self.feed.publish(new)
        return new

    async def settled(self) -> None:
        """All that was put is in the books, and saved."""
        await until(self._is_settled, "a save", 20)

    def _is_settled(self) -> bool:
        if self.task is not None and self.task.done():
            self.task.result()
        return self.store.cursor("ledger") >= self.feed.last_id

    async def days(self, device: str = "lathe") -> dict[str, Day]:
        found = await self.keeper.read(device, None, None)
        return {day.day: day for day in found[0].days} if found else {}


@contextlib.asynccontextmanager
async def bench_at(path: Path, **store: Any) -> AsyncIterator[Bench]:  # noqa: ANN401
    bench = Bench(path, **store)
    bench.task = asyncio.create_task(bench.keeper.run())
    try:
        yield bench
    finally:
        await stop(bench.task)
        await bench.thread.close()


def test_a_day_in_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            told: list[str] = []
            bench.keeper.watch(told.append)
            await bench.put(*(item(seq) for seq in range(10)))
            lost = gap(1, 20, 20_000, 1, 12, 14)
            condensed = record(1, 30, 30_000, before=9)
            await bench.put(item(11), item(20, payload=lost), item(25, payload=event(1, 25, 1)))
            await bench.put(item(30, payload=condensed), item(0, boot=2, at_ms=NOW_MS + 50_000))
            bench.redelivered["lathe"] = 3
            await bench.settled()
            await until(lambda: b'"redelivered":3' in bench.keeper.payload("lathe"), "a payload")
            day = (await bench.days())["2024-10-04"]
            assert (day.expected, day.received, day.condensed) == (32, 15, 8)
            assert (day.lost, day.pending, day.late) == (3, 6, 0)
            assert [(r.boot, r.first, r.last, r.reason) for r in day.lost_ranges] == [
                (1, 12, 14, "spool_full")
            ]
            assert [(r.boot, r.first, r.last, r.n) for r in day.pending_ranges] == [
                (1, 10, 10, 1),
                (1, 15, 19, 5),
            ]
            # From the last item of power-up 1, at second 30, to the beginning of power-up 2.
            assert day.absent_s == 20
            assert told
            assert set(told) == {"lathe"}
            said = json.loads(bench.keeper.payload("lathe"))
            assert said["device"] == "lathe"
            assert said["days"][0]["expected"] == 32

    asyncio.run(scenario())


def test_late_is_what_is_committed_a_minute_after_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            await bench.put(item(0))
            await bench.settled()
            bench.now_ms = NOW_MS + 100_000
            await bench.put(*(item(seq) for seq in range(1, 80)))
            await bench.settled()
            # Ended 99 to 61 s before they were committed: numbers 1 to 39.
            assert (await bench.days())["2024-10-04"].late == 39

    asyncio.run(scenario())


def test_behind_after_a_restart_the_log_itself_tells_what_is_late(tmp_path: Path) -> None:
    async def before() -> None:
        bench = Bench(tmp_path / "store.db")
        await bench.put(*(item(seq) for seq in range(200)))
        await bench.put(item(1000), item(500), item(950), item(1001))
        await bench.thread.close()

    async def after() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            bench.now_ms = NOW_MS + 10 * DAY_MS
            await bench.settled()
            assert (await bench.days())["2024-10-04"].late == 1

    asyncio.run(before())
    asyncio.run(after())


def test_killed_at_any_time_and_going_on_from_the_file(tmp_path: Path) -> None:
    """A copy of the files while all runs is what a kill leaves."""
    choose = random.Random(7)
    truth: list[int] = []

    async def run(path: Path, copy: Path, first: int, kill: bool) -> int:
        async with bench_at(path) as bench:
            seq = first
            for _ in range(6):
                more = choose.randint(1, 300)
                kept = [n for n in range(seq, seq + more) if choose.random() < 0.97]
                truth.extend(kept)
                await bench.put(*(item(n) for n in kept))
                seq += more
                await asyncio.sleep(choose.random() * 0.06)
            if kill:
                await bench.thread.run(_copy, path, copy)
            else:
                await bench.settled()
                day = (await bench.days())["2024-10-04"]
                expected = max(truth) - min(truth) + 1
                assert (day.expected, day.received) == (expected, len(truth))
                assert day.pending == expected - len(truth)
                assert bench.keeper.stats()["again"] == 0
            return seq

    seq = 0
    for turn in range(6):
        source, copy = tmp_path / f"{turn}.db", tmp_path / f"{turn + 1}.db"
        seq = asyncio.run(run(source, copy, seq, kill=turn < 5))


def _copy(source: Path, copy: Path) -> None:
    for part in ("", "-wal"):
        there = source.with_name(source.name + part)
        if there.exists():
            shutil.copy(there, copy.with_name(copy.name + part))


def test_what_the_gateway_drops_unread_is_lost_and_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path / "store.db", quota_bytes=1 << 20)
        for start in range(0, 12_000, 500):
            big = {n: record(1, n, 1000 * n) + bytes(60) for n in range(start, start + 500)}
            await bench.put(*(item(n, payload=body) for n, body in big.items()))
        dropped = int(bench.store.stats()["dropped"])
        assert dropped
        await bench.thread.close()
        async with bench_at(tmp_path / "store.db", quota_bytes=1 << 20) as later:
            await later.settled()
            day = (await later.days())["2024-10-04"]
            assert (day.expected, day.received, day.lost) == (12_000, 12_000 - dropped, dropped)
            assert {each.reason for each in day.lost_ranges} == {"store_full"}

    asyncio.run(scenario())


def test_an_old_day_comes_back_for_what_is_late_and_is_let_go_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            for day in range(30):
                at_ms = NOW_MS + day * DAY_MS
                await bench.put(
                    *(item(10 * day + n, at_ms=at_ms + n) for n in range(10) if n != 5)
                )
            await bench.settled()
            loads = bench.keeper.loads
            await bench.settled()
            assert len(await bench.days()) == 30
            held = bench.keeper.stats()["spans"]
            await bench.put(item(25, at_ms=NOW_MS + 2 * DAY_MS + 5))
            await bench.settled()
            assert bench.keeper.loads > loads
            days = list((await bench.days()).values())
            assert [each.received for each in days] == [10 if n == 2 else 9 for n in range(30)]
            assert [each.pending for each in days] == [0 if n == 2 else 1 for n in range(30)]
            assert isinstance(held, int)
            assert held < 20

    asyncio.run(scenario())


def test_asked_for_some_days(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            await bench.put(*(item(n, at_ms=NOW_MS + n * DAY_MS) for n in range(8)))
            await bench.put(item(0, device="mill", at_ms=NOW_MS), item(9, synced=False))
            await bench.settled()
            found = await bench.keeper.read(None, DAY + 2, DAY + 6)
            assert [each.device for each in found] == ["lathe"]
            assert [day.day for day in found[0].days] == [f"2024-10-{n:02}" for n in range(6, 11)]
            found = await bench.keeper.read(None, None, DAY)
            assert [(f.device, [d.day for d in f.days]) for f in found] == [
                ("lathe", ["unsynced", "2024-10-04"]),
                ("mill", ["2024-10-04"]),
            ]

    asyncio.run(scenario())


def test_a_save_that_fails_is_tried_again_and_seen(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            bench.fail = "store full of water"
            await bench.put(item(0), item(1))
            await until(lambda: bench.keeper.save_failures > 1, "two failures")
            assert bench.keeper.stats()["alarm"] == "store full of water"
            bench.fail = ""
            await bench.settled()
            assert bench.keeper.stats()["alarm"] == ""
            assert (await bench.days())["2024-10-04"].received == 2

    asyncio.run(scenario())


def test_a_row_that_cannot_be_read_is_counted_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "store.db")
    store.save_ledger([("lathe", DAY - 1, b"\xc1junk"), ("lathe", DAY - 2, b"")], 0)
    store.close()

    async def scenario() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            await bench.put(item(0))
            await bench.settled()
            assert (await bench.days())["2024-10-04"].received == 1
            assert bench.keeper.rows_unreadable >= 2

    asyncio.run(scenario())
    assert "2024-10-03" in caplog.text


def test_the_books_of_many_devices_are_small(tmp_path: Path) -> None:
    """200 devices over 400 days: what is closed is in the store alone."""
    from clampgateway.ledger import Ledger

    ledger = Ledger()
    rows: dict[str, dict[int, bytes]] = {}
    number = 0
    for day in range(400):
        at_ms = NOW_MS + day * DAY_MS
        for index in range(200):
            key = f"device-{index:03}"
            number += 1
            one = item(2 * day, device=key, at_ms=at_ms)
            while (need := ledger.take([Stored(number, one)], at_ms)) is not None:
                first = need.device not in ledger.devices()
                ledger.load(need.device, rows.get(need.device, {}))
                if first:
                    ledger.close_old(need.device)
        if day % 5 == 4:
            for key in ledger.devices():
                changed = ledger.changed(key)
                rows.setdefault(key, {}).update(changed)
                ledger.wrote(key, changed)
                ledger.close_old(key)
    assert ledger.stats()["spans"] <= 200 * 6
    assert {len(of) for of in rows.values()} == {400}


@pytest.mark.parametrize("cut", [lambda body: body[:14], lambda body: body[:20]])
def test_a_gap_that_does_not_decode_is_counted(
    tmp_path: Path, cut: Callable[[bytes], bytes]
) -> None:
    async def scenario() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            payload = cut(gap(1, 1, 1000, 1, 5, 9)) + b"\x01"
            await bench.put(item(0), item(1, payload=payload), item(2))
            await bench.settled()
            assert bench.keeper.stats()["unreadable"] == 1
            assert (await bench.days())["2024-10-04"].received == 3

    asyncio.run(scenario())


def test_times_that_are_corrected_in_the_store_move_to_their_day(tmp_path: Path) -> None:
    """Items without a time, and items of a wrong one: the file too has no other day left."""

    async def scenario() -> None:
        async with bench_at(tmp_path / "store.db") as bench:
            bench.now_ms = right_ms(item_of(0)) + 1000
            await bench.put(*(item_of(seq) for seq in range(40) if seq != 7))
            await bench.settled()
            assert [day.received for day in (await bench.days()).values()] == [39]
            assert list(await bench.days()) == ["unsynced"]
            bench.store.save_eras([Era(2, "run", OFFSET_MS)])
            how = dating(("lathe", 1))
            told = await bench.thread.run(worked_off, bench.store, how)
            assert told
            bench.feed.publish(told)
            await bench.settled()
            days = await bench.days()
            name = day_name(right_ms(item_of(0)) // DAY_MS)
            assert list(days) == [name]
            day = days[name]
            assert (day.expected, day.received, day.pending, day.late) == (40, 39, 1, 0)
            assert bench.keeper.stats()["restamped"] == 39
        rows = dict(_rows(tmp_path / "store.db"))
        assert sorted(rows) == [0, right_ms(item_of(0)) // DAY_MS]

    asyncio.run(scenario())


def _rows(path: Path) -> list[tuple[int, bytes]]:
    store = Store(path)
    try:
        return [(day, body) for _device, day, body in store.read_ledger()]
    finally:
        store.close()
