"""What a bridge gets from the gateway. A bridge knows nothing else of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from clampgateway.devices import Devices
from clampgateway.feed.feed import Feed
from clampgateway.model import GatewayError, Stored


class LedgerView(Protocol):
    """Completeness of each device, as a payload of the retained topic."""

    def watch(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback(device)` at every change; returns how to stop it."""
        ...

    def payload(self, device: str) -> bytes:
        """What is published of a device; empty if there is nothing."""
        ...


class RemovalsView(Protocol):
    """Devices that are removed, from then until they come back; see `clampgateway.removals`."""

    def __contains__(self, key: object) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def waiting(self, bridge: str) -> Mapping[str, int]:
        """What `bridge` has not carried out: by device, the id up to which its items reach."""
        ...

    def carried_out(self, key: str, bridge: str) -> None:
        """Nothing that `bridge` keeps for others tells of this device any more."""
        ...


class NoRemovals:
    """Where no device is ever removed."""

    def __contains__(self, key: object) -> bool:
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def waiting(self, bridge: str) -> Mapping[str, int]:
        del bridge
        return {}

    def carried_out(self, key: str, bridge: str) -> None:
        del key, bridge


class CommandAnswer(Protocol):
    """A device's answer: `status` is "ok" or why not."""

    @property
    def status(self) -> str: ...

    @property
    def body(self) -> dict[str, Any]: ...


async def _not_given(*what: object) -> NoReturn:
    raise GatewayError(f"this bridge was given nothing to ask for {what}")


@dataclass(frozen=True, slots=True)
class BridgeContext:
    """What a bridge gets. `assign(table, scope, key, lowest, highest)` gives lasting numbers.

    `assigned(table, scope)` are those that are given, by key.

    `mono` is the monotonic clock in seconds (that of `Device.reading_mono`); `utc_ms` is 0 while
    UTC is not known. `read_range(device, boot, first, last, after_seq, limit)` and
    `read_ids(device, kinds, after_id, up_to_id, limit)` read the log; `command(device, name,
    args)` asks a device.
    """

    site: str
    gateway_id: str
    devices: Devices
    feed: Feed
    assign: Callable[[str, str, str, int, int], Awaitable[int]]
    mono: Callable[[], float]
    utc_ms: Callable[[], int]
    read_range: Callable[[str, int, int, int, int, int], Awaitable[list[Stored]]] = _not_given
    read_ids: Callable[[str, int, int, int, int], Awaitable[list[Stored]]] = _not_given
    command: Callable[[str, str, Mapping[str, object]], Awaitable[CommandAnswer]] = _not_given
    ledger: LedgerView | None = None
    assigned: Callable[[str, str], Mapping[str, int]] = lambda _table, _scope: {}
    removals: RemovalsView = field(default_factory=NoRemovals)
