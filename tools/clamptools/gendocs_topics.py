"""docs/topics.md: what a subscriber gets. Every payload shown is made by the gateway's own code.

Owns the prose and what each key means; a key that the code has and this file does not explain,
or the other way round, is an error.
"""

from __future__ import annotations

import json
from math import nan

import msgspec

from clampgateway import topics
from clampgateway.bridges.mqtt import closed, gate, live
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
from clamptools.gendocs_topics_text import TEXT
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
    "before": "Only of a condensed record: so many numbers before its own are in it, too, and "
    "will not come by themselves",
    "rev": "How often the time was corrected; absent if never",
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
    "rev": "As in `data`",
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
    "rev": "As in `data`",
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

_REPLAY_KEYS = {
    "boot": "Power-up",
    "first": "First number",
    "last": "Last number; 4294967295: to the end of the boot",
    "id": "Yours, a text of at most 64 characters or a number; absent with correlation data",
    "device": "Only at the gateway's own topic, which names none",
}
_REPLAY_ANSWER_KEYS = {
    "ok": "`true`",
    "records": "Records that were published on `history`",
    "events": "Events that were published on `event`",
    "gaps": "Gaps, likewise: what is told of is lost",
    "condensed": "Numbers that condensed records stand for beside their own",
    "missing": "[first, last] of what the gateway does not have: it may still be in the device",
    "id": "That of the request",
}
_REQUEST_KEYS = {
    "id": "As above",
    "args": "What the device takes with this command",
}
_ANSWER_KEYS = {
    "ok": "Whether it was done",
    "id": "That of the request",
    "reason": "Why not, a word",
    "error": "The same for people",
    "answer": "What the device said",
}


def render() -> str:
    """The whole document."""
    description = _description()
    birth = topics.birth_payload(_GATEWAY_ID, _identity(), description)
    names = topics.Topics("clampwork", _SITE)
    return TEXT.format(
        retry_first=f"{closed.RETRY_FIRST_S:g}",
        retry_max=f"{closed.RETRY_MAX_S:g}",
        late=live.LATE_MS // 1000,
        rate=f"{gate.RATE_PER_S:g}",
        payload_max=topics.PAYLOAD_MAX,
        remembered=gate.REMEMBERED,
        command=f"{names.device(_DEVICE).data.removesuffix('/data')}/cmd/replay",
        gateway_command=names.commands(_GATEWAY_ID)[1].removesuffix("+") + "replay",
        base=names.device(_DEVICE).data.removesuffix("/data"),
        gateway=names.gateway_availability(_GATEWAY_ID),
        data=_example(topics.data_payload(_reading(), description)),
        data_keys=_table(topics.Data, _DATA_KEYS),
        history=_example(topics.history_payload(_history(description))),
        replay=_request(topics.Replay(17, 81170, 81229, "r-1")),
        replay_keys=_table(topics.Replay, _REPLAY_KEYS),
        replay_answer=_example(topics.answer_payload(_replay_answer())),
        replay_answer_keys=_table(topics.ReplayAnswer, _REPLAY_ANSWER_KEYS),
        request=_request(topics.Request("w-1", {"channel": "current1"})),
        request_keys=_table(topics.Request, _REQUEST_KEYS),
        answer=_example(topics.answer_payload(_answer())),
        refusal=_example(topics.answer_payload(_refusal())),
        answer_keys=_table(topics.Answer, _ANSWER_KEYS),
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


def _history(description: Description) -> list[bytes]:
    reading = _reading()
    condensed = reading._replace(dur_ms=10_000, seq=reading.seq - 1, t_ms=_T_MS - 1000, before=9)
    return [
        topics.data_payload(condensed, description),
        topics.data_payload(reading, description, 1),
    ]


def _replay_answer() -> topics.ReplayAnswer:
    return topics.ReplayAnswer(
        ok=True, records=48, events=2, gaps=0, condensed=0, missing=[[81220, 81229]], id="r-1"
    )


def _answer() -> topics.Answer:
    return topics.Answer(ok=True, id="w-1", answer={"state": "idle", "why": "current1 0.4 A"})


def _refusal() -> topics.Answer:
    text = "reset is not in allow_commands of this gateway"
    return topics.Answer(ok=False, reason="not_allowed", error=text)


def _request(request: topics.Replay | topics.Request) -> str:
    content = json.loads(msgspec.json.encode(request))
    return _example(json.dumps({k: v for k, v in content.items() if v is not None}).encode())


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
