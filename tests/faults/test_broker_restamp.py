"""Times learnt late, as subscribers hear of them: in `history`, as revision 1, and right.

Records are committed before anybody knows UTC; then the gateway learns it, in the store's real
way. Truth is the line by which the test makes the times. What comes is judged by (device, boot,
seq, rev): docs/topics.md tells subscribers to keep the highest revision.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway import committer
from clampgateway.bridges.mqtt import MqttBridge, closed
from clampgateway.mqttsession import session as session_module
from clampgateway.store import restamp
from clampgateway.utcclock import Era
from support import readings
from support.bridging import BASE, bridged, left, running
from support.datedlog import OFFSET_MS, dating
from support.faulttable import FaultTable
from support.gateway_parts import GatewayParts, until
from support.mosquitto import Mosquitto
from support.revisions import ABOUT, BOOT, COUNT, DEVICES, ERA, Heard, account, records
from support.subscriber import Subscriber, subscribed
from support.tcpproxy import Proxy, proxy

MakeBroker = Callable[..., Mosquitto]
# Rows of a step of the store, which tells each range.
ROWS = 40
RANGES = len(DEVICES) * COUNT // (ROWS // 2)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits; and corrections in many small ranges, so that there is a middle."""
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(restamp, "STEP_ROWS", ROWS)
    monkeypatch.setattr(restamp, "TELL_STEPS", 1)
    monkeypatch.setattr(committer, "CURSORS_S", 0.05)  # after which it looks, if nothing comes
    monkeypatch.setattr(committer, "UPKEEP_BUSY_S", 0.02)


def describe(parts: GatewayParts) -> None:
    for device, about in ABOUT.items():
        parts.describe(about, readings.identity(device))


def learn(parts: GatewayParts) -> None:
    """UTC is known, and how the clocks of both devices go."""
    parts.dating = dating(*((device, BOOT) for device in DEVICES), era=ERA)
    parts.news.append(Era(ERA, "run", OFFSET_MS))


def told(parts: GatewayParts, last: int) -> int:
    """How many corrected ranges are in the log of which `last` records of each device are."""
    return parts.feed.last_id - len(DEVICES) * last


async def undated(parts: GatewayParts, bridge: MqttBridge) -> None:
    """All are committed and delivered while nobody knows the time."""
    await until(lambda: bridge.stats()["connected"], "a connection")
    await parts.commit(records(1, COUNT))
    await until(lambda: not left(bridge), "all, without times")


async def settled(parts: GatewayParts, bridge: MqttBridge, seen: Subscriber, last: int) -> None:
    """All corrected and told, all delivered, all handed on."""
    await until(lambda: told(parts, last) == RANGES, "all corrected", 30)
    await until(lambda: bridge.stats()["connected"] and not left(bridge), "all of it", 30)
    await seen.caught_up()


def test_what_is_dated_late_comes_once_more_and_right(
    mosquitto: MakeBroker, tmp_path: Path, faults: FaultTable
) -> None:
    broker = mosquitto()
    last = COUNT + 50

    async def scenario() -> None:
        async with subscribed(broker.port, f"{BASE}/#") as seen, running(tmp_path) as parts:
            describe(parts)
            async with bridged(parts, broker.port) as bridge:
                await undated(parts, bridge)
                await seen.caught_up()
                assert len(Heard(seen).of(0)) == len(DEVICES) * COUNT
                learn(parts)
                await until(lambda: told(parts, COUNT) > 0, "the first correction")
                await parts.commit(records(COUNT + 1, last, dated=True))
                await settled(parts, bridge, seen, last)
                await until(lambda: parts.store.cursor("mqtt") == parts.feed.last_id, "the cursor")
        heard = Heard(seen)
        lost, wrong = account(heard, last)
        assert wrong == 0, heard.wrong[:3]
        corrected = [lanes for (_d, _s, rev), lanes in heard.lanes.items() if rev]
        assert corrected == [{"history"}] * len(DEVICES) * COUNT
        fresh = [lanes for (_d, seq, _r), lanes in heard.lanes.items() if seq > COUNT]
        assert fresh == [{"data"}] * len(DEVICES) * 50
        faults.add("UTC learnt late", RANGES, lost, heard.again)

    asyncio.run(scenario())


