"""The inner loop of fastentries.py in viper; compiled on the board from source."""

import micropython


@micropython.viper
def entries(buf: ptr16, first: int, n: int, found: ptr32) -> int:
    p = ptr16(uint(buf) + 2 * first)
    any_of = 0
    all_of = 0xFFFF
    at = -1
    i = 0
    while i < n:
        x = p[0]
        any_of |= x
        all_of &= x
        if x & 0x0100:
            if at < 0:
                at = i
        x = p[1]
        p[1] = (x >> 8 | x << 8) ^ 0x8000
        x = p[2]
        p[2] = (x >> 8 | x << 8) ^ 0x8000
        x = p[3]
        p[3] = (x >> 8 | x << 8) ^ 0x8000
        p = ptr16(uint(p) + 8)
        i += 1
    found[0] = any_of
    found[1] = all_of
    return at
