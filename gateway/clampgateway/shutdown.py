"""Stops a running gateway in order, within 5 s, so that nothing committed or acknowledged is lost.

Owns the order and each step's share of the time. What a step leaves undone costs a repetition
later, never data: an item that is not committed stays with its device, one that is not delivered
stays in the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from clampgateway.committer import Committer, StoreThread
from clampgateway.feed import Feed
from clampgateway.store import StoreError
from clampgateway.supervisor import Supervisor

log = logging.getLogger(__name__)

TOTAL_S = 4.8
FLUSH_S = 0.5
ACKS_S = 0.05
SOURCES_S = 0.5
DRAIN_S = 0.3
DRAIN_LOOKS = 30
BRIDGES_S = 2.2
CORE_S = 0.1
# The checkpoint writes the log back, megabytes at most: it gets all that the others left.
CLOSE_LEAST_S = 0.3


class Shutdown:
    """One stop. `late` names what did not end in time; `complete` is whether all was committed."""

    def __init__(
        self,
        committer: Committer,
        thread: StoreThread,
        feed: Feed,
        supervisor: Supervisor,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._committer = committer
        self._thread = thread
        self._feed = feed
        self._supervisor = supervisor
        self._mono = mono
        self.late: list[str] = []
        self.complete = False

    async def run(
        self,
        sources: Iterable[str],
        bridges: Iterable[str],
        core: Iterable[asyncio.Task[None]],
        reachable: Callable[[], Iterable[str]],
    ) -> None:
        """Stops everything.

        Args:
            sources: Names of the supervised parts that bring items.
            bridges: Names of those that deliver or answer.
            core: The gateway's own tasks, ended before the last commit.
            reachable: Names of the readers whose other end takes items now.
        """
        until = self._mono() + TOTAL_S
        await self._flush()
        await asyncio.sleep(ACKS_S)  # the loop writes the acknowledgements of that commit
        self.late += await self._supervisor.stop(list(sources), SOURCES_S)
        await self._flush()
        await self._drain(reachable)
        self.late += await self._supervisor.stop(list(bridges), BRIDGES_S)
        tasks = set(core)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CORE_S)
        self.complete = await self._flush()
        await self._close(max(CLOSE_LEAST_S, until - self._mono()))

    async def _flush(self) -> bool:
        """Commits what waits; what cannot be committed now stays with its device."""
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._committer.flush()
        except StoreError as error:
            log.error("the last commit failed, devices keep their items: %s", error)  # noqa: TRY400 - the reason is complete
        except TimeoutError:
            log.error("the last commit takes too long, devices keep their items")  # noqa: TRY400
        else:
            return True
        return False

    async def _drain(self, reachable: Callable[[], Iterable[str]]) -> None:
        """Lets the readers that can deliver the last items; the others have their cursors."""
        for _ in range(DRAIN_LOOKS):
            if not any(map(self._feed.backlog, reachable())):
                return
            await asyncio.sleep(DRAIN_S / DRAIN_LOOKS)

    async def _close(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._thread.close()
        except TimeoutError:
            log.critical("the store cannot be closed in time timeout_s=%.1f", timeout_s)
            self.late.append("store")
