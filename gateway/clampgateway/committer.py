"""Group commit: collects what links bring, commits it in one thread, then tells and publishes.

Owns the order commit -> acknowledge -> publish, the wait between commits, the retry of a commit
that failed, and the bound on what may wait for one. Nothing is acknowledged before its commit
returned, and nothing is dropped here: when too much waits, `congested` makes the sources stop
reading, and the devices keep it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from clampgateway.feed import Feed
from clampgateway.memory import Reserve
from clampgateway.model import Item, Parked, Stored
from clampgateway.store import Dating, StoreError, StoreThread
from clampgateway.utcclock import Era

_log = logging.getLogger(__name__)

INTERVAL_S = 0.25
INTERVAL_MAX_S = 1.0
# So many items are worth a commit of their own at once.
EAGER_ITEMS = 1000
BATCH_ITEMS = 4000
QUEUE_ITEMS = 20_000
CURSORS_S = 1.0
# How often what is old is looked for, and the pause between two steps while there is some.
UPKEEP_S = 10.0
UPKEEP_BUSY_S = 0.1
RETRY_FIRST_S = 0.1
RETRY_MOST_S = 2.0

OnCommit = Callable[[list[Item]], None]
Note = Callable[[], None]


class _Batch(NamedTuple):
    """What one commit writes."""

    notes: list[Note]
    items: list[Item]
    cursors: dict[str, int]
    parked: Mapping[str, Sequence[Parked]]


class Committer:
    """Commits what was submitted at most `interval_s` (up to 1 s) after it came.

    `run` is its task; `flush` commits at once, for the end. A commit that fails is tried again
    without end, with nothing acknowledged meanwhile; `alarm` says why. `reserve` is set free when
    there is no memory; while it is out, sources must stop reading, too. `clocks` says what is to
    be kept beside the store (see Store.keep_clocks), `eras` which eras of UTC are new (see
    `UtcClock.news`), `dating` how items are dated now that have no time, None if that is unknown.
    """

    def __init__(
        self,
        thread: StoreThread,
        feed: Feed,
        interval_s: float = INTERVAL_S,
        queue_items: int = QUEUE_ITEMS,
        reserve: Reserve | None = None,
        clocks: Callable[[], object] = lambda: None,
        eras: Callable[[], Sequence[Era]] = tuple,
        dating: Callable[[], Dating | None] = lambda: None,
    ) -> None:
        if not 0 < interval_s <= INTERVAL_MAX_S:
            raise ValueError(f"commit interval is {interval_s} s, must be above 0 and at most 1 s")
        self._thread = thread
        self._feed = feed
        self._interval_s = interval_s
        self._queue_items = queue_items
        self._reserve = reserve
        self._clocks = clocks
        self._news_of_eras = eras
        self._dating = dating
        self._eras: list[Era] = []
        self._queue: deque[tuple[list[Item], OnCommit]] = deque()
        self._notes: list[Note] = []
        self._cursors = feed.cursors()
        self._parked = feed.parked()
        self._work = asyncio.Event()
        self._enough = asyncio.Event()
        self._committing = asyncio.Lock()
        self._congested = False
        self.pending = 0
        self.alarm = ""
        self.commits = self.committed = self.redelivered = 0
        self.failures = self.congestions = self.upkeep_failures = self.memory_errors = 0
        self._upkeep_due_s = 0.0
        self._last_commit_s = self._longest_commit_s = 0.0

    def submit(self, items: list[Item], on_commit: OnCommit) -> None:
        """Queue items; `on_commit(items)` is called in the loop once they are durable."""
        if not items:
            return
        self._queue.append((items, on_commit))
        self.pending += len(items)
        self._work.set()
        if self.pending >= EAGER_ITEMS:
            self._enough.set()
        if self.pending >= self._queue_items and not self._congested:
            self._congested = True
            self.congestions += 1
            _log.warning(
                "commits are behind, reading from devices pauses pending=%d", self.pending
            )

    def describe(self, device: str, crc: int, payloads: Sequence[bytes]) -> None:
        """Queue a description; it is durable before any item submitted from now on."""
        self.note(partial(self._thread.store.save_description, device, crc, payloads))

    def note(self, write: Note) -> None:
        """Queue a small write to the store, done before any item submitted from now on is there.

        It is tried until it succeeds, so it must be one that may be done twice.
        """
        self._notes.append(write)
        self._work.set()

    async def settled(self) -> None:
        """Waits until all items submitted until now are committed, however long that takes."""
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_commit(_items: list[Item]) -> None:
            if not committed.done():
                committed.set_result(None)

        self._queue.append(([], on_commit))
        self._work.set()
        await committed

    @property
    def redelivered_by(self) -> dict[str, int]:
        """How many items of each device came although they were here, since the start."""
        return dict(self._thread.store.redelivered_by)

    @property
    def congested(self) -> bool:
        """Whether sources must stop reading; until half of the queue is worked off."""
        return self._congested or (self._reserve is not None and self._reserve.short)

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            try:
                await self._wait()
                await self._commit_once()
                await self._keep_up()
            except MemoryError:
                self.no_memory()
                await asyncio.sleep(RETRY_FIRST_S)

    def no_memory(self) -> None:
        """There was a MemoryError here or at a source: the reserve is set free."""
        self.memory_errors += 1
        if self._reserve is not None:
            self._reserve.give()

    async def _wait(self) -> None:
        if not self._work.is_set():
            upkeep_s = max(0.0, self._upkeep_due_s - time.monotonic())
            try:
                async with asyncio.timeout(min(CURSORS_S, upkeep_s)):
                    await self._work.wait()
            except TimeoutError:
                return  # time to look after the cursors, or after what is old
        try:
            async with asyncio.timeout(self._interval_s):
                await self._enough.wait()
        except TimeoutError:
            return

    async def _keep_up(self) -> None:
        """Now and then, a step of forgetting what is old, and one of correcting times."""
        now_s = time.monotonic()
        if now_s < self._upkeep_due_s:
            return
        try:
            more = await self._thread.run(
                self._thread.store.upkeep, now_s, self._feed.fences(), self._clocks()
            )
            dating = self._dating()
            self._eras += self._news_of_eras()
            if self._eras:
                dating = None  # its era is not in the store yet: after the next commit
            told, again = await self._thread.run(
                self._thread.store.restamp, dating, now_s, self._feed.fences()
            )
            self._publish(told)
            more = more or again
        except StoreError as error:
            self.upkeep_failures += 1
            _log.warning("nothing old could be forgotten or dated, trying again: %s", error)
            more = False
        self._upkeep_due_s = now_s + (UPKEEP_BUSY_S if more else UPKEEP_S)

    async def flush(self) -> None:
        """Commit everything that waits, cursors too. Raises StoreError at the first failure."""
        clocks = self._clocks()
        if clocks is not None:
            await self._thread.run(self._thread.store.keep_clocks, clocks)
        while self.pending or self._notes or self._moved():
            await self._commit_once(retry=False)

    def _moved(self) -> bool:
        return self._cursors != self._feed.cursors() or self._parked != self._feed.parked()

    async def _commit_once(self, retry: bool = True) -> None:
        async with self._committing:
            # Nothing is taken out of the queue before it is committed: whatever fails, it waits.
            items: list[Item] = []
            batches = 0
            for submitted, _on_commit in self._queue:
                if len(items) >= BATCH_ITEMS:
                    break
                items += submitted
                batches += 1
            noted = len(self._notes)
            cursors, parked = self._feed.cursors(), self._feed.parked()
            self._eras += self._news_of_eras()
            if self._eras:
                self._upkeep_due_s = 0.0  # times may be wrong from now on
            elif not batches and not noted and (cursors, parked) == (self._cursors, self._parked):
                return
            batch = _Batch(self._notes[:noted], items, cursors, parked)
            new, redelivered = await self._commit(batch, retry)
            try:
                del self._notes[:noted]
                self._cursors, self._parked = cursors, parked
                self._took(len(items), batches, redelivered)
                for _ in range(batches):
                    self._tell(*self._queue.popleft())
            finally:
                self._publish(new)

    def _tell(self, items: list[Item], on_commit: OnCommit) -> None:
        try:
            on_commit(items)
        except MemoryError:  # the link has closed itself, or its device asks again
            self.no_memory()

    def _publish(self, new: list[Stored]) -> None:
        try:
            self._feed.publish(new)
        except MemoryError:
            self.no_memory()
            self._feed.publish(new)  # with what the reserve gave

    def _took(self, items: int, batches: int, redelivered: int) -> None:
        self.commits += 1
        self.committed += items - redelivered
        self.redelivered += redelivered
        self.pending -= items
        if len(self._queue) == batches and not self._notes:
            self._work.clear()
        if self.pending < EAGER_ITEMS:
            self._enough.clear()
        if self._congested and self.pending < self._queue_items // 2:
            self._congested = False
            _log.info("reading from devices goes on pending=%d", self.pending)

    async def _commit(self, batch: _Batch, retry: bool) -> tuple[list[Stored], int]:
        wait_s = RETRY_FIRST_S
        while True:
            begun_s = time.monotonic()
            try:
                eras = tuple(self._eras)
                done = await self._thread.run(self._write, batch, eras, self._feed.fences())
                del self._eras[: len(eras)]
            except (StoreError, MemoryError) as error:
                if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
                    self.no_memory()
                self.failures += 1
                said = str(error) or "no memory"
                if said != self.alarm:
                    _log.error("a commit failed, nothing is acknowledged, trying again: %s", said)
                self.alarm = said
                if not retry:
                    raise
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_MOST_S)
                continue
            if self.alarm:
                _log.info("commits succeed again")
                self.alarm = ""
            self._last_commit_s = time.monotonic() - begun_s
            self._longest_commit_s = max(self._longest_commit_s, self._last_commit_s)
            return done

    def _write(
        self, batch: _Batch, eras: Sequence[Era], fences: tuple[int, ...]
    ) -> tuple[list[Stored], int]:
        """In the store's thread."""
        store = self._thread.store
        store.save_eras(eras)
        for write in batch.notes:
            write()
        return store.append(batch.items, batch.cursors, fences, batch.parked)

    def stats(self) -> dict[str, float | str]:
        """Counters, durations in ms, and the alarm (empty if all is well)."""
        return {
            "pending": self.pending,
            "commits": self.commits,
            "committed": self.committed,
            "redelivered": self.redelivered,
            "failures": self.failures,
            "upkeep_failures": self.upkeep_failures,
            "memory_errors": self.memory_errors,
            "congestions": self.congestions,
            "congested": int(self.congested),
            "last_commit_ms": round(1000 * self._last_commit_s, 2),
            "longest_commit_ms": round(1000 * self._longest_commit_s, 2),
            "alarm": self.alarm,
        }
