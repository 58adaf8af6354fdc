"""The boot number in two slots: power cuts in every byte of every write, worn and empty slots."""

import struct

from fakes_flash import Random

from clampdevice.bootcount import SLOT_BYTES, BootCount


class Slots:
    """Two slots; `torn` says how many bytes of the next write are done, -1 for all."""

    def __init__(self, empty: bytes = b"") -> None:
        self.data = [empty, empty]
        self.torn = -1
        self.rest = b""

    def read_slot(self, slot: int) -> bytes:
        return self.data[slot]

    def write_slot(self, slot: int, data: bytes) -> None:
        if self.torn >= 0:
            data = data[: self.torn] + self.rest[self.torn :]
        self.data[slot] = data


def _counted(slots: Slots, boots: int) -> int:
    for _ in range(boots):
        count = BootCount(slots)
        count.raise_to(count.value + 1)
    return BootCount(slots).value


def test_every_power_up_has_a_number_of_its_own():
    for empty in (b"", b"\xff" * SLOT_BYTES, b"\x00" * SLOT_BYTES, b"junk"):
        assert _counted(Slots(empty), 20) == 20


def test_a_cut_in_a_write_leaves_the_number_before_or_the_new_one():
    rng = Random(11)
    cuts = 0
    for boots in range(40):
        for torn in range(SLOT_BYTES + 1):
            for rest in (
                b"\xff" * 8,
                b"\x00" * 8,
                bytes(rng.below(256) for _ in range(8)),
                b"old",
            ):
                slots = Slots(b"\xff" * SLOT_BYTES)
                before = _counted(slots, boots)
                slots.torn = torn
                written = 1 if before % 2 else 0
                slots.rest = slots.data[written] if rest == b"old" else rest
                BootCount(slots).raise_to(before + 1)
                slots.torn = -1
                found = BootCount(slots).value
                assert found in (before, before + 1), (boots, torn)
                # Nothing was sent under a number whose writing did not return.
                assert BootCount(slots).raise_to(found + 1) == found + 1
                assert BootCount(slots).value == found + 1
                cuts += 1
    assert cuts == 40 * 9 * 4


def test_a_gateways_number_is_taken_and_kept():
    slots = Slots()
    _counted(slots, 3)
    BootCount(slots).raise_to(58)
    assert _counted(slots, 2) == 60
    try:
        BootCount(slots).raise_to(60)
    except ValueError as error:
        assert "60" in str(error)
    else:
        raise AssertionError("taken twice")


def test_both_slots_worn_begin_anew():
    slots = Slots()
    _counted(slots, 7)
    slots.data[0] = slots.data[0][:4] + b"abcd"
    assert BootCount(slots).value in (6, 7)
    slots.data[1] = struct.pack("<I", 7) + b"abcd"
    assert BootCount(slots).value == 0
