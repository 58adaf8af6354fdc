"""The real store, feed and committer of a gateway in a folder, for tests of what stands on them.

A bridge's test puts items in as links do and sees only what the bridge's context gives.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from clampgateway.committer import QUEUE_ITEMS, Committer, StoreThread
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices, MachineState
from clampgateway.feed import BridgeContext, Feed
from clampgateway.link.commands import Answer
from clampgateway.model import Description, Identity, Item
from clampgateway.removals import Removals
from clampgateway.store import Dating, Store
from clampgateway.utcclock import Era
from clampwire.codec import Codec

SITE, GATEWAY_ID = "hall 1", "gw-7"


class Ingest:
    """A store at `path`, its feed and committer, as the gateway joins them.

    What the gateway's clock tells the committer is the test's: `news` are eras of UTC that are to
    be kept, `dating` how items without a time are dated; `on_dating` is called when that is asked.
    """

    def __init__(
        self,
        path: Path,
        mono: Callable[[], float] = time.monotonic,
        interval_s: float = 0.02,
        queue_items: int = QUEUE_ITEMS,
    ) -> None:
        self.store = Store(path)
        self.thread = StoreThread(self.store)
        self.devices = Devices()
        self.descriptions = Descriptions(self.store.descriptions())
        self.feed = Feed(
            self.devices,
            self.descriptions,
            self.thread.read_after,
            mono,
            self.store.cursors(),
            self.store.last_id(),
            parked=self.store.parked(),
        )
        self.news: list[Era] = []
        self.dating: Dating | None = None
        self.on_dating: Callable[[], None] = lambda: None
        self.committer = Committer(
            self.thread,
            self.feed,
            interval_s,
            queue_items,
            eras=self._take_news,
            dating=self._date,
        )

    def _date(self) -> Dating | None:
        self.on_dating()
        return self.dating

    def _take_news(self) -> list[Era]:
        news, self.news = self.news, []
        return news


class GatewayParts(Ingest):
    """What a bridge stands on, started by `running`."""

    def __init__(self, folder: Path, mono: Callable[[], float], utc_ms: Callable[[], int]) -> None:
        super().__init__(folder / "store.sqlite", mono)
        self.connected_at: dict[str, str] = {}
        self.removals = Removals(
            self.store,
            self.thread,
            self.committer,
            self.devices,
            lambda key: self.connected_at.get(key, ""),
        )
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
            assigned=self.store.assigned,
            removals=self.removals,
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
    async with committing(parts, flush=True):
        yield parts


@contextlib.asynccontextmanager
async def committing(parts: Ingest, *, flush: bool = False) -> AsyncIterator[None]:
    """Its committer runs; at the end the store is closed, with `flush` as on SIGTERM."""
    task = asyncio.create_task(parts.committer.run())
    try:
        yield
    finally:
        await stop(task)
        if flush:
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
