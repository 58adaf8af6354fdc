"""MQTT topics and their JSON: what is published under which name. Pure.

Owns names and payloads; who publishes when is the bridge. `docs/topics.md` is made from here.
Keys carry no units: `birth` names them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from clampgateway.model import Channel, Description, EventReading, GapReading, Identity, Reading

SCHEMA_VERSION = 1
ONLINE, OFFLINE = b"online", b"offline"
# Digits that a float32 of a device is worth; more would only show its binary form.
FLOAT32_DIGITS = 7
# A topic level may not hold these; "%" marks what replaces them.
_ESCAPED = frozenset("%/+#") | {chr(code) for code in (*range(32), *range(127, 160))}
_FLOAT_CODE = ord("f")
_encode = msgspec.json.Encoder().encode


class DeviceTopics(NamedTuple):
    """The topics of one device."""

    birth: str
    availability: str
    state: str
    data: str
    event: str


class Topics:
    """Topics below `<root>/<site>`. Raises ValueError for a root or site that can be no topic."""

    def __init__(self, root: str, site: str) -> None:
        if not is_root(root):
            raise ValueError(f"MQTT root {root!r} is no topic: levels without + and #, none empty")
        self._base = f"{root}/{level(site)}"

    def device(self, key: str) -> DeviceTopics:
        """The topics of a device."""
        base = f"{self._base}/{level(key)}"
        return DeviceTopics(*(f"{base}/{name}" for name in DeviceTopics._fields))

    def gateway_availability(self, gateway_id: str) -> str:
        """The gateway's own availability, which its will sets to offline."""
        return f"{self._base}/_gateway/{level(gateway_id)}/availability"


def is_root(text: str) -> bool:
    """Whether `text` can begin a topic: one or more levels, none empty, no wildcard, no $."""
    levels = text.split("/")
    return not text.startswith("$") and all(
        each and not (set(each) & (_ESCAPED - {"%"})) for each in levels
    )


def level(text: str) -> str:
    """`text` as one topic level: what MQTT forbids, and a leading _ or $, as %XX; "" as %."""
    out = "".join(
        "".join(f"%{byte:02X}" for byte in char.encode())
        if char in _ESCAPED or (at == 0 and char in "_$")
        else char
        for at, char in enumerate(text)
    )
    return out or "%"


class Data(Struct):
    """`data`. `cf` names the flags of single channels and is left out when none has any."""

    t: int | None
    dur: int
    boot: int
    seq: int
    q: str
    f: tuple[str, ...]
    ch: dict[str, dict[str, float | None]]
    cf: dict[str, tuple[str, ...]] | UnsetType = UNSET


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


def data_payload(reading: Reading, description: Description) -> bytes:
    """JSON of one record."""
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
        )
    )


def event_payload(event: EventReading) -> bytes:
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
        )
    )


def gap_payload(gap: GapReading) -> bytes:
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
