"""The MQTT packets of the session, byte by byte: what is sent, what is read, and what is not MQTT.

Expected bytes are written out by hand from the specification; a second opinion on CONNECT and
PUBLISH is paho's own reading where the broker is real (test_mqttsession).
"""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clampgateway.mqttsession import Broker, Will, decoding, inbox, keepalive, packets, reasons
from clampgateway.mqttsession.keepalive import FINE, GONE, PING, SILENT, Keepalive
from clampgateway.mqttsession.splitter import KEPT_MAX, Malformed, Packet, Splitter
from support.stubbroker import message

ACK = b"\x40\x02\x00\x07"
REFUSED_ACK = b"\x40\x03\x00\x08\x87"
LONG_ACK = b"\x40\x04\x00\x09\x10\x00"
PONG = b"\xd0\x00"


def cut(pieces: list[bytes]) -> tuple[list[tuple[int, int]], list[Packet]]:
    splitter = Splitter()
    acks: list[tuple[int, int]] = []
    others: list[Packet] = []
    for piece in pieces:
        some, more = splitter.feed(piece)
        acks += some
        others += more
    return acks, others


def test_connect_is_as_the_specification_writes_it() -> None:
    broker = Broker("h", 1, "id", "5", "u", "pw", keepalive_s=10)
    body = (
        b"\0\x04MQTT\x05\xee\0\x0a"
        b"\x08\x21\0\x10\x27\0\1\0\0"
        b"\0\x02id\0\0\x01w\0\x03off\0\x01u\0\x02pw"
    )
    assert packets.connect(broker, Will("w", b"off"), 16, 65536) == bytes([0x10, len(body)]) + body
    old = Broker("h", 1, "id", "3.1.1", keepalive_s=10)
    body = b"\0\x04MQTT\x04\x2e\0\x0a\0\x02id\0\x01w\0\x03off"
    assert packets.connect(old, Will("w", b"off"), 16, 65536) == bytes([0x10, len(body)]) + body


def test_other_packets_are_as_the_specification_writes_them() -> None:
    assert packets.subscribe(10, ["a/+", "b"], v5=True) == (
        b"\x82\x0d\0\x0a\0\0\x03a/+\x01\0\x01b\x01"
    )
    assert packets.subscribe(10, ["b"], v5=False) == b"\x82\x06\0\x0a\0\x01b\x01"
    assert packets.puback(258, 0, v5=True) == b"\x40\x02\x01\x02"
    assert packets.puback(258, 0x97, v5=True) == b"\x40\x03\x01\x02\x97"
    assert packets.puback(258, 0x97, v5=False) == b"\x40\x02\x01\x02"
    assert packets.disconnect(0, v5=True) == b"\xe0\x00"
    assert packets.disconnect(0x81, v5=True) == b"\xe0\x01\x81"
    assert packets.disconnect(0x81, v5=False) == b"\xe0\x00"
    assert packets.properties(expiry_s=3600, response_topic="r", correlation=b"c") == (
        b"\x02\x00\x00\x0e\x10\x08\x00\x01r\x09\x00\x01c"
    )


# The numbers of the specification (table 1-1) and the step before each.
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"),
        (2_097_151, "ffff7f"), (2_097_152, "80808001"), (268_435_455, "ffffff7f"),
    ],
)  # fmt: skip
def test_variable_numbers(number: int, expected: str) -> None:
    assert packets.variable(number).hex() == expected
    assert decoding.Reader(bytes.fromhex(expected)).variable() == number


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "x" * 65_536])
def test_a_topic_that_no_broker_may_take_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match=r"topic|NUL|bytes"):
        packets.topic_name(topic)


def test_packets_come_out_however_the_bytes_are_cut() -> None:
    stream = ACK * 3 + REFUSED_ACK + PONG + LONG_ACK + message("t", b"hello", 5) + ACK
    whole = cut([stream])
    assert whole[0] == [(7, 0)] * 3 + [(8, 0x87), (7, 0)]
    assert [each.first for each in whole[1]] == [0xD0, 0x40, 0x32]
    assert cut([stream[at : at + 1] for at in range(len(stream))]) == whole
    for at in range(len(stream)):
        assert cut([stream[:at], stream[at:]]) == whole


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.sampled_from([ACK, REFUSED_ACK, LONG_ACK, PONG]), max_size=20), st.data())
def test_no_cut_changes_what_comes_out(stream: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(stream)
    marks = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *marks], [*marks, len(whole)], strict=True)]
    assert cut(pieces) == cut([whole])


