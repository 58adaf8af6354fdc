"""docs/topics.md: what a subscriber gets. Every payload shown is made by the gateway's own code.

Owns the prose and what each key means; a key that the code has and this file does not explain,
or the other way round, is an error.
"""

from __future__ import annotations

import json
from math import nan

import msgspec

from clampgateway import topics
from clampgateway.bridges.mqtt import lane
from clampgateway.model import (
    GAP_REASONS,
    Channel,
    Description,
    EventReading,
    Feature,
    GapReading,
    Identity,
    Reading,
)
from clampwire import messages

_DEVICE, _GATEWAY_ID, _SITE = "e66138935f3a2b21", "pi-hall", "hall"
_T_MS = 1763750000123


def _words(table: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(f"`{word}`" for _code, word in table)


_DATA_KEYS = {
    "t": "End of the interval, UTC, ms since 1970; `null` while the gateway does not know UTC",
    "dur": "Length of the interval, ms",
    "boot": "Power-up of the device it was made in",
    "seq": "Number within the boot; records, events and gaps share one count",
    "q": "`good`, or `bad` if no channel could be measured",
    "f": "Flags of any channel: `below_floor`, `clipped`, `gap` (samples are missing), and "
    "`unsynced` (the time is not certain)",
    "ch": "Values by channel and feature, in the units that `birth` names; `null`: could not be "
    "measured. A feature may be absent",
    "cf": "Flags by channel, with `bad` for one that could not be measured. Absent if there are "
    "none",
}
_EVENT_KEYS = {
    "t": "When, UTC, ms since 1970; `null` while the gateway does not know UTC",
    "boot": "As in `data`",
    "seq": "As in `data`",
    "kind": f"{_words(messages.EVENT_KINDS)}; `gap` is below",
    "f": "`unsynced` if the time is not certain",
    "channel": 'Key of the channel, `""` for the device as a whole',
    "value": "Of a state: "
    + ", ".join(f"{code} {word}" for code, word in messages.MACHINE_STATES)
    + "; of an input: its new value",
    "text": "Why, or what",
}
_GAP_KEYS = {
    "t": "When it was told",
    "boot": "As in `data`",
    "seq": "As in `data`",
    "kind": "`gap`",
    "f": "As above",
    "reason": _words(GAP_REASONS),
    "channel": "As above",
    "first": "First number that is missing; above `last` if samples are missing and no record",
    "last": "Last number that is missing; 4294967295: all that did not come, to the end",
    "from": "Beginning of what is missing, UTC ms, or `null`",
    "to": "Its end",
    "samples": "Samples that are missing, where they are counted",
    "of_boot": "Power-up whose numbers these are, not always that of the gap",
}
_STATE_KEYS = {
    "machine": "What the device is clamped on: the name it was given, or its id",
    "state": f"{_words(messages.MACHINE_STATES)}. Unknown is not off",
    "since": "Since when, UTC ms, or `null`",
    "why": "What decided it",
}
_BIRTH_KEYS = {
    "schema": "Version of these payloads",
    "device": "Device id",
    "machine": "As in `state`",
    "channels": "What is measured, see below",
    "gateway": "Id of the gateway",
    "boot": "Power-up; this and what follows are absent until the device has said hello",
    "board": "Kind of board",
    "firmware": "Version of the firmware",
    "runtime": "What it runs on",
    "wire": "Version of the wire it speaks",
}
_CHANNEL_KEYS = {
    "key": "Name of the channel in `data`",
    "quantity": "`current`, `vibration`, `input`, or another",
    "unit": "Unit of `full_scale` and `noise_floor`",
    "sensor": "Sensor",
    "rate_hz": "True sampling rate",
    "full_scale": "End of the range",
    "noise_floor": "Below it there is no value; the flag is `below_floor`",
    "uncertainty_pct": "Of a reading, %; `null`: not stated",
    "calibration": "Id of the calibration",
    "features": "Key and unit of each number in `data`",
}


def render() -> str:
    """The whole document."""
    description = _description()
    birth = topics.birth_payload(_GATEWAY_ID, _identity(), description)
    names = topics.Topics("clampwork", _SITE)
    return _TEXT.format(
        retry_first=f"{lane.RETRY_FIRST_S:g}",
        retry_max=f"{lane.RETRY_MAX_S:g}",
        base=names.device(_DEVICE).data.removesuffix("/data"),
        gateway=names.gateway_availability(_GATEWAY_ID),
        data=_example(topics.data_payload(_reading(), description)),
        data_keys=_table(topics.Data, _DATA_KEYS),
        event=_example(topics.event_payload(_event())),
        event_keys=_table(topics.Event, _EVENT_KEYS),
        gap=_example(topics.gap_payload(_gap())),
        gap_keys=_table(topics.Gap, _GAP_KEYS),
        state=_example(topics.state_payload("lathe", "working", _T_MS, "current1 above 1.2 A")),
        state_keys=_table(topics.State, _STATE_KEYS),
        birth=_example(birth, pretty=True),
        birth_keys=_table(topics.Birth, _BIRTH_KEYS),
        channel_keys=_table(topics.BirthChannel, _CHANNEL_KEYS),
    )


def _example(payload: bytes, *, pretty: bool = False) -> str:
    text = (
        json.dumps(json.loads(payload), indent=1, ensure_ascii=False)
        if pretty
        else payload.decode()
    )
    return f"```json\n{text}\n```"


def _table(payload: type[msgspec.Struct], keys: dict[str, str]) -> str:
    fields = [each.encode_name for each in msgspec.structs.fields(payload)]
    if fields != list(keys):
        raise ValueError(f"{payload.__name__} has {fields}, {__name__} explains {list(keys)}")
    rows = "\n".join(f"| `{key}` | {text} |" for key, text in keys.items())
    return f"| key | meaning |\n| --- | --- |\n{rows}"


def _reading() -> Reading:
    return Reading(
        _DEVICE, 17, 81234, _T_MS, 1000, "good", ("below_floor",),
        {
            "current1": {"rms": 4.21, "peak": 6.3, "crest": 1.496},
            "vibration1": {"a": 0.02, "v_x": None, "v_y": 0.0, "v_z": 0.0},
            "input1": {"state": 1},
        },
        {"vibration1": ("below_floor",)},
    )  # fmt: skip


def _event() -> EventReading:
    text = "current1 above 1.2 A for 2 s"
    return EventReading(_DEVICE, 17, 81230, _T_MS - 3700, True, "state", "", 3, text)


def _gap() -> GapReading:
    begin, end = _T_MS - 64_000, _T_MS - 4000
    return GapReading(
        _DEVICE, 17, 81235, _T_MS, True, "spool_full", "", 81170, 81229, begin, end, 60.0, 0
    )


def _identity() -> Identity:
    return Identity(
        _DEVICE, "lathe", "pico", "0.1.0", "MicroPython 1.28.0", "1.0", 17, 0, "power_on"
    )


def _description() -> Description:
    def channel(index: int, key: str, quantity: str, unit: str, *numbers: str) -> Channel:
        features = tuple(
            Feature(*number.split(":"), ord("H"), 1, -2)  # type: ignore[arg-type]
            for number in numbers
        )
        full_scale, floor, uncertainty = {
            "current": (30.0, 0.05, 1.5),
            "vibration": (156.9064, 0.03, nan),
        }.get(quantity, (nan, nan, nan))
        return Channel(
            index, key, quantity, unit, "SCT-013-030" if quantity == "current" else "",
            6400.0 if quantity == "current" else 3200.0, full_scale, floor, uncertainty,
            "2026-11-21 #3" if quantity == "current" else "", features,
        )  # fmt: skip

    return Description(
        _DEVICE,
        0xC0FFEE,
        1,
        (
            channel(0, "current1", "current", "A", "rms:A", "peak:A"),
            channel(1, "vibration1", "vibration", "m/s²", "a:m/s²", "v_x:mm/s"),
        ),
    )


_TEXT = """# MQTT topics

Generated from `clampgateway/topics.py` and `clamptools/gendocs_topics.py` by `make docs`; do not
edit. Every payload shown is one that the gateway's own code made.

Everything is published at QoS 1, as JSON in UTF-8, below `<root>/<site>`; the root is `clampwork`
unless configured. For a device:

| topic | retained | what |
| --- | --- | --- |
| `{base}/birth` | yes | what the device is and what it measures |
| `{base}/availability` | yes | `online` or `offline`, as plain text |
| `{base}/state` | yes | what its machine does |
| `{base}/data` | no | one record: all channels of one interval |
| `{base}/event` | no | a change at its own millisecond, a fault, a gap |
| `{gateway}` | yes | `online` or `offline`: the gateway itself, by its will when it dies |

A device is online if its gateway is and it is. In names, `%`, `/`, `+`, `#` and control
characters, and a `_` or `$` at the start, are written as `%` and two hex digits.

```sh
mosquitto_sub -h localhost -q 1 -v -t 'clampwork/#'
```

## What a subscriber can rely on

- Every record, event and gap is published until the broker has acknowledged it, over broken
  connections and restarts of the gateway. It may therefore come more than once: the same `boot`
  and `seq` of a device always carry the same content, and name it for ever. Keep the first.
- On one connection they come in the order in which the gateway committed them, which is the
  device's own order except after an outage of its link.
- `seq` has no holes within a `boot`. One that is missing is covered by a `gap` event that names
  it, or is still in the device, the gateway or the broker. A device that loses power takes what
  it had not delivered with it (its spool is in RAM): the next `boot` begins then, with a
  `started` event.
- `birth` comes before the first record that needs it. All retained topics are published again at
  every connection of the gateway, so a broker that lost them gets them back.
- With MQTT 5 the broker says whether it took a message. One that it refuses (an access list, a
  quota) is reported, counted, and tried again after {retry_first} s and then ever more rarely, at
  least every {retry_max} s, while others pass it; never as if it had been taken. With
  `protocol = "3.1.1"` a refusal cannot be told from success: such a message is lost without a
  sign.
- What the gateway itself cannot read (its description was lost with a damaged store) is counted
  and logged there, and not published.
- An acknowledgement is no promise of the broker to keep a message. One that is killed with
  default settings forgets what it had queued.

To lose nothing, subscribe at QoS 1 with a session that outlives the connection (a fixed client
id; MQTT 5: a session expiry; 3.1.1: clean session off).

## data

{data}

{data_keys}

Keys carry no units: `birth` has them. A number is as short as the device's resolution.

## event

{event}

{event_keys}

### A gap

What is missing is said, with the reason.

{gap}

{gap_keys}

## state

{state}

{state_keys}

## birth

{birth}

{birth_keys}

A channel:

{channel_keys}
"""
