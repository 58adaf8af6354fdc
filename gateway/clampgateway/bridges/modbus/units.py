"""Which device has which unit, and the frozen image each unit answers from.

Owns the images of all devices and of the gateway's own unit. An image is made when it is asked
for and something changed since, so a device that no master reads costs nothing. Who gets which
unit, slot and place is decided by the store, by way of the caller.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from clampgateway.devices import Device
from clampgateway.model import Channel
from clampgateway.registers import schema
from clampgateway.registers.encode import NAN, TESTS, put
from clampgateway.registers.image import DeviceRegisters, Moment, UnitImage

_ENTRY = struct.Struct(">5H")
_STATE_CODES = {word: code for code, word in schema.STATES}
_NONE, _GOOD, _STALE, _BAD = (code for code, _word in schema.QUALITIES)


class Clocks(NamedTuple):
    """`mono`: monotonic seconds. `utc_ms`: Unix time in ms, 0 while nobody knows it."""

    mono: Callable[[], float]
    utc_ms: Callable[[], int]


class DeviceUnit:
    """One device at its unit: its registers, and the image of its last record."""

    def __init__(self, number: int, device: Device, stale_after_s: float, clocks: Clocks) -> None:
        self.number = number
        self.device = device
        self._stale_after_s = stale_after_s
        self._clocks = clocks
        self._zero_s: float | None = None
        self._changed = True
        self.describe((), {})

    def describe(
        self, channels: Sequence[tuple[int, Channel]], places: Mapping[tuple[str, str], int]
    ) -> None:
        """Takes a description, with the slots of its channels (see DeviceRegisters)."""
        identity = self.device.identity
        texts = {"device": self.device.key}
        if identity is not None:
            texts.update(name=identity.name, firmware=identity.firmware, board=identity.board)
        self._registers = DeviceRegisters(
            texts, channels, places, self._stale_after_s, self._clocks.mono
        )
        self._texts = {"device": texts["device"], "name": texts.get("name", "")}
        self._changed = True

    def changed(self, what: str) -> None:
        """Something of the device changed; `what` is one of Devices.CHANGES."""
        if what == "reading" and self.device.reading is not None:
            self._zero_s = self._end_of_interval()
        self._changed = True

    @property
    def image(self) -> UnitImage:
        """The frozen registers, as of now."""
        if self._changed:
            self._changed = False
            device = self.device
            self._image = self._registers.image(
                Moment(
                    device.reading,
                    self._zero_s,
                    device.online,
                    device.state.state,
                    device.state.since_ms,
                    device.records,
                    device.events,
                    device.gaps,
                    device.status,
                )
            )
        return self._image

    def entry(self) -> tuple[bytes, Mapping[str, str]]:
        """This unit's line in the gateway's who-is-who: its numbers, and its texts."""
        device, reading = self.device, self.device.reading
        quality, state = _NONE, 0
        if reading is not None:
            if self._is_stale:
                quality = _STALE
            else:
                quality = _BAD if reading.quality == "bad" else _GOOD
            state = 0 if quality == _STALE else _STATE_CODES.get(device.state.state, 0)
        numbers = (self.number, device.online, quality, state, self._registers.channels)
        return _ENTRY.pack(*numbers), self._texts

    @property
    def _is_stale(self) -> bool:
        age_s = NAN if self._zero_s is None else self._clocks.mono() - self._zero_s
        return not age_s <= self._stale_after_s

    def _end_of_interval(self) -> float:
        """When the last reading's interval ended, on the monotonic clock.

        It was taken in at `reading_mono`; how old it was then is known if both its time and ours
        are UTC. A reading of the future (our clock was set back) counts as new.
        """
        reading, utc_ms = self.device.reading, self._clocks.utc_ms()
        assert reading is not None
        if not utc_ms or "unsynced" in reading.flags:
            return self.device.reading_mono
        age_s = (utc_ms - reading.t_ms) / 1000
        return min(self.device.reading_mono, self._clocks.mono() - age_s)


def gateway_image(
    values: Mapping[str, float | str],
    units: Sequence[DeviceUnit],
    clocks: Clocks,
    stale_after_s: float,
) -> UnitImage:
    """The gateway's own unit, with the who-is-who. `values`: registers of schema.GATEWAY."""
    words = bytearray(2 * schema.GATEWAY_SIZE)
    utc_ms = clocks.utc_ms()
    moment = {"quality": _GOOD, "online": 1, "time_s": utc_ms // 1000, "time_ms": utc_ms % 1000}
    fixed = {"unit_kind": 2, "time": utc_ms}
    put(words, 0, schema.GATEWAY, {**TESTS, **moment, **fixed, **values})
    for unit in units:
        at = 2 * schema.entry_address(unit.number)
        numbers, texts = unit.entry()
        words[at : at + len(numbers)] = numbers
        put(words, at, schema.DIRECTORY, texts)
    fresh = bytes(words)
    put(words, 0, schema.GATEWAY, {"quality": _STALE})
    return UnitImage(fresh, bytes(words), clocks.mono(), stale_after_s, 1, clocks.mono)