@pytest.mark.parametrize("run", [ACK * 50, REFUSED_ACK * 50, ACK * 50 + REFUSED_ACK * 50])
def test_runs_of_equal_answers_are_read_as_single_ones(run: bytes) -> None:
    acks, others = cut([run])
    assert (acks, others) == cut([run[at : at + 1] for at in range(len(run))])
    assert len(acks) == run.count(b"\x40")


def test_of_a_huge_packet_only_the_beginning_is_kept() -> None:
    splitter = Splitter()
    body = b"\0\x01t\0\x05\0" + b"x" * 1_000_000
    stream = b"\x32" + packets.variable(len(body)) + body + ACK
    found: list[Packet] = []
    acks: list[tuple[int, int]] = []
    for at in range(0, len(stream), 5000):
        some, more = splitter.feed(stream[at : at + 5000])
        acks, found = acks + some, found + more
        assert len(splitter._rest) <= KEPT_MAX + 5000
    assert [(each.first, len(each.body), each.size) for each in found] == [
        (0x32, KEPT_MAX, len(body))
    ]
    assert acks == [(7, 0)], "and what comes behind it is read as ever"
    publish = decoding.publish(found[0], v5=True)
    assert (publish.packet_id, len(publish.payload) + publish.cut) == (5, 1_000_000)


def test_what_is_read_of_a_connack() -> None:
    body = b"\0\x87\x1d\x21\0\x05\x27\0\0\x10\0\x13\0\x14\x12\0\x02ab\x1f\0\x04nope\x26\0\1a\0\1b"
    answer = decoding.connack(
        Packet(0x20, body[:2] + bytes([len(body) - 3]) + body[3:], 0), v5=True
    )
    assert answer.code == 0x87
    assert answer.properties == {
        packets.RECEIVE_MAXIMUM: 5,
        packets.MAXIMUM_PACKET_SIZE: 4096,
        packets.SERVER_KEEP_ALIVE: 20,
        packets.ASSIGNED_CLIENT_ID: "ab",
        packets.REASON_STRING: "nope",
    }
    # 3.1.1 has codes of its own, also where it answers a CONNECT of MQTT 5.
    for old, new in ((0, 0), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87), (99, 0x80)):
        assert decoding.connack(Packet(0x20, bytes([0, old]), 2), v5=False).code == new
    assert decoding.connack(Packet(0x20, b"\0\x01", 2), v5=True).code == reasons.WRONG_VERSION


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\0\0\x05\x21\0\x05",  # properties that end too early
        b"\0\0\x03\x21\0",
        b"\0\0\x06\x21\0\x05\x21\0\x05",  # twice
        b"\0\0\x02\x7f\0",  # no such property
        b"\0\0\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\0\0\x05\x1f\0\x02\xff\xfe",  # no UTF-8
        b"\0\0\x05\x1f\0\x02a\0",  # a NUL
        b"\0\0\x02\x21\0\x05",  # a value over the end of the properties
    ],
)
def test_a_wrong_connack_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        decoding.connack(Packet(0x20, body, len(body)), v5=True)


@pytest.mark.parametrize(
    ("first", "body"),
    [
        (0x34, b"\0\x01t\0\x01\0"),  # QoS 2, which nobody asked for
        (0x36, b"\0\x01t\0\x01\0"),  # QoS 3, which there is not
        (0x32, b"\0\x01t\0\0\0"),  # packet id 0
        (0x30, b"\0\x01#\0"),
        (0x30, b"\0\0\0"),
        (0x30, b"\0\x05t"),
        (0x30, b""),
    ],
)
def test_a_wrong_message_is_malformed(first: int, body: bytes) -> None:
    with pytest.raises(Malformed):
        decoding.publish(Packet(first, body, len(body)), v5=True)


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=80), st.integers(0, 255), st.booleans(), st.integers(0, 200))
def test_any_bytes_are_read_or_malformed(body: bytes, first: int, v5: bool, lost: int) -> None:
    packet = Packet(first, body, len(body) + lost)
    for read in (decoding.connack, decoding.puback, decoding.suback, decoding.publish):
        with contextlib.suppress(Malformed):  # and nothing else
            assert read(packet, v5=v5)
    with contextlib.suppress(Malformed):
        assert decoding.disconnect(packet)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_stream_is_cut_or_malformed(pieces: list[bytes]) -> None:
    try:
        acks, others = cut(pieces)
    except Malformed:
        return
    assert all(0 <= packet_id <= 0xFFFF and 0 <= code <= 0xFF for packet_id, code in acks)
    whole = sum(map(len, pieces))
    assert sum(len(each.body) + 2 for each in others) + 4 * len(acks) <= whole


