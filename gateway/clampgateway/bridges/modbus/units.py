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
from clampgateway.registers import order, schema
from clampgateway.registers.encode import NAN, TESTS, put
from clampgateway.registers.image import NEVER_ASKED, DeviceRegisters, Moment, identity_of
from clampgateway.registers.unitimage import Style, UnitImage
from clampwire.version import __version__

_ENTRY = struct.Struct(">6H")
_STATE_CODES = {word: code for code, word in schema.STATES}
_NONE, _GOOD, _STALE, _BAD = (code for code, _word in schema.QUALITIES)


class Counts(NamedTuple):
    """Counters of a device that a master can reset."""

    records: int = 0
    events: int = 0
    gaps: int = 0


class DeviceUnit:
    """One device at its unit: its registers, and the image of its last record.

    `hide` is called with the number when the image that was given is no longer true.
    """

    def __init__(
        self,
        number: int,
        device: Device,
        style: Style,
        utc_ms: Callable[[], int],
        hide: Callable[[int], None],
    ) -> None:
        self.number = number
        self.device = device
        self.identify = NEVER_ASKED
        self.removed = False
        self._style = style
        self._utc_ms = utc_ms
        self._hide = hide
        self._zero = Counts()
        self._resets = 0
        self._zero_s: float | None = None
        self._image: UnitImage | None = None
        self.describe((), {})

    def describe(
        self, channels: Sequence[tuple[int, Channel]], places: Mapping[tuple[str, str], int]
    ) -> None:
        """Takes a description, with the slots of its channels (see DeviceRegisters)."""
        identity = self.device.identity
        texts = {"device": self.device.key}
        if identity is not None:
            texts.update(name=identity.name, firmware=identity.firmware, board=identity.board)
        self._registers = DeviceRegisters(texts, channels, places, self._style)
        self._texts = {"device": texts["device"], "name": texts.get("name", "")}
        self._image = None
        self._hide(self.number)

    def vacate(self) -> None:
        """The device is removed: the unit stays its own, and reads as one without a record."""
        self.occupy(Device(self.device.key), removed=True)

    def occupy(self, device: Device, *, removed: bool = False) -> None:
        """The device is back under a new entry; it has to be described."""
        self.device = device
        self.removed = removed
        self.identify = NEVER_ASKED
        self._zero = Counts()
        self._zero_s = None
        self.describe((), {})

    def changed(self, what: str) -> None:
        """Something of the device changed; `what` is one of Devices.CHANGES."""
        if what == "reading" and self.device.reading is not None:
            self._zero_s = self._end_of_interval()
        self._image = None
        self._hide(self.number)

    def show_identify(self, state: int) -> None:
        """What became of the command to show itself, as the register says it."""
        self.identify = state
        self._image = None
        self._hide(self.number)

    def reset(self) -> None:
        """Lets the counters begin at 0."""
        device = self.device
        self._zero = Counts(device.records, device.events, device.gaps)
        self._resets += 1
        self._image = None
        self._hide(self.number)

    @property
    def image(self) -> UnitImage:
        """The frozen registers, as of now."""
        if self._image is None:
            device, zero = self.device, self._zero
            self._image = self._registers.image(
                Moment(
                    device.reading,
                    self._zero_s,
                    device.online,
                    device.state.state,
                    device.state.since_ms,
                    device.records,
                    device.records - zero.records,
                    device.events - zero.events,
                    device.gaps - zero.gaps,
                    device.status,
                    self.identify,
                    self._resets,
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
        numbers = (
            self.number,
            device.online,
            quality,
            state,
            self._registers.channels,
            self.removed,
        )
        return _ENTRY.pack(*numbers), self._texts

    @property
    def _is_stale(self) -> bool:
        age_s = NAN if self._zero_s is None else self._style.mono() - self._zero_s
        return not age_s <= self._style.stale_after_s

    def _end_of_interval(self) -> float:
        """When the last reading's interval ended, on the monotonic clock.

        It was taken in at `reading_mono`; how old it was then is known if both its time and ours
        are UTC. A reading of the future (our clock was set back) counts as new.
        """
        reading, utc_ms = self.device.reading, self._utc_ms()
        assert reading is not None
        if not utc_ms or "unsynced" in reading.flags:
            return self.device.reading_mono
        age_s = (utc_ms - reading.t_ms) / 1000
        return min(self.device.reading_mono, self._style.mono() - age_s)


def gateway_image(
    values: Mapping[str, float | str],
    units: Sequence[DeviceUnit],
    style: Style,
    utc_ms: int,
) -> UnitImage:
    """The gateway's own unit, with the who-is-who. `values`: registers of schema.GATEWAY."""
    words = bytearray(2 * schema.GATEWAY_SIZE)
    moment = {"quality": _GOOD, "online": 1, "time_s": utc_ms // 1000, "time_ms": utc_ms % 1000}
    fixed = {"unit_kind": 2, "time": utc_ms}
    put(words, 0, schema.GATEWAY, {**TESTS, **moment, **fixed, **values})
    for unit in units:
        at = 2 * schema.entry_address(unit.number)
        numbers, texts = unit.entry()
        words[at : at + len(numbers)] = numbers
        put(words, at, schema.DIRECTORY, texts)
    order.apply(words, order.GATEWAY_RUNS, style.word_order)
    fresh = bytes(words)
    put(words, 0, schema.GATEWAY, {"quality": _STALE})
    objects = identity_of("", __version__, "gateway", str(values["site"]), str(values["gateway"]))
    return UnitImage(fresh, bytes(words), style.mono(), 1, style, 0, objects)
