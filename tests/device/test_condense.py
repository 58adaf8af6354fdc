"""Ten records to one: every rule against exact arithmetic, and every feature has its rule."""

import struct

from fakes_flash import Random

from clampdevice import names, vibrationnames
from clampdevice.condense import Condenser, rule_of
from clampwire.codec import Codec
from clampwire.values import format_of, pack_flags, pack_values, unpack_flags, unpack_values

CODEC = Codec()


def _describe(quantity: str, *features: tuple) -> tuple:
    named = tuple((key, "", ord(code), 1, exp) for key, code, exp in features)
    return ("x", quantity, "", "", 0.0, 0.0, 0.0, 0.0, "", named)


MACHINE = (
    _describe("current", ("rms", "H", -3), ("peak", "H", -2), ("min", "H", -3), ("max", "H", -3),
              ("mean", "h", -3), ("energy", "I", 0), ("crest", "H", -3), ("frequency", "H", -3)),
    _describe("vibration", ("a", "H", -2), ("v_x", "H", -2), ("mean_z", "h", -3),
              ("kurtosis_x", "H", -3), ("frequency_x", "H", -1), ("clipped", "H", 0)),
    _describe("input", ("state", "B", 0), ("count", "I", 0)),
)  # fmt: skip
LAYOUT = tuple((code, mult, exp) for fields in MACHINE for _k, _u, code, mult, exp in fields[-1])
KEYS = [(fields[1], feature[0]) for fields in MACHINE for feature in fields[-1]]


def _record(seq: int, raw: list, flags: tuple = (), boot: int = 3, layout: int = 9, end_ms=None):
    data = struct.pack(format_of(LAYOUT), *raw)
    end_ms = 1000 * (seq + 1) if end_ms is None else end_ms
    return CODEC.encode("Record", boot, seq, end_ms, 5, layout, pack_flags(list(flags)), data)[
        : 16 + 1 + len(pack_flags(list(flags))) + 1 + len(data)
    ]


