"""A list of two brokers that die in turns: the other takes over, and is told all that is true.

Truth is what was committed. Each broker has a subscriber of its own; what counts is their union.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from clampgateway.bridges.mqtt import MqttBridge
from clampgateway.mqttsession import session as session_module
from support import readings
from support.bridging import (
    BASE,
    bridged,
    contents,
    left,
    names,
    record,
    replay_holes,
    running,
)
from support.faulttable import FaultTable
from support.gateway_parts import GatewayParts, until
from support.mosquitto import Mosquitto
from support.readings import CURRENT
from support.subscriber import Subscriber, subscribed
from support.tcpproxy import Proxy, proxy

MakeBroker = Callable[..., Mosquitto]
WAY_S = 0.02
DEVICES = ("aaa", "bbb")
ABOUT = {device: readings.description(device, (CURRENT,)) for device in DEVICES}
RETAINED = {
    f"{device}/{name}" for device in DEVICES for name in ("birth", "availability", "state")
}
RETAINED |= {"_gateway/gw-7/availability"}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.05)


def name_of(broker: Mosquitto) -> str:
    return f"{broker.host}:{broker.port}"


def describe(parts: GatewayParts) -> None:
    for device, about in ABOUT.items():
        parts.describe(about, readings.identity(device))


def records(first: int, last: int) -> list:
    return [record(device, seq) for seq in range(first, last + 1) for device in DEVICES]


def expected(last: int) -> set[tuple[str, int, int]]:
    return {(device, 17, seq) for device in DEVICES for seq in range(1, last + 1)}


def check_beginning(now: Subscriber) -> None:
    """What a connection begins with: who is there, before the first record of each."""
    topics = [each.topic.removeprefix(f"{BASE}/") for each in now.messages]
    assert set(topics) >= RETAINED
    for device in DEVICES:
        lanes = {f"{device}/data", f"{device}/history"} & set(topics)
        assert topics.index(f"{device}/birth") < min(map(topics.index, lanes))


async def check_retained(broker: Mosquitto) -> None:
    """What somebody finds there who comes later."""
    async with subscribed(broker.port, f"{BASE}/#") as late:
        await late.caught_up()
    assert all(each.retained for each in late.messages)
    assert {each.topic.removeprefix(f"{BASE}/") for each in late.messages} == RETAINED
    assert {each.payload for each in late.on("/availability")} == {b"online"}


def test_the_brokers_of_a_list_die_in_turns(
    mosquitto: MakeBroker, tmp_path: Path, faults: FaultTable
) -> None:
    """With all answers there when one dies: nothing is lost, and nothing comes twice."""
    brokers = mosquitto(), mosquitto()
    turns = 4

    async def scenario(parts: GatewayParts, stack: contextlib.AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        seen = Subscriber()
        recovery_s = 0.0
        last = 20
        describe(parts)
        await parts.commit(records(1, last))
        here = contextlib.AsyncExitStack()
        now = await here.enter_async_context(subscribed(brokers[0].port, f"{BASE}/#"))
        bridge = await stack.enter_async_context(
            bridged(parts, brokers[0].port, fallbacks=(name_of(brokers[1]),))
        )
        for turn in range(turns):
            broker, other = brokers[turn % 2], brokers[1 - turn % 2]
            await until(lambda: bridge.stats()["connected"], "a connection", 20)
            assert bridge.stats()["broker"] == name_of(broker)
            await until(lambda: not left(bridge), "what waited", 20)
            for _ in range(5):
                await parts.commit(records(last + 1, last + 8))
                last += 8
            await until(lambda: not left(bridge), "all of it", 20)
            await check_retained(broker)
            if not other.running:
                other.start()
            there = contextlib.AsyncExitStack()
            next_ = await there.enter_async_context(subscribed(other.port, f"{BASE}/#"))
            await next_.caught_up()
            assert not next_.messages, "who is served is not left for one that came back"
            await now.caught_up()
            await here.aclose()
            check_beginning(now)
            seen.messages += now.messages
            broker.kill()
            begun_s = loop.time()
            await until(lambda: not bridge.stats()["connected"], "the loss")
            await parts.commit(records(last + 1, last + 10))
            last += 10
            await until(lambda: bridge.stats()["connected"], "the other", 20)
            recovery_s = max(recovery_s, loop.time() - begun_s)
            here, now = there, next_
        await until(lambda: not left(bridge), "the rest", 20)
        await now.caught_up()
        await here.aclose()
        check_beginning(now)
        seen.messages += now.messages
        found = names(seen)
        lost, doubled = len(expected(last) - set(found)), found.total() - len(found)
        faults.add("broker of a list killed", turns, lost, doubled, 0, recovery_s)
        assert set(found) == expected(last)
        assert bridge.stats()["losses"] == turns
        await until(lambda: parts.store.cursor("mqtt") == 2 * last, "the cursor")

    async def run() -> None:
        async with running(tmp_path) as parts, contextlib.AsyncExitStack() as stack:
            await scenario(parts, stack)

    asyncio.run(run())


def test_the_brokers_of_a_list_die_in_the_middle_of_traffic(
    mosquitto: MakeBroker, tmp_path: Path, faults: FaultTable
) -> None:
    """What has no answer comes again at the other, the same; what a dead one had not handed on is
    asked for again. The lines are slow: answers are on their way whenever one dies.
    """
    brokers = mosquitto(), mosquitto()
    chance = random.Random(11)
    turns = 6

    async def die(broker: Mosquitto, line: Proxy) -> None:
        await asyncio.sleep(WAY_S * chance.uniform(1, 2))
        line.refuse = True
        line.cut()
        broker.kill()

    async def traffic(parts: GatewayParts, lines: Sequence[Proxy], bridge: MqttBridge) -> None:
        seen = Subscriber()
        last = 0
        for turn in range(turns):
            at = turn % 2
            broker, other = brokers[at], brokers[1 - at]
            await until(lambda: bridge.stats()["connected"], "a connection", 20)
            assert bridge.stats()["broker"] == f"127.0.0.1:{lines[at].port}"
            if not other.running:
                other.start()
                lines[1 - at].refuse = False
            async with (
                subscribed(broker.port, f"{BASE}/#") as now,
                subscribed(other.port, f"{BASE}/#") as next_,
            ):
                for _ in range(10):
                    await parts.commit(records(last + 1, last + 25))
                    last += 25
                await die(broker, lines[at])
                await until(lambda losses=turn + 1: bridge.stats()["losses"] == losses, "the loss")
                await parts.commit(records(last + 1, last + 25))
                last += 25
                await until(lambda: bridge.stats()["connected"], "the other", 20)
                await until(lambda: not left(bridge), "what waited", 20)
                await next_.caught_up()
            check_beginning(next_)
            seen.messages += [*now.messages, *next_.messages]
        again = names(seen).total() - len(names(seen))
        holes = len(expected(last) - set(names(seen)))
        missing = await replay_holes(brokers[turns % 2].port, seen, DEVICES, last)
        assert not any(missing.values())
        found = contents(seen)
        lost = len(expected(last) - set(found))
        doubled = sum(len(each) > 1 for each in found.values())
        faults.add(
            f"broker of a list killed in traffic ({again} came again, {holes} replayed)",
            turns, lost, doubled,
        )  # fmt: skip
        assert again > 0, "no answer was on its way: nothing was shown"

    async def scenario() -> None:
        async with (
            proxy(brokers[0].port) as first,
            proxy(brokers[1].port) as second,
            running(tmp_path) as parts,
        ):
            describe(parts)
            first.delay_s = second.delay_s = WAY_S
            fallbacks = (f"127.0.0.1:{second.port}",)
            async with bridged(parts, first.port, fallbacks=fallbacks, window=20) as bridge:
                await traffic(parts, (first, second), bridge)

    asyncio.run(scenario())
