"""Renders docs/wire.md from the message table, with a golden frame of each message.

Owns the words about messages and fields; names, types, codes and bounds come from `clampwire`.
A field without words fails the rendering, so the table cannot grow past its document.
"""

from __future__ import annotations

import json

from clamptools.data import device_dir
from clampwire import messages, values
from clampwire.codec import table_crc

TYPES = {
    "B": "uint8",
    "b": "int8",
    "H": "uint16",
    "h": "int16",
    "I": "uint32",
    "i": "int32",
    "Q": "uint64",
    "q": "int64",
    "f": "float32",
    "T": "uint40",
    "s": "text",
    "y": "bytes",
    "Y": "long bytes",
}

ABOUT = {
    "Hello": ("device", "Opens a session; repeated every second until a Welcome answers it."),
    "Welcome": ("gateway", "Answers a Hello, or refuses it and says why."),
    "Describe": ("device", "One channel of the data dictionary; all are sent after a Welcome."),
    "Record": ("device", "The values of all channels over one interval, normally 1 s."),
    "Event": ("device", "Something that happened at one moment: a state, an edge, a fault."),
    "Gap": ("device", "Items or samples that are lost, and why."),
    "Status": ("device", "Health and counters, every 10 s; neither spooled nor acknowledged."),
    "Ack": ("gateway", "Up to 4 ranges of items that are committed."),
    "Time": ("both", "The gateway asks with its clock, the device answers with both its ticks."),
    "Command": ("gateway", "A command by name, its arguments as a JSON object."),
    "Answer": ("device", "The answer to a command, as a JSON object."),
    "Transfer": ("both", "A piece of something long: an update, a configuration, a capture."),
}

