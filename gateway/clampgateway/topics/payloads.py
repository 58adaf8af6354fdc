"""The JSON of what is published. Pure. Keys carry no units: `birth` names them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
from msgspec import UNSET, Struct, UnsetType

from clampgateway.model import Channel, Description, EventReading, GapReading, Identity, Reading

SCHEMA_VERSION = 1
ONLINE, OFFLINE = b"online", b"offline"
# Digits that a float32 of a device is worth; more would only show its binary form.
FLOAT32_DIGITS = 7
_FLOAT_CODE = ord("f")
_encode = msgspec.json.Encoder().encode


class Data(Struct):
    """`data`, and each element of `history`. What follows `ch` is left out where it says nothing:
    `cf`, the flags of single channels; `before`, how many numbers a condensed one stands for
    beside its own; `rev`, how often its time was corrected.
    """

    t: int | None
    dur: int
    boot: int
    seq: int
    q: str
    f: tuple[str, ...]
    ch: dict[str, dict[str, float | None]]
    cf: dict[str, tuple[str, ...]] | UnsetType = UNSET
    before: int | UnsetType = UNSET
    rev: int | UnsetType = UNSET


class Event(Struct):
    """`event` of an input, a state, a fault."""

    t: int | None
    boot: int
    seq: int
    kind: str
    f: tuple[str, ...]
    channel: str
    value: int
    text: str
    rev: int | UnsetType = UNSET


class Gap(Struct, rename={"from_": "from"}):
    """`event` of a gap."""

    t: int | None
    boot: int
    seq: int
    kind: str
    f: tuple[str, ...]
    reason: str
    channel: str
    first: int
    last: int
    from_: int | None
    to: int | None
    samples: int
    of_boot: int
    rev: int | UnsetType = UNSET


class State(Struct):
    """`state`."""

    machine: str
    state: str
    since: int | None
    why: str


class BirthFeature(Struct):
    key: str
    unit: str


class BirthChannel(Struct):
    key: str
    quantity: str
    unit: str
    sensor: str
    rate_hz: float | None
    full_scale: float | None
    noise_floor: float | None
    uncertainty_pct: float | None
    calibration: str
    features: list[BirthFeature]


class Birth(Struct):
    """`birth`. What only the device's Hello tells is left out until it came."""

    schema: int
    device: str
    machine: str
    channels: list[BirthChannel]
    gateway: str
    boot: int | UnsetType = UNSET
    board: str | UnsetType = UNSET
    firmware: str | UnsetType = UNSET
    runtime: str | UnsetType = UNSET
    wire: str | UnsetType = UNSET


def data_payload(reading: Reading, description: Description, rev: int = 0) -> bytes:
    """JSON of one record, whose time was corrected `rev` times."""
    channels = reading.channels
    wide = wide_features(description)
    if wide:
        channels = {key: dict(values) for key, values in channels.items()}
        for channel, feature in wide:
            value = channels[channel][feature]
            if value is not None:
                channels[channel][feature] = short(value)
    return _encode(
        Data(
            reading.t_ms or None,
            reading.dur_ms,
            reading.boot,
            reading.seq,
            reading.quality,
            reading.flags,
            channels,
            reading.channel_flags or UNSET,
            reading.before or UNSET,
            rev or UNSET,
        )
    )


def history_payload(records: Iterable[bytes]) -> bytes:
    """JSON of many records, each of them from `data_payload`."""
    return b"[%b]" % b",".join(records)


def event_payload(event: EventReading, rev: int = 0) -> bytes:
    """JSON of one event."""
    flags = () if event.synced else ("unsynced",)
    return _encode(
        Event(
            event.t_ms or None,
            event.boot,
            event.seq,
            event.kind,
            flags,
            event.channel,
            event.value,
            event.text,
            rev or UNSET,
        )
    )


def gap_payload(gap: GapReading, rev: int = 0) -> bytes:
    """JSON of one announced gap."""
    flags = () if gap.synced else ("unsynced",)
    return _encode(
        Gap(
            gap.t_ms or None,
            gap.boot,
            gap.seq,
            "gap",
            flags,
            gap.reason,
            gap.channel,
            gap.first_seq,
            gap.last_seq,
            gap.from_ms or None,
            gap.to_ms or None,
            gap.samples,
            gap.of_boot or gap.boot,
            rev or UNSET,
        )
    )


def state_payload(machine: str, state: str, since_ms: int, why: str) -> bytes:
    """JSON of a machine's state. `since_ms`: Unix time, 0 if nobody knows."""
    return _encode(State(machine, state, since_ms or None, why))


def birth_payload(gateway_id: str, identity: Identity | None, description: Description) -> bytes:
    """JSON of what a device is. Without identity, what Hello tells is left out."""
    birth = Birth(
        SCHEMA_VERSION,
        description.device,
        machine_of(description.device, identity),
        [_birth_channel(channel) for channel in description.channels],
        gateway_id,
    )
    if identity is not None:
        birth.boot = identity.boot
        birth.board = identity.board
        birth.firmware = identity.firmware
        birth.runtime = identity.runtime
        birth.wire = identity.wire
    return _encode(birth)


def machine_of(device: str, identity: Identity | None) -> str:
    """What the device is clamped on, as far as it says so itself: its name, or its id."""
    return (identity.name if identity is not None else "") or device


def short(value: float) -> float:
    """A float32 as the shortest number of its own precision: 0.1, not 0.10000000149."""
    return float(f"{value:.{FLOAT32_DIGITS}g}")


def _known(value: float) -> float | None:
    """A number of Describe, which says NaN for what it does not know."""
    return None if math.isnan(value) else short(value)


def wide_features(description: Description) -> tuple[tuple[str, str], ...]:
    """(channel, feature) of what travels as float32; scaled integers are short by themselves."""
    return tuple(
        (channel.key, feature.key)
        for channel in description.channels
        for feature in channel.features
        if feature.code == _FLOAT_CODE
    )


def _birth_channel(channel: Channel) -> BirthChannel:
    features = [BirthFeature(each.key, each.unit) for each in channel.features]
    keys = {each.key for each in features}
    if {"rms", "peak"} <= keys and "crest" not in keys:
        # Not in the record: model.decode_record adds it.
        features.append(BirthFeature("crest", ""))
    return BirthChannel(
        channel.key,
        channel.quantity,
        channel.unit,
        channel.sensor,
        _known(channel.rate_hz),
        _known(channel.full_scale),
        _known(channel.noise_floor),
        _known(channel.uncertainty_pct),
        channel.calibration,
        features,
    )
