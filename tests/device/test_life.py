"""Clock, boot counter and commands of the device, on both interpreters."""

import json
import struct

from clampdevice.bootcount import BootCount
from clampdevice.clock import TICKS_PERIOD, Clock
from clampdevice.commands import BAD, OK, UNKNOWN, Commands, seconds_of


class Ticks:
    def __init__(self, start: int) -> None:
        self.value = start

    def __call__(self) -> int:
        return self.value % TICKS_PERIOD


class Slots:
    def __init__(self) -> None:
        self.data = [b"", b""]
        self.writes = 0

    def read_slot(self, slot: int) -> bytes:
        return self.data[slot]

    def write_slot(self, slot: int, data: bytes) -> None:
        self.writes += 1
        self.data[slot] = data


def test_the_clock_goes_on_where_ticks_wrap():
    ticks = Ticks(TICKS_PERIOD - 1000000)
    clock = Clock(ticks)
    total = 0
    for step in (1, 999999, 1, 500000000, 1000000000, TICKS_PERIOD - 1):
        ticks.value += step
        total += step
        assert clock.now_us() == total
    assert clock.now_ms() == total // 1000


def test_utc_is_only_what_the_gateway_said():
    ticks = Ticks(0)
    clock = Clock(ticks)
    assert clock.utc_ms() == 0
    ticks.value = 5000000
    clock.learn_utc(1763750000123)
    ticks.value += 2000
    assert clock.utc_ms() == 1763750000125
    clock.learn_utc(0)
    assert clock.utc_ms() == 0


def test_boot_rises_over_both_slots():
    slots = Slots()
    for expected in range(1, 20):
        boots = BootCount(slots)
        assert boots.raise_to(boots.value + 1) == expected
    assert slots.writes == 19
    stored = sorted(struct.unpack("<I", data[:4])[0] for data in slots.data)
    assert stored == [18, 19]


def test_boot_survives_a_cut_at_every_byte_of_a_write():
    for cut in range(9):
        slots = Slots()
        boots = BootCount(slots)
        boots.raise_to(41)
        boots.raise_to(42)
        whole = BootCount(slots)
        before = list(slots.data)
        whole.raise_to(43)
        changed = 0 if slots.data[0] != before[0] else 1
        torn = slots.data[changed][:cut] + b"\xff" * (8 - cut)
        slots.data[changed] = torn
        assert BootCount(slots).value in (42, 43), cut


def test_boot_never_goes_back():
    boots = BootCount(Slots())
    boots.raise_to(5)
    try:
        boots.raise_to(5)
    except ValueError as error:
        assert "5" in str(error)
    else:
        raise AssertionError("taken")


def test_commands_answer_everything():
    commands = Commands((("identify", lambda args: {"seconds": seconds_of(args, 5, 600)}),))
    assert commands.run("identify", b'{"seconds":3}') == (OK, {"seconds": 3})
    assert commands.run("identify", b"") == (OK, {"seconds": 5})
    cases = (
        ("format", b"", UNKNOWN, "identify"),
        ("identify", b"{", BAD, "not JSON"),
        ("identify", b"[1]", BAD, "object"),
        ("identify", b'{"seconds":"x"}', BAD, "number"),
        ("identify", b'{"seconds":true}', BAD, "number"),
        ("identify", b'{"seconds":1e9}', BAD, "outside 0 to 600"),
        ("identify", b"\xff\xfe", BAD, "not JSON"),
    )
    for name, args, status, says in cases:
        got, body = commands.run(name, args)
        assert got == status and says in body["error"], (name, args, body)
        json.dumps(body)
    assert commands.ran == 2 and commands.refused == len(cases)
