"""Who is there now: one entry a device with its identity, description, link and last readings.

The registry is fed by links (identity, description, status, link up and down) and by the feed
(committed readings and states); bridges and the API read it and may ask to be told of changes.
It holds nothing that must survive: the store keeps descriptions and records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from clampgateway.model import Description, EventReading, Identity, Reading


class MachineState(NamedTuple):
    """What the machine does, since when (UTC ms, end of evidence) and why."""

    state: str = "unknown"
    since_ms: int = 0
    why: str = ""


@dataclass(slots=True)
class Device:
    """One device as the gateway sees it now. Only the registry and its feeders change it."""

    key: str
    identity: Identity | None = None
    description: Description | None = None
    online: bool = False
    refused: str = ""
    source: str = ""
    reading: Reading | None = None
    reading_mono: float = 0.0
    state: MachineState = field(default_factory=MachineState)
    status: dict[str, float] = field(default_factory=dict)
    link: dict[str, float] = field(default_factory=dict)
    records: int = 0
    events: int = 0
    gaps: int = 0


class Devices:
    """The registry. `watch` callbacks get (device, what) with what one of CHANGES."""

    CHANGES = (
        "added",
        "identity",
        "description",
        "online",
        "offline",
        "refused",
        "reading",
        "state",
        "removed",
    )

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._watchers: list[Callable[[Device, str], None]] = []

    def __iter__(self) -> Iterator[Device]:
        return iter(sorted(self._devices.values(), key=lambda device: device.key))

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, key: str) -> Device | None:
        return self._devices.get(key)

    def at(self, key: str) -> Device:
        """The entry of a device, made at first sight."""
        device = self._devices.get(key)
        if device is None:
            device = self._devices[key] = Device(key)
            self.changed(device, "added")
        return device

    def remove(self, key: str) -> None:
        """Forget a device; one that comes back gets an entry of its own."""
        device = self._devices.pop(key, None)
        if device is not None:
            self.changed(device, "removed")

    def watch(self, callback: Callable[[Device, str], None]) -> Callable[[], None]:
        """Call `callback` at every change, in the loop's thread; returns how to stop it."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)

    def changed(self, device: Device, what: str) -> None:
        """Tell the watchers; feeders call it after they changed an entry."""
        for callback in tuple(self._watchers):
            callback(device, what)

    def took_reading(self, reading: Reading, mono_s: float) -> None:
        """A committed reading; an older one than the last (history) changes only the count."""
        device = self.at(reading.device)
        device.records += 1
        last = device.reading
        if last is None or (reading.boot, reading.seq) > (last.boot, last.seq):
            device.reading = reading
            device.reading_mono = mono_s
            self.changed(device, "reading")

    def took_event(self, event: EventReading, state: MachineState | None) -> None:
        """A committed event; `state` if it is the newest change of the machine's state."""
        device = self.at(event.device)
        device.events += 1
        if state is not None and state.since_ms >= device.state.since_ms:
            if state.state == device.state.state == "unknown" and device.state.why:
                # News of the same state, as "learning 40 of 300": it lasts since it began.
                state = state._replace(since_ms=device.state.since_ms)
            device.state = state
            self.changed(device, "state")
