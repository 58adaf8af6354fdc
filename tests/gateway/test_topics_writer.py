"""The fast way from a record to its JSON says the same as the definition, of any record."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clampgateway import topics
from clampgateway.model import RECORD, Channel, Description, Feature, Item, decode_record
from clampwire import values
from clampwire.codec import Codec
from support import readings

CODEC = Codec()
KEYS = st.text(min_size=1, max_size=6) | st.sampled_from(["rms", "peak", "crest", "%s", 'a"b'])


@st.composite
def descriptions(draw: st.DrawFn) -> Description:
    """Any layout that a device can describe."""
    channels = []
    for index, key in enumerate(draw(st.lists(KEYS, max_size=4, unique=True))):
        features = tuple(
            Feature(
                name,
                "A",
                ord(draw(st.sampled_from("BHIbhif"))),
                draw(st.integers(1, 255)),
                draw(st.integers(-6, 3)),
            )
            for name in draw(st.lists(KEYS, max_size=5, unique=True))
        )
        channels.append(Channel(index, key, "q", "u", "s", 1.0, 1.0, 0.0, 0.0, "c", features))
    return Description("lathe", 7, 1, tuple(channels))


@settings(max_examples=300, deadline=None)
@given(about=descriptions(), data=st.data())
def test_both_ways_say_the_same(about: Description, data: st.DataObject) -> None:
    writer = topics.RecordWriter(about)
    size = sum(len(values.pack_values((each,), (0,))) for each in about.value_layout)
    for seq in range(3):  # remembered flags, too
        raw = data.draw(st.binary(min_size=size, max_size=size))
        flags = data.draw(st.binary(max_size=(len(about.channels) + 1) // 2))
        before = data.draw(st.sampled_from([0, 0, 9, 65535]))
        fields = (17, seq, 1000 * seq, 5, 1, flags, raw)
        payload = (
            CODEC.encode("Record", *fields, before) if before else CODEC.encode("Record", *fields)
        )
        utc_ms = data.draw(st.sampled_from([0, readings.UTC_MS]))
        rev = data.draw(st.integers(0, 2))
        item = Item("lathe", 17, seq, RECORD, 1000, utc_ms, bool(utc_ms), 7, payload, rev)
        reading = decode_record(item, about)
        said, told_before = writer.write(item)
        assert told_before == reading.before == before
        assert said == topics.data_payload(reading, about, rev)
        assert writer.write(item)[0] == said, "the same content whenever it is published"


def test_what_does_not_fit_is_refused_alike() -> None:
    about = readings.description(channels=(readings.CURRENT,))
    item = readings.record(about, 1, {})
    for payload in (item.payload[:-1], item.payload + b"\0", b"\x04\0", b""):
        wrong = item._replace(payload=payload)
        with pytest.raises(ValueError, match=r".") as definition:
            decode_record(wrong, about)
        with pytest.raises(ValueError, match=r".") as fast:
            topics.RecordWriter(about).write(wrong)
        assert str(fast.value) == str(definition.value)


def test_nothing_is_kept_of_what_was_written() -> None:
    """Numbers differ every second, of every device: kept texts of them once filled the memory."""
    features = tuple(Feature(f"f{n}", "A", ord("H"), 1, -3) for n in range(22))
    channel = Channel(0, "current1", "q", "A", "s", 1.0, 1.0, 0.0, 0.0, "c", features)
    about = Description("lathe", 7, 1, (channel,))
    writer = topics.RecordWriter(about)

    def write(first: int) -> None:
        for seq in range(first, first + 500):
            raw = struct.pack("<22H", *range(22 * seq, 22 * seq + 22))
            payload = CODEC.encode("Record", 17, seq, 1000 * seq, 5, 1, b"", raw)
            writer.write(Item("lathe", 17, seq, RECORD, 1000, readings.UTC_MS, 1, 7, payload))

    tracemalloc.start()
    try:
        write(0)
        before, _peak = tracemalloc.get_traced_memory()
        write(500)
        after, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
