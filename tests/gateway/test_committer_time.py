"""The committer on time and readers: eras before items, corrections, what is put aside."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clampgateway import committer
from clampgateway.model import RESTAMPED, Item, Parked, Stored, restamped_range
from clampgateway.store import file
from clampgateway.utcclock import Era
from support.datedlog import OFFSET_MS, dating, item_of, right_ms
from support.gateway_parts import Ingest, committing, until


class Bench(Ingest):
    """A committer, as the gateway has it, whose clock a test holds."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.acked: list[Item] = []

    def ack(self, items: list[Item]) -> None:
        """As a link does; the era of what is acknowledged must be in the file by then."""
        with contextlib.closing(sqlite3.connect(self.store.path)) as db:
            eras = {0, 1} | {number for (number,) in db.execute("SELECT number FROM eras")}
        assert {one.synced for one in items} <= eras
        self.acked += items

    def submit(self, *items: Item) -> None:
        self.committer.submit(list(items), self.ack)


def on_bench(path: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench(path)
        async with committing(bench), asyncio.timeout(30):
            await work(bench)

    asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.db"


def test_an_era_is_kept_before_what_is_dated_in_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.02)

    async def work(bench: Bench) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        bench.news.append(Era(2, "run", OFFSET_MS))
        bench.submit(item_of(1, era=2))
        await until(lambda: bench.committer.failures >= 2)
        bench.news.append(Era(3, "run", OFFSET_MS + 5000))
        bench.submit(item_of(2, era=3))
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: len(bench.acked) == 2)
        assert [era.number for era in bench.store.eras()] == [2, 3]

    on_bench(path, work)


