"""What runs once a block and more: plain forms, and the compiled ones where there are any."""

from clampdevice.ticks import TICKS_MASK


def extremes(buf, first: int, n: int, stride: int) -> int:
    """maximum << 12 | minimum of `n` > 0 samples below 4096, every `stride` from `first` on."""
    part = buf[first : first + n * stride : stride]
    return max(part) << 12 | min(part)


def ticks_at(words, index: int) -> int:
    """A word of array('I') as ticks."""
    return words[index] & TICKS_MASK


try:
    from clampdevice.hal.rp2.fast_viper import extremes, ticks_at
except ImportError:
    pass  # CPython, in tests

__all__ = ("extremes", "ticks_at")
