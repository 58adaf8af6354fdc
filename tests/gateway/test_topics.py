"""Topics and payloads, and the bookkeeping of the MQTT bridge: pure parts."""

import json
import re
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clampgateway import topics
from clampgateway.bridges.mqtt.retained import RETRY_S, Retained
from clampgateway.model import Channel, decode_event, decode_gap
from clampgateway.topics import Topics, level, unlevel
from clampwire import values
from support import readings
from support.readings import CURRENT, STRANGE, VIBRATION


def test_topics_are_those_of_the_design() -> None:
    made = Topics("clampwork", "hall")
    assert made.device("e661")._asdict() == {
        name: f"clampwork/hall/e661/{name}"
        for name in ("birth", "availability", "state", "data", "history", "event", "ledger")
    }
    assert made.gateway_availability("gw") == "clampwork/hall/_gateway/gw/availability"
    assert Topics("a/b", "hall").device("d").data == "a/b/hall/d/data"


@pytest.mark.parametrize("root", ["", "/a", "a/", "a//b", "a/#", "+/a", "$SYS/a", "a\0"])
def test_a_root_that_is_no_topic_is_refused(root: str) -> None:
    with pytest.raises(ValueError, match="root"):
        Topics(root, "hall")


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_level_is_one_level_and_its_own(one: str, other: str) -> None:
    made = level(one)
    assert made
    assert not set(made) & set("/+#\0")
    assert made[0] not in "$_"
    assert (made == level(other)) == (one == other)


@given(st.text(max_size=40))
def test_a_level_can_be_read_back(text: str) -> None:
    assert unlevel(level(text)) == text


@pytest.mark.parametrize("text", ["%zz", "a%2", "%41", "%C3", "_x", "$x", "a/b", "a+", "%%"])
def test_what_is_no_level_is_not_read(text: str) -> None:
    assert unlevel(text) is None


def test_no_device_can_pose_as_a_gateway() -> None:
    assert Topics("c", "s").device("_gateway").data == "c/s/%5Fgateway/data"


def data(
    numbers: dict[str, dict[str, float | None]],
    *channels: Channel,
    flags: dict[str, int] | None = None,
    utc_ms: int | None = None,
    synced: bool = True,
) -> bytes:
    about = readings.description(channels=channels or (CURRENT,))
    taken = readings.reading(about, 81234, numbers, flags=flags, utc_ms=utc_ms, synced=synced)
    return topics.data_payload(taken, about)


def test_data_is_the_design_s_example() -> None:
    payload = data({"current1": {"rms": 4.21, "peak": 6.3}}, utc_ms=1763750000123)
    assert payload == (
        b'{"t":1763750000123,"dur":1000,"boot":17,"seq":81234,"q":"good","f":[],'
        b'"ch":{"current1":{"rms":4.21,"peak":6.3,"crest":1.496}}}'
    )


def test_a_float32_shows_no_binary_noise() -> None:
    raw = struct.unpack("<f", struct.pack("<f", 0.1))[0]
    assert raw != 0.1
    content = json.loads(data({"ph1": {"ph": 7.01, "raw": raw}}, STRANGE))
    assert content["ch"]["ph1"] == {"ph": 7.01, "raw": 0.1}


@given(st.integers(0, 65534))
def test_a_scaled_value_is_short(hundredths: int) -> None:
    content = data({"current1": {"rms": hundredths / 100, "peak": None}})
    text = content.split(b'"rms":')[1].split(b",")[0].decode()
    assert float(text) == hundredths / 100
    assert len(text) <= len("655.34")


def test_what_is_missing_flagged_or_without_time_says_so() -> None:
    content = json.loads(
        data(
            {"vibration1": {"a": 0.01}},
            CURRENT,
            VIBRATION,
            flags={"current1": values.BAD, "vibration1": values.BELOW_FLOOR | values.CLIPPED},
            utc_ms=0,
            synced=False,
        )
    )
    assert content["t"] is None
    assert content["f"] == ["below_floor", "clipped", "unsynced"]
    assert content["cf"] == {"current1": ["bad"], "vibration1": ["below_floor", "clipped"]}
    assert content["ch"]["current1"] == {"rms": None, "peak": None}
    assert content["q"] == "good"