@pytest.mark.parametrize("harm", ["broker killed", "gateway started again"])
def test_in_the_middle_of_what_is_dated_late(
    mosquitto: MakeBroker, tmp_path: Path, faults: FaultTable, harm: str
) -> None:
    """What had no answer comes again, and that is no more than one range."""
    broker = mosquitto()
    before, after = Subscriber(), Subscriber()
    slow = {"history_records_per_s": 150}

    async def until_middle(parts: GatewayParts, bridge: MqttBridge, seen: Subscriber) -> None:
        await undated(parts, bridge)
        learn(parts)
        await until(lambda: told(parts, COUNT) == RANGES, "all corrected")
        await until(lambda: len(Heard(seen).of(1)) > 50, "some of them")
        assert left(bridge) > RANGES // 2, "this is no middle"

    async def kill_broker(line: Proxy) -> None:
        line.delay_s = 0.05  # so that answers are on their way
        async with running(tmp_path) as parts, bridged(parts, line.port, **slow) as bridge:
            async with subscribed(broker.port, f"{BASE}/#") as seen:
                describe(parts)
                await until_middle(parts, bridge, seen)
                line.refuse = True
                line.cut()
                await seen.caught_up()  # what it has acknowledged is handed on
            before.messages += seen.messages
            broker.kill()
            broker.start()
            async with subscribed(broker.port, f"{BASE}/#") as seen:
                line.refuse = False
                await settled(parts, bridge, seen, COUNT)
            after.messages += seen.messages

    async def restart_gateway(line: Proxy) -> None:
        async with subscribed(broker.port, f"{BASE}/#") as seen:
            async with running(tmp_path) as parts, bridged(parts, line.port, **slow) as bridge:
                describe(parts)
                await until_middle(parts, bridge, seen)
            await seen.caught_up()
            before.messages += seen.messages
            seen.messages.clear()
            async with running(tmp_path) as parts, bridged(parts, line.port, **slow) as bridge:
                describe(parts)
                await settled(parts, bridge, seen, COUNT)
            after.messages += seen.messages

    async def scenario() -> None:
        async with proxy(broker.port) as line:
            await (kill_broker if harm == "broker killed" else restart_gateway)(line)

    asyncio.run(scenario())
    assert 50 < len(Heard(before).of(1)) < len(DEVICES) * COUNT
    assert not Heard(after).of(0), "what was told without a time is not told so again"
    heard = Heard(before, after)
    lost, wrong = account(heard, COUNT)
    assert wrong == 0, heard.wrong[:3]
    faults.add(f"UTC learnt late, {harm} ({heard.again} came again)", 1, lost, heard.two_faced)
    assert heard.again <= ROWS // 2


def test_what_is_dated_late_waits_for_its_topic(
    mosquitto: MakeBroker,
    tmp_path: Path,
    faults: FaultTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`history` of one device is denied, later not; one record is tried by itself then."""
    monkeypatch.setattr(closed, "RETRY_FIRST_S", 0.3)
    monkeypatch.setattr(closed, "RETRY_MAX_S", 0.3)
    acl = tmp_path / "acl"
    allowed = ["mark/#", f"{BASE}/aaa/#", f"{BASE}/_gateway/#"]
    allowed += [f"{BASE}/bbb/{name}" for name in ("birth", "availability", "state", "data")]
    acl.write_text("topic read #\n" + "".join(f"topic write {each}\n" for each in allowed))
    broker = mosquitto(extra=f"acl_file {acl}")
    last = COUNT + 20

    async def scenario() -> None:
        async with subscribed(broker.port, f"{BASE}/#") as seen, running(tmp_path) as parts:
            describe(parts)
            async with bridged(parts, broker.port) as bridge:
                await undated(parts, bridge)
                learn(parts)
                await until(lambda: told(parts, COUNT) == RANGES, "all corrected")
                await until(lambda: bridge.stats()["parked"] == RANGES // 2, "half of it waits")
                await parts.commit(records(COUNT + 1, last, dated=True))
                await until(lambda: not left(bridge), "the other half, and live")
                await seen.caught_up()
                heard = Heard(seen)
                assert heard.of(1) == {("aaa", seq) for seq in range(1, COUNT + 1)}
                assert heard.of(0) >= {("bbb", seq) for seq in range(COUNT + 1, last + 1)}
                assert heard.again == 0
                topics = bridge.stats()["parked_topics"]
                assert {(name, each["reason"]) for name, each in topics.items()} == {
                    (f"{BASE}/bbb/history", "0x87")
                }
                acl.write_text("topic readwrite #\n")
                os.kill(broker.pid, signal.SIGHUP)
                await until(lambda: not bridge.stats()["parked"], "its topic is open", 20)
                await settled(parts, bridge, seen, last)
                assert bridge.stats()["alarm"] == ""
        heard = Heard(seen)
        lost, wrong = account(heard, last)
        assert wrong == 0, heard.wrong[:3]
        faults.add(
            f"UTC learnt late, `history` denied ({heard.again} came again)",
            RANGES // 2, lost, heard.two_faced,
        )  # fmt: skip
        assert heard.again <= 1, "the trial, and no other"

    asyncio.run(scenario())


@pytest.mark.parametrize("again", [False, True], ids=["same run", "gateway started again"])
def test_what_is_dated_while_the_broker_is_away(
    mosquitto: MakeBroker, tmp_path: Path, faults: FaultTable, again: bool
) -> None:
    """What is in memory still goes out without a time first; what is read again has one at once.

    The ranges are sent either way, so each record comes twice: as both revisions, or the same.
    """
    broker = mosquitto()

    async def scenario() -> None:
        async with subscribed(broker.port, f"{BASE}/#") as seen, proxy(broker.port) as line:
            line.refuse = True
            async with running(tmp_path) as parts, bridged(parts, line.port) as bridge:
                describe(parts)
                await parts.commit(records(1, COUNT))
                learn(parts)
                await until(lambda: told(parts, COUNT) == RANGES, "all corrected")
                assert left(bridge) == len(DEVICES) * COUNT + RANGES
                if not again:
                    line.refuse = False
                    await settled(parts, bridge, seen, COUNT)
            line.refuse = False
            async with running(tmp_path) as parts, bridged(parts, line.port) as bridge:
                describe(parts)
                await settled(parts, bridge, seen, COUNT)
        heard = Heard(seen)
        lost, wrong = account(heard, COUNT)
        assert wrong == 0, heard.wrong[:3]
        assert heard.times.total() == 2 * len(DEVICES) * COUNT
        assert bool(heard.of(0)) is not again
        faults.add(
            f"UTC learnt while the broker is away ({heard.again} came again)",
            1, lost, heard.two_faced,
        )  # fmt: skip

    asyncio.run(scenario())
