"""Values that every part of the gateway speaks of: descriptions, items, readings, live states.

Frozen data only, and the pure step from a stored item to a reading. Nothing here does I/O, knows
a clock or keeps state; who is connected now is `devices.py`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from clampgateway.recordplan import RecordPlan, body_of
from clampwire import messages, values
from clampwire.codec import Codec

RECORD, EVENT, GAP = (
    next(code for code, name, _fields in messages.MESSAGES if name == wanted)
    for wanted in messages.SPOOLED
)
# Gaps that the gateway itself announces, in the form of a device's; they travel on no wire.
STORE_FULL, EXPIRED, STORE_DAMAGED = 128, 129, 130
GAP_REASONS = (
    *messages.GAP_REASONS,
    (STORE_FULL, "store_full"),
    (EXPIRED, "expired"),
    (STORE_DAMAGED, "store_damaged"),
)
# Of the store alone: a range of items whose time was corrected; see `restamped_range`.
RESTAMPED = 131
MACHINE_STATES = tuple(word for _code, word in messages.MACHINE_STATES)


class GatewayError(Exception):
    """Root of the gateway's errors; each module derives its own beside the code that raises it."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of a channel in a Record: value = raw * mult * 10**exp, in `unit`."""

    key: str
    unit: str
    code: int
    mult: int
    exp: int


