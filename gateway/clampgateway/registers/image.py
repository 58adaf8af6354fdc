"""Readings to registers: the image of one device until its next record, and when it is late.

Owns how values become registers. What is then answered from them, and the age, is `unitimage.py`;
where readings come from is the caller's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from clampgateway.model import Channel, Reading
from clampgateway.registers import identity, order, schema
from clampgateway.registers.encode import (
    INT16_MISSING,
    NAN,
    TESTS,
    put,
    to_float,
    to_int16,
    to_registers,
)
from clampgateway.registers.schema import FEATURES, FLOATS_AT, INTS_AT, STRIDE
from clampgateway.registers.unitimage import NO_AGE, Style, UnitImage

_NONE, _GOOD, _STALE, _BAD = (code for code, _word in schema.QUALITIES)
_FLAG_BITS = {word: bit for bit, word in schema.FLAGS}
_STATE_CODES = {word: code for code, word in schema.STATES}
_FLOATS = struct.Struct(f">{FEATURES}f")
_INTS = struct.Struct(f">{FEATURES}h")
# Registers 12 to 29, from quality to time, as schema.SLOT has them.
_MOMENT = struct.Struct(">4H4I2HQ")
_MOMENT_AT = 2 * 12
_NO_FLOATS = _FLOATS.pack(*[NAN] * FEATURES)
_NO_INTS = _INTS.pack(*[INT16_MISSING] * FEATURES)
_NO_COUNTERS = b"\xff" * (2 * (schema.SLOT_USED - schema.COUNTERS_AT))


# The register identify.
NEVER_ASKED, UNDER_WAY, DONE, FAILED = 0, 1, 2, 3
VENDOR = "Clampwork"


class Moment(NamedTuple):
    """All that changes from record to record. `zero_s`: see UnitImage; times in ms, Unix."""

    reading: Reading | None = None
    zero_s: float | None = None
    online: bool = False
    state: str = "unknown"
    state_since_ms: int = 0
    heartbeat: int = 0
    records: int = 0
    events: int = 0
    gaps: int = 0
    status: Mapping[str, float] = {}
    identify: int = 0
    resets: int = 0


class _Slot(NamedTuple):
    channel: str
    at: int  # byte address of the slot
    places: tuple[tuple[str, int, float], ...]  # feature key, place, step of the int16
    counters: tuple[tuple[str, int, str], ...]  # feature key, byte address, type


class DeviceRegisters:
    """Makes the images of one device. Made anew when its description or identity changes.

    Args:
        texts: What the header's text registers say, by name; missing ones are empty.
        channels: The channels with their slots, 1 to 16.
        places: For channels of a quantity without a layout: (channel key, feature key) to place.
        style: How all units are shown.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        channels: Iterable[tuple[int, Channel]],
        places: Mapping[tuple[str, str], int],
        style: Style,
    ) -> None:
        self._style = style
        self._base = bytearray(2 * schema.DEVICE_SIZE)
        for slot in range(schema.SLOTS + 1):
            withhold(self._base, 2 * STRIDE * slot, _NONE, is_slot=slot > 0)
        self._slots = [self._add(slot, channel, places) for slot, channel in channels]
        fixed = {"unit_kind": 1, "channels": len(self._slots)}
        fixed["stale_after"] = int(style.stale_after_s * 1000)
        put(self._base, 0, schema.HEADER, {**TESTS, **fixed, **texts})
        self._identity = identity_of(
            texts.get("board", ""),
            texts.get("firmware", ""),
            "device",
            texts.get("name", ""),
            texts["device"],
        )

    @property
    def channels(self) -> int:
        """Slots in use."""
        return len(self._slots)

    def image(self, now: Moment) -> UnitImage:
        """The frozen registers for this moment."""
        words = bytearray(self._base)
        reading = now.reading
        record = (0, 0, 0, 0, 0, 0)
        quality, flags = _NONE, 0
        if reading is not None:
            seconds, millis = divmod(max(0, reading.t_ms), 1000)
            record = (
                reading.boot,
                reading.seq,
                seconds & 0xFFFFFFFF,
                millis,
                min(reading.dur_ms, 0xFFFF),
                max(0, reading.t_ms),
            )
            quality = _BAD if reading.quality == "bad" else _GOOD
            flags = _bits(reading.flags)
            for own in reading.channel_flags.values():
                flags |= _bits(own)
        shared = (now.online, _STATE_CODES.get(now.state, 0), NO_AGE, *record)
        put(words, 0, schema.HEADER, _header_values(now))
        for at in range(0, len(words), 2 * STRIDE):
            _MOMENT.pack_into(words, at + _MOMENT_AT, _NONE, 0, *shared)
        struct.pack_into(">2H", words, _MOMENT_AT, quality, flags)
        if reading is not None:
            for slot in self._slots:
                _put_slot(words, slot, reading)
        stale = bytearray(words)
        withhold(stale, 0, _STALE, is_slot=False)
        for slot in self._slots:
            withhold(stale, slot.at, _STALE, is_slot=True)
        order.apply(words, order.DEVICE_RUNS, self._style.word_order)
        order.apply(stale, order.DEVICE_RUNS, self._style.word_order)
        return UnitImage(
            bytes(words),
            bytes(stale),
            now.zero_s if reading is not None else None,
            schema.SLOTS + 1,
            self._style,
            int(now.identify == UNDER_WAY),
            self._identity,
        )

    def _add(self, slot: int, channel: Channel, places: Mapping[tuple[str, str], int]) -> _Slot:
        quantity = schema.quantity_named(channel.quantity)
        at = 2 * schema.slot_address(slot)
        put(
            self._base,
            at,
            schema.SLOT,
            {
                "quantity": quantity.code,
                "full_scale": channel.full_scale,
                "noise_floor": channel.noise_floor,
                "uncertainty": channel.uncertainty_pct,
                "rate": channel.rate_hz,
                "key": channel.key,
            },
        )
        if quantity is schema.OTHER:
            named = tuple(
                (feature.key, places[channel.key, feature.key], 0.0)
                for feature in channel.features
                if (channel.key, feature.key) in places
            )
        else:
            named = tuple((each.key, each.place, each.step) for each in quantity.features)
        counters = tuple(
            (each.name.removesuffix("_64"), at + 2 * each.offset, each.type)
            for each in quantity.counters
        )
        return _Slot(channel.key, at, named, counters)


