"""Sums and the largest of a power spectrum, as `kernels.fft` leaves it in array('I').

Owns the plain form; `powers_viper.py` returns the same where there is native code. A word has 32
bits, which a chip's small integers have not: sums are kept in halves of 16 bits.
"""


def add_powers(out, first: int, end: int, halves) -> object:
    """Adds words `first` to `end` - 1, at most 65,536: low halves to halves[0], high to [1]."""
    low = high = 0
    for k in range(first, end):
        power = out[k]
        low += power & 0xFFFF
        high += power >> 16
    halves[0] += low
    halves[1] += high


def largest(out, first: int, end: int) -> int:
    """Index of the largest word of `first` to `end` - 1, the first of several."""
    best = first
    for k in range(first + 1, end):
        if out[k] > out[best]:
            best = k
    return best


plain_add_powers = add_powers
plain_largest = largest

try:
    from clampdevice.powers_viper import add_powers, largest
except (ImportError, SyntaxError):
    pass  # CPython, or a MicroPython without native code

__all__ = ("add_powers", "largest", "plain_add_powers", "plain_largest")
