"""No memory: what is kept back for it, and that no part stops working for having had none.

Allocations fail for real: CPython's own test module makes the Nth of them do so.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from clampgateway.committer import Committer
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.feed import Feed
from clampgateway.health import LoopErrors
from clampgateway.memory import LIMIT_S, OUT_LEAST_S, RESERVE_BYTES, Reserve
from clampgateway.model import RECORD, Item, Stored
from clampgateway.supervisor import Supervisor
from support.devicelink import DeviceModel
from support.gateway_parts import running
from support.serialbench import until
from support.tcpbench import TcpBench, on_tcp_bench


@pytest.fixture
def failing() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Makes the Nth allocation within a block fail, and no other."""
    try:
        testing: ModuleType = importlib.import_module("_testcapi")
    except ImportError:
        pytest.skip("this Python has no _testcapi, by which an allocation can be made to fail")

    @contextlib.contextmanager
    def fail(number: int) -> Iterator[None]:
        testing.set_nomemory(number, number + 1)
        try:
            yield
        finally:
            testing.remove_mem_hooks()

    return fail


def item(seq: int) -> Item:
    return Item("lathe", 1, seq, RECORD, seq, seq, True, 7, bytes(40))


def test_the_reserve_goes_at_an_error_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 100.0
    reserve = Reserve(lambda: now_s)
    assert (reserve.held_bytes, reserve.short, reserve.problem()) == (RESERVE_BYTES, False, "")
    with caplog.at_level(logging.INFO, "clampgateway"):
        reserve.give()
        reserve.give()
        assert (reserve.errors, reserve.used, reserve.held_bytes) == (2, 1, 0)
        reserve.tick()
        assert reserve.short  # what waits is committed first
        now_s += OUT_LEAST_S
        assert "devices wait" in reserve.problem()
        reserve.tick()
    assert (reserve.held_bytes, reserve.short, reserve.problem()) == (RESERVE_BYTES, False, "")
    assert len(caplog.messages) == 2


def test_where_there_is_less_memory_the_reserve_is_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s, most = 0.0, RESERVE_BYTES // 4
    real = importlib.import_module("mmap").mmap

    def scarce(number: int, size: int) -> object:
        if size > most:
            raise OSError(12, "Cannot allocate memory")
        return real(number, size)

    reserve = Reserve(lambda: now_s)
    reserve.give()
    monkeypatch.setattr("clampgateway.memory.mmap.mmap", scarce)
    now_s += OUT_LEAST_S
    reserve.tick()
    assert (reserve.held_bytes, reserve.short) == (RESERVE_BYTES // 4, False)
    most = RESERVE_BYTES
    reserve.tick()
    assert reserve.held_bytes == RESERVE_BYTES
    reserve.give()
    most = 0
    now_s += LIMIT_S + 1
    reserve.tick()
    assert reserve.short
    assert reserve.hopeless


def test_publishing_passes_over_nothing_whatever_allocation_fails(
    failing: Callable[[int], contextlib.AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [Stored(number, item(number)) for number in range(1, 41)]

    async def read_after(after: int, limit: int) -> list[Stored]:
        return items[after : after + limit]

    async def take(feed: Feed) -> list[int]:
        reader = feed.reader("any")
        seen: list[int] = []
        while len(seen) < len(items):
            async with asyncio.timeout(1):
                seen += [stored.id for stored in await reader.batch(7)]
        return seen

    failed = 0
    monkeypatch.setattr(logging.getLogger("clampgateway.feed"), "disabled", True)
    for number in range(200):
        feed = Feed(Devices(), Descriptions(), read_after, lambda: 0.0, {}, 0)
        for start in range(0, 40, 20):
            batch = items[start : start + 20]
            try:
                with failing(number):
                    feed.publish(batch)
            except (MemoryError, SystemError):  # CPython 3.11 makes the one of the other at times
                failed += 1
                feed.publish(batch)  # as the committer does
        assert asyncio.run(take(feed)) == [stored.id for stored in items]
    assert failed > 20


def test_a_callback_without_memory_harms_neither_the_others_nor_the_feed(tmp_path: Path) -> None:
    def short(_items: list[Item]) -> None:
        raise MemoryError

    async def work() -> None:
        async with running(tmp_path) as parts:
            reserve = Reserve(lambda: 0.0)
            committer = Committer(parts.thread, parts.feed, 0.02, reserve=reserve)
            task = asyncio.create_task(committer.run())
            acked: list[Item] = []
            reader = parts.feed.reader("any")
            committer.submit([item(1)], short)
            committer.submit([item(2)], acked.extend)
            await until(lambda: acked)
            assert [stored.item.seq for stored in await reader.batch()] == [1, 2]
            assert (committer.pending, committer.memory_errors) == (0, 1)
            assert committer.congested  # until there is memory again
            assert not task.done()
            task.cancel()

    asyncio.run(work())


def test_a_link_without_memory_closes_and_its_device_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(bench: TcpBench) -> None:
        errors = LoopErrors(lambda: None)
        asyncio.get_running_loop().set_exception_handler(errors)
        device = await bench.join(DeviceModel())
        await until(lambda: bench.online("lathe"))
        for place in ("committed", "poll", "receive"):
            session = next(iter(bench.links))

            def fail(*_args: object) -> None:
                raise MemoryError

            monkeypatch.setattr(session, place, fail)
            device.device.record(1.0)
            await until(lambda: not bench.count("connections"))
            await until(lambda: not device.connected)
            await device.connect()
            await until(lambda: device.device.unacknowledged == 0)
        assert bench.missing(device.device) == set()
        assert bench.committer.memory_errors >= 1
        assert errors.count >= 1

    on_tcp_bench(tmp_path, work)


def test_a_part_is_not_given_up_when_not_even_its_failure_can_be_told() -> None:
    runs: list[int] = []

    async def part() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("broken")
        await asyncio.sleep(60)

    async def work() -> None:
        async def sleep(_seconds: float) -> None:
            await asyncio.sleep(0)

        short_of: list[int] = []
        supervisor = Supervisor(sleep=sleep, on_memory=lambda: short_of.append(1))
        logger = logging.getLogger("clampgateway.supervisor")

        class Short(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                raise MemoryError(record.name)

        short = Short()
        logger.addFilter(short)
        try:
            supervisor.start("part", part)
            await until(lambda: len(runs) == 3)
        finally:
            logger.removeFilter(short)
            await supervisor.stop(["part"], 1)
        assert supervisor.stats()["part"]["failures"] == 4
        assert len(short_of) == 2

    asyncio.run(work())


def test_a_connection_that_cannot_be_taken_for_lack_of_memory_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(bench: TcpBench) -> None:
        device = await bench.join(DeviceModel())
        await until(lambda: bench.online("lathe"))

        def fail(*_args: object) -> None:
            raise MemoryError

        monkeypatch.setattr("clampgateway.sources.tcp.DeviceStream", fail)
        nobody = bench.opened()
        await until(lambda: bench.count("accept_failures"))
        monkeypatch.undo()
        late = await bench.join(DeviceModel("mill"))
        await until(lambda: bench.online("lathe", "mill"))
        late.device.record(1.0)
        device.device.record(1.0)
        await until(lambda: not bench.missing(device.device, late.device))
        assert bench.count("connections") == 2
        assert bench.committer.memory_errors == 1
        nobody.close()

    on_tcp_bench(tmp_path, work)
