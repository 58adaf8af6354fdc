"""The inner loop of unpack.py in viper."""

import micropython


@micropython.viper
def _unpack(
    raw: ptr8, skip: int, size: int, shift: int, frames: int, buf: ptr16, first: int, order: int
) -> object:
    bias = 0x8000 - (0x8000 >> shift)
    at = skip
    end = first + 3 * frames
    while first < end:
        k = 0
        while k < 3:
            low = raw[at + order]
            high = raw[at + 1 - order]
            buf[first] = (((low | high << 8) ^ 0x8000) >> shift) + bias
            first += 1
            at += 2
            k += 1
        at += size - 6


def little(raw, skip: int, size: int, shift: int, frames: int, buf, first: int) -> None:
    """See `unpack`."""
    _unpack(raw, skip, size, shift, frames, buf, first, 0)


def big(raw, skip: int, size: int, shift: int, frames: int, buf, first: int) -> None:
    """See `unpack`."""
    _unpack(raw, skip, size, shift, frames, buf, first, 1)
