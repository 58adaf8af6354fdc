"""Byte stuffing in viper, on every chip: the one kernel that each board needs.

As viper.py, to which see. Its import shows whether this MicroPython has viper at all.
"""

import micropython


@micropython.viper
def stuff(src: ptr8, n: int, dst: ptr8, at: int, mask: int) -> int:
    mask &= 1
    dst = ptr8(uint(dst) + at)
    start = int(dst) - at
    while n:
        n -= 1
        b = int(src[0])
        src = ptr8(uint(src) + 1)
        # One comparison each passes most bytes: the escaped ones are 3, 4 and 0x7D, 0x7E.
        if b < 5 or b > 0x7C:
            if b == 0x7E or b == 0x7D or (mask and (b == 3 or b == 4)):
                dst[0] = 0x7D
                dst = ptr8(uint(dst) + 1)
                b ^= 0x20
        dst[0] = b
        dst = ptr8(uint(dst) + 1)
    return int(dst) - start
