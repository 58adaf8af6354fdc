"""The MQTT bridge on real parts, for tests of what it does when the broker does not."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from clampgateway.bridges.mqtt import MqttBridge, MqttSettings
from clampgateway.model import Item
from support import gateway_parts, readings
from support.gateway_parts import GatewayParts, serving, until
from support.readings import CURRENT
from support.subscriber import Subscriber, subscribed

BASE = "clampwork/hall 1"
Name = tuple[str, int, int]


def running(folder: Path) -> contextlib.AbstractAsyncContextManager[GatewayParts]:
    """A gateway whose clock stands where the records were made, so that they are fresh."""
    return gateway_parts.running(folder, utc_ms=lambda: readings.UTC_MS)


def record(device: str, seq: int) -> Item:
    """A record of a device with one current."""
    about = readings.description(device, (CURRENT,))
    return readings.record(about, seq, {"current1": {"rms": seq % 600, "peak": seq % 600}})


@contextlib.asynccontextmanager
async def bridged(parts: GatewayParts, port: int, **more: object) -> AsyncIterator[MqttBridge]:
    """A bridge that runs; `more` are its settings."""
    bridge = MqttBridge(MqttSettings.model_validate({"port": port, **more}), parts.context)
    async with serving(bridge.run):
        yield bridge


def names(seen: Subscriber) -> Counter[Name]:
    """How often each record came, by any lane."""
    found: Counter[Name] = Counter()
    for each in seen.messages:
        device, _, kind = each.topic.removeprefix(f"{BASE}/").partition("/")
        if kind in ("data", "history"):
            content = each.content
            for one in content if kind == "history" else [content]:
                found[device, one["boot"], one["seq"]] += 1
    return found


def left(bridge: MqttBridge) -> int:
    """What it has still to deliver, refused ones aside."""
    stats = bridge.stats()
    return stats["waiting"] + stats["backlog"] + stats["deferred"]


def contents(seen: Subscriber) -> dict[Name, set[str]]:
    """Of each record, what came as it: more than one is two records of one name."""
    found: dict[Name, set[str]] = {}
    for each in seen.messages:
        if each.topic.endswith(("/data", "/history")):
            content = each.content
            for one in content if isinstance(content, list) else [content]:
                name = (each.topic.split("/")[2], one["boot"], one["seq"])
                found.setdefault(name, set()).add(json.dumps(one))
    return found


async def replay_holes(
    port: int, seen: Subscriber, devices: Iterable[str], last: int
) -> dict[str, list[list[int]]]:
    """Asks for every hole, as a platform does, and takes in what comes; returns the missing."""
    missing: dict[str, list[list[int]]] = {}
    async with subscribed(port, f"{BASE}/#") as now:
        for device in devices:
            known = {seq for d, _boot, seq in names(seen) if d == device}
            holes = [n for n in range(1, last + 1) if n not in known]
            if not holes:
                continue
            request = {"id": f"h-{device}", "boot": 17, "first": holes[0], "last": holes[-1]}
            await now.publish(f"{BASE}/{device}/cmd/replay", request)
            topic = f"{device}/cmd/replay/result"
            await until(lambda: now.on(topic), "the answer", 20)  # noqa: B023
            answer = now.on(topic)[0].content
            assert answer["ok"]
            missing[device] = answer["missing"]
        await now.caught_up()
    seen.messages += now.messages
    return missing
