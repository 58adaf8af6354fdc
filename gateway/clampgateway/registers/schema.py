"""The one table of the Modbus register map: each register of a device's unit and the gateway's.

Image, documents and client configurations are made from it. It owns names, places, types and
scales; which values stand there is `image.py`, how the table is shown is `render.py`.

A unit is a header and 16 slots of one stride. The first 30 registers of header and slot are laid
out alike from quality to time, so that one request for a slot brings everything that belongs to
it. Places are for ever: a released register never moves and never changes its meaning; new ones
go where nothing was and raise MAP_VERSION. Numbers are big-endian, the high word first (ABCD).
"""

from __future__ import annotations

from typing import NamedTuple

from clampwire import messages, values

MAP_ID = 0x4357  # "CW"
MAP_VERSION = 3

STRIDE = 250
SLOTS = 16
DEVICE_SIZE = STRIDE * (1 + SLOTS)
AGE_AT = 16
FLOATS_AT = 30
FEATURES = 40
KEY_AT = 110
INTS_AT = 130
COUNTERS_AT = 170
SLOT_USED = 180
COMMANDS_AT, COMMANDS_END = 120, 122

DIRECTORY_AT = 1000
ENTRY = 50
FIRST_UNIT, LAST_UNIT = 1, 246
GATEWAY_UNIT = 247
GATEWAY_SIZE = DIRECTORY_AT + ENTRY * (LAST_UNIT + 1)

# Discrete inputs: 16 for the header, 16 for each slot; on the gateway's unit three lists by unit.
INPUTS_STRIDE = 16
DEVICE_INPUTS_SIZE = INPUTS_STRIDE * (1 + SLOTS)
ONLINE_AT, GOOD_AT, WORKING_AT, GATEWAY_INPUTS_SIZE = 256, 512, 768, 1024

TEST_FLOAT = 1234.5
TEST_UINT32 = 0x12345678
TEST_INT16 = -12345
TEST_UINT64 = 0x0123456789ABCDEF

# Registers a type takes; "text" takes what its entry says, two characters a register.
SIZES = {"uint16": 1, "int16": 1, "uint32": 2, "float32": 2, "uint64": 4}
# What a register of a type holds when there is no value.
MISSING = {
    "uint16": "0xFFFF",
    "int16": "0x8000",
    "uint32": "0xFFFFFFFF",
    "float32": "NaN",
    "uint64": "0xFFFFFFFFFFFFFFFF",
}

# Zero means "nothing here" in every list, so that a failed read shown as zeros is never good.
QUALITIES = ((0, "none"), (1, "good"), (2, "stale"), (3, "bad"))
UNIT_KINDS = ((1, "device"), (2, "gateway"))
STATES = messages.MACHINE_STATES
FLAGS = (*values.FLAG_NAMES, (16, "unsynced"))


class Register(NamedTuple):
    """One entry: `offset` in its block, `size` in registers; value = raw * scale, in `unit`."""

    name: str
    offset: int
    type: str
    about: str
    unit: str = ""
    scale: float = 1
    range: str = ""
    size: int = 1


class Bit(NamedTuple):
    """One discrete input or coil; `offset` counts from the start of its header or slot."""

    name: str
    offset: int
    about: str


class Feature(NamedTuple):
    """A channel's feature: float32 at FLOATS_AT + 2 * place, int16 at INTS_AT + place.

    The int16 holds value / step, rounded; a larger one stays at 32767 or -32767. `step` 0: no
    int16 twin.
    """

    place: int
    key: str
    unit: str
    step: float
    about: str


class Quantity(NamedTuple):
    """What a slot holds: its code, its features and its counters."""

    code: int
    name: str
    about: str
    features: tuple[Feature, ...]
    counters: tuple[Register, ...] = ()


def _entry(
    name: str, offset: int, kind: str, about: str, unit: str = "", span: str = "", size: int = 0
) -> Register:
    return Register(name, offset, kind, about, unit, 1, span, size or SIZES[kind])


