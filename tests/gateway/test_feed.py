"""The feed over a real store: what readers get, what they missed, what everybody sees."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clampgateway.committer import StoreThread
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Device, Devices
from clampgateway.feed import Feed, FeedError, Reader
from clampgateway.model import GAP, Item, Reading, Stored
from clampgateway.store import Store
from clampwire.codec import Codec
from clampwire.messages import EVENT_KINDS, GAP_REASONS, MACHINE_STATES, NO_CHANNEL, code_of
from clampwire.values import CLIPPED, pack_flags, pack_values
from support.devicelink import CURRENT, LAYOUT

CODEC = Codec()
DESCRIBE = CODEC.encode("Describe", 7, 7, 1, 0, *CURRENT)


def record(seq: int, device: str = "lathe", boot: int = 1, rms_a: float = 1.0) -> Item:
    values = pack_values(LAYOUT, (rms_a, 2 * rms_a))
    flags = pack_flags([CLIPPED if rms_a > 9 else 0])
    payload = CODEC.encode("Record", boot, seq, 1000 * seq, 5, 7, flags, values)
    return Item(device, boot, seq, 4, 1000 * seq, 1_760_000_000_000 + 1000 * seq, True, 7, payload)


def state(seq: int, word: str, device: str = "lathe") -> Item:
    value, kind = code_of(MACHINE_STATES, word), code_of(EVENT_KINDS, "state")
    payload = CODEC.encode("Event", 1, seq, 1000 * seq, NO_CHANNEL, kind, value, f"why {seq}")
    return Item(device, 1, seq, 5, 1000 * seq, 1_760_000_000_000 + 1000 * seq, True, 7, payload)


def gap(seq: int) -> Item:
    reason = code_of(GAP_REASONS, "spool_full")
    payload = CODEC.encode("Gap", 1, seq, 1000, reason, NO_CHANNEL, 3, 8, 3000, 8000, 0)
    return Item("lathe", 1, seq, GAP, 1000, 1_760_000_000_000, True, 7, payload)


class Bench:
    """Store, thread and feed as the gateway has them; `put` commits and publishes."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self.thread = StoreThread(self.store)
        self.devices = Devices()
        self.reads = 0
        told = [(device, 7, [DESCRIBE]) for device in ("lathe", "mill", "saw")]
        self.feed = Feed(
            self.devices,
            Descriptions(told),
            self._read,
            lambda: 42.0,
            self.store.cursors(),
            self.store.last_id(),
            self.store.recent_events(16),
        )

    async def _read(self, after: int, limit: int) -> list[Stored]:
        self.reads += 1
        return await self.thread.read_after(after, limit)

    async def put(self, *items: Item) -> None:
        new, _ = await self.thread.run(self.store.append, items, self.feed.cursors())
        self.feed.publish(new)


def on_bench(path: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    """Run `work` on a bench over the store at `path`."""

    async def run() -> None:
        bench = Bench(path)
        try:
            await work(bench)
        finally:
            await bench.thread.close()

    asyncio.run(run())


def seqs(items: list[Stored]) -> list[int]:
    return [stored.item.seq for stored in items]


def test_a_reader_gets_all_in_order_and_waits_for_more(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        reader = bench.feed.reader("mqtt")
        waiting = asyncio.create_task(reader.batch())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await bench.put(record(0), record(1))
        assert seqs(await waiting) == [0, 1]
        await bench.put(record(2), record(3), record(4))
        assert seqs(await reader.batch(2)) == [2, 3]
        assert seqs(await reader.batch(2)) == [4]
        assert bench.reads == 0  # all from memory

    on_bench(tmp_path / "items.db", work)


def test_after_a_restart_a_reader_goes_on_behind_what_is_done(tmp_path: Path) -> None:
    async def before(bench: Bench) -> None:
        reader = bench.feed.reader("mqtt")
        await bench.put(*(record(seq) for seq in range(10)))
        items = await reader.batch()
        reader.done(items[3].id)
        await bench.put(record(10))  # the cursor becomes durable with this commit

    async def after(bench: Bench) -> None:
        reader = bench.feed.reader("mqtt")
        assert bench.feed.stats()["readers"] == {"mqtt": {"cursor": 4, "backlog": 7}}
        assert seqs(await reader.batch(4)) == [4, 5, 6, 7]
        await bench.put(record(11))
        assert seqs(await reader.batch(4)) == [8, 9, 10, 11]  # half from the store, half new
        reader.rewind()
        assert seqs(await reader.batch(1)) == [4]
        fresh = bench.feed.reader("other")
        assert seqs(await fresh.batch(100)) == list(range(12))

    on_bench(tmp_path / "items.db", before)
    on_bench(tmp_path / "items.db", after)


def test_a_bridge_that_starts_again_takes_the_cursor_from_its_old_reader(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        old = bench.feed.reader("mqtt")
        await bench.put(*(record(seq) for seq in range(5)))
        old.done((await old.batch())[1].id)
        new = bench.feed.reader("mqtt")
        old.done(5)
        assert bench.feed.cursors() == {"mqtt": 2}
        assert seqs(await new.batch()) == [2, 3, 4]
        new.done(4)
        new.done(1)  # never backwards
        assert bench.feed.cursors() == {"mqtt": 4}

    on_bench(tmp_path / "items.db", work)


def test_a_cursor_beyond_a_hole_in_the_ids_is_no_end(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.put(record(0), record(1))
        await bench.put(record(0), record(1), record(2))  # ids 3 and 4 name nothing
        reader = bench.feed.reader("mqtt")
        assert seqs(await reader.batch()) == [0, 1, 2]
        waiting = asyncio.create_task(reader.batch())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await bench.put(record(3))
        assert seqs(await waiting) == [3]

    on_bench(tmp_path / "items.db", work)

    async def again(bench: Bench) -> None:
        await bench.thread.run(bench.store._db.execute, "DELETE FROM items WHERE seq < 3")
        reader = bench.feed.reader("late")
        assert seqs(await reader.batch()) == [3]

    on_bench(tmp_path / "items.db", again)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), tail=st.integers(1, 30))
def test_any_readers_at_any_pace_each_get_everything_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, tail: int
) -> None:
    chance = random.Random(seed)
    total = 150

    async def read(reader: Reader, into: list[int]) -> None:
        while len(into) < total:
            items = await reader.batch(chance.randint(1, 40))
            into += seqs(items)
            reader.done(items[-1].id)
            for _ in range(chance.choice([0, 0, 1, 5])):
                await asyncio.sleep(0)

    async def work(bench: Bench) -> None:
        got: list[list[int]] = [[], [], []]
        tasks = [
            asyncio.create_task(read(bench.feed.reader(f"r{number}"), into))
            for number, into in enumerate(got)
        ]
        made = 0
        while made < total:
            count = min(chance.randint(1, 20), total - made)
            await bench.put(*(record(seq) for seq in range(made, made + count)))
            made += count
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)
        assert got == [list(range(total))] * 3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clampgateway.feed.feed.TAIL_ITEMS", tail)
        on_bench(tmp_path_factory.mktemp("feed") / "items.db", work)


