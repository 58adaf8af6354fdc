"""The inner loop of fast.py in viper; compiled on the board from source."""

import micropython


@micropython.viper
def offset_binary(buf: ptr16, first: int, n: int) -> object:
    p = ptr16(uint(buf) + 2 * first)
    while n > 0:
        p[0] = p[0] ^ 0x8000
        p = ptr16(uint(p) + 2)
        n -= 1
    return None
