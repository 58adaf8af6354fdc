"""Discrete inputs, word orders and commands: what else a unit shows of its registers."""

import struct

import pytest

from clampgateway.registers import schema
from clampgateway.registers.image import DeviceRegisters, Moment
from clampgateway.registers.mbap import Shortcut
from clampgateway.registers.rows import rows
from clampgateway.registers.unitimage import Style, UnitImage
from clampwire import values
from support import readings
from support.readings import CURRENT, INPUT, STRANGE, VIBRATION

NUMBERS = {
    "current1": {"rms": 4.21, "peak": 6.3},
    "vibration1": {"a": 1.5, "v_x": 2.25, "v_y": 0.75, "v_z": None},
    "input1": {"state": 1, "count": 70000},
}
CHANNELS = [(2, CURRENT), (16, VIBRATION), (5, INPUT), (3, STRANGE)]
TEXTS = {"device": "e66138935f3a2b21", "name": "Drehbank 3 ä"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def registers(clock: Clock, word_order: str = "ABCD", mirror: bool = True) -> DeviceRegisters:
    """A device with its current in slot 2, input in 5, vibration in 16, pH in 3."""
    return DeviceRegisters(TEXTS, CHANNELS, {}, Style(5.0, clock, word_order, mirror))


def moment(clock: Clock) -> Moment:
    about = readings.description(channels=(CURRENT, VIBRATION, INPUT, STRANGE))
    taken = readings.reading(about, 81234, {**NUMBERS, "ph1": {"ph": 7.01, "raw": 0.1}})
    return Moment(taken, clock.now, True, "working", 1_763_750_000_999)


def bits(image: UnitImage, first: int, count: int) -> list[int]:
    data = image.read_inputs(first, count)
    assert data is not None
    return [at for at in range(count) if data[at // 8] >> at % 8 & 1]


def test_discrete_inputs_say_what_the_registers_say() -> None:
    clock = Clock()
    about = readings.description(channels=(CURRENT, VIBRATION, INPUT, STRANGE))
    flags = {"current1": values.BAD | values.CLIPPED, "vibration1": values.BELOW_FLOOR}
    taken = readings.reading(about, 5, NUMBERS, flags=flags, synced=False)
    image = registers(clock).image(Moment(taken, clock.now, True, "working"))
    # online, good, below_floor, clipped, unsynced, working
    assert bits(image, 0, 16) == [0, 1, 4, 5, 7, 10]
    assert bits(image, 16, 16) == [], "nothing in slot 1"
    assert bits(image, 32, 16) == [0, 3, 5, 7], "slot 2: used, bad, clipped, unsynced"
    assert bits(image, 5 * 16, 16) == [0, 1, 7, 8], "slot 5: used, good, unsynced, closed"
    assert bits(image, 16 * 16, 16) == [0, 1, 4, 7]
    clock.now += 5.1
    assert bits(image, 0, 16) == [0, 2, 4, 5, 7], "no state and no good any more"
    assert bits(image, 5 * 16, 16) == [0, 2, 7], "nor is the contact said to be closed"
    assert image.read_inputs(schema.DEVICE_INPUTS_SIZE - 8, 9) is None


# A number of the image by the struct code that reads it, where the byte order is that of a word
# order: CDAB and BADC are no order of struct, so the words or bytes are put back by hand.
SWAPS = {
    "ABCD": lambda data: data,
    "DCBA": lambda data: data[::-1],
    "CDAB": lambda data: b"".join(data[at : at + 2] for at in range(len(data) - 2, -2, -2)),
    "BADC": lambda data: b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2)),
}


@pytest.mark.parametrize("word_order", sorted(SWAPS))
@pytest.mark.parametrize("stale", [False, True])
def test_word_orders_move_long_numbers_and_nothing_else(word_order: str, stale: bool) -> None:
    clock = Clock()
    plain = registers(clock).image(moment(clock))
    other = registers(clock, word_order).image(moment(clock))
    clock.now += 6.25 if stale else 1.25
    entries = [(row.address, row.size, row.type) for row in rows() if row.block == "header"]
    for row in rows():
        if row.block == "slot" and row.quantity in ("", "current", "input"):
            slot = {"": 16, "current": 2, "input": 5}[row.quantity]
            at = row.address + (slot - 1) * schema.STRIDE
            entries.append((at, row.size, row.type))
    for address, size, kind in entries:
        data, expected = other.read(address, size), plain.read(address, size)
        assert data is not None
        if kind in ("float32", "uint32", "uint64"):
            data = SWAPS[word_order](data)
        assert data == expected, (address, kind)
    # The age alone, its halves, and the test float as a client with that order reads it.
    halves = [other.read(266, 1), other.read(267, 1)]
    whole = b"".join(half for half in halves if half is not None)
    assert int.from_bytes(SWAPS[word_order](whole), "big") == (6250 if stale else 1250)
    float_bytes = other.read(2, 2)
    assert float_bytes is not None
    assert struct.unpack(">f", SWAPS[word_order](float_bytes))[0] == 1234.5


def test_counters_of_all_quantities_are_laid_out_alike() -> None:
    layouts = {
        tuple((each.offset, each.size) for each in quantity.counters)
        for quantity in schema.QUANTITIES
        if quantity.counters
    }
    assert len(layouts) == 1, "a word order is applied to all slots in the same way"


def test_without_the_mirror_function_03_reads_the_commands_alone() -> None:
    clock = Clock()
    image = registers(clock, mirror=False).image(moment(clock)._replace(identify=3, resets=2))
    assert image.read_holding(120, 2) == b"\0\3\0\2" == image.read(120, 2)
    assert image.read_holding(121, 1) == b"\0\2"
    for first, count in ((119, 2), (121, 2), (122, 1), (0, 1), (0, 125)):
        assert image.read_holding(first, count) is None
        assert image.read(first, count) is not None
    whole = registers(clock).image(moment(clock))
    assert whole.read_holding(0, 125) == whole.read(0, 125)


def test_the_identify_coil_is_on_while_it_is_under_way() -> None:
    clock = Clock()
    for state, coils in ((0, b"\0"), (1, b"\1"), (2, b"\0"), (3, b"\0")):
        image = registers(clock).image(moment(clock)._replace(identify=state))
        assert image.read_coils(0, 2) == coils
        assert image.read_coils(1, 2) is None


def test_the_short_cut_remembers_for_a_millisecond_and_forgets_what_is_not_true() -> None:
    clock = Clock()
    device = registers(clock)
    short = Shortcut(clock)
    request = struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 16, 6)  # age, boot, seq
    assert short.answer(request) is None
    short.show(1, (4,), device.image(moment(clock)))

    def ask(transaction: int = 7) -> tuple[int, ...]:
        got = short.answer(struct.pack(">H", transaction) + request[2:])
        assert got is not None
        return struct.unpack(">HHHBBBIII", got)

    assert ask() == (7, 0, 15, 1, 4, 12, 0, 17, 81234)
    clock.now += 0.0005
    assert ask(8) == (8, 0, 15, 1, 4, 12, 0, 17, 81234), "another transaction, the same answer"
    clock.now += 0.0025
    assert ask()[6] == 3, "the age went on"
    clock.now += 0.0001
    now = moment(clock)
    assert now.reading is not None
    later = now._replace(reading=now.reading._replace(seq=81235))
    short.show(1, (4,), device.image(later))
    assert ask()[6:] == (0, 17, 81235), "a new image is seen at once"
    short.hide(1, (4,))
    assert short.answer(request) is None
    short.show(1, (4,), device.image(later))
    clock.now += 5.0
    whole = struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 12, 1)
    assert short.answer(whole) == struct.pack(">HHHBBBH", 7, 0, 5, 1, 4, 2, 1)
    clock.now += 0.0011
    assert short.answer(whole) == struct.pack(">HHHBBBH", 7, 0, 5, 1, 4, 2, 2), "stale in time"
