"""The boot counter: one number a power-up, kept in two slots so that a power cut never loses it.

It owns the choice between the slots and their checksum; where a slot lives (a flash page, a file)
is the HAL's, which gives `read_slot(i)` and `write_slot(i, data)` for i 0 and 1.
A slot is the counter and its CRC-32, both little-endian.
"""

import binascii
import struct

SLOT_BYTES = 8
_ERASED = 0xFFFFFFFF


def _open(data: bytes) -> int:
    """The counter in a slot, 0 for a slot that is empty, torn or worn."""
    if len(data) != SLOT_BYTES:
        return 0
    count, crc = struct.unpack("<II", data)
    # The CRC-32 of four erased bytes is itself all ones: an erased slot would look valid.
    return count if binascii.crc32(data[:4]) == crc and count != _ERASED else 0


class BootCount:
    """Reads both slots once; every new number goes to the slot that holds the lower one."""

    def __init__(self, slots) -> None:
        self._slots = slots
        self._counts = [_open(slots.read_slot(0)), _open(slots.read_slot(1))]

    @property
    def value(self) -> int:
        """The highest number stored so far, 0 on a new board."""
        return max(self._counts)

    def raise_to(self, count: int) -> int:
        """Store `count`, which must be above the value so far, and return it."""
        if count <= self.value:
            raise ValueError("boot " + str(count) + " is not above " + str(self.value))
        slot = 0 if self._counts[0] <= self._counts[1] else 1
        data = struct.pack("<I", count)
        self._slots.write_slot(slot, data + struct.pack("<I", binascii.crc32(data)))
        self._counts[slot] = count
        return count
