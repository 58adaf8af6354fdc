"""The register map: its golden file, what stands where, and when a value is withheld."""

import csv
import io
import json
import math
import struct
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clampgateway.registers import FORMATS, render, schema
from clampgateway.registers.encode import to_int16, to_registers
from clampgateway.registers.image import DeviceRegisters, Moment
from clampgateway.registers.rows import Row, rows
from clampgateway.registers.unitimage import NO_AGE, Style, UnitImage
from clampwire import values
from support import readings
from support.readings import CURRENT, INPUT, STRANGE, VIBRATION

GOLDEN = Path(__file__).with_name("register_map.json")
NUMBERS = {
    "current1": {"rms": 4.21, "peak": 6.3},
    "vibration1": {"a": 1.5, "v_x": 2.25, "v_y": 0.75, "v_z": None},
    "input1": {"state": 1, "count": 70000},
}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """Reads single values of an image, by the addresses of the map."""

    def __init__(self, image: UnitImage) -> None:
        self.image = image

    def words(self, address: int, count: int) -> bytes:
        data = self.image.read(address, count)
        assert data is not None
        assert len(data) == 2 * count
        return data

    def value(self, base: int, offset: int, kind: str, size: int = 0) -> float | str:
        at = base + offset
        if kind == "text":
            return self.words(at, size).rstrip(b"\0").decode()
        letter = {"uint16": "H", "int16": "h", "uint32": "I", "uint64": "Q", "float32": "f"}[kind]
        return struct.unpack(f">{letter}", self.words(at, struct.calcsize(letter) // 2))[0]

    def named(self, block: tuple[schema.Register, ...], name: str, base: int = 0) -> float | str:
        entry = next(each for each in block if each.name == name)
        return self.value(base, entry.offset, entry.type, entry.size)

    def feature(self, slot: int, place: int) -> float:
        number = self.value(slot * schema.STRIDE, schema.FLOATS_AT + 2 * place, "float32")
        assert isinstance(number, float)
        return number

    def scaled(self, slot: int, place: int) -> float:
        number = self.value(slot * schema.STRIDE, schema.INTS_AT + place, "int16")
        assert isinstance(number, int)
        return number


def registers(clock: Clock, **places: int) -> DeviceRegisters:
    """A device with its current in slot 2, input in 5, vibration in 16, pH in 3."""
    return DeviceRegisters(
        {"device": "e66138935f3a2b21", "name": "Drehbank 3 ä"},
        [(2, CURRENT), (16, VIBRATION), (5, INPUT), (3, STRANGE)],
        {("ph1", key): place for key, place in places.items()},
        Style(5.0, clock),
    )


def moment(clock: Clock, **more: object) -> Moment:
    about = readings.description(channels=(CURRENT, VIBRATION, INPUT, STRANGE))
    taken = readings.reading(about, 81234, {**NUMBERS, "ph1": {"ph": 7.01, "raw": 0.1}})
    return Moment(taken, clock.now, True, "working", 1_763_750_000_999)._replace(**more)


def test_no_register_ever_moves() -> None:
    golden = json.loads(GOLDEN.read_text())
    released = {tuple(row) for row in golden["registers"]}
    now = {tuple(_stable(row)) for row in rows()}
    assert not released - now, "released registers moved or changed; masters are configured"
    added = now - released
    assert not added, "raise MAP_VERSION and add the new registers to register_map.json"
    assert golden["map_version"] == schema.MAP_VERSION


def _stable(row: Row) -> list[object]:
    return [
        row.block,
        row.quantity,
        row.name,
        row.address,
        row.size,
        row.type,
        row.unit,
        row.scale,
    ]


def test_blocks_have_room_and_nothing_overlaps() -> None:
    taken: dict[tuple[str, str], Counter[int]] = {}
    for row in rows():
        key = (row.block, row.quantity)
        taken.setdefault(key, Counter()).update(range(row.address, row.address + row.size))
    for key, counts in taken.items():
        assert max(counts.values()) == 1, f"{key}: {counts.most_common(3)}"
    slot = set(taken["slot", ""])
    for (block, quantity), counts in taken.items():
        if block == "slot" and quantity:
            assert not slot & set(counts), quantity
            assert max(counts) < schema.slot_address(1, schema.SLOT_USED)
    assert max(taken["header", ""]) < 125, "one request reads the header"
    assert max(slot) < schema.slot_address(1) + 125, "and one a slot with all its floats"
    assert schema.FLOATS_AT + 2 * schema.FEATURES <= schema.KEY_AT
    assert max(taken["directory", ""]) < schema.entry_address(2)
    assert max(taken["gateway", ""]) < schema.DIRECTORY_AT


def test_every_quantity_has_its_own_code_and_places() -> None:
    codes = [each.code for each in schema.QUANTITIES]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes
    for quantity in schema.QUANTITIES:
        for name in ("place", "key"):
            used = [getattr(each, name) for each in quantity.features]
            assert len(set(used)) == len(used), quantity.name
        assert all(0 <= each.place < schema.FEATURES for each in quantity.features)


def test_header_and_slots_show_the_record() -> None:
    clock = Clock()
    read = Reader(
        registers(clock).image(
            moment(clock, heartbeat=70001, records=70001, status={"overruns": 3.0})
        )
    )
    header = {
        "map_id": 0x4357, "map_version": 3, "test_float": 1234.5, "test_uint32": 0x12345678,
        "test_int16": -12345, "test_uint64": 0x0123456789ABCDEF, "unit_kind": 1, "quality": 1,
        "flags": 0, "online": 1, "state": 3, "age": 0, "boot": 17, "seq": 81234,
        "time_s": 1_763_831_234, "time_ms": 123, "interval": 1000, "time": 1_763_831_234_123,
        "heartbeat": 70001 & 0xFFFF, "channels": 4, "stale_after": 5000,
        "state_since": 1_763_750_000, "records": 70001, "overruns": 3,
        "lost_samples": 0xFFFFFFFF, "device": "e66138935f3a2b21", "name": "Drehbank 3 ?",
        "firmware": "",
    }  # fmt: skip
    for name, expected in header.items():
        assert read.named(schema.HEADER, name) == expected, name
    assert math.isnan(read.named(schema.HEADER, "temperature_c"))  # type: ignore[arg-type]
    base = schema.slot_address(2)
    slot = {
        "quantity": 1, "full_scale": 30.0, "rate": 6400.0, "quality": 1, "seq": 81234,
        "key": "current1", "uncertainty": 1.5, "state": 3,
    }  # fmt: skip
    for name, expected in slot.items():
        assert read.named(schema.SLOT, name, base) == expected, name
    assert read.feature(2, 0) == pytest.approx(4.21, rel=1e-7)
    assert read.feature(2, 2) == pytest.approx(6.3, rel=1e-7)
    assert read.feature(2, 3) == pytest.approx(1.496, rel=1e-6)  # crest, from the gateway
    assert [read.scaled(2, place) for place in (0, 2, 3)] == [421, 630, 1496]
    assert math.isnan(read.feature(2, 1))  # the device sends no mean
    assert read.scaled(2, 1) == -0x8000
    assert [read.feature(16, place) for place in (0, 2, 3)] == [1.5, 2.25, 0.75]
    assert math.isnan(read.feature(16, 4))
    assert read.feature(5, 0) == 1.0
    assert read.value(schema.slot_address(5), schema.COUNTERS_AT, "uint32") == 70000
    assert read.value(schema.slot_address(5), schema.COUNTERS_AT + 2, "uint64") == 70000


def test_an_empty_slot_is_nothing_and_no_zero() -> None:
    clock = Clock()
    read = Reader(registers(clock).image(moment(clock)))
    base = schema.slot_address(1)
    assert read.named(schema.SLOT, "quantity", base) == 0
    assert read.named(schema.SLOT, "quality", base) == 0
    assert all(math.isnan(read.feature(1, place)) for place in range(schema.FEATURES))
    assert {read.scaled(1, place) for place in range(schema.FEATURES)} == {-0x8000}


def test_an_unknown_quantity_keeps_its_given_places() -> None:
    clock = Clock()
    read = Reader(registers(clock, ph=7, raw=2).image(moment(clock)))
    assert read.named(schema.SLOT, "quantity", schema.slot_address(3)) == 255
    assert read.feature(3, 7) == pytest.approx(7.01, rel=1e-7)
    assert read.feature(3, 2) == pytest.approx(0.1, rel=1e-7)
    assert math.isnan(read.feature(3, 0))
    assert read.scaled(3, 7) == -0x8000  # no scale known


@pytest.mark.parametrize(
    ("age_s", "stale"), [(0.0, False), (4.9, False), (5.1, True), (1e7, True)]
)
def test_a_late_record_loses_its_values_and_keeps_its_age(age_s: float, stale: bool) -> None:
    clock = Clock()
    read = Reader(registers(clock).image(moment(clock)))
    clock.now += age_s
    age = min(int(age_s * 1000), NO_AGE - 1)
    for base, block in ((0, schema.HEADER), (schema.slot_address(2), schema.SLOT)):
        assert read.named(block, "age", base) == pytest.approx(age, abs=1)
        assert read.named(block, "quality", base) == (2 if stale else 1)
        assert read.named(block, "state", base) == (0 if stale else 3)
        assert read.named(block, "seq", base) == 81234  # which record it was stays known
    assert math.isnan(read.feature(2, 0)) is stale
    assert (read.scaled(2, 0) == -0x8000) is stale
    count = read.value(schema.slot_address(5), schema.COUNTERS_AT, "uint32")
    assert count == (0xFFFFFFFF if stale else 70000)


def test_without_any_record_there_is_no_value_and_no_age() -> None:
    clock = Clock()
    read = Reader(registers(clock).image(Moment(online=True)))
    clock.now += 100
    assert read.named(schema.HEADER, "age") == NO_AGE
    assert read.named(schema.HEADER, "quality") == 2
    assert read.named(schema.HEADER, "online") == 1
    assert math.isnan(read.feature(2, 0))
    assert read.named(schema.HEADER, "test_float") == 1234.5


def test_a_bad_channel_is_withheld_and_the_others_are_not() -> None:
    clock = Clock()
    about = readings.description(channels=(CURRENT, VIBRATION, INPUT, STRANGE))
    flags = {"current1": values.BAD | values.CLIPPED, "vibration1": values.BELOW_FLOOR}
    taken = readings.reading(about, 5, NUMBERS, flags=flags, synced=False)
    read = Reader(registers(clock).image(Moment(taken, clock.now, True)))
    assert read.named(schema.SLOT, "quality", schema.slot_address(2)) == 3
    assert read.named(schema.SLOT, "flags", schema.slot_address(2)) == 8 + 2 + 16
    assert math.isnan(read.feature(2, 0)), "whatever the device put into a bad channel"
    assert read.named(schema.SLOT, "quality", schema.slot_address(16)) == 1
    assert read.named(schema.SLOT, "flags", schema.slot_address(16)) == 1 + 16
    assert read.feature(16, 0) == 1.5
    assert read.named(schema.HEADER, "quality") == 1
    assert read.named(schema.HEADER, "flags") == 1 + 2 + 8 + 16


def test_a_channel_missing_in_the_record_is_bad() -> None:
    clock = Clock()
    taken = readings.reading(readings.description(channels=(CURRENT,)), 5, NUMBERS)
    read = Reader(registers(clock).image(Moment(taken, clock.now, True)))
    assert read.named(schema.SLOT, "quality", schema.slot_address(16)) == 3
    assert math.isnan(read.feature(16, 0))


@given(st.integers(0, schema.DEVICE_SIZE - 1), st.integers(1, 125), st.integers(0, 2**33))
def test_any_range_is_a_part_of_the_whole(first: int, count: int, age_ms: int) -> None:
    clock = Clock()
    image = registers(clock).image(moment(clock))
    clock.now += age_ms / 1000
    single = [image.read(at, 1) for at in range(first, min(first + count, image.size))]
    data = image.read(first, count)
    if first + count > schema.DEVICE_SIZE:
        assert data is None
    else:
        assert data == b"".join(one for one in single if one is not None)


def test_an_image_is_frozen() -> None:
    clock = Clock()
    now = moment(clock)
    image = registers(clock).image(now)
    before = [image.read(at, 125) for at in range(0, schema.DEVICE_SIZE, 125)]
    assert now.reading is not None
    now.reading.channels["current1"]["rms"] = 99.0
    assert [image.read(at, 125) for at in range(0, schema.DEVICE_SIZE, 125)] == before


def test_a_hostile_description_breaks_no_image() -> None:
    huge = readings.channel(
        0, "x" * 255, "current", "A", readings.feature("rms", "A", "I", 1, 127)
    )
    about = readings.description(device="d" * 255, channels=(huge,))
    taken = readings.reading(about, 1, {"x" * 255: {"rms": 1e130}})
    clock = Clock()
    made = DeviceRegisters({"device": "d" * 255}, [(1, huge)], {}, Style(5.0, clock))
    read = Reader(made.image(Moment(taken, clock.now, True, "code 9", -5, records=2**40)))
    assert math.isnan(read.feature(1, 0))
    assert read.scaled(1, 0) == 0x7FFF
    assert read.named(schema.HEADER, "device") == "d" * 32
    assert read.named(schema.SLOT, "key", schema.slot_address(1)) == "x" * 16
    assert read.named(schema.HEADER, "state") == 0
    assert read.named(schema.HEADER, "records") == 0xFFFFFFFE


@given(st.floats() | st.integers(-(10**300), 10**300), st.sampled_from([0.001, 0.01, 0.1, 1.0]))
def test_a_scaled_value_never_wraps(value: float, step: float) -> None:
    raw = to_int16(value, step)
    if value != value:
        assert raw == -0x8000
    else:
        assert -0x7FFF <= raw <= 0x7FFF
        assert raw == pytest.approx(max(-0x7FFF, min(0x7FFF, value / step)), abs=0.5)


@given(st.floats() | st.integers(), st.sampled_from(sorted(schema.SIZES)))
def test_every_value_has_registers(value: float, kind: str) -> None:
    assert len(to_registers(kind, value)) == 2 * schema.SIZES[kind]


def test_whole_numbers_stay_short_of_the_missing_mark() -> None:
    assert to_registers("uint16", 0xFFFF) == b"\xff\xfe"
    assert to_registers("uint32", 2**40) == b"\xff\xff\xff\xfe"
    assert to_registers("uint32", -1) == bytes(4)
    assert to_registers("uint32", None) == b"\xff" * 4
    assert to_registers("int16", None) == b"\x80\x00"
    assert to_registers("uint64", 2**64 - 2) == b"\xff" * 7 + b"\xfe"


def test_the_documents_tell_the_same() -> None:
    table = list(csv.DictReader(io.StringIO(render("csv"))))
    listed = json.loads(render("json"))
    assert len(table) == len(listed["registers"])
    for line, entry in zip(table, listed["registers"], strict=True):
        assert int(line["address"], 16) == entry["address"] == int(line["register"]) - 1
        assert float(line["scale"]) == entry["scale"]
        assert {line["name"], line["type"], line["unit"]} == {
            entry["name"], entry["type"], entry["unit"],
        }  # fmt: skip
    text = render("md")
    for line in table:
        if line["quantity"] != "other":
            assert f"{line['address']} | {line['register']} |" in text, line["name"]
    assert set(FORMATS) == {"md", "csv", "json"}
    with pytest.raises(ValueError, match=r"'xls'.*md, csv, json"):
        render("xls")


def test_addresses_out_of_the_map_are_refused() -> None:
    assert schema.slot_address(16, 4) == 4004
    assert schema.entry_address(246) == 13300
    for wrong in (0, 17):
        with pytest.raises(ValueError, match=str(wrong)):
            schema.slot_address(wrong)
    for wrong in (0, 247):
        with pytest.raises(ValueError, match=str(wrong)):
            schema.entry_address(wrong)
