"""What runs once a block and more: plain forms, and the compiled ones where there are any.

Times are ticks: microseconds modulo 2**30, small integers on the chip, where every number from
2**30 on is an object on the heap. Differences are good for 8.9 minutes either way.
"""

TICKS_MASK = 0x3FFFFFFF
_HALF = 0x20000000


def ticks_diff(end: int, start: int) -> int:
    """`end` - `start` of two ticks, signed; either may be any time in microseconds, too."""
    return ((end - start + _HALF) & TICKS_MASK) - _HALF


def extremes(buf, first: int, n: int, stride: int) -> int:
    """maximum << 12 | minimum of `n` > 0 samples below 4096, every `stride` from `first` on."""
    part = buf[first : first + n * stride : stride]
    return max(part) << 12 | min(part)


def ticks_at(words, index: int) -> int:
    """A word of array('I') as ticks."""
    return words[index] & TICKS_MASK


try:
    from clampdevice.hal.rp2.fast_viper import extremes, ticks_at, ticks_diff
except ImportError:
    pass  # CPython, in tests

__all__ = ("TICKS_MASK", "extremes", "ticks_at", "ticks_diff")
