"""Descriptions, readings and stored items of plausible devices, for tests of what serves them.

The items are real wire messages, made by the codec from values in physical units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from clampgateway.model import (
    EVENT,
    GAP,
    RECORD,
    Channel,
    Description,
    Feature,
    Identity,
    Item,
    Reading,
    decode_record,
)
from clampwire import messages, values
from clampwire.codec import Codec

UTC_MS = 1_763_750_000_123
CODEC = Codec()


def feature(key: str, unit: str, code: str = "H", mult: int = 1, exp: int = -2) -> Feature:
    """A feature; the default is hundredths of the unit as unsigned 16 bit."""
    return Feature(key, unit, ord(code), mult, exp)


def channel(index: int, key: str, quantity: str, unit: str, *features: Feature) -> Channel:
    """A channel with a full scale of 30, a noise floor of 0.05 and 1.5 % uncertainty."""
    return Channel(
        index, key, quantity, unit, "TEST-1", 6400.0, 30.0, 0.05, 1.5, "cal-7", features
    )


CURRENT = channel(0, "current1", "current", "A", feature("rms", "A"), feature("peak", "A"))
VIBRATION = channel(
    1,
    "vibration1",
    "vibration",
    "m/s²",
    feature("a", "m/s²"),
    *(feature(f"v_{axis}", "mm/s", "H", 1, -2) for axis in "xyz"),
)
INPUT = channel(
    2, "input1", "input", "", feature("state", "", "B", 1, 0), feature("count", "", "I", 1, 0)
)
STRANGE = channel(3, "ph1", "acidity", "pH", feature("ph", "pH"), feature("raw", "V", "f", 1, 0))


def description(
    device: str = "e66138935f3a2b21",
    channels: Sequence[Channel] = (CURRENT, VIBRATION, INPUT),
    crc: int = 0xC0FFEE,
) -> Description:
    """A device's description with the channels numbered in this order; its layout is 1."""
    numbered = tuple(replace(each, index=at) for at, each in enumerate(channels))
    return Description(device, crc, 1, numbered)


def identity(device: str = "e66138935f3a2b21", name: str = "lathe", boot: int = 17) -> Identity:
    """What the device says in Hello."""
    return Identity(device, name, "sim", "0.1.0", "MicroPython 1.24", "1.0", boot, 1, "power_on")


def record(
    about: Description,
    seq: int,
    numbers: Mapping[str, Mapping[str, float | None]],
    *,
    boot: int = 17,
    windows: int = 5,
    flags: Mapping[str, int] | None = None,
    utc_ms: int | None = None,
    synced: bool = True,
) -> Item:
    """A RECORD item; `numbers` by channel and feature, missing ones not available."""
    packed = values.pack_values(
        about.value_layout,
        [numbers.get(c.key, {}).get(f.key) for c in about.channels for f in c.features],
    )
    bits = values.pack_flags([(flags or {}).get(c.key, 0) for c in about.channels])
    end_ms = seq * 1000
    payload = CODEC.encode("Record", boot, seq, end_ms, windows, about.layout, bits, packed)
    utc = UTC_MS + end_ms if utc_ms is None else utc_ms
    return Item(about.device, boot, seq, RECORD, end_ms, utc, synced, about.crc, payload)


def event(about: Description, seq: int, kind: str, where: int, value: int, text: str) -> Item:
    """An EVENT item of boot 17."""
    code = messages.code_of(messages.EVENT_KINDS, kind)
    payload = CODEC.encode("Event", 17, seq, seq * 1000, where, code, value, text)
    return Item(
        about.device, 17, seq, EVENT, seq * 1000, UTC_MS + seq * 1000, True, about.crc, payload
    )


def gap(about: Description, seq: int, reason: str, first: int, last: int, from_ms: int) -> Item:
    """A GAP item of boot 17 that covers the records `first` to `last`."""
    code = messages.code_of(messages.GAP_REASONS, reason)
    payload = CODEC.encode(
        "Gap", 17, seq, seq * 1000, code, messages.NO_CHANNEL, first, last, from_ms,
        seq * 1000, 0,
    )  # fmt: skip
    return Item(
        about.device, 17, seq, GAP, seq * 1000, UTC_MS + seq * 1000, True, about.crc, payload
    )


def reading(
    about: Description, seq: int, numbers: Mapping[str, Mapping[str, float | None]], **more: object
) -> Reading:
    """The reading of `record` with the same arguments."""
    return decode_record(record(about, seq, numbers, **more), about)  # type: ignore[arg-type]
