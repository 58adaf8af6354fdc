"""What the bridge knows of each device, and how an item becomes a message."""

from __future__ import annotations

import logging
from collections.abc import Callable

from clampgateway import topics
from clampgateway.feed import BridgeContext
from clampgateway.model import (
    EVENT,
    GAP,
    RECORD,
    Description,
    Item,
    decode_event,
    decode_gap,
)
from clampgateway.topics import DeviceTopics, Topics

_log = logging.getLogger(__name__)


class Route:
    """One device: its topics, its last description, and the newest record that went as live."""

    __slots__ = ("crc", "description", "device", "head", "topics", "writer")

    def __init__(self, device: str, names: DeviceTopics) -> None:
        self.device = device
        self.topics = names
        self.head: tuple[int, int] = (-1, -1)
        self.crc = -1
        self.description: Description | None = None
        self.writer: topics.RecordWriter | None = None


# The payload of an item, and how many numbers a condensed record covers before its own.
Made = tuple[bytes, int]


class Routes:
    """All devices. `introduce` is called when a device has a new description.

    Attributes:
        introduced: Something was said of a device that has to go out before its items do: what
            was made just now is to be made again after it.
    """

    def __init__(
        self,
        context: BridgeContext,
        names: Topics,
        introduce: Callable[[Route, Description], bool],
    ) -> None:
        self._context = context
        self._names = names
        self._introduce = introduce
        self._routes: dict[str, Route] = {}
        self.unreadable = 0
        self.introduced = False

    def at(self, device: str) -> Route:
        """The route of a device, made at first sight."""
        route = self._routes.get(device)
        if route is None:
            route = self._routes[device] = Route(device, self._names.device(device))
        return route

    def forget(self, device: str) -> None:
        """The device is removed."""
        self._routes.pop(device, None)

    def make(self, route: Route, item: Item) -> Made | None:
        """The message of an item; None, counted and logged, for one that cannot be read."""
        crc = item.describe_crc
        if route.crc != crc or route.description is None:
            route.description = self._context.feed.description(item.device, crc)
            route.crc = crc
            route.writer = None
            if route.description is not None:
                route.writer = topics.RecordWriter(route.description)
                self.introduced = self._introduce(route, route.description) or self.introduced
        description, writer = route.description, route.writer
        try:
            if item.kind == RECORD:
                if writer is not None:
                    return writer.write(item)
                why = f"no description {crc:08x}"
            elif item.kind == EVENT:
                event = decode_event(item, description)
                return topics.event_payload(event, item.rev), 0
            elif item.kind == GAP:
                return topics.gap_payload(decode_gap(item, description), item.rev), 0
            else:
                why = f"kind {item.kind} is unknown"
        except ValueError as error:
            why = str(error)
        self.unreadable += 1
        _log.error(
            "an item cannot be published: device=%s boot=%d seq=%d: %s",
            item.device,
            item.boot,
            item.seq,
            why,
        )
        return None
