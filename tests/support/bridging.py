"""The MQTT bridge on real parts, for tests of what it does when the broker does not."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from clampgateway.bridges.mqtt import MqttBridge, MqttSettings
from clampgateway.model import Item
from support import gateway_parts, readings
from support.gateway_parts import GatewayParts, serving
from support.readings import CURRENT
from support.subscriber import Subscriber

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