@settings(deadline=None)  # the machine may be busy
@given(
    st.text(st.characters(exclude_characters="+#\0", exclude_categories=["Cs"]), min_size=1),
    st.binary(max_size=300),
    st.none() | st.binary(max_size=40),
)
def test_a_message_is_read_as_it_was_written(
    topic: str, payload: bytes, correlation: bytes | None
) -> None:
    properties = packets.properties(response_topic=topic, correlation=correlation)
    body = packets.string(topic) + b"\x12\x34" + packets.with_length(properties) + payload
    raw = bytes([0x3B]) + packets.variable(len(body)) + body
    _acks, (packet,) = Splitter().feed(raw)
    found = decoding.publish(packet, v5=True)
    assert (found.topic, found.payload, found.packet_id) == (topic, payload, 0x1234)
    assert (found.qos, found.retain, found.duplicate, found.cut) == (1, True, True, 0)
    assert found.properties.get(packets.CORRELATION) == correlation
    assert struct.unpack(">H", body[:2])[0] == len(topic.encode())


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("+/+/cmd/+", "x/y/cmd/", True),
        ("+", "", True),
    ],
)
def test_filters(pattern: str, topic: str, expected: bool) -> None:
    assert inbox.fits(pattern.split("/"), topic.split("/")) is expected


# --- keepalive: seconds of a clock of its own ---------------------------------------------------


def looks(
    watch: Keepalive, first_s: float, last_s: float, **seen: float
) -> list[tuple[float, str]]:
    found = []
    now_s = first_s
    while now_s <= last_s:
        what = watch.look(now_s, seen.get("received_s", 0.0), seen.get("sent_s", 0.0), None, 0)
        if what != FINE:
            found.append((now_s, what))
        now_s += watch.every_s
    return found


@pytest.mark.parametrize("keepalive_s", [5, 30, 600])
def test_a_half_open_connection_is_known_within_one_and_a_half(keepalive_s: int) -> None:
    found = looks(Keepalive(keepalive_s, 0.0), 0.0, 2.0 * keepalive_s)
    asked = [at for at, what in found if what == PING]
    gone = [at for at, what in found if what == GONE]
    assert 0.75 * keepalive_s <= asked[0] <= keepalive_s
    assert len(asked) == 1, "one question, not one at every look"
    assert asked[0] + 0.4 * keepalive_s < gone[0] <= 1.5 * keepalive_s


def test_who_sends_only_is_asked_and_who_receives_only_asks() -> None:
    # The broker must hear from us within the keepalive, whatever it sends itself.
    watch = Keepalive(40, 0.0)
    asked = []
    for second in range(200):
        if (
            watch.look(float(second), float(second), float(asked[-1] if asked else 0), None, 0)
            == PING
        ):
            asked.append(second)
    assert asked == [30, 60, 90, 120, 150, 180]


def test_own_standstill_is_not_the_brokers_silence() -> None:
    watch = Keepalive(10, 0.0)
    assert watch.look(1.0, 1.0, 1.0, "m", 0) == FINE
    assert watch.look(100.0, 1.0, 1.0, "m", 0) == PING, "asked, and not given up"
    assert watch.look(101.0, 1.0, 100.0, "m", 0) == FINE
    assert looks(watch, 102.0, 140.0, received_s=1.0, sent_s=100.0)[-1][1] == GONE


def test_an_answer_that_does_not_come_is_seen_while_others_do() -> None:
    def last(oldest: list[object], unwritten: list[int]) -> str:
        watch = Keepalive(1000, 0.0)
        return [
            watch.look(float(at), float(at), float(at), oldest[at], unwritten[at])
            for at in range(len(oldest))
        ][-1]

    count = int(keepalive.ACK_S) + 5
    still = [0] * count
    assert last(["same"] * count, still) == SILENT
    assert last([f"{at}" for at in range(count)], still) == FINE
    assert last([None] * count, still) == FINE
    # A slow line: bytes still leave this process, so the message may not even be there.
    assert last(["same"] * count, list(range(count, 0, -1))) == FINE
