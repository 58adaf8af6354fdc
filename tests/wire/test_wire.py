"""The wire on both interpreters: golden vectors, versions, bounds, frames that resynchronise."""

import binascii
import json

from clampwire import framing, messages, values
from clampwire.codec import Codec, UnknownMessage, WireError, table_crc

VECTORS = __file__.rsplit("/", 1)[0] + "/vectors.json"


def _vectors() -> dict:
    with open(VECTORS) as file:
        return json.load(file)


def _tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(_tuples(entry) for entry in value)
    return value


def _fields(vector: dict) -> list:
    out = []
    for name, kind in vector["fields"]:
        if kind == "hex":
            out.append(binascii.unhexlify(name))
        else:
            out.append(_tuples(name))
    return out


def _fields_of(name: str) -> tuple:
    for entry in messages.MESSAGES:
        if entry[1] == name:
            return messages.fields_of(entry[2])
    raise AssertionError("no message " + name)


def _raises(error, call, *args) -> str:
    try:
        call(*args)
    except error as caught:
        return str(caught)
    raise AssertionError("no " + error.__name__)


def test_every_message_has_a_golden_vector():
    named = [vector["message"] for vector in _vectors()["good"]]
    for entry in messages.MESSAGES:
        assert entry[1] in named, entry[1]


def test_golden_vectors_encode_and_decode():
    codec = Codec()
    for vector in _vectors()["good"]:
        fields = _fields(vector)
        payload = codec.encode(vector["message"], *fields)
        assert binascii.hexlify(payload).decode() == vector["payload"], vector["name"]
        to_device = vector["to_device"]
        framed = framing.frame(payload, to_device)
        assert binascii.hexlify(framed).decode() == vector["frame"], vector["name"]
        assert framing.Deframer(messages.PAYLOAD_MAX).feed(framed) == [payload], vector["name"]
        name, message = codec.decode(payload)
        assert name == vector["message"]
        for got, want in zip(message, fields):
            assert got == want or (got != got and want != want), (vector["name"], got, want)


def test_golden_bad_frames_are_counted_and_skipped():
    good = framing.frame(b"\x08\x00")
    for vector in _vectors()["bad_frames"]:
        deframer = framing.Deframer(messages.PAYLOAD_MAX)
        got = deframer.feed(binascii.unhexlify(vector["bytes"]) + good + good)
        assert len(got) >= vector["good_after"], vector["name"]
        assert all(payload == b"\x08\x00" for payload in got), vector["name"]
        assert deframer.errors == vector["errors"], (vector["name"], deframer.errors)


def test_golden_bad_payloads_are_refused():
    codec = Codec()
    for vector in _vectors()["bad_payloads"]:
        payload = binascii.unhexlify(vector["payload"])
        error = UnknownMessage if vector["unknown"] else WireError
        assert vector["says"] in _raises(error, codec.decode, payload), vector["name"]


def test_plain_stuffing_is_the_same_as_the_fast_one():
    payload = bytes(range(256))
    for to_device in (0, 1):
        out = bytearray(2 * (len(payload) + 4) + 2)
        end = framing.frame_into(payload, out, to_device)
        assert bytes(out[:end]) == framing.frame(payload, to_device)
        assert not to_device or not (b"\x03" in out[:end] or b"\x04" in out[:end])


def test_encode_refuses_what_does_not_fit():
    codec = Codec()
    says = _raises(WireError, codec.encode, "Ack", [(0, 1, 1 << 32)])
    assert "last" in says and "4294967296" in says, says
    says = _raises(WireError, codec.encode, "Ack", [(0, 1, 1.5)])
    assert "whole number" in says, says
    says = _raises(WireError, codec.encode, "Command", 1, "x" * 256, b"")
    assert "256 bytes" in says, says
    says = _raises(WireError, codec.encode, "Command", 1, "x")
    assert "3 fields" in says, says


def test_text_between_frames_comes_out_as_text():
    lines: list = []
    deframer = framing.Deframer(messages.PAYLOAD_MAX, lines.append)
    good = framing.frame(b"\x08\x00")
    assert deframer.feed(b"MicroPython v1.28\r\n" + good + b"Grad 21 \xc2\xb0C\n" + good) != []
    assert lines == ["MicroPython v1.28\r\n", "Grad 21 \u00b0C\n"], lines
    assert deframer.frames == 2 and deframer.errors == 0


def test_endless_noise_keeps_no_memory():
    deframer = framing.Deframer(64)
    for _ in range(100):
        assert deframer.feed(b"\x00\xff" * 40) == []
    assert len(deframer._rest) <= 2 * 68 + 80
    assert deframer.errors == 1
    assert deframer.feed(b"\x7e" + framing.frame(b"\x08\x00")) == [b"\x08\x00"]


def test_every_byte_flip_costs_at_most_its_frame():
    one = framing.frame(b"\x08\x00")
    three = one * 3
    for at in range(len(three)):
        for bit in range(8):
            noisy = bytearray(three)
            noisy[at] ^= 1 << bit
            got = framing.Deframer(64).feed(noisy)
            assert len(got) >= 2 and all(payload == b"\x08\x00" for payload in got), (at, bit)


def test_a_newer_minor_is_read_and_an_older_one_is_filled():
    newer = (
        (0x08, "Ack", "ranges:( boot:I first:I last:I ) window:H:1 note:s:2"),
        (0x70, "Novelty", "x:B"),
    )
    ours, theirs = Codec(), Codec(newer)
    payload = theirs.encode("Ack", [(1, 2, 3)], 16, "hello")
    assert ours.decode(payload) == ("Ack", (((1, 2, 3),),))
    assert theirs.decode(ours.encode("Ack", [(1, 2, 3)])) == ("Ack", (((1, 2, 3),), 0, ""))
    _raises(UnknownMessage, ours.decode, theirs.encode("Novelty", 1))
    _raises(WireError, theirs.decode, payload[:-1])


