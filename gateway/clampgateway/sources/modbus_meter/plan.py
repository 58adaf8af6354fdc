"""From a profile to requests, and from registers to the numbers of a record. Pure.

Owns which registers are asked for together, how their words become a value, and how the value
travels: a float as the meter's own float32, an integer as its raw value with its decimal scale.
Nothing is rounded on the way but a number that the record cannot hold, and that is told.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clampgateway.registers.order import places
from clampgateway.sources.modbus_meter.profile import (
    TYPES,
    ChannelProfile,
    Profile,
    Quantity,
    decimal_scale,
    nan_if,
    wire_code,
)
from clampwire import messages, values
from clampwire.codec import Codec

_CODEC = Codec()
_FLOAT = ord("f")
# The largest magnitude of raw values in a record, one short of "not available".
_INT_MOST = {ord("i"): 0x7FFFFFFF, ord("I"): 0xFFFFFFFE}
_INT_LEAST = {ord("i"): -0x7FFFFFFF, ord("I"): 0}

# A number as `clampwire.values` packs it: a float, whole steps as a tuple of one, or nothing.
Packed = float | tuple[int] | None


class ValueProblem(ValueError):
    """What a meter said cannot be its value; the text says what it said."""


class Field(NamedTuple):
    """One number: its place among all of the record, its channel, and how it is read."""

    place: int
    channel: int
    key: str
    unit: str
    function: int
    address: int
    kind: str
    word_order: str
    scale: float
    mult: int
    exp: int
    span: tuple[float, float] | None
    missing: tuple[int, ...]

    @property
    def words(self) -> int:
        return TYPES[self.kind][0]

    def value(self, words: Sequence[int]) -> Packed:
        """The value in these registers; None if the meter says that it has none.

        Raises ValueProblem.
        """
        raw = _raw(self.kind, self.word_order, words)
        code = wire_code(self.kind)
        if code == _FLOAT:
            if not math.isfinite(raw):
                raise ValueProblem(f"{self.key} is {raw}")
            number = raw * self.scale
            try:
                number = struct.unpack("<f", struct.pack("<f", number))[0]
            except OverflowError:
                raise ValueProblem(f"{self.key} is {number:g} {self.unit}") from None
            packed: Packed = number
        else:
            if raw in self.missing:
                return None
            number = raw * self.mult * 10.0**self.exp
            if not _INT_LEAST[code] <= raw <= _INT_MOST[code]:
                raise ValueProblem(f"{self.key} is {raw}, more than a record holds")
            packed = (int(raw),)
        if self.span is not None and not self.span[0] <= number <= self.span[1]:
            least, most = self.span
            raise ValueProblem(
                f"{self.key} is {number:g} {self.unit}, not within {least:g} to {most:g}"
            )
        return packed


class Block(NamedTuple):
    """One request: `words` registers from `first`, and the numbers in its answer."""

    function: int
    first: int
    words: int
    fields: tuple[Field, ...]


class Plan:
    """How one meter is read and described.

    Attributes:
        blocks: The requests of one reading, in order.
        fields: All numbers, in the order of the record.
        channels: Keys of the channels.
        crc: Names the description, as `describe_crc` on the wire.
    """

    def __init__(
        self, profile: Profile, period_s: float, uncertainty_pct: Mapping[str, float]
    ) -> None:
        self.fields = tuple(_fields(profile))
        self.blocks = tuple(_blocks(self.fields, profile))
        self.channels = tuple(channel.key for channel in profile.channel)
        self._layout = tuple((wire_code(f.kind), f.mult, f.exp) for f in self.fields)
        described = [
            _described(profile, channel, period_s, uncertainty_pct.get(channel.key), self.fields)
            for channel in profile.channel
        ]
        crc = 0
        for index, about in enumerate(described):
            head = (0, 0, len(described), index)
            crc = binascii.crc32(_CODEC.encode("Describe", *head, *about), crc)
        self.crc = crc
        head = (crc, self.layout, len(described))
        self.describes = tuple(
            _CODEC.encode("Describe", *head, index, *about)
            for index, about in enumerate(described)
        )

    @property
    def layout(self) -> int:
        """The number that records carry for this description."""
        return self.crc & 0xFF

    def pack(self, numbers: Sequence[Packed]) -> bytes:
        """The values of a Record."""
        return values.pack_values(self._layout, tuple(numbers))

    def flags(self, numbers: Sequence[Packed]) -> list[int]:
        """Flags by channel: `bad` where nothing could be read, `gap` where a part lacks."""
        found = []
        for index in range(len(self.channels)):
            lacks = [numbers[f.place] is None for f in self.fields if f.channel == index]
            found.append(values.BAD if all(lacks) else values.GAP if any(lacks) else 0)
        return found

    def line_s(self, baud: int, bits: int) -> float:
        """How long the bytes of one reading take on a serial line at least."""
        # Request of 8 bytes; answer of address, function, count, CRC and two bytes a register.
        sizes = sum(8 + 5 + 2 * block.words for block in self.blocks)
        return sizes * bits / baud


def _raw(kind: str, word_order: str, words: Sequence[int]) -> float:
    data = b"".join(word.to_bytes(2, "big") for word in words)
    # Each order, applied twice, gives the first one again.
    plain = bytes(data[at] for at in places(len(words), word_order))
    return struct.unpack(">" + TYPES[kind][1], plain)[0]


def _fields(profile: Profile) -> list[Field]:
    found: list[Field] = []
    for index, channel in enumerate(profile.channel):
        for each in channel.features:
            found.append(_field(profile, each, len(found), index))
    return found


def _field(profile: Profile, each: Quantity, place: int, channel: int) -> Field:
    kind = each.type or profile.type
    mult, exp = (1, 0) if wire_code(kind) == _FLOAT else decimal_scale(each.scale)
    return Field(
        place,
        channel,
        each.key,
        each.unit,
        each.function or profile.function,
        each.address,
        kind,
        each.word_order or profile.word_order,
        each.scale,
        mult,
        exp,
        each.range,
        each.missing,
    )


def _blocks(fields: Sequence[Field], profile: Profile) -> list[Block]:
    blocks: list[Block] = []
    for field in sorted(fields, key=lambda each: (each.function, each.address)):
        end = field.address + field.words
        if blocks:
            last = blocks[-1]
            count = max(last.first + last.words, end) - last.first
            near = field.address - (last.first + last.words) <= profile.max_gap
            if last.function == field.function and near and count <= profile.max_registers:
                blocks[-1] = Block(last.function, last.first, count, (*last.fields, field))
                continue
        blocks.append(Block(field.function, field.address, field.words, (field,)))
    return blocks


def _described(
    profile: Profile,
    channel: ChannelProfile,
    period_s: float,
    uncertainty_pct: float | None,
    fields: Sequence[Field],
) -> tuple[object, ...]:
    """Describe's fields from `key` on."""
    index = profile.channel.index(channel)
    stated = channel.uncertainty_pct if uncertainty_pct is None else uncertainty_pct
    return (
        channel.key,
        channel.quantity,
        channel.unit,
        profile.name,
        1 / period_s,
        nan_if(channel.full_scale),
        math.nan,
        nan_if(stated),
        "",
        [(f.key, f.unit, wire_code(f.kind), f.mult, f.exp) for f in fields if f.channel == index],
    )


def too_long(plan: Plan) -> str:
    """The key of a channel whose Describe is too long for a frame; "" if all fit."""
    for key, payload in zip(plan.channels, plan.describes, strict=True):
        if len(payload) > messages.PAYLOAD_MAX:
            return key
    return ""
