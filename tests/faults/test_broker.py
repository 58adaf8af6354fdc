"""The broker away or killed: nothing that was committed is silently lost.

Truth is what was committed. Subscribers are real and apart from the code under test.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from support import readings
from support.bridging import BASE, bridged, contents, left, names, record, replay_holes, running
from support.faulttable import FaultTable
from support.gateway_parts import GatewayParts, describe_payloads, until
from support.mosquitto import Mosquitto
from support.readings import CURRENT
from support.subscriber import Subscriber, subscribed

MakeBroker = Callable[..., Mosquitto]


def fill(parts: GatewayParts, devices: Iterable[str], count: int) -> None:
    """So many records of each device into the store, as an outage leaves them there."""
    for device in devices:
        about = readings.description(device, (CURRENT,))
        parts.describe(about, readings.identity(device))
        parts.store.save_description(device, about.crc, describe_payloads(about))
    every = [(device, seq) for seq in range(1, count + 1) for device in devices]
    for at in range(0, len(every), 4000):
        items = [record(device, seq) for device, seq in every[at : at + 4000]]
        parts.store.append(items, {})


async def outage(
    folder: Path, broker: Mosquitto, devices: list[str], count: int, least_s: float
) -> tuple[dict[str, float], Subscriber]:
    """Catches up with `count` records a device while each brings one a second."""
    parts = GatewayParts(folder, time.monotonic, lambda: readings.UTC_MS)
    await parts.thread.run(fill, parts, devices, count)
    await parts.thread.close()
    async with running(folder) as parts:
        for device in devices:
            parts.describe(readings.description(device, (CURRENT,)), readings.identity(device))
        sent_s: dict[tuple[str, int], float] = {}
        async with subscribed(broker.port, f"{BASE}/+/+") as seen:
            begun_s, cpu_s = time.monotonic(), time.process_time()
            async with bridged(parts, broker.port) as bridge:
                await until(lambda: bridge.stats()["retained"], "a connection")
                seq = count
                caught_up_s = 0.0
                while not caught_up_s or time.monotonic() - begun_s < least_s:
                    seq += 1
                    for device in devices:
                        sent_s[device, seq] = time.monotonic()
                    await parts.commit([record(device, seq) for device in devices])
                    for _ in range(20):
                        await asyncio.sleep(0.05)
                        stats = bridge.stats()
                        if not caught_up_s and stats["history"] >= count * len(devices):
                            caught_up_s = time.monotonic() - begun_s
                            cpu_s = time.process_time() - cpu_s
                await until(lambda: not bridge.stats()["waiting"], "the last answers")
                await seen.caught_up()
                stats = bridge.stats()
    lags = [
        each.at_s - sent_s[key]
        for each in seen.on("/data")
        if (key := (each.topic.split("/")[2], each.content["seq"])) in sent_s
    ]
    assert len(lags) == len(sent_s), "every fresh record came as data"
    total = count * len(devices)
    return {
        "records": total,
        "seconds": caught_up_s,
        "per_s": total / caught_up_s,
        "times_live": total / caught_up_s / len(devices),
        "live_p50_s": statistics.median(lags),
        "live_p95_s": statistics.quantiles(lags, n=20)[18] if len(lags) > 20 else max(lags),
        "cpu_us": 1e6 * cpu_s / total,
        "arrays": stats["arrays"],
    }, seen


def check_outage(said: dict[str, float], seen: Subscriber, devices: list[str], count: int) -> int:
    """Lost and doubled of the backlog, and the targets; returns how many came twice."""
    arrived: Counter[tuple[str, int]] = Counter()
    for message in seen.on("/history"):
        seqs = [each["seq"] for each in message.content]
        assert seqs == sorted(seqs)
        arrived.update((message.topic.split("/")[2], seq) for seq in seqs)
    assert set(arrived) == {(d, seq) for d in devices for seq in range(1, count + 1)}
    assert said["times_live"] >= 20
    assert said["live_p95_s"] < 2.0
    return sum(times - 1 for times in arrived.values())


def test_1_an_outage_is_caught_up_with_while_live_goes_on(
    mosquitto: MakeBroker,
    tmp_path: Path,
    faults: FaultTable,
    report_line: Callable[[str], None],
) -> None:
    broker = mosquitto()
    devices = [f"dev{number}" for number in range(10)]
    said, seen = asyncio.run(outage(tmp_path, broker, devices, 1500, 4.0))
    doubled = check_outage(said, seen, devices, 1500)
    report_line(
        f"after an outage: {said['per_s']:,.0f} records/s, {said['times_live']:.0f} times live,"
        f" live p95 {said['live_p95_s']:.2f} s, {said['cpu_us']:.0f} us CPU a record"
    )
    faults.add("broker away", 1, 0, doubled, recovery_s=said["seconds"])


@pytest.mark.soak
def test_a_day_of_ten_devices_is_caught_up_with(
    mosquitto: MakeBroker, tmp_path: Path, report_line: Callable[[str], None]
) -> None:
    broker = mosquitto()
    devices = [f"dev{number}" for number in range(10)]
    said, seen = asyncio.run(outage(tmp_path, broker, devices, 86_400, 4.0))
    assert check_outage(said, seen, devices, 86_400) == 0
    report_line(f"a day of ten devices: {said}")


def test_1_the_broker_comes_and_goes(
    mosquitto: MakeBroker, tmp_path: Path, faults: FaultTable
) -> None:
    """Stopped and killed at random moments; what came more than once did so by a lost answer."""
    broker = mosquitto()
    chance = random.Random(7)
    rounds, window = 6, 20

    async def scenario() -> None:
        seen = Subscriber()
        total = 0
        async with running(tmp_path) as parts:
            for device in ("aaa", "bbb"):
                parts.describe(readings.description(device, (CURRENT,)), readings.identity(device))
            async with bridged(parts, broker.port, window=window) as bridge:
                for _ in range(rounds):
                    await until(lambda: bridge.stats()["connected"], "a connection", 20)
                    async with subscribed(broker.port, f"{BASE}/#") as now:
                        first = total + 1
                        for _ in range(5):
                            items = [record("aaa", total + n) for n in range(1, 41)]
                            items += [record("bbb", total + n) for n in range(1, 41)]
                            total += 40
                            await parts.commit(items)
                            await asyncio.sleep(chance.random() * 0.1)
                        settled = chance.random() < 0.5
                        if settled:
                            await until(lambda: not left(bridge), "all of it", 20)
                            await now.caught_up()
                            this = {
                                (d, 17, n) for d in ("aaa", "bbb") for n in range(first, total + 1)
                            }
                            assert this <= set(names(now)), "acknowledged by a broker that lives"
                    seen.messages += now.messages
                    broker.kill() if chance.random() < 0.5 else broker.stop()
                    await until(lambda: not bridge.stats()["connected"], "the loss")
                    broker.start()
                    # What the broker forgot, and what nobody heard, is asked for again.
                    await until(lambda: bridge.stats()["connected"], "a connection", 20)
                await until(lambda: not left(bridge), "all of it", 20)
                await replay_holes(broker.port, seen, ("aaa", "bbb"), total)
        found = names(seen)
        expected = {(d, 17, seq) for d in ("aaa", "bbb") for seq in range(1, total + 1)}
        lost = len(expected - set(found))
        faults.add("broker stopped or killed, 6 times", rounds, lost, 0)
        assert all(len(each) == 1 for each in contents(seen).values()), "again, but the same"

    asyncio.run(scenario())


def test_6_what_a_killed_broker_forgot_is_replayed(
    mosquitto: MakeBroker, tmp_path: Path, faults: FaultTable
) -> None:
    """With mosquitto's default settings: acknowledged, queued for a subscriber, and forgotten."""
    broker = mosquitto(persistence=True, autosave_s=1800)  # the default's time
    total = 300

    async def scenario() -> None:
        async with running(tmp_path) as parts:
            parts.describe(readings.description("aaa", (CURRENT,)), readings.identity("aaa"))
            async with subscribed(broker.port, f"{BASE}/#", session="platform"):
                pass  # away, but its subscription stays
            async with bridged(parts, broker.port) as bridge:
                await until(lambda: bridge.stats()["retained"], "a connection")
                await parts.commit([record("aaa", seq) for seq in range(1, total + 1)])
                await until(lambda: bridge.stats()["acked"] >= total, "all acknowledged")
                await until(lambda: parts.store.cursor("mqtt") == total, "and done")
                broker.kill()
                await until(lambda: not bridge.stats()["connected"], "the loss")
                broker.start()
                await until(lambda: bridge.stats()["connected"], "a connection", 20)
                begun_s = time.monotonic()
                async with subscribed(broker.port, f"{BASE}/#", session="platform") as seen:
                    await parts.commit([record("aaa", total + 1)])
                    await until(lambda: ("aaa", 17, total + 1) in names(seen), "the next one")
                forgotten = total + 1 - len(names(seen))
                assert forgotten == total, "this broker forgot nothing: nothing was shown"
                missing = await replay_holes(broker.port, seen, ["aaa"], total + 1)
                assert missing == {"aaa": []}
                recovery_s = time.monotonic() - begun_s
        found = names(seen)
        lost = total + 1 - len(found)
        doubled = sum(found.values()) - len(found)
        faults.add("broker killed, its queue lost", forgotten, lost, doubled, 0, recovery_s)

    asyncio.run(scenario())
