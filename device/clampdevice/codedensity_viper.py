"""The loops of codedensity.py in viper, for chips of 32 bits."""

import micropython


@micropython.viper
def count(buf: ptr16, first: int, n: int, stride: int, counts: ptr32) -> object:
    end = first + n * stride
    while first < end:
        at = int(buf[first]) >> 3
        counts[at] = int(counts[at]) + 1
        first += stride


@micropython.viper
def _ones(number: int) -> int:
    found = 0
    while number & 1:
        found += 1
        number >>= 1
    return found


@micropython.viper
def _block(counts: ptr32, widths: ptr32, out: ptr32, base: int) -> object:
    k = base + 4
    left = 0
    right = 0
    left_width = 0
    right_width = 0
    i = base
    while i < k:
        left += int(counts[i])
        left_width += int(widths[int(_ones(i))])
        right += int(counts[i + 5])
        right_width += int(widths[int(_ones(i + 5))])
        i += 1
    while True:
        kind = int(_ones(k))
        here = int(counts[k])
        width = int(widths[kind])
        fits = left >= 960 and left < 524288 and right >= 960 and right < 524288
        if fits and here < 524288:
            a = left * (right_width >> 3)
            b = right * (left_width >> 3)
            off = a - b if a > b else b - a
            if off <= (a + b) >> 4:
                total = left_width + right_width
                expected = ((left + right) * width + (total >> 1)) // total
                off = here - expected if here > expected else expected - here
                off = (off << 8) // (expected + 1)
                if off <= 80:
                    out[kind] = int(out[kind]) + here
                    out[6 + kind] = int(out[6 + kind]) + expected
                    out[12 + kind] = int(out[12 + kind]) + 1
                    out[18] = int(out[18]) + off * off
                    out[19] = int(out[19]) + 16777216 // (expected + 1)
        if k + 6 == base + 64:
            break
        left += here - int(counts[k - 4])
        left_width += width - int(widths[int(_ones(k - 4))])
        k += 1
        right += int(counts[k + 4]) - int(counts[k])
        right_width += int(widths[int(_ones(k + 4))]) - int(widths[int(_ones(k))])


def weigh(counts, widths, out) -> None:
    """See `codedensity`."""
    for i in range(20):
        out[i] = 0
    for base in range(0, 512, 64):
        _block(counts, widths, out, base)
