"""Committed items on their way out: the newest values for all, and a durable reader a bridge.

Owns the tail of the log in memory, the readers' positions, and the step that brings committed
items into `Devices`. What is older than the tail is read from the store. Nothing is published
before it is committed, and a slow or dead bridge holds up nobody: it has its own reader.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from clampgateway import model
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices, MachineState
from clampgateway.feed.lanereader import LaneReader
from clampgateway.feed.lanes import Lanes
from clampgateway.feed.reader import Reader
from clampgateway.model import (
    EVENT,
    GAP,
    RECORD,
    RESTAMPED,
    Description,
    EventReading,
    GapReading,
    GatewayError,
    Item,
    Parked,
    Reading,
    Stored,
)
from clampwire import messages

_log = logging.getLogger(__package__)

TAIL_ITEMS = 10_000
# Complaints of undecodable items are one a description; this many descriptions are remembered.
COMPLAINTS_MAX = 256


class FeedError(GatewayError):
    """An item that cannot be read; the text names it and what is missing or wrong."""


class Feed:
    """The committed items, from the store's beginning to now.

    `read_after(id, limit)` reads the store; `cursors` and `last_id` are its at start; `recent` are
    the last events of each device, so that a state survives a restart of the gateway; `parked` is
    what readers with two lanes had put aside.
    """

    def __init__(
        self,
        devices: Devices,
        descriptions: Descriptions,
        read_after: Callable[[int, int], Awaitable[list[Stored]]],
        mono: Callable[[], float],
        cursors: Mapping[str, int],
        last_id: int,
        recent: Iterable[Stored] = (),
        parked: Mapping[str, Sequence[Parked]] | None = None,
    ) -> None:
        self._devices = devices
        self._descriptions = descriptions
        self._read_after = read_after
        self._mono = mono
        self._cursors = dict(cursors)
        self._parked = {name: tuple(ranges) for name, ranges in (parked or {}).items()}
        self._readers: dict[str, Reader] = {}
        self._lane_readers: dict[str, LaneReader] = {}
        self._tail: list[Stored] = []
        self._floor = last_id
        self._complained: set[tuple[str, int]] = set()
        self.last_id = last_id
        self.published = 0
        self.undecodable = 0
        for stored in recent:
            self._remember_state(stored.item)

    # --- in -------------------------------------------------------------------------------------

    def publish(self, new: list[Stored]) -> None:
        """Take items that were just committed, oldest first, and wake the readers.

        Of several records of one device only the newest is decoded here; all are counted. May be
        called again with the same items after a MemoryError.
        """
        if not new:
            return
        if new[-1].id > self.last_id:
            self._keep(new)
        for reader in (*self._readers.values(), *self._lane_readers.values()):
            reader.wake()
        newest: dict[str, Item] = {}
        counts: dict[str, int] = {}
        for _id, item in new:
            if item.kind != RECORD:
                if item.kind != RESTAMPED:
                    self._took_other(item)
                continue
            device = item.device
            counts[device] = counts.get(device, 0) + 1
            last = newest.get(device)
            if last is None or item[1:3] > last[1:3]:
                newest[device] = item
        for device, item in newest.items():
            reading = self._try_decode(item)
            self._devices.at(device).records += counts[device] - isinstance(reading, Reading)
            if isinstance(reading, Reading):
                self._devices.took_reading(reading, self._mono())

    def _keep(self, new: list[Stored]) -> None:
        tail = self._tail
        try:
            tail += new
        except MemoryError:
            # Nobody may pass over them: all readers take them from the store.
            tail.clear()
            self._floor = new[-1].id
        if len(tail) > TAIL_ITEMS + TAIL_ITEMS // 8:  # not moved at each commit
            self._floor = tail[-TAIL_ITEMS - 1].id
            del tail[:-TAIL_ITEMS]
        self.published += len(new)
        self.last_id = new[-1].id

    def _took_other(self, item: Item) -> None:
        reading = self._try_decode(item)
        if isinstance(reading, EventReading):
            self._devices.took_event(reading, _state_of(reading))
        elif isinstance(reading, GapReading):
            self._devices.at(item.device).gaps += 1
            _log.warning(
                "gap told device=%s reason=%s channel=%s first=%d last=%d samples=%d",
                reading.device,
                reading.reason,
                reading.channel or "all",
                reading.first_seq,
                reading.last_seq,
                reading.samples,
            )

    def _remember_state(self, item: Item) -> None:
        reading = self._try_decode(item)
        state = _state_of(reading) if isinstance(reading, EventReading) else None
        entry = self._devices.at(item.device)
        if state is not None and state.since_ms >= entry.state.since_ms:
            entry.state = state

    def _try_decode(self, item: Item) -> Reading | EventReading | GapReading | None:
        try:
            return self.decode(item)
        except FeedError as error:
            self.undecodable += 1
            place = (item.device, item.describe_crc)
            if place not in self._complained and len(self._complained) < COMPLAINTS_MAX:
                self._complained.add(place)
                _log.error(
                    "an item cannot be read; more of this description are only counted: %s", error
                )
            return None

    # --- out ------------------------------------------------------------------------------------

    def decode(self, item: Item) -> Reading | EventReading | GapReading:
        """The reading of any item. Raises FeedError if it cannot be read."""
        description = self._descriptions.get(item.device, item.describe_crc)
        where = f"item {item.device}/{item.boot}/{item.seq}"
        try:
            if item.kind == EVENT:
                return model.decode_event(item, description)
            if item.kind == GAP:
                return model.decode_gap(item, description)
            if description is None:
                raise FeedError(f"{where}: no description {item.describe_crc:08x}")
            return model.decode_record(item, description)
        except ValueError as error:
            raise FeedError(f"{where}: does not fit its description: {error}") from error

    def description(self, device: str, crc: int) -> Description | None:
        """The description an item was made under; None if it was lost with a damaged store."""
        return self._descriptions.get(device, crc)

    def reader(self, name: str) -> Reader:
        """A reader that goes on after all that `name` has told to be done.

        One a name: a bridge that starts again gets a new one, and the old one is out of use.
        """
        reader = Reader(self, name, self._cursors.setdefault(name, 0))
        self._readers[name] = reader
        return reader

    def lane_reader(self, name: str) -> LaneReader:
        """The same for a bridge with a live lane and one for what was left out of it."""
        self._take_from(name)
        cursor = self._cursors.setdefault(name, 0)
        # A store that was set aside may know cursors of ids that it does not have.
        live = min(self._cursors.get(f"{name}.live", cursor), self.last_id)
        to = min(self._cursors.get(f"{name}.to", cursor), self.last_id)
        lanes = Lanes(min(cursor, self.last_id), to, live, self._parked.get(name, ()))
        reader = LaneReader(self, name, lanes, self._mono)
        self._lane_readers[name] = reader
        return reader

    def cursors(self) -> dict[str, int]:
        """Of every reader ever: the id up to which all is delivered. The committer stores it.

        One with two lanes has three: see `lanes`.
        """
        for name in self._lane_readers:
            self._take_from(name)
        return dict(self._cursors)

    def parked(self) -> dict[str, tuple[Parked, ...]]:
        """What each reader with two lanes has put aside; belongs to `cursors` of the same turn."""
        for name in self._lane_readers:
            self._take_from(name)
        return dict(self._parked)

    def _take_from(self, name: str) -> None:
        reader = self._lane_readers.get(name)
        if reader is not None:
            self._cursors.update(reader.cursors())
            self._parked[name] = reader.parked()

    def fences(self) -> tuple[int, ...]:
        """Where the present readers stand: what each has delivered, and what it has taken.

        The lowest is how far all have delivered; empty without a reader.
        """
        places = [at for each in self._readers.values() for at in (each.cursor, each.position)]
        for reader in self._lane_readers.values():
            places += reader.places()
        return tuple(places)

    def done(self, reader: Reader, up_to: int) -> None:
        """For `Reader.done`."""
        if self._readers.get(reader.name) is reader and up_to > self._cursors[reader.name]:
            self._cursors[reader.name] = up_to

    async def after(self, position: int, limit: int) -> list[Stored]:
        """At most `limit` items behind `position`; empty if none is left there.

        From memory without waiting, or from the store.
        """
        items = self.tail_after(position, limit)
        if items is None:
            items = await self._read_after(position, limit)
            if not items:
                # Nothing is left of what was there.
                items = self.tail_after(max(position, self._floor), limit) or []
        return items

    def tail_after(self, position: int, limit: int) -> list[Stored] | None:
        """The same if it is in memory; None if it is not."""
        if position < self._floor:
            return None
        start = bisect_right(self._tail, position, key=_id_of)
        return self._tail[start : start + limit]

    def backlog(self, name: str) -> int:
        """How far a reader is behind at most (ids not yet done); 0 if nobody has this name."""
        reader = self._readers.get(name) or self._lane_readers.get(name)
        return max(0, self.last_id - reader.cursor) if reader is not None else 0

    def stats(self) -> dict[str, object]:
        """Counters, and each reader's cursor and backlog."""
        return {
            "last_id": self.last_id,
            "published": self.published,
            "undecodable": self.undecodable,
            "tail": len(self._tail),
            "readers": {
                name: {"cursor": reader.cursor, "backlog": self.backlog(name)}
                for name, reader in (*self._readers.items(), *self._lane_readers.items())
            },
        }


def _id_of(stored: Stored) -> int:
    return stored.id


def _state_of(event: EventReading) -> MachineState | None:
    if event.kind != "state":
        return None
    state = messages.name_of(messages.MACHINE_STATES, event.value)
    return MachineState(state, event.t_ms, event.text)
