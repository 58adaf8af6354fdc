"""Removed devices whose retained topics the broker may still hold.

Owns when they are emptied: after all that the device sent is delivered, so that the last word on a
device is that it is gone. What the broker refuses is not waited for, since that may be for ever.
"""

from __future__ import annotations

from clampgateway.bridges.mqtt.retained import Retained
from clampgateway.feed import BridgeContext, LaneReader
from clampgateway.topics import Topics


class Removed:
    """The removals that the bridge `name` has not carried out."""

    def __init__(
        self, name: str, context: BridgeContext, names: Topics, retained: Retained
    ) -> None:
        self._name = name
        self._context = context
        self._names = names
        self._retained = retained
        self._delivering: dict[str, int] = {}
        self._emptying: dict[str, set[str]] = {}

    def restart(self) -> None:
        """The bridge begins: what it had not carried out is to be done."""
        self._emptying.clear()
        self._delivering.clear()
        for device in self._context.removals.waiting(self._name):
            self.removed(device)

    def removed(self, device: str) -> None:
        """A device is removed."""
        up_to = self._context.removals.waiting(self._name).get(device)
        if up_to is not None:
            # A store that was set aside may have known ids that this one does not have.
            self._delivering[device] = min(up_to, self._context.feed.last_id)

    def returned(self, device: str) -> None:
        """It has come back, or is new: what is said of it from now on stays."""
        self._delivering.pop(device, None)
        self._emptying.pop(device, None)

    def may_speak(self, device: str) -> bool:
        """Whether something retained may be said of it; not while its topics are to be empty."""
        return device in self._delivering or device not in self._context.removals

    def look(self, reader: LaneReader) -> None:
        """Begins to empty the topics of those of which all is delivered."""
        if not self._delivering:
            return
        for device, up_to in tuple(self._delivering.items()):
            if not reader.lanes.delivered(device, up_to):
                continue
            del self._delivering[device]
            topics = self._names.device(device).retained
            self._emptying[device] = set(topics)
            for topic in topics:
                self._retained.remove(topic)

    def emptied(self, topic: str) -> str:
        """The broker has taken that this topic is empty; the device if it was its last one."""
        for device, topics in self._emptying.items():
            topics.discard(topic)
            if not topics:
                del self._emptying[device]
                self._context.removals.carried_out(device, self._name)
                return device
        return ""

    def stats(self) -> dict[str, int]:
        """Devices of which something is still to be delivered, or topics to be emptied."""
        return {"delivering": len(self._delivering), "emptying": len(self._emptying)}
