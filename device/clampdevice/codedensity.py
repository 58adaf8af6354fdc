"""Code density: how often an ADC's codes came, and the widths that a smooth signal gives them.

Owns the loops over samples and over bins, in their plain forms; `codedensity_viper.py` has the
same for native code, where every value in between fits a chip's 32 bits. What is made of the sums
is `refinement.py`'s.

A signal that moves smoothly over the codes gives them counts in proportion to their widths and to
its own density there, which is that of their neighbours. A bin is eight codes from
a multiple of eight on: below 2,048 single codes of an RP2040 are missing, but no whole bin is.
"""

BIN_BITS = 3
BINS = 4096 >> BIN_BITS
BLOCK = 512 >> BIN_BITS  # bins from one possible step to the next
CLASSES = 6  # of bins, by the number of ones they end in; the last before a step is of none
UNIT = 512  # of widths: eight LSB
REACH = 4  # neighbours on either side that tell the density
LEAST = 960  # counts of the neighbours on one side, 30 a code
MOST = 1 << 19
# Words of `weigh`: counts seen, counts expected, and bins used, of each class; then the sums of
# relative deviations squared, in 1/65536, and of what chance alone adds to them, in 2**-24.
SEEN, EXPECTED, USED = 0, CLASSES, 2 * CLASSES
SQUARES, CHANCE, WORDS = 3 * CLASSES, 3 * CLASSES + 1, 3 * CLASSES + 2
_FARTHEST = 80  # in 1/256 of what is expected: beyond it the signal turns there


def count(buf, first: int, n: int, stride: int, counts) -> object:
    """Adds codes below 4096, buf[first + i * stride] for i < n, to `counts`, array('I') of 512."""
    for i in range(first, first + n * stride, stride):
        counts[buf[i] >> BIN_BITS] += 1


def ones(number: int) -> int:
    """How many ones a number ends in."""
    found = 0
    while number & 1:
        found += 1
        number >>= 1
    return found


def weigh(counts, widths, out) -> None:
    """Compares each bin's count with what its neighbours and its class's width promise.

    Bins whose neighbours reach a multiple of 512 codes have no part, nor those where the signal's
    density is too low, too high for 32 bits, changes by an eighth from one side to the other, or
    is far from both in between, as where the signal turns.

    Args:
        counts: array('I') of 512.
        widths: array('I') of `CLASSES`, below 1024.
        out: array('I') of `WORDS`, cleared here; see above.
    """
    for i in range(WORDS):
        out[i] = 0
    for base in range(0, BINS, BLOCK):
        k = base + REACH
        left = right = left_width = right_width = 0
        for i in range(base, k):
            left += counts[i]
            left_width += widths[ones(i)]
            right += counts[i + REACH + 1]
            right_width += widths[ones(i + REACH + 1)]
        while True:
            kind = ones(k)
            here = counts[k]
            width = widths[kind]
            if LEAST <= left < MOST and LEAST <= right < MOST and here < MOST:
                a = left * (right_width >> 3)
                b = right * (left_width >> 3)
                if abs(a - b) <= a + b >> 4:
                    total = left_width + right_width
                    expected = ((left + right) * width + (total >> 1)) // total
                    off = (abs(here - expected) << 8) // (expected + 1)
                    if off <= _FARTHEST:
                        out[SEEN + kind] += here
                        out[EXPECTED + kind] += expected
                        out[USED + kind] += 1
                        out[SQUARES] += off * off
                        out[CHANCE] += (1 << 24) // (expected + 1)
            if k + REACH + 2 == base + BLOCK:
                break
            left += here - counts[k - REACH]
            left_width += width - widths[ones(k - REACH)]
            k += 1
            right += counts[k + REACH] - counts[k]
            right_width += widths[ones(k + REACH)] - widths[ones(k)]


plain_count = count
plain_weigh = weigh

try:
    from clampdevice.codedensity_viper import count, weigh
except (ImportError, SyntaxError):
    pass  # CPython, or a MicroPython without native code