def identity_of(model: str, revision: str, kind: str, name: str, own_id: str) -> dict[int, str]:
    """The objects of function 43/14 for one unit."""
    return {
        identity.VENDOR: VENDOR,
        identity.PRODUCT_CODE: kind,
        identity.REVISION: revision,
        identity.PRODUCT_NAME: f"{VENDOR} {kind}",
        identity.MODEL_NAME: model,
        identity.APPLICATION_NAME: name,
        identity.OWN_ID: own_id,
    }


def _header_values(now: Moment) -> dict[str, float]:
    found: dict[str, float] = {
        "heartbeat": now.heartbeat & 0xFFFF,
        "state_since": max(0, now.state_since_ms // 1000),
        "records": now.records,
        "events": now.events,
        "gaps": now.gaps,
        "identify": now.identify,
        "reset_counters": now.resets & 0xFFFF,
    }
    for name in schema.FROM_STATUS:
        found[name] = now.status.get(name, NAN)
    return found


def _put_slot(words: bytearray, slot: _Slot, reading: Reading) -> None:
    found = reading.channels.get(slot.channel)
    flags = reading.channel_flags.get(slot.channel, ())
    bits = _bits(flags) | _bits(word for word in reading.flags if word == "unsynced")
    bad = found is None or "bad" in flags
    struct.pack_into(">2H", words, slot.at + _MOMENT_AT, _BAD if bad else _GOOD, bits)
    if found is None or bad:
        return
    floats = [NAN] * FEATURES
    ints = [INT16_MISSING] * FEATURES
    for key, place, step in slot.places:
        value = found.get(key)
        if value is not None:
            floats[place] = to_float(value)
            ints[place] = to_int16(value, step)
    _FLOATS.pack_into(words, slot.at + 2 * FLOATS_AT, *floats)
    _INTS.pack_into(words, slot.at + 2 * INTS_AT, *ints)
    for key, at, kind in slot.counters:
        words[at : at + 2 * schema.SIZES[kind]] = to_registers(kind, found.get(key))


def withhold(words: bytearray, at: int, quality: int, *, is_slot: bool) -> None:
    """Takes state and values out of the block at byte `at`: NaN, 0x8000, all ones, unknown."""
    struct.pack_into(">H", words, at + _MOMENT_AT, quality)
    struct.pack_into(">H", words, at + 2 * 15, 0)
    if is_slot:
        words[at + 2 * FLOATS_AT : at + 2 * FLOATS_AT + len(_NO_FLOATS)] = _NO_FLOATS
        words[at + 2 * INTS_AT : at + 2 * INTS_AT + len(_NO_INTS)] = _NO_INTS
        start = at + 2 * schema.COUNTERS_AT
        words[start : start + len(_NO_COUNTERS)] = _NO_COUNTERS


def _bits(words: Iterable[str]) -> int:
    bits = 0
    for word in words:
        bits |= _FLAG_BITS.get(word, 0)
    return bits
