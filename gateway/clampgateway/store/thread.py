"""The store's thread: the store is synchronous, and the loop must not wait for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from clampgateway.model import Stored
from clampgateway.store.removals import Removal
from clampgateway.store.store import Store

_T = TypeVar("_T")

# Ids that are looked at in one go for those of one device: some milliseconds.
READ_IDS = 20_000


class StoreThread:
    """The one thread that uses the store once the loop runs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._executor = ThreadPoolExecutor(1, "store")

    async def run(self, function: Callable[..., _T], *args: object) -> _T:
        """Call `function` in the store's thread, after what was asked before."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *args)

    async def read_after(self, after: int, limit: int) -> list[Stored]:
        """See Store.read_after."""
        return await self.run(self.store.read_after, after, limit)

    async def read_range(
        self, device: str, boot: int, first: int, last: int, after_seq: int, limit: int
    ) -> list[Stored]:
        """See Store.read_range."""
        return await self.run(self.store.read_range, device, boot, first, last, after_seq, limit)

    async def read_ids(
        self, device: str, kinds: int, after_id: int, up_to_id: int, limit: int
    ) -> list[Stored]:
        """See Store.read_ids. Commits go on between its steps: few of many items may be meant."""
        found: list[Stored] = []
        while after_id < up_to_id and len(found) < limit:
            end = min(up_to_id, after_id + READ_IDS)
            left = limit - len(found)
            found += await self.run(self.store.read_ids, device, kinds, after_id, end, left)
            after_id = end
        return found

    async def save_ledger(self, rows: Sequence[tuple[str, int, bytes]], up_to_id: int) -> None:
        """See Store.save_ledger."""
        await self.run(self.store.save_ledger, rows, up_to_id)

    async def read_ledger(
        self, device: str | None = None, first_day: int | None = None, last_day: int | None = None
    ) -> list[tuple[str, int, bytes]]:
        """See Store.read_ledger."""
        return await self.run(self.store.read_ledger, device, first_day, last_day)

    async def assign(self, table: str, scope: str, key: str, lowest: int, highest: int) -> int:
        """See Store.assign."""
        return await self.run(self.store.assign, table, scope, key, lowest, highest)

    async def remove(self, device: str) -> Removal:
        """See Store.remove."""
        return await self.run(self.store.remove, device)

    async def close(self) -> None:
        """Checkpoint and close the store; the thread ends."""
        await self.run(self.store.close)
        self._executor.shutdown()
