"""Group commit: when it commits, what it tells whom, and what it does when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clampgateway.committer import Committer
from clampgateway.model import Item
from clampgateway.store import file
from support.gateway_parts import Ingest, committing, until


def item(seq: int) -> Item:
    payload = b"\x05" + (1).to_bytes(4, "little") + seq.to_bytes(4, "little")
    return Item("lathe", 1, seq, 5, seq, seq, True, 7, payload)


class Bench(Ingest):
    """A committer as the gateway has it."""

    def __init__(self, path: Path, interval_s: float = 0.05, queue_items: int = 1000) -> None:
        super().__init__(path, interval_s=interval_s, queue_items=queue_items)
        self.acked: list[int] = []

    def ack(self, items: list[Item]) -> None:
        """What a link does; looks into the file by a connection of its own."""
        with contextlib.closing(sqlite3.connect(self.store.path)) as db:
            kept = {seq for (seq,) in db.execute("SELECT seq FROM items")}
        for one in items:
            assert one.seq in kept, "acknowledged before it was committed"
            self.acked.append(one.seq)

    def submit(self, *numbers: int) -> None:
        self.committer.submit([item(seq) for seq in numbers], self.ack)


def on_bench(bench_of: Callable[[], Bench], work: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = bench_of()
        async with committing(bench), asyncio.timeout(20):
            await work(bench)

    asyncio.run(run())


def test_many_submissions_share_one_commit_and_are_told_after_it(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        begun = time.monotonic()
        for seq in range(50):
            bench.submit(seq)
        assert bench.committer.pending == 50
        await until(lambda: len(bench.acked) == 50)
        assert time.monotonic() - begun < 1
        assert bench.acked == list(range(50))
        assert bench.committer.commits == 1
        assert bench.committer.pending == 0
        reader = bench.feed.reader("mqtt")
        assert len(await reader.batch()) == 50

    on_bench(lambda: Bench(tmp_path / "items.db"), work)


def test_a_lone_item_waits_no_longer_than_the_interval(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        for seq in range(3):
            begun = time.monotonic()
            bench.submit(seq)
            await until(lambda seq=seq: seq in bench.acked)
            assert 0.15 < time.monotonic() - begun < 1.0

    on_bench(lambda: Bench(tmp_path / "items.db", interval_s=0.2), work)


def test_a_full_batch_does_not_wait(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        begun = time.monotonic()
        bench.submit(*range(1000))
        await until(lambda: len(bench.acked) == 1000)
        assert time.monotonic() - begun < 0.9

    on_bench(lambda: Bench(tmp_path / "items.db", interval_s=1.0, queue_items=9000), work)


def test_what_came_again_is_told_again_and_published_once(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.submit(1, 2)
        await until(lambda: len(bench.acked) == 2)
        bench.submit(2, 3)
        await until(lambda: len(bench.acked) == 4)
        assert bench.acked == [1, 2, 2, 3]
        assert bench.committer.redelivered == 1
        assert bench.feed.published == 3

    on_bench(lambda: Bench(tmp_path / "items.db"), work)


def test_a_cursor_becomes_durable_without_any_item(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        reader = bench.feed.reader("mqtt")
        bench.submit(1)
        reader.done((await reader.batch())[0].id)
        await until(lambda: bench.store.cursor("mqtt") == 1, "the cursor")

    on_bench(lambda: Bench(tmp_path / "items.db"), work)


def test_a_description_is_stored_before_the_items_that_need_it(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.committer.describe("lathe", 7, [b"told"])
        bench.submit(1)
        await until(lambda: bench.acked)
        assert list(bench.store.descriptions()) == [("lathe", 7, [b"told"])]

    on_bench(lambda: Bench(tmp_path / "items.db"), work)


def test_nothing_is_told_while_commits_fail_and_everything_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.02)

    async def work(bench: Bench) -> None:
        other = sqlite3.connect(bench.store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        bench.committer.describe("lathe", 7, [b"told"])
        bench.submit(1, 2)
        await until(lambda: bench.committer.failures >= 2)
        bench.submit(3)
        failures = bench.committer.failures
        await until(lambda: bench.committer.failures >= failures + 2)  # one with the third in it
        assert bench.acked == []
        assert bench.feed.published == 0
        assert "locked" in str(bench.committer.stats()["alarm"])
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: bench.acked == [1, 2, 3])
        assert bench.committer.stats()["alarm"] == ""
        assert bench.feed.published == 3
        assert len(list(bench.store.descriptions())) == 1

    on_bench(lambda: Bench(tmp_path / "items.db"), work)


def test_congestion_is_told_and_ends_and_nothing_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.02)

    async def work(bench: Bench) -> None:
        other = sqlite3.connect(bench.store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for seq in range(0, 120, 10):
            bench.submit(*range(seq, seq + 10))
            assert bench.committer.congested == (seq >= 90)
        assert bench.committer.stats()["congestions"] == 1
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: len(bench.acked) == 120)
        assert not bench.committer.congested
        assert bench.acked == list(range(120))

    on_bench(lambda: Bench(tmp_path / "items.db", queue_items=100), work)


def test_flush_commits_everything_now(tmp_path: Path) -> None:
    async def run() -> None:
        bench = Bench(tmp_path / "items.db", interval_s=1.0, queue_items=20_000)
        reader = bench.feed.reader("mqtt")
        for seq in range(0, 9000, 100):
            bench.submit(*range(seq, seq + 100))
        await bench.committer.flush()
        assert len(bench.acked) == 9000
        reader.done((await reader.batch(10))[-1].id)
        await bench.committer.flush()
        assert bench.store.cursor("mqtt") == 10
        await bench.thread.close()

    asyncio.run(run())
    assert not (tmp_path / "items.db-wal").exists()


def test_an_interval_above_a_second_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "items.db")
    with pytest.raises(ValueError, match="at most 1 s"):
        Committer(bench.thread, bench.feed, 1.5)
    asyncio.run(bench.thread.close())
