"""The real store, feed and committer of a gateway in a folder, for tests of what stands on them.

A bridge's test puts items in as links do and sees only what the bridge's context gives.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from clampgateway.committer import Committer, StoreThread
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices, MachineState
from clampgateway.feed import BridgeContext, Feed
from clampgateway.link.commands import Answer
from clampgateway.model import Description, Identity, Item
from clampgateway.store import Store
from clampwire.codec import Codec

SITE, GATEWAY_ID = "hall 1", "gw-7"


class GatewayParts:
    """What a bridge stands on, started by `running`."""

    def __init__(self, folder: Path, mono: Callable[[], float], utc_ms: Callable[[], int]) -> None:
        store = Store(folder / "store.sqlite")
        self.store = store
        self.thread = StoreThread(store)
        self.devices = Devices()
        self.descriptions = Descriptions(store.descriptions())
        self.feed = Feed(
            self.devices,
            self.descriptions,
            self.thread.read_after,
            mono,
            store.cursors(),
            store.last_id(),
            parked=store.parked(),
        )
        self.committer = Committer(self.thread, self.feed, 0.02)
        self.asked: list[tuple[str, str, Mapping[str, object]]] = []
        self.context = BridgeContext(
            SITE,
            GATEWAY_ID,
            self.devices,
            self.feed,
            self.thread.assign,
            mono,
            utc_ms,
            self.thread.read_range,
            self.thread.read_ids,
            self._command,
        )

    async def _command(self, device: str, name: str, args: Mapping[str, object]) -> Answer:
        """A device that does what it is told, and says what that was."""
        self.asked.append((device, name, args))
        return Answer(len(self.asked), "ok", {"did": name, **args})

    def describe(
        self, about: Description, identity: Identity | None = None, *, online: bool = True
    ) -> None:
        """A device says what it is."""
        payloads = describe_payloads(about)
        self.descriptions.add(about.device, payloads)
        self.committer.describe(about.device, about.crc, payloads)
        device = self.devices.at(about.device)
        if identity is not None:
            device.identity = identity
            self.devices.changed(device, "identity")
        device.description = about
        self.devices.changed(device, "description")
        self.link(about.device, online=online)

    def link(self, key: str, *, online: bool) -> None:
        """The link to a device comes or goes."""
        device = self.devices.at(key)
        device.online = online
        self.devices.changed(device, "online" if online else "offline")

    def state(self, key: str, state: MachineState) -> None:
        """The machine changes its state."""
        device = self.devices.at(key)
        device.state = state
        self.devices.changed(device, "state")

    async def commit(self, items: Sequence[Item]) -> None:
        """Items come and are committed and published when this returns."""
        done = asyncio.Event()
        self.committer.submit(list(items), lambda _items: done.set())
        await done.wait()

    async def flush(self) -> None:
        """Commits what there is, cursors too."""
        await self.committer.flush()


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    mono: Callable[[], float] = time.monotonic,
    utc_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> AsyncIterator[GatewayParts]:
    """A store in `folder`, with its committer running; closed at the end as on SIGTERM."""
    parts = GatewayParts(folder, mono, utc_ms)
    task = asyncio.create_task(parts.committer.run())
    try:
        yield parts
    finally:
        await stop(task)
        await parts.committer.flush()
        await parts.thread.close()


@contextlib.asynccontextmanager
async def serving(run: Callable[[], Awaitable[None]]) -> AsyncIterator[asyncio.Task[None]]:
    """A part that runs until the end of the block and is then cancelled, as the gateway does."""
    task = asyncio.ensure_future(run())
    assert isinstance(task, asyncio.Task)
    try:
        yield task
    finally:
        await stop(task)


async def stop(task: asyncio.Task[None]) -> None:
    """Cancels a task and waits for it; an error it ended with is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(
    condition: Callable[[], object], what: str = "it", timeout_s: float = 10.0
) -> None:
    """Waits until `condition` is true. Raises TimeoutError that says what was waited for."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - any condition, not only an event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {timeout_s:g} s") from None


def describe_payloads(about: Description) -> list[bytes]:
    """The Describe messages that tell this description."""
    codec = Codec()
    return [
        codec.encode(
            "Describe",
            about.crc,
            about.layout,
            len(about.channels),
            each.index,
            each.key,
            each.quantity,
            each.unit,
            each.sensor,
            each.rate_hz,
            each.full_scale,
            each.noise_floor,
            each.uncertainty_pct,
            each.calibration,
            [(f.key, f.unit, f.code, f.mult, f.exp) for f in each.features],
        )
        for each in about.channels
    ]