def _raws(rng: Random) -> list:
    out = []
    for code, _mult, _exp in LAYOUT:
        limit = {"B": 255, "H": 65535, "h": 32767, "I": 0xFFFFFFFF}[chr(code)]
        low = -32767 if chr(code) == "h" else 0
        out.append(low + rng.below(1 << 24) * (limit - low) // (1 << 24))
    return out


def _raw_of(payload: bytes) -> tuple:
    at = 17 + payload[16]
    size = payload[at]
    return struct.unpack(format_of(LAYOUT), payload[at + 1 : at + 1 + size])


def _condensed(payloads: list) -> bytes:
    condenser = Condenser(MACHINE)
    for payload in payloads:
        assert condenser.add(payload)
    assert condenser.count == len(payloads)
    return condenser.payload()


def _nearest_root(total: int, weight: int, got: int) -> bool:
    """Whether `got` is the whole number nearest to sqrt(total / weight): exact, in integers."""
    low, high = max(0, 2 * got - 1), 2 * got + 1
    return low * low * weight <= 4 * total <= high * high * weight


def test_every_rule_is_exact():
    rng = Random(5)
    for _ in range(60):
        rows = [_raws(rng) for _ in range(10)]
        got = _raw_of(_condensed([_record(seq, row) for seq, row in enumerate(rows)]))
        for index, (quantity, key) in enumerate(KEYS):
            column = [row[index] for row in rows]
            rule = rule_of(quantity, key)
            if rule == "q":
                assert _nearest_root(sum(x * x for x in column), 10, got[index]), key
            elif rule == "m":
                assert abs(10 * got[index] - sum(column)) <= 5, key
            elif rule == "l":
                assert got[index] == column[-1], key
            elif rule == "+":
                assert got[index] == min(65534, sum(column)), key
            elif rule == "-":
                assert got[index] == 65535, key
            else:
                assert got[index] == (max(column) if rule == ">" else min(column)), key


def test_the_extremes_of_a_code_stay_what_they_are():
    for value in (0, 1, 65533, 65534):
        rows = [[value if code == ord("H") else 1 for code, _m, _e in LAYOUT]] * 10
        got = _raw_of(_condensed([_record(seq, row) for seq, row in enumerate(rows)]))
        assert got[:4] == (value,) * 4


def test_its_head_names_the_last_and_says_how_many():
    payloads = [_record(seq, _raws(Random(seq))) for seq in range(40, 50)]
    payload = _condensed(payloads)
    assert payload[:9] == payloads[-1][:9], "type, boot and seq of the last"
    name, record = CODEC.decode(payload)
    assert name == "Record"
    assert (record.boot, record.seq, record.end_ms, record.layout) == (3, 49, 50000, 9)
    assert record.windows == 50
    assert struct.unpack("<H", payload[-2:]) == (9,)
    # Events take numbers between records: the span is of numbers, the time is in `windows`.
    payloads = [_record(seq, _raws(Random(1)), end_ms=1000 * at) for at, seq in ((1, 4), (2, 9))]
    assert struct.unpack("<H", _condensed(payloads)[-2:]) == (5,)
    wrapped = [_record(0xFFFFFFFF, _raws(Random(1)), end_ms=1000)]
    wrapped.append(_record(1, _raws(Random(1)), end_ms=2000))
    assert struct.unpack("<H", _condensed(wrapped)[-2:]) == (2,)


def test_flags_of_any_record_are_flags_of_the_whole():
    rows = [((0, 1), (2, 0, 4), (), (8,))[seq % 4] for seq in range(10)]
    payloads = [_record(seq, _raws(Random(seq)), flags) for seq, flags in enumerate(rows)]
    _name, record = CODEC.decode(_condensed(payloads))
    assert unpack_flags(record.flags, 3) == [10, 1, 4]
    _name, record = CODEC.decode(_condensed([_record(0, _raws(Random(0)))]))
    assert record.flags == b"", "without flags nothing is spent on them"


def test_a_missing_value_is_that_of_the_others():
    steps = [None] * len(LAYOUT)
    empty = list(struct.unpack(format_of(LAYOUT), pack_values(LAYOUT, steps)))
    rows = [list(empty) for _ in range(10)]
    rows[3][0], rows[8][0] = 300, 400
    rows[4][5] = 77
    payload = _condensed([_record(seq, row) for seq, row in enumerate(rows)])
    raw = _raw_of(payload)
    assert _nearest_root(300 * 300 + 400 * 400, 2, raw[0])
    assert raw[5] == 77
    _name, record = CODEC.decode(payload)
    values = unpack_values(LAYOUT, record.values)
    assert [value for value in values if value is not None] == [raw[0] / 1000, 77]


def test_what_does_not_continue_begins_another():
    condenser = Condenser(MACHINE)
    row = _raws(Random(1))
    assert condenser.add(_record(5, row, end_ms=6000))
    for other in (
        _record(6, row, boot=4, end_ms=7000),
        _record(6, row, layout=8, end_ms=7000),
        _record(6, row, end_ms=8000),  # a second is missing
        _record(6, row, end_ms=7000)[:-1],
        _record(6, row, end_ms=7000) + b"\x09\x00",  # condensed already
        CODEC.encode("Event", 3, 6, 7000, 0, 1, 0, ""),
    ):
        assert not condenser.add(other)
    assert condenser.add(_record(6, row, end_ms=7000)) and condenser.count == 2
    condenser.clear()
    assert condenser.add(_record(6, row, boot=4, end_ms=9000)) and condenser.count == 1


def test_a_single_float_on_the_wire_is_condensed_too():
    described = (_describe("current", ("rms", "f", 0), ("mean", "f", 0), ("peak", "f", 0)),)
    condenser = Condenser(described)
    rows = ((3.0, 1.0, 9.0), (4.0, 2.0, 7.0), (float("nan"),) * 3)
    for seq, row in enumerate(rows):
        data = struct.pack("<fff", *row)
        payload = CODEC.encode("Record", 1, seq, 1000 * (seq + 1), 5, 0, b"", data)
        assert condenser.add(payload[: 18 + len(data)])
    got = struct.unpack("<fff", condenser.payload()[18:30])
    assert abs(got[0] - 12.5**0.5) < 1e-6 and got[1:] == (1.5, 9.0)


def test_every_feature_that_a_channel_can_have_was_thought_of():
    left_out = ("crest", "thd", "pf", "ratio")
    for quantity, keys in (
        ("current", names.CURRENT),
        ("voltage", names.VOLTAGE),
        ("vibration", vibrationnames.vibration("xyz")),
        ("input", names.INPUT),
    ):
        for key in keys:
            rule = rule_of(quantity, key)
            stem = key.split("_", 1)[0]
            withheld = stem in left_out or stem == "kurtosis" or key.startswith("frequency_")
            assert (rule == "-") == withheld, (quantity, key, rule)
    assert rule_of("current", "h13") == rule_of("vibration", "band8_y") == "q"
    assert rule_of("current", "apparent") == "m" and rule_of("current", "apparent_energy") == "l"
    assert rule_of("current", "clipped_pct") == "m" and rule_of("vibration", "clipped") == "+"
    assert rule_of("current", "new_one") == "-"
