"""`quantise_plain` of errors.py in viper, the same codes."""

import micropython


@micropython.viper
def quantise(buf: ptr16, first: int, n: int, stride: int, steps: ptr16) -> object:
    while n > 0:
        at = int(buf[first])
        code = 0
        bit = 2048
        while bit:
            if at >= int(steps[code + bit]):
                code += bit
            bit >>= 1
        buf[first] = code
        first += stride
        n -= 1
