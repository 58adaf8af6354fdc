"""The order of the bytes of numbers that take several registers.

Modbus says how the bytes of one register are sent and leaves the rest to the vendor. Owns the four
orders in use and applies one to a whole image. Single registers and text are the same in all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from clampgateway.registers import schema

# In the letters that many masters use, A the most significant byte of four.
ABCD, CDAB, BADC, DCBA = "ABCD", "CDAB", "BADC", "DCBA"
ORDERS = (ABCD, CDAB, BADC, DCBA)


class Run(NamedTuple):
    """`numbers` of `size` registers each, one behind the other, from register `first`."""

    first: int
    size: int
    numbers: int


def places(size: int, order: str) -> list[int]:
    """Which byte of a big-endian number of `size` registers stands at each place."""
    words = [[2 * at, 2 * at + 1] for at in range(size)]
    if order in (CDAB, DCBA):
        words.reverse()
    if order in (BADC, DCBA):
        words = [[low, high] for high, low in words]
    return [byte for word in words for byte in word]


def apply(words: bytearray, runs: Iterable[Run], order: str) -> None:
    """Brings the numbers of an image, big-endian before, into `order`."""
    if order == ABCD:
        return
    by_size = {size: places(size, order) for size in set(schema.SIZES.values())}
    for first, size, numbers in runs:
        width = 2 * size
        start, end = 2 * first, 2 * first + numbers * width
        plain = words[start:end]
        for at, source in enumerate(by_size[size]):
            words[start + at : end : width] = plain[source::width]


def packer(order: str) -> Callable[[int], bytes]:
    """Makes the four bytes of a uint32 in `order`."""
    plain = struct.Struct(">I").pack
    if order == ABCD:
        return plain
    wanted = places(2, order)

    def pack(value: int) -> bytes:
        data = plain(value)
        return bytes(data[at] for at in wanted)

    return pack


def _runs(block: Iterable[schema.Register], base: int) -> list[Run]:
    """The numbers of a block; neighbours of one size are one run."""
    found: list[Run] = []
    for entry in sorted(block, key=lambda each: each.offset):
        size = schema.SIZES.get(entry.type, 1)
        first = base + entry.offset
        if size == 1:
            continue
        last = found[-1] if found else Run(-1, 0, 0)
        if last.size == size and last.first + size * last.numbers == first:
            found[-1] = last._replace(numbers=last.numbers + 1)
        else:
            found.append(Run(first, size, 1))
    return found


def _device_runs() -> tuple[Run, ...]:
    # Counters of all quantities stand in one layout; a slot without them holds all ones there.
    counters = {entry for quantity in schema.QUANTITIES for entry in quantity.counters}
    found = _runs(schema.HEADER, 0)
    for slot in range(1, schema.SLOTS + 1):
        base = schema.slot_address(slot)
        found += _runs([*schema.SLOT, *counters], base)
        found.append(Run(base + schema.FLOATS_AT, 2, schema.FEATURES))
    return tuple(found)


DEVICE_RUNS = _device_runs()
GATEWAY_RUNS = tuple(_runs(schema.GATEWAY, 0))