_ITEM = {
    "boot": "power-up of the device that made it",
    "seq": "its number in that power-up, shared by Record, Event and Gap",
}
_RANGE = {"boot": "power-up", "first": "first seq of the range", "last": "last seq, inclusive"}
WORDS: dict[str, dict[str, str]] = {
    "Hello": {
        "wire_major": "another major is identified, not served",
        "wire_minor": "another minor is served",
        "table_crc": "CRC-32 of the message table",
        "device": "id of the device, its silicon's unless the board file sets one",
        "boot": "power-up counter",
        "nonce": "drawn for each session; the Welcome repeats it",
        "name": "name given by people; empty if none",
        "board": "board file",
        "firmware": "version of the firmware",
        "runtime": "interpreter and its version",
        "describe_crc": "CRC-32 of all Describe payloads",
        "oldest_seq": "oldest item kept",
        "next_seq": "number of the next item",
        "reset_cause": "see reset causes",
    },
    "Welcome": {
        "wire_major": "the gateway's",
        "wire_minor": "the gateway's",
        "table_crc": "the gateway's",
        "nonce": "that of the Hello it answers",
        "accepted": "1: records may be sent; 0: refused",
        "highest_boot": "highest power-up of this device in the store, 0 for none",
        "gateway": "id of the gateway",
        "reason": "why refused; empty if not",
    },
    "Describe": {
        "describe_crc": "names the description as a whole",
        "layout": "number by which Records name it: the low byte of describe_crc",
        "channels": "how many channels the device has",
        "index": "which of them this is, from 0",
        "key": "name of the channel, for instance current1",
        "quantity": "current, vibration, input",
        "unit": "unit of the channel's main quantity",
        "sensor": "sensor as configured",
        "rate_hz": "samples a second",
        "full_scale": "end of the measuring range, in unit",
        "noise_floor": "in unit; 0 if not measured",
        "uncertainty_pct": "of reading; NaN if not known",
        "calibration": "id of the calibration; empty if none",
        "features": "the numbers of this channel in a Record, in order",
        "features.key": "name of the feature",
        "features.unit": "its unit",
        "features.code": "ASCII code of its type letter in the Record",
        "features.mult": "value = raw * mult * 10^exp",
        "features.exp": "see mult",
    },
    "Record": {
        **_ITEM,
        "end_ms": "end of the interval, device time",
        "windows": f"length of the interval in windows of {messages.WINDOW_MS} ms",
        "layout": "description the values follow",
        "flags": "half a byte a channel, even ones low, up to the last that has any",
        "values": "the features of all channels, packed little-endian",
        "before": "numbers before its own that a condensed record stands for; else left out",
    },
    "Event": {
        **_ITEM,
        "at_ms": "when it happened, device time",
        "channel": f"channel index, {messages.NO_CHANNEL} for the device",
        "kind": "see event kinds",
        "value": "new state or level",
        "text": "why, in words",
    },
    "Gap": {
        **_ITEM,
        "at_ms": "when it was told, device time",
        "reason": "see gap reasons",
        "channel": f"channel index, {messages.NO_CHANNEL} for items of the device",
        "first_seq": "first lost item; 1 if samples are lost and no item",
        "last_seq": "last lost item, inclusive; 0 if samples are lost; 4294967295: to the end",
        "from_ms": "start of the lost time",
        "to_ms": "end of the lost time",
        "samples": "samples lost of the channel",
        "of_boot": "power-up whose items and times these are; left out for the Gap's own",
    },
    "Status": {
        "uptime_s": "since power-up",
        "next_seq": "number of the next item",
        "oldest_seq": "oldest item kept",
        "spooled": "items kept",
        "dropped": "items dropped unacknowledged since power-up",
        "overruns": "times samples were lost",
        "lost_samples": "samples lost",
        "channel_faults": "faults of channels since power-up",
        "rx_frames": "good frames received",
        "rx_errors": "bad frames received",
        "tx_frames": "frames sent",
        "resent": "items sent more than once in a session",
        "heap_free": "bytes; 0 where not known",
        "loop_lag_ms": "longest delay of the link loop since the last Status",
        "temperature_c": "of the chip; NaN where not measured",
    },
    "Ack": {"ranges": "committed items", **{f"ranges.{k}": v for k, v in _RANGE.items()}},
    "Time": {
        "id": "number of the question",
        "gateway_us": "the gateway's monotonic clock when asked",
        "utc_ms": "UTC, 0 while the gateway does not know it",
        "device_rx_us": "device time when the question came in; 0 in the question",
        "device_tx_us": "device time when the answer went out; 0 in the question",
    },
    "Command": {
        "id": "number of the command",
        "name": "its name",
        "args": "JSON object; empty for none",
    },
    "Answer": {
        "id": "number of the command",
        "status": "see answer status",
        "body": 'JSON object; with "error" unless ok',
    },
    "Transfer": {
        "id": "number of the transfer",
        "offset": "where this piece belongs",
        "total": "bytes of the whole",
        "crc": "CRC-32 of the whole",
        "data": "the piece",
    },
}

CODES = (
    ("Event kinds", messages.EVENT_KINDS),
    ("Gap reasons", messages.GAP_REASONS),
    ("Machine states", messages.MACHINE_STATES),
    ("Answer status", messages.ANSWER_STATUS),
    ("Reset causes", messages.RESET_CAUSES),
    ("Flags of a channel", values.FLAG_NAMES),
)


def _rows(name: str, fields: tuple, prefix: str = "") -> list[str]:
    rows = []
    for field in fields:
        key, kind = prefix + field[0], field[1]
        words = WORDS[name].get(key)
        if words is None:
            raise LookupError(f"no words for {name}.{key}: add them to {__name__}")
        if isinstance(kind, tuple):
            rows.append(f"| `{key}` | group | {words} |")
            rows.extend(_rows(name, kind, field[0] + "."))
        else:
            rows.append(f"| `{key}` | {TYPES[kind]} | {words} |")
    return rows


def _golden() -> dict[str, dict]:
    path = device_dir().parent / "tests" / "wire" / "vectors.json"
    vectors = json.loads(path.read_text(encoding="utf-8"))["good"]
    first: dict[str, dict] = {}
    for vector in vectors:
        first.setdefault(vector["message"], vector)
    return first