def test_values_keep_scale_missing_and_saturation():
    layout = ((ord("H"), 2, -3), (ord("h"), 1, -2), (ord("B"), 5, 0), (ord("f"), 1, 0))
    data = values.pack_values(layout, (4.21, -1.5, 12, 0.5))
    assert len(data) == 9
    got = values.unpack_values(layout, data)
    assert got[0] == 4.21 and got[1] == -1.5 and got[2] == 10 and got[3] == 0.5, got
    nothing = values.pack_values(layout, (None, float("nan"), None, None))
    assert values.unpack_values(layout, nothing) == [None, None, None, None]
    much = values.unpack_values(layout, values.pack_values(layout, (1e9, -1e9, 1e9, 1.0)))
    assert much[:3] == [65534 * 2 / 1000, -327.67, 254 * 5], much
    endless = values.pack_values(layout, (float("inf"), float("-inf"), 0, 1.0))
    assert values.unpack_values(layout, endless)[1] == -327.67
    _raises(ValueError, values.unpack_values, layout, data + b"x")


def test_flags_take_half_a_byte_up_to_the_last_channel_with_any():
    flags = [0, values.CLIPPED, 0, values.BAD | values.GAP]
    data = values.pack_flags(flags)
    assert data == bytes([0x20, 0xC0])
    assert values.unpack_flags(data, 4) == flags
    assert values.unpack_flags(data, 2) == [0, values.CLIPPED]
    assert values.unpack_flags(data, 7) == flags + [0, 0, 0]
    assert values.pack_flags([0] * 16) == b""
    assert values.pack_flags([values.BELOW_FLOOR, 0, 0, 0, 0]) == b"\x01"
    assert len(values.pack_flags([15] * 16)) == 8


def test_a_default_record_has_at_most_48_bytes():
    """Three currents (RMS, peak), one three-axis vibration, one input: the design's record.

    45 bytes before escapes, 48 with a flag on every channel. A byte in 128 needs an escape, so of
    random records without flags at most one in a thousand is longer than 48.
    """
    layout = ((ord("H"), 2, -3),) * 6 + ((ord("H"), 1, -2),) * 4 + ((ord("B"), 1, 0),)
    codec = Codec()
    noise = 12345
    longer = 0
    for i in range(1000):
        raw = []
        for _ in range(10):
            noise = (noise * 1103515245 + 12345) & 0x7FFFFFFF
            raw.append((noise >> 8) & 0xFFFF)
        data = values.pack_values(
            layout, [x / 500 for x in raw[:6]] + [x / 100 for x in raw[6:]] + [1]
        )
        payload = codec.encode("Record", 17, 81234 + i, 1763750 + 1000 * i, 5, 1, b"", data)
        assert len(payload) + 4 + 2 == 45
        longer += len(framing.frame(payload)) > 48
        flags = values.pack_flags([values.BELOW_FLOOR] * 5)
        flagged = codec.encode("Record", 17, 81234 + i, 1763750, 5, 1, flags, data)
        assert len(flagged) + 4 + 2 == 48
    assert longer <= 1, longer


def test_the_table_is_what_both_ends_have_always_told_each_other():
    # Devices in the field and gateways compare this number: a new one is a new table.
    assert table_crc() == 0xE617BB5A  # minor 1
    assert table_crc(messages.MESSAGES[:1]) == 0xA319EEB9
    whole = tuple((code, name, messages.fields_of(text)) for code, name, text in messages.MESSAGES)
    assert table_crc() == binascii.crc32(repr(whole).encode())


def test_fields_are_taken_apart():
    text = "a:B b:(:3 c:s d:( e:I ) ) f:H:2"
    assert messages.fields_of(text) == (
        ("a", "B"),
        ("b", (("c", "s"), ("d", (("e", "I"),))), 3),
        ("f", "H", 2),
    )


def test_table_is_well_formed():
    codes = [code for code, _name, _fields_ in messages.MESSAGES]
    assert len(set(codes)) == len(codes) and max(codes) < 0x7D
    names = [name for _code, name, _fields_ in messages.MESSAGES]
    for name in messages.FROZEN + messages.SPOOLED:
        assert name in names
    for name in messages.SPOOLED:
        # The device's spool reads these three without decoding.
        fields = list(_fields_of(name))
        assert [field[0] for field in fields[:2]] == ["boot", "seq"], name
        assert [field[1] for field in fields[:3]] == ["I", "I", "T"], name


def test_fields_of_a_newer_minor_may_be_left_out():
    codec = Codec()
    fields = (7, 12, 5000, 5, 1, b"", b"\x01\x02")
    short = codec.encode("Record", *fields)
    assert codec.encode("Record", *(fields + (0,))) == short + b"\x00\x00"
    assert codec.decode(short)[1].before == 0
    assert codec.decode(codec.encode("Record", *(fields + (9,))))[1].before == 9
    assert "8 fields, got 6" in _raises(WireError, codec.encode, "Record", *fields[:6])
    gap = codec.encode("Gap", 8, 0, 0, 4, 255, 100, messages.TO_THE_END, 0, 0, 0)
    assert codec.decode(gap)[1].of_boot == 0 and len(gap) == 38
