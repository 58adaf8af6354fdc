"""A reader of the committed items: where it stands, and how it waits for more."""

from __future__ import annotations

import asyncio
from typing import Protocol

from clampgateway.model import Stored

BATCH_ITEMS = 1000


class Source(Protocol):
    """What a reader needs of the feed."""

    last_id: int

    async def after(self, position: int, limit: int) -> list[Stored]: ...

    def done(self, reader: Reader, up_to: int) -> None: ...


class Reader:
    """A bridge's way through the items: each in order of commit, none left out.

    `position` is what `batch` handed out last; the durable cursor is behind it until `done`. After
    a restart of the gateway, what was not done comes again.
    """

    def __init__(self, feed: Source, name: str, cursor: int) -> None:
        self._feed = feed
        self._news = asyncio.Event()
        self.name = name
        self.cursor = cursor
        self.position = cursor

    async def batch(self, limit: int = BATCH_ITEMS) -> list[Stored]:
        """The next items, oldest first: at least one, waiting for it, and at most `limit`."""
        while True:
            self._news.clear()
            if self.position < self._feed.last_id:
                items = await self._feed.after(self.position, limit)
                if items:
                    self.position = items[-1].id
                    return items
            await self._news.wait()

    def done(self, up_to: int) -> None:
        """All items up to this id are delivered; durable with the next commit."""
        if up_to > self.cursor:
            self.cursor = up_to
            self._feed.done(self, up_to)

    def rewind(self) -> None:
        """Hand out again what is not done: the connection was lost before its confirmation."""
        self.position = self.cursor

    def wake(self) -> None:
        """There is something new."""
        self._news.set()
