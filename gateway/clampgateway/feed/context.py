"""What a bridge gets from the gateway. A bridge knows nothing else of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clampgateway.devices import Devices
from clampgateway.feed.feed import Feed


@dataclass(frozen=True, slots=True)
class BridgeContext:
    """What a bridge gets. `assign(table, scope, key, lowest, highest)` gives lasting numbers.

    `mono` is the monotonic clock in seconds (that of `Device.reading_mono`); `utc_ms` is 0 while
    UTC is not known. `command(device, name, args)` gives a device a command and returns its answer
    or raises GatewayError; None where there are no links.
    """

    site: str
    gateway_id: str
    devices: Devices
    feed: Feed
    assign: Callable[[str, str, str, int, int], Awaitable[int]]
    mono: Callable[[], float]
    utc_ms: Callable[[], int]
    command: Callable[[str, str, Mapping[str, Any]], Awaitable[Any]] | None = None