def test_an_era_is_kept_although_nothing_comes(path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.news.append(Era(2, "run", OFFSET_MS))
        await until(lambda: bench.store.eras() == [Era(2, "run", OFFSET_MS)])

    on_bench(path, work)


def test_readers_hear_of_what_was_corrected_behind_the_items(path: Path) -> None:
    async def work(bench: Bench) -> None:
        reader = bench.feed.reader("mqtt")
        made = [item_of(seq) for seq in range(30)]
        bench.submit(*made)
        await until(lambda: len(bench.acked) == 30)
        first = await reader.batch()
        assert [one.item for one in first] == made
        bench.dating = dating(("lathe", 1))
        bench.news.append(Era(2, "run", OFFSET_MS))  # looked at at once, not in ten seconds
        begun_s = time.monotonic()
        (told,) = await reader.batch()
        assert time.monotonic() - begun_s < 5
        assert told.item.kind == RESTAMPED
        assert restamped_range(told.item) == (1, 0, 29)
        assert told.id == first[-1].id + 1
        found = await bench.thread.read_range("lathe", 1, 0, 29, -1, 99)
        assert [one.item.utc_ms for one in found] == [right_ms(one) for one in made]
        bench.submit(item_of(31, era=2))
        (after,) = await reader.batch()
        assert after.id == told.id + 1

    on_bench(path, work)


def test_many_are_corrected_step_by_step_although_nothing_comes(path: Path) -> None:
    """Ten steps of 500 rows, which take a second and not ten."""

    async def work(bench: Bench) -> None:
        count = 5000
        bench.submit(*(item_of(seq) for seq in range(count)))
        await until(lambda: len(bench.acked) == count)
        bench.dating = dating(("lathe", 1))
        bench.news.append(Era(2, "run", OFFSET_MS))
        await until(bench.store.eras)
        begun_s = time.monotonic()
        found: list[Stored] = []
        while not found or not found[-1].item.rev:
            await asyncio.sleep(0.05)
            found = await bench.thread.read_range("lathe", 1, count - 1, count - 1, -1, 9)
        assert time.monotonic() - begun_s < 6

    on_bench(path, work)


def test_nothing_is_dated_in_an_era_that_is_not_kept_yet(path: Path) -> None:
    """The step is seen in the moment in which a correction asks for the time."""

    async def work(bench: Bench) -> None:
        made = [item_of(seq) for seq in range(30)]
        bench.submit(*made)
        await until(lambda: len(bench.acked) == 30)

        def sees_a_step() -> None:
            if bench.dating is None and bench.store.eras():
                bench.dating = dating(("lathe", 1), era=3)
                bench.news.append(Era(3, "run", OFFSET_MS))

        bench.on_dating = sees_a_step
        bench.news.append(Era(2, "run", OFFSET_MS - 5000))
        found: list[Stored] = []

        async def dated_in(era: int) -> None:
            while {one.item.synced for one in found} != {era}:  # the bench ends what takes long
                await asyncio.sleep(0.01)
                found[:] = await bench.thread.read_range("lathe", 1, 0, 29, -1, 99)

        await dated_in(3)
        # An era is on record from before its first row: the next step finds them.
        bench.news.append(Era(4, "run", OFFSET_MS + 7000))
        await dated_in(4)
        assert [one.item.utc_ms for one in found] == [right_ms(one) + 7000 for one in made]

    on_bench(path, work)


def test_who_waits_for_all_is_told_after_the_next_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked while a commit is under way, with nothing behind it."""
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.02)
    monkeypatch.setattr(committer, "CURSORS_S", 60.0)

    async def work(bench: Bench) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        bench.submit(item_of(1))
        await until(lambda: bench.committer.failures >= 1)
        waiting = asyncio.create_task(bench.committer.settled())
        await asyncio.sleep(0)
        assert not bench.acked
        other.execute("ROLLBACK")
        other.close()
        await until(waiting.done, "the end of the wait", 5)
        assert len(bench.acked) == 1

    on_bench(path, work)


def test_what_readers_put_aside_is_as_durable_as_their_cursors(path: Path) -> None:
    rows = (Parked("hall/lathe/data", "lathe", 1 << 4, 1, 2, 0x87),)

    async def work(bench: Bench) -> None:
        bench.submit(item_of(1, era=1), item_of(2, era=1))
        await until(lambda: len(bench.acked) == 2)
        aside: dict[str, tuple[Parked, ...]] = {"mqtt": rows}
        bench.feed.parked = lambda: dict(aside)
        await until(lambda: bench.store.parked() == {"mqtt": list(rows)})
        aside["mqtt"] = ()
        await bench.committer.flush()
        assert bench.store.parked() == {}

    on_bench(path, work)


def test_ids_of_one_device_are_found_among_many_of_another(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clampgateway.store.thread.READ_IDS", 50)

    async def work(bench: Bench) -> None:
        rare = [item_of(seq, "saw", era=1) for seq in range(0, 400, 40)]
        many = [item_of(seq, era=1) for seq in range(400)]
        bench.submit(*(one for seq in range(400) for one in (many[seq], *rare[seq // 40 :][:1])
                       if one.seq == seq))  # fmt: skip
        await until(lambda: len(bench.acked) == 410)
        kinds = sum(1 << kind for kind in range(32))
        last = bench.store.last_id()
        found = await bench.thread.read_ids("saw", kinds, 0, last, 99)
        assert [one.item for one in found] == rare
        assert await bench.thread.read_ids("saw", kinds, 0, last, 3) == found[:3]
        assert await bench.thread.read_ids("saw", kinds, found[2].id, last, 99) == found[3:]

    on_bench(path, work)


def test_the_ledger_and_who_sends_again_are_reached_from_the_loop(path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.submit(item_of(1, era=1))
        bench.submit(item_of(1, era=1), item_of(2, "saw", era=1))
        await until(lambda: len(bench.acked) == 3)
        assert bench.committer.redelivered_by == {"lathe": 1}
        await bench.thread.save_ledger([("lathe", 20_000, b"x")], 2)
        assert await bench.thread.read_ledger("lathe") == [("lathe", 20_000, b"x")]

    on_bench(path, work)