@dataclass(frozen=True, slots=True)
class Channel:
    """One measured quantity of a device, as its Describe says. NaN where it says nothing."""

    index: int
    key: str
    quantity: str
    unit: str
    sensor: str
    rate_hz: float
    full_scale: float
    noise_floor: float
    uncertainty_pct: float
    calibration: str
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """All channels of a device under one `crc`; records name their layout by `layout`."""

    device: str
    crc: int
    layout: int
    channels: tuple[Channel, ...]

    # Made when it is first asked for.
    _plan: RecordPlan | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def plan(self) -> RecordPlan:
        """How the numbers of its records are read."""
        plan = self._plan
        if plan is None:
            plan = RecordPlan(
                [
                    (c.key, [(f.key, f.code, f.mult, f.exp) for f in c.features])
                    for c in self.channels
                ]
            )
            object.__setattr__(self, "_plan", plan)
        return plan

    @property
    def value_layout(self) -> tuple[tuple[int, int, int], ...]:
        """(code, mult, exp) of every feature in record order, for `clampwire.values`."""
        return tuple((f.code, f.mult, f.exp) for c in self.channels for f in c.features)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says of itself in Hello."""

    device: str
    name: str
    board: str
    firmware: str
    runtime: str
    wire: str
    boot: int
    describe_crc: int
    reset_cause: str


class Item(NamedTuple):
    """A spooled message as it enters the store. `(device, boot, seq)` names it for ever.

    `kind` is RECORD, EVENT or GAP, or the store's RESTAMPED; `end_ms` device time in ms since
    power-up; `utc_ms` UTC of the same moment, 0 while the clock is not known; `synced` is 0 then,
    else the number of the era of UTC (`utcclock`) that it was dated in; `describe_crc` the
    description it is read with; `payload` the message as it came; `rev` how often its time was
    corrected.
    """

    device: str
    boot: int
    seq: int
    kind: int
    end_ms: int
    utc_ms: int
    synced: int
    describe_crc: int
    payload: bytes
    rev: int = 0


class Stored(NamedTuple):
    """An item that is committed. `id` rises by commit order and is never reused."""

    id: int
    item: Item


class Parked(NamedTuple):
    """Items that a reader has passed and nobody has taken: they wait behind its back.

    Those of `device` whose kind is in `kinds` (bit 1 << kind) with ids from `first_id` to
    `last_id`, which were to go to `topic` and were refused with `reason`.
    """

    topic: str
    device: str
    kinds: int
    first_id: int
    last_id: int
    reason: int


class Reading(NamedTuple):
    """A decoded Record. `channels` maps channel key to feature key to value (None: missing).

    `t_ms` is UTC ms of the end of the interval, `dur_ms` its length; `quality` is good, stale or
    bad; `flags` the words of all channels together; `channel_flags` those of each channel that
    has any. `before`: a condensed one covers so many numbers before its own, with those of events
    and gaps between its seconds; none of its records comes as it was.
    """

    device: str
    boot: int
    seq: int
    t_ms: int
    dur_ms: int
    quality: str
    flags: tuple[str, ...]
    channels: dict[str, dict[str, float | None]]
    channel_flags: dict[str, tuple[str, ...]]
    before: int = 0


@dataclass(frozen=True, slots=True)
class EventReading:
    """A decoded Event. `channel` is its key, "" for the device as a whole."""

    device: str
    boot: int
    seq: int
    t_ms: int
    synced: bool
    kind: str
    channel: str
    value: int
    text: str


@dataclass(frozen=True, slots=True)
class GapReading:
    """A decoded Gap: which records (`first_seq` to `last_seq`) or samples are lost, and why.

    `from_ms` to `to_ms` is when, in UTC ms; 0 while the clock is not known. `of_boot` is the
    power-up whose records they are, not always that of the Gap; `messages.TO_THE_END` as last
    number: all that was not delivered from `first_seq` to the end of it, and of all power-ups up
    to the Gap's own name.
    """

    device: str
    boot: int
    seq: int
    t_ms: int
    synced: bool
    reason: str
    channel: str
    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int
    seconds: float
    samples: int
    of_boot: int = 0


_CODEC = Codec()
_RANGE = struct.Struct("<III")


def restamped(device: str, boot: int, first: int, last: int) -> Item:
    """The item that tells in the log that the times of `first` to `last` were corrected."""
    payload = _RANGE.pack(boot, first, last)
    return Item(device, boot, last, RESTAMPED, 0, 0, 0, 0, payload)


def restamped_range(item: Item) -> tuple[int, int, int]:
    """(boot, first, last) of a RESTAMPED item: read them anew, their `rev` has risen."""
    boot, first, last = _RANGE.unpack(item.payload)
    return boot, first, last


def decode_record(item: Item, description: Description) -> Reading:
    """The reading of a RECORD item. Raises WireError or ValueError if it does not fit.

    `crest` is added where a channel has `peak` and a non-zero `rms`: it is their quotient and
    travels in no frame.
    """
    body = body_of(item.payload)
    channels = description.plan.numbers(body.values)
    channel_flags: dict[str, tuple[str, ...]] = {}
    union = bad = 0
    if body.flags:
        bits = values.unpack_flags(body.flags, len(description.channels))
        for channel, own in zip(description.channels, bits, strict=True):
            union |= own
            bad += bool(own & values.BAD)
            if own:
                channel_flags[channel.key] = _words(own)
    flags = _words(union & ~values.BAD) if union else ()
    if not item.synced:
        flags += ("unsynced",)
    quality = "bad" if bad and bad == len(description.channels) else "good"
    return Reading(
        item.device,
        item.boot,
        item.seq,
        item.utc_ms,
        body.windows * messages.WINDOW_MS,
        quality,
        flags,
        channels,
        channel_flags,
        body.before,
    )


def decode_event(item: Item, description: Description | None) -> EventReading:
    """The reading of an EVENT item. Raises WireError if the payload does not fit."""
    _name, event = _CODEC.decode(item.payload)
    return EventReading(
        item.device,
        item.boot,
        item.seq,
        item.utc_ms,
        bool(item.synced),
        messages.name_of(messages.EVENT_KINDS, event.kind),
        channel_key(description, event.channel),
        event.value,
        event.text,
    )


def decode_gap(item: Item, description: Description | None) -> GapReading:
    """The reading of a GAP item. Raises WireError if the payload does not fit."""
    _name, gap = _CODEC.decode(item.payload)
    of_boot = gap.of_boot or item.boot
    # Times of another power-up count from another zero.
    zero_ms = item.utc_ms - gap.at_ms if item.utc_ms and of_boot == item.boot else None
    return GapReading(
        item.device,
        item.boot,
        item.seq,
        item.utc_ms,
        bool(item.synced),
        messages.name_of(GAP_REASONS, gap.reason),
        channel_key(description, gap.channel),
        gap.first_seq,
        gap.last_seq,
        0 if zero_ms is None else zero_ms + gap.from_ms,
        0 if zero_ms is None else zero_ms + gap.to_ms,
        (gap.to_ms - gap.from_ms) / 1000,
        gap.samples,
        of_boot,
    )


def channel_key(description: Description | None, index: int) -> str:
    """Key of the channel `index`; "" for the device as a whole, "channel N" if not described."""
    if index == messages.NO_CHANNEL:
        return ""
    if description is not None and index < len(description.channels):
        return description.channels[index].key
    return f"channel {index}"


def _words(bits: int) -> tuple[str, ...]:
    return tuple(word for bit, word in values.FLAG_NAMES if bits & bit)
