"""Removing a device, through the real bridge to a real broker: its retained topics are emptied.

After all that the device sent, also if the broker was away then or the gateway began anew, once;
and a device that comes back has them all again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiomqtt

from clampgateway.ledger import LedgerKeeper
from clampgateway.ledger.keeper import LedgerStore
from support import readings
from support.bridging import BASE, bridged, left, names, record, running
from support.faulttable import FaultTable
from support.gateway_parts import GatewayParts, serving, until
from support.mosquitto import Mosquitto
from support.readings import CURRENT
from support.subscriber import Subscriber, subscribed

MakeBroker = Callable[..., Mosquitto]
LATHE, SAW = "lathe", "saw"
RETAINED = ("birth", "availability", "state", "ledger")


def known(parts: GatewayParts, *devices: str) -> None:
    for device in devices:
        parts.describe(readings.description(device, (CURRENT,)), readings.identity(device))


def told(parts: GatewayParts) -> Callable[[], Awaitable[None]]:
    """A ledger that is told soon."""
    keeper = LedgerKeeper(
        parts.feed,
        parts.store.cursor("ledger"),
        LedgerStore(parts.thread.read_ledger, parts.thread.save_ledger, parts.thread.read_range),
        dict,
        lambda: readings.UTC_MS,
        parts.devices,
        save_s=0.1,
        tell_s=0.05,
    )
    object.__setattr__(parts.context, "ledger", keeper)
    return keeper.run


async def retained(port: int, device: str) -> set[str]:
    """What the broker keeps of a device, as one who comes now sees it."""
    async with subscribed(port, f"{BASE}/{device}/#") as seen:
        await seen.caught_up()
    return {each.topic.rpartition("/")[2] for each in seen.messages if each.payload}


async def holds(port: int, device: str, wanted: set[str]) -> None:
    """Waits until the broker keeps just this of a device."""
    async with asyncio.timeout(10):
        while await retained(port, device) != wanted:  # noqa: ASYNC110 - a broker tells nobody
            await asyncio.sleep(0.1)


def of(seen: Subscriber, device: str) -> list[tuple[str, int]]:
    """Topic and size of each message of a device, in order of arrival."""
    start = f"{BASE}/{device}/"
    return [
        (each.topic.removeprefix(start), len(each.payload))
        for each in seen.messages
        if each.topic.startswith(start)
    ]


def test_the_topics_are_emptied_after_the_last_record_and_come_back_with_the_device(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        async with running(tmp_path) as parts:
            run_ledger = told(parts)
            known(parts, LATHE, SAW)
            async with (
                subscribed(broker.port, f"{BASE}/#") as seen,
                serving(run_ledger),
                bridged(parts, broker.port) as bridge,
            ):
                await parts.commit([record(LATHE, 1), record(SAW, 1)])
                await holds(broker.port, LATHE, set(RETAINED))
                await parts.commit([record(LATHE, seq) for seq in range(2, 200)])
                await parts.removals.remove(LATHE)
                await holds(broker.port, LATHE, set())
                await until(lambda: not parts.removals.waiting("mqtt"), "carried out")
                await seen.caught_up()
                came = of(seen, LATHE)
                records = [at for at, (topic, _size) in enumerate(came) if topic == "data"]
                empty = [at for at, (_topic, size) in enumerate(came) if not size]
                assert len(records) == 199
                assert sorted(came[at][0] for at in empty) == sorted(RETAINED)
                assert min(empty) > max(records)
                assert max(empty) == len(came) - 1, "nothing is said of it after that"
                assert await retained(broker.port, SAW) == set(RETAINED)
                assert bridge.stats()["removals"] == {"delivering": 0, "emptying": 0}
                # The ledger is told every 0.05 s: not of this one.
                await parts.commit([record(SAW, 2)])
                await asyncio.sleep(0.3)
                assert await retained(broker.port, LATHE) == set()

                known(parts, LATHE)
                await parts.commit([record(LATHE, 199), record(LATHE, 200)])
                await holds(broker.port, LATHE, set(RETAINED))
                await until(lambda: not left(bridge), "all of it")
                await seen.caught_up()
                assert names(seen)[LATHE, 17, 200] == 1
                assert set(names(seen).values()) == {1}
                births = [each for each in seen.on(f"{LATHE}/birth") if each.payload]
                assert births[-1].content["boot"] == 17
        async with running(tmp_path) as parts:
            assert parts.store.removals() == {}

    asyncio.run(scenario())


def test_the_broker_is_away_and_the_gateway_begins_anew(
    mosquitto: MakeBroker, tmp_path: Path, faults: FaultTable
) -> None:
    broker = mosquitto(persistence=True)

    async def scenario() -> None:
        async with running(tmp_path) as parts:
            run_ledger = told(parts)
            known(parts, LATHE, SAW)
            async with serving(run_ledger), bridged(parts, broker.port) as bridge:
                await parts.commit([record(LATHE, 1), record(SAW, 1)])
                await holds(broker.port, LATHE, set(RETAINED))
                async with subscribed(broker.port, f"{BASE}/#", session="platform") as seen:
                    await seen.caught_up()
                broker.stop()
                await until(lambda: not bridge.stats()["connected"], "the loss")
                await parts.commit([record(LATHE, seq) for seq in range(2, 3000)])
                await parts.removals.remove(LATHE)
                await asyncio.sleep(0.3)
                assert bridge.stats()["removals"]["delivering"] == 1
                assert parts.removals.waiting("mqtt") == {LATHE: parts.feed.last_id}
        async with running(tmp_path) as parts:
            known(parts, SAW)
            async with bridged(parts, broker.port) as bridge:
                await asyncio.sleep(0.2)
                assert bridge.stats()["removals"]["delivering"] == 1
        broker.start()
        assert await retained(broker.port, LATHE) == set(RETAINED), "the broker kept them"
        async with running(tmp_path) as parts:
            known(parts, SAW)
            async with (
                subscribed(broker.port, f"{BASE}/#", session="platform") as seen,
                bridged(parts, broker.port) as bridge,
            ):
                await until(lambda: not parts.removals.waiting("mqtt"), "carried out", 20)
                await seen.caught_up()
                came = of(seen, LATHE)
                assert [topic for topic, size in came[-4:] if not size] == list(RETAINED)
                found = set(names(seen))
                lost = {(LATHE, 17, seq) for seq in range(2, 3000)} - found
                faults.add("device removed, broker away", 1, len(lost), 0)
                assert await retained(broker.port, LATHE) == set()
                assert await retained(broker.port, SAW) == {
                    "birth",
                    "availability",
                    "state",
                    "ledger",
                }
        # Once is enough: another gateway of the site may have the device by now.
        async with (
            running(tmp_path) as parts,
            subscribed(broker.port, f"{BASE}/#") as seen,
            bridged(parts, broker.port) as bridge,
        ):
            await until(lambda: bridge.stats()["connected"], "a connection")
            await parts.commit([record(SAW, 2)])
            await until(lambda: not left(bridge), "all of it")
            await seen.caught_up()
            assert of(seen, LATHE) == []

    asyncio.run(scenario())


def test_a_replay_of_a_removed_device_brings_no_retained_topic_back(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        async with running(tmp_path) as parts:
            known(parts, LATHE)
            await parts.commit([record(LATHE, seq) for seq in range(1, 50)])
            async with bridged(parts, broker.port):
                await holds(broker.port, LATHE, {"birth", "availability", "state"})
                await parts.removals.remove(LATHE)
                await holds(broker.port, LATHE, set())
        async with running(tmp_path) as parts, bridged(parts, broker.port) as bridge:
            await until(lambda: bridge.stats()["connected"], "a connection")
            async with subscribed(broker.port, f"{BASE}/#") as seen:
                request = b'{"id": "r-1", "boot": 17, "first": 1, "last": 60}'
                async with aiomqtt.Client("127.0.0.1", broker.port) as client:
                    await client.publish(f"{BASE}/{LATHE}/cmd/replay", request, qos=1)
                await until(lambda: seen.on("/result"), "the answer")
                assert seen.on("/result")[0].content["records"] == 49
                assert len(names(seen)) == 49
                assert {topic for topic, _size in of(seen, LATHE)} == {
                    "cmd/replay", "cmd/replay/result", "history",
                }  # fmt: skip
            assert await retained(broker.port, LATHE) == set()

    asyncio.run(scenario())


def test_what_the_broker_refuses_is_not_waited_for(mosquitto: MakeBroker, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite #\ntopic deny {BASE}/{LATHE}/data\n")
    broker = mosquitto(extra=f"acl_file {acl}")

    async def scenario() -> None:
        async with running(tmp_path) as parts:
            known(parts, LATHE)
            async with bridged(parts, broker.port) as bridge:
                await parts.commit([record(LATHE, seq) for seq in range(1, 50)])
                await until(lambda: bridge.stats()["parked"], "a refusal")
                await until(lambda: not bridge.stats()["waiting"], "the answers")
                parked = bridge.stats()["parked"]
                await parts.removals.remove(LATHE)
                await holds(broker.port, LATHE, set())
                assert bridge.stats()["parked"] == parked > 0, "they still wait for the broker"

    asyncio.run(scenario())


def test_one_that_comes_back_while_its_topics_are_being_emptied_keeps_what_is_new(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    """At any moment of the emptying; what the broker holds in the end is what was said last."""
    broker = mosquitto()
    chance = random.Random(11)
    met = {"delivering": 0, "emptying": 0, "done": 0}

    async def scenario() -> None:
        async with running(tmp_path) as parts, bridged(parts, broker.port) as bridge:
            for seq in range(1, 61):
                known(parts, LATHE)
                await parts.commit([record(LATHE, seq)])
                await parts.removals.remove(LATHE)
                until_s = time.monotonic() + chance.random() * 0.01
                while time.monotonic() < until_s:  # noqa: ASYNC110 - any moment will do
                    await asyncio.sleep(0)
                doing = bridge.stats()["removals"]
                met[next((word for word in doing if doing[word]), "done")] += 1
            known(parts, LATHE)
            await holds(broker.port, LATHE, {"birth", "availability", "state"})
            await asyncio.sleep(1.5)
            await holds(broker.port, LATHE, {"birth", "availability", "state"})
            assert parts.removals.waiting("mqtt") == {}
            await parts.removals.remove(LATHE)
            await holds(broker.port, LATHE, set())

    asyncio.run(scenario())
    assert min(met["delivering"], met["emptying"]) > 0, met