def _message(code: int, name: str, fields: tuple, vector: dict) -> list[str]:
    sender, words = ABOUT[name]
    frozen = " Its layout is frozen." if name in messages.FROZEN else ""
    spooled = " Spooled and acknowledged." if name in messages.SPOOLED else ""
    head = {"both": "Both directions.", "device": "From the device.", "gateway": "To the device."}
    return [
        f"### {name} (0x{code:02X})",
        "",
        f"{words} {head[sender]}{spooled}{frozen}",
        "",
        "| field | type | meaning |",
        "| --- | --- | --- |",
        *_rows(name, fields),
        "",
        f"Example ({vector['name']}): `{vector['frame']}`",
        "",
    ]


HEAD = """# The wire between device and gateway

Generated from `device/clampwire/messages.py` by `make docs`; do not edit. Wire version
{major}.{minor}, table CRC-32 `{crc:08X}`.

## Frames

A frame is `7E`, payload and CRC-32 with escapes, `7E`. The CRC (IEEE 802.3, little-endian)
covers the payload before escaping. Inside a frame `7E` and `7D` are sent as `7D 5E` and `7D
5D`; towards a device `03` and `04` as `7D 23` and `7D 24` as well, because MicroPython takes a
raw `03` on its console as Ctrl-C. Every `7E` ends one frame and may begin the next, so damage
costs at most the frame it hits and its neighbour. What a device prints between frames is text
for the log. A payload has at most {up} bytes, towards a device {down}.

## Payloads

A payload is the message's type byte and its fields in order, little-endian, without padding.

| type | on the wire |
| --- | --- |
| uint8 to int64, float32 | 1 to 8 bytes, little-endian, two's complement, IEEE 754 |
| uint40 | 5 bytes: milliseconds since the device's power-up |
| text, bytes | one byte of length, then so many bytes; text is UTF-8 |
| long bytes | two bytes of length, then so many bytes |
| group | one byte of count, then so many times the fields named `group.field` |

An integer feature has one raw value that means "not available": the largest of an unsigned
type, the smallest of a signed one; a float32 uses NaN.

## Versions

Another minor version is served: unknown messages and bytes behind the last known field are
skipped, a field newer than its sender reads as zero. Another major version is not ingested, but
the messages marked as frozen keep their layout in every version, so such a device can be
identified, told the time and updated; its records wait in its spool. Both versions are named to
the user.

## A session

1. The device says Hello every second until a Welcome repeats its nonce. It does so at power-up,
   on the command `hello`, and when it heard nothing from the gateway for 15 s.
2. After the first Welcome of a power-up its boot number is final: one that is not above
   `highest_boot` becomes `highest_boot` + 1. `(device, boot, seq)` then names an item for ever.
3. It sends all Describe messages, then items: a new one at once, older ones oldest first with
   at most 16 unacknowledged, and an item again that got no Ack within 3 s.
4. The gateway acknowledges an item only after the commit of its store has returned, and again
   if it comes again. Until then the item stays in the device's spool.
5. What the spool had to drop is told by a Gap, which is an item itself.
6. The gateway asks for the time every 5 s and maps device time to UTC by regression.

## Messages

"""


def render() -> str:
    """The whole document."""
    golden = _golden()
    lines = HEAD.format(
        major=messages.WIRE_MAJOR,
        minor=messages.WIRE_MINOR,
        crc=table_crc(),
        up=messages.PAYLOAD_MAX,
        down=messages.PAYLOAD_MAX_TO_DEVICE,
    ).splitlines()
    lines.append("")
    for code, name, fields in messages.MESSAGES:
        lines += _message(code, name, messages.fields_of(fields), golden[name])
    lines += ["## Codes", ""]
    for title, table in CODES:
        words = ", ".join(f"{code} `{word}`" for code, word in table)
        lines += [f"**{title}**: {words}", ""]
    return "\n".join(lines).rstrip() + "\n"
