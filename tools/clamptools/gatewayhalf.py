"""The southbound half of a gateway on a Unix socket: what benches and fault tests send frames to.

Real store, committer, feed and link sessions, put together as the gateway does it, without
bridges and API. Every connection is one device's line.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from clampgateway.clocksync import system_clocks
from clampgateway.committer import INTERVAL_S, Committer, StoreThread
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.feed import Feed
from clampgateway.link import Links
from clampgateway.store import Store
from clampgateway.stream import DeviceStream

STORE_FILE = "store.db"
BACKLOG = 1024


class GatewayHalf:
    """Everything from the socket to the feed; built in a running loop."""

    def __init__(
        self, folder: Path, interval_s: float = INTERVAL_S, quota_bytes: int | None = None
    ) -> None:
        clocks = system_clocks()
        self.clocks = clocks
        self.store = Store(folder / STORE_FILE, quota_bytes)
        self.thread = StoreThread(self.store)
        self.devices = Devices()
        self.descriptions = Descriptions(self.store.descriptions())
        self.feed = Feed(
            self.devices,
            self.descriptions,
            self.thread.read_after,
            time.monotonic,
            self.store.cursors(),
            self.store.last_id(),
        )
        self.committer = Committer(self.thread, self.feed, interval_s)
        boots = self.store.highest_boots()
        self.links = Links(self.devices, self.descriptions, boots, "bench", clocks)

    async def serve(self, path: Path, stop: asyncio.Event) -> None:
        """Serve devices at `path` until `stop`; then commit what there is and close."""
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._line, str(path), backlog=BACKLOG)
        committing = asyncio.create_task(self.committer.run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({committing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        committing.cancel()
        stopping.cancel()
        await asyncio.gather(committing, stopping, return_exceptions=True)
        await self.committer.flush()
        await self.thread.close()

    def _line(self) -> DeviceStream:
        return DeviceStream(self.links, self.committer, self.clocks, "socket", lambda _error: None)


def run_until_term(half: GatewayHalf, path: Path) -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(half, path))


async def _serve(half: GatewayHalf, path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await half.serve(path, stop)
