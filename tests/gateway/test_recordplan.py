"""Reading records fast gives what the codec's table and `clampwire.values` give, bit by bit."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clampgateway.model import RECORD, Channel, Description, Feature, Item, decode_record
from clampgateway.recordplan import RecordPlan, body_of
from clampwire import values
from clampwire.codec import Codec, WireError

CODEC = Codec()
CODES = tuple(map(ord, "BHIbhif"))
STEPS = st.tuples(
    st.sampled_from(CODES), st.integers(1, 1000), st.integers(-6, 3)
)  # fmt: skip
KEYS = ("rms", "peak", "crest", "mean", "a", "b")


@st.composite
def layouts(draw: st.DrawFn) -> list[tuple[str, list[tuple[str, int, int, int]]]]:
    counts = draw(st.lists(st.integers(0, len(KEYS)), min_size=1, max_size=5))
    return [
        (f"channel{number}", [(key, *draw(STEPS)) for key in draw(st.permutations(KEYS))[:count]])
        for number, count in enumerate(counts)
    ]


def same(one: float | None, other: float | None) -> bool:
    """Equal, and of one type: a counter stays a whole number."""
    return type(one) is type(other) and one == other


@given(layouts(), st.data())
def test_numbers_are_those_of_the_table(layout: Any, data: st.DataObject) -> None:  # noqa: ANN401
    flat = tuple(step[1:] for _key, features in layout for step in features)
    size = len(values.pack_values(flat, [None] * len(flat)))
    raw = data.draw(
        st.one_of(
            st.binary(min_size=size, max_size=size),
            st.just(values.pack_values(flat, [None] * len(flat))),
        )
    )
    wanted = iter(values.unpack_values(flat, raw))
    found = RecordPlan(layout).numbers(raw)
    assert list(found) == [key for key, _features in layout]
    for key, features in layout:
        plain = {feature[0]: next(wanted) for feature in features}
        got = dict(found[key])
        rms, peak = plain.get("rms"), plain.get("peak")
        if rms and peak is not None and "crest" not in plain:
            assert same(got.pop("crest"), round(peak / rms, 3))
        assert list(got) == list(plain)
        assert all(same(got[each], plain[each]) for each in plain)


@given(st.binary(max_size=40), st.binary(max_size=60), st.integers(0, 0xFFFF), st.data())
def test_bodies_are_those_of_the_codec(
    flags: bytes, numbers: bytes, before: int, data: st.DataObject
) -> None:
    payload = CODEC.encode("Record", 3, 4, 5 << 33, 6, 7, flags, numbers, before)
    cut = data.draw(st.integers(1, len(payload)))
    for each in (payload, payload[:cut], payload + b"later", payload[:-2]):
        assert outcome(lambda each=each: tuple(body_of(each))) == outcome(
            lambda each=each: told(CODEC.decode(each)[1])
        )


def told(record: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """What a body says, from the codec's namedtuple."""
    return record.windows, record.flags, record.values, record.before


def outcome(read: Callable[[], tuple[Any, ...]]) -> object:
    """What comes out, or the error's words."""
    try:
        return read()
    except WireError as error:
        return str(error)


def description(*features: Feature) -> Description:
    channel = Channel(0, "current1", "current", "A", "", 1.0, 1.0, math.nan, 1.0, "", features)
    return Description("d", 1, 1, (channel,))


def test_sizes_that_differ_are_told() -> None:
    plan = description(Feature("rms", "A", ord("H"), 1, -3)).plan
    assert plan.numbers(b"\xe8\x03") == {"current1": {"rms": 1.0}}
    with pytest.raises(ValueError, match="record has 3 value bytes, its layout 2"):
        plan.numbers(b"123")


def test_a_plan_is_made_once_and_is_no_part_of_the_value() -> None:
    one = description(Feature("rms", "A", ord("H"), 1, -3))
    other = description(Feature("rms", "A", ord("H"), 1, -3))
    assert one.plan is one.plan
    assert one == other
    assert hash(one) == hash(other)
    assert "plan" not in repr(one)


def test_whole_record_with_flags() -> None:
    told = description(Feature("rms", "A", ord("H"), 1, -3), Feature("n", "", ord("I"), 2, 0))
    data = values.pack_values(told.value_layout, [4.21, 8])
    payload = CODEC.encode("Record", 1, 2, 3, 5, 1, bytes([values.CLIPPED | values.BAD]), data, 4)
    reading = decode_record(Item("d", 1, 2, RECORD, 3, 1000, True, 1, payload), told)
    assert reading.channels == {"current1": {"rms": 4.21, "n": 8}}
    assert reading.channel_flags == {"current1": ("clipped", "bad")}
    assert (reading.flags, reading.quality, reading.before) == (("clipped",), "bad", 4)
    assert (reading.dur_ms, reading.t_ms) == (1000, 1000)