# --- what everybody sees -------------------------------------------------------------------------


def test_devices_show_the_newest_record_and_count_all(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        changes: list[tuple[str, str]] = []
        bench.devices.watch(lambda device, what: changes.append((device.key, what)))
        history = [record(seq, rms_a=0.5) for seq in range(20)]
        live = [record(50, rms_a=4.25), record(51, rms_a=10.5)]
        await bench.put(*live, *history, record(3, "mill"))
        device = bench.devices.at("lathe")
        assert isinstance(device.reading, Reading)
        assert device.reading.seq == 51
        assert device.reading.channels["current1"]["rms"] == 10.5
        assert device.reading.flags == ("clipped",)
        assert device.reading_mono == 42.0
        assert device.records == 22
        assert bench.devices.at("mill").records == 1
        assert changes == [
            (key, what) for key in ("lathe", "mill") for what in ("added", "reading")
        ]
        await bench.put(record(30))  # older than what is shown
        assert device.reading.seq == 51
        assert device.records == 23
        await bench.put(record(0, boot=2))
        assert (device.reading.boot, device.reading.seq) == (2, 0)

    on_bench(tmp_path / "items.db", work)


def test_states_survive_a_restart(tmp_path: Path) -> None:
    async def before(bench: Bench) -> None:
        await bench.put(state(1, "idle"), record(2), state(3, "working"), gap(4))
        device = bench.devices.at("lathe")
        assert (device.state.state, device.state.why) == ("working", "why 3")
        assert device.state.since_ms == 1_760_000_003_000
        assert (device.events, device.gaps, device.records) == (2, 1, 1)
        await bench.put(state(2, "off"))  # history
        assert device.state.state == "working"

    async def after(bench: Bench) -> None:
        device = bench.devices.get("lathe")
        assert isinstance(device, Device)
        assert (device.state.state, device.state.why) == ("working", "why 3")
        assert device.events == 0  # since start
        assert device.reading is None

    on_bench(tmp_path / "items.db", before)
    on_bench(tmp_path / "items.db", after)


def test_what_does_not_decode_is_counted_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(bench: Bench) -> None:
        reader = bench.feed.reader("mqtt")
        short = record(0)._replace(payload=record(0).payload[:-1])
        unknown = record(1)._replace(describe_crc=99)
        unknown_too = record(2)._replace(describe_crc=99)
        await bench.put(short)
        await bench.put(unknown)
        await bench.put(unknown_too)
        await bench.put(record(3))
        assert bench.feed.stats()["undecodable"] == 3
        assert bench.devices.at("lathe").records == 4
        items = await reader.batch()
        assert seqs(items) == [0, 1, 2, 3]
        with pytest.raises(FeedError, match=r"lathe/1/0.*does not fit"):
            bench.feed.decode(items[0].item)
        with pytest.raises(FeedError, match="lathe/1/1: no description 00000063"):
            bench.feed.decode(items[1].item)
        assert bench.feed.description("lathe", 99) is None
        assert bench.feed.description("lathe", 7) is not None

    on_bench(tmp_path / "items.db", work)
    errors = [entry for entry in caplog.records if entry.levelname == "ERROR"]
    assert len(errors) == 2  # one a description, not one an item