def test_events_and_gaps() -> None:
    about = readings.description()
    event = decode_event(readings.event(about, 7, "state", 255, 3, "current1 above 1.2 A"), about)
    assert json.loads(topics.event_payload(event)) == {
        "t": readings.UTC_MS + 7000, "boot": 17, "seq": 7, "kind": "state", "f": [],
        "channel": "", "value": 3, "text": "current1 above 1.2 A",
    }  # fmt: skip
    gap = decode_gap(readings.gap(about, 90, "spool_full", 10, 80, 9000), about)
    assert json.loads(topics.gap_payload(gap)) == {
        "t": readings.UTC_MS + 90_000, "boot": 17, "seq": 90, "kind": "gap", "f": [],
        "reason": "spool_full", "channel": "", "first": 10, "last": 80,
        "from": readings.UTC_MS + 9000, "to": readings.UTC_MS + 90_000, "samples": 0,
        "of_boot": 17,
    }  # fmt: skip
    blind = readings.gap(about, 90, "spool_full", 10, 80, 9000)._replace(utc_ms=0, synced=False)
    content = json.loads(topics.gap_payload(decode_gap(blind, about)))
    assert (content["t"], content["from"], content["to"]) == (None, None, None)
    assert content["f"] == ["unsynced"]


def test_birth_names_every_feature_that_data_has() -> None:
    about = readings.description()
    birth = json.loads(topics.birth_payload("gw", readings.identity(), about))
    content = json.loads(
        topics.data_payload(readings.reading(about, 1, {"current1": {"rms": 1, "peak": 2}}), about)
    )
    named = {each["key"]: {f["key"] for f in each["features"]} for each in birth["channels"]}
    assert named == {key: set(features) for key, features in content["ch"].items()}
    assert birth["machine"] == "lathe"
    assert birth["channels"][0]["noise_floor"] == 0.05
    unknown = json.loads(topics.birth_payload("gw", None, about))
    assert unknown["machine"] == about.device
    assert "firmware" not in unknown


def test_the_document_s_examples_are_what_the_code_publishes(root_dir: Path) -> None:
    text = (root_dir / "docs/topics.md").read_text()
    examples = re.findall(r"^```json\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    kinds = (
        topics.Data, list[topics.Data], topics.Event, topics.Gap, topics.State, topics.Birth,
        topics.Replay, topics.ReplayAnswer, topics.Request, topics.Answer, topics.Answer,
    )  # fmt: skip
    assert len(examples) == len(kinds)
    for example, kind in zip(examples, kinds, strict=True):
        made = msgspec.json.decode(example, type=kind)  # unknown types and missing keys raise
        known = json.loads(msgspec.json.encode(made))
        said = json.loads(example)
        if kind in (topics.Replay, topics.Request):
            known = {key: value for key, value in known.items() if value is not None}
        assert known == said, "unknown keys"
    for name in topics.DeviceTopics._fields:
        assert f"/{name}` |" in text


def test_retained_sends_what_changed_and_all_on_a_new_connection() -> None:
    kept = Retained()
    assert kept.set("a", b"1")
    assert kept.set("b", b"1")
    assert not kept.set("a", b"1")
    assert kept.next(0.0) == ("a", b"1")
    assert kept.set("b", b"2")
    assert kept.next(0.0) == ("b", b"2")
    assert kept.next(0.0) is None
    assert kept.next_due_s() == float("inf")
    kept.refuse("a", 100.0)
    assert kept.next(100.0 + RETRY_S - 1) is None
    assert kept.next_due_s() == 100.0 + RETRY_S
    assert kept.next(100.0 + RETRY_S) == ("a", b"1")
    kept.restart()
    assert [kept.next(0.0), kept.next(0.0), kept.next(0.0)] == [("a", b"1"), ("b", b"2"), None]
    assert "a" in kept
    assert "c" not in kept