def _codes(table: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(f"{code} {word}" for code, word in table)


def _moment(whose: str) -> tuple[Register, ...]:
    return (
        _entry("quality", 12, "uint16", f"Of {whose}", span=_codes(QUALITIES)),
        _entry("flags", 13, "uint16", f"Of {whose}, bits", span=_codes(FLAGS)),
        _entry("online", 14, "uint16", "Link to the device", span="0 no, 1 yes"),
        _entry("state", 15, "uint16", "State of the machine", span=_codes(STATES)),
        _entry("age", AGE_AT, "uint32", "Since the end of the record's interval, now", "ms"),
        _entry("boot", 18, "uint32", "Power-up of the device; names the record with seq"),
        _entry("seq", 20, "uint32", "Number of the record within its boot"),
        _entry("time_s", 22, "uint32", "End of the interval, Unix time", "s"),
        _entry("time_ms", 24, "uint16", "Its milliseconds", "ms", "0 to 999"),
        _entry("interval", 25, "uint16", "Length of the interval", "ms"),
        _entry("time", 26, "uint64", "End of the interval, Unix time, as in MQTT's t", "ms"),
    )


# Written with function 06 or 16 where the gateway's configuration lists their names.
_IDENTIFY = _entry(
    "identify", 120, "uint16", "Write 1: the device shows which it is. Read: what became of it",
    span="0 never asked, 1 under way, 2 done, 3 failed",
)  # fmt: skip


def _reset(which: str) -> Register:
    return _entry(
        "reset_counters", 121, "uint16", f"Write 1: {which} count from 0. Read: how often, wraps"
    )


_TESTS = (
    _entry("map_id", 0, "uint16", 'Always 0x4357, "CW"'),
    _entry("map_version", 1, "uint16", "Rises when registers are added; none ever moves"),
    _entry("test_float", 2, "float32", f"Always {TEST_FLOAT}: right if the word order is"),
    _entry("test_uint32", 4, "uint32", f"Always 0x{TEST_UINT32:08X} ({TEST_UINT32})"),
    _entry("test_int16", 6, "int16", f"Always {TEST_INT16}: right if the sign is"),
    _entry("unit_kind", 7, "uint16", "What this unit is", span=_codes(UNIT_KINDS)),
    _entry("test_uint64", 8, "uint64", f"Always 0x{TEST_UINT64:016X}"),
)

HEADER = (
    *_TESTS,
    *_moment("the last record as a whole"),
    _entry("heartbeat", 30, "uint16", "Counts records since the gateway's start, wraps"),
    _entry("channels", 31, "uint16", "Slots in use"),
    _entry("stale_after", 32, "uint32", "Age above which values are withheld", "ms"),
    _entry("state_since", 34, "uint32", "Since when the machine is in its state, Unix time", "s"),
    _entry("records", 36, "uint32", "Records since the gateway's start or the last reset"),
    _entry("events", 38, "uint32", "Events since the gateway's start or the last reset"),
    _entry("gaps", 40, "uint32", "Announced gaps since the gateway's start or the last reset"),
    _entry("overruns", 42, "uint32", "Sampler overruns since the device's power-up"),
    _entry("lost_samples", 44, "uint32", "Samples lost since the device's power-up"),
    _entry("dropped", 46, "uint32", "Records its spool had to drop, told as gaps"),
    _entry("spooled", 48, "uint32", "Records waiting in the device"),
    _entry("uptime_s", 50, "uint32", "Since the device's power-up", "s"),
    _entry("temperature_c", 52, "float32", "Of the device's chip", "°C"),
    _entry("device", 60, "text", "Device id", size=16),
    _entry("name", 76, "text", "Device name", size=16),
    _entry("firmware", 92, "text", "Firmware version", size=8),
    _entry("board", 100, "text", "Board", size=8),
    _IDENTIFY,
    _reset("records, events and gaps"),
)
# Header registers that show a counter of Status under its own name.
FROM_STATUS = ("overruns", "lost_samples", "dropped", "spooled", "uptime_s", "temperature_c")

SLOT = (
    _entry("quantity", 0, "uint16", "What is measured; 0: nothing in this slot", span="see below"),
    _entry("full_scale", 2, "float32", "End of the range, in the channel's unit"),
    _entry("noise_floor", 4, "float32", "Noise floor, in the channel's unit"),
    _entry("uncertainty", 6, "float32", "Uncertainty of a reading", "%"),
    _entry("rate", 8, "float32", "Sampling rate", "Hz"),
    *_moment("this channel in the last record"),
    _entry("key", KEY_AT, "text", "Key of the channel, as in MQTT", size=8),
)

GATEWAY = (
    *_TESTS,
    *_moment("this table; age is since its last renewal, at most a second"),
    _entry("heartbeat", 30, "uint16", "Counts renewals of this table, wraps"),
    _entry("devices", 31, "uint16", "Units given to devices"),
    _entry("devices_online", 32, "uint16", "Devices online"),
    _entry("connections", 33, "uint16", "Modbus clients connected"),
    _entry(
        "requests", 34, "uint32", "Modbus requests since the gateway's start or the last reset"
    ),
    _entry("exceptions", 36, "uint32", "Of these, answered with an exception"),
    _entry("uptime_s", 50, "uint32", "Since the gateway's start", "s"),
    _entry("gateway", 60, "text", "Gateway id", size=16),
    _entry("site", 76, "text", "Site", size=16),
    _reset("requests and exceptions"),
)

# Who is who, in the gateway's unit: the entry of unit U begins at DIRECTORY_AT + ENTRY * U.
DIRECTORY = (
    _entry("unit", 0, "uint16", "The unit id itself; 0: not given to a device"),
    _entry("online", 1, "uint16", "Link to the device", span="0 no, 1 yes"),
    _entry("quality", 2, "uint16", "Of its last record", span=_codes(QUALITIES)),
    _entry("state", 3, "uint16", "State of the machine", span=_codes(STATES)),
    _entry("channels", 4, "uint16", "Slots in use"),
    _entry("removed", 5, "uint16", "The device was removed; its unit stays", span="0 no, 1 yes"),
    _entry("device", 8, "text", "Device id", size=16),
    _entry("name", 24, "text", "Device name", size=16),
)


INPUTS = (
    Bit("online", 0, "Link to the device"),
    Bit("good", 1, "Quality is good: the other bits may be believed"),
    Bit("stale", 2, "Quality is stale, or there never was a record"),
    Bit("bad", 3, "Quality is bad"),
    Bit("below_floor", 4, "A channel is below its noise floor"),
    Bit("clipped", 5, "A channel reached the end of its range"),
    Bit("gap", 6, "A channel has a gap in its interval"),
    Bit("unsynced", 7, "The record's time is not UTC"),
    Bit("off", 8, "The machine is off"),
    Bit("idle", 9, "The machine is idle"),
    Bit("working", 10, "The machine is working"),
)
SLOT_INPUTS = (
    Bit("used", 0, "The slot has a channel"),
    Bit("good", 1, "Quality is good: the other bits may be believed"),
    Bit("stale", 2, "Quality is stale"),
    Bit("bad", 3, "Quality is bad, or the channel is not in the record"),
    Bit("below_floor", 4, "Below its noise floor"),
    Bit("clipped", 5, "Reached the end of its range"),
    Bit("gap", 6, "A gap in its interval"),
    Bit("unsynced", 7, "The record's time is not UTC"),
    Bit("closed", 8, "The contact is closed (quantity 3)"),
)
# By unit, on the gateway's unit: input ONLINE_AT + U and so on.
GATEWAY_INPUTS = (
    Bit("unit_online", ONLINE_AT, "Link to the device of unit U"),
    Bit("unit_good", GOOD_AT, "Quality of unit U is good"),
    Bit("unit_working", WORKING_AT, "The machine of unit U is working"),
)
# The same deeds as the command registers, for function 05 and 15; read: whether it is under way.
COILS = (
    Bit("identify", 0, "Write 1: the device shows which it is"),
    Bit("reset_counters", 1, "Write 1: counters begin at 0, see the register"),
)


def _axes(place: int, stem: str, unit: str, step: float, about: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(place + i, f"{stem}_{axis}", unit, step, f"{about}, {axis} axis")
        for i, axis in enumerate("xyz")
    )


QUANTITIES = (
    Quantity(
        1,
        "current",
        "Current of one conductor",
        (
            Feature(0, "rms", "A", 0.01, "RMS"),
            Feature(1, "mean", "A", 0.01, "Mean (direct current)"),
            Feature(2, "peak", "A", 0.01, "Largest magnitude of a sample"),
            Feature(3, "crest", "", 0.001, "Crest factor, peak / RMS"),
            Feature(4, "min", "A", 0.01, "Smallest RMS of a window in the interval"),
            Feature(5, "max", "A", 0.01, "Largest RMS of a window in the interval"),
            Feature(6, "frequency", "Hz", 0.01, "Frequency of the mains"),
            Feature(7, "thd", "%", 0.1, "Total harmonic distortion"),
            Feature(8, "apparent", "VA", 1, "Apparent power"),
            Feature(9, "real", "W", 1, "Real power"),
            Feature(10, "reactive", "var", 1, "Reactive power"),
            Feature(11, "pf", "", 0.001, "Power factor"),
            Feature(12, "phase", "°", 0.1, "Phase against the voltage"),
            *(Feature(12 + n, f"h{n}", "A", 0.01, f"RMS of harmonic {n}") for n in range(2, 16)),
        ),
    ),
    Quantity(
        2,
        "vibration",
        "Vibration in three axes",
        (
            Feature(0, "a", "m/s²", 0.01, "RMS of the acceleration vector without gravity"),
            *_axes(2, "v", "mm/s", 0.01, "Velocity RMS, 10 to 1000 Hz"),
            *_axes(5, "a", "m/s²", 0.01, "Acceleration RMS"),
            *_axes(8, "peak", "m/s²", 0.01, "Peak acceleration"),
            *_axes(11, "crest", "", 0.01, "Crest factor of the acceleration"),
            *_axes(14, "kurtosis", "", 0.01, "Kurtosis of the acceleration, 3 for noise"),
            *_axes(17, "frequency", "Hz", 1, "Dominant frequency"),
            *_axes(20, "mean", "m/s²", 0.01, "Mean acceleration: where gravity points"),
            *(Feature(23 + n, f"band{n}", "m/s²", 0.01, f"RMS in band {n}") for n in range(1, 9)),
        ),
    ),
    Quantity(
        3,
        "input",
        "Digital input",
        (Feature(0, "state", "", 1, "0 open, 1 closed, debounced"),),
        (
            _entry("count", COUNTERS_AT, "uint32", "Pulses, the low 32 bits"),
            _entry("count_64", COUNTERS_AT + 2, "uint64", "Pulses"),
        ),
    ),
    Quantity(
        255,
        "other",
        "Any other quantity: its features get their places at first sight, for ever",
        tuple(
            Feature(n, f"value{n}", "", 0, "A feature, in the unit its birth names")
            for n in range(FEATURES)
        ),
    ),
)
OTHER = QUANTITIES[-1]


def quantity_named(name: str) -> Quantity:
    """The quantity of a channel; OTHER for one that the map has no layout for."""
    return next((each for each in QUANTITIES[:-1] if each.name == name), OTHER)


def slot_address(slot: int, offset: int = 0) -> int:
    """Address of a register of slot 1 to 16. Raises ValueError for another slot."""
    if not 1 <= slot <= SLOTS:
        raise ValueError(f"slot {slot} is not 1 to {SLOTS}")
    return STRIDE * slot + offset


def entry_address(unit: int, offset: int = 0) -> int:
    """Address in unit 247 of the who-is-who entry of `unit`, 1 to 246."""
    if not FIRST_UNIT <= unit <= LAST_UNIT:
        raise ValueError(f"unit {unit} is not {FIRST_UNIT} to {LAST_UNIT}")
    return DIRECTORY_AT + ENTRY * unit + offset
