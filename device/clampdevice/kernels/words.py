"""The words that every board's kernels work on, how they are emptied and read, and a root.

The same for every form of the kernels, and the only plain Python of them that each chip loads;
the words of the other kernels are in design.py. Reading allocates: once a window, never a block.
"""

ACC_WORDS = 8
VELOCITY_STATE_WORDS = 10  # kept here, since what designs the filter leaves
LUT_FRAC_BITS = 2  # of the entries of a table, see `clampdevice.linear`


def clear_acc(acc) -> None:
    """Empties an accumulator, array('I') of `ACC_WORDS`.

    Words: S_lo, S_hi, Q_lo, Q_hi (sum and sum of squares, 64 bit each), min, max, rails, n.
    The minimum of nothing is 0xFFFF, everything else 0.
    """
    for i in range(ACC_WORDS):
        acc[i] = 0
    acc[4] = 0xFFFF


def read_acc(acc) -> tuple:
    """Returns (S, Q, n) as Python integers."""
    return acc[0] | acc[1] << 32, acc[2] | acc[3] << 32, acc[7]


def read_sum(acc) -> int:
    """Returns S alone, which as a rule is a small integer and costs no heap; Q never is."""
    return acc[0] | acc[1] << 32 if acc[1] else acc[0]


def mean_q(s: int, n: int, frac_bits: int) -> int:
    """Returns s / n with `frac_bits` fractional bits, rounded to nearest, for n > 0.

    Integer part first: on a chip the shifted sum would be an object on the heap.
    """
    whole = s // n
    return (whole << frac_bits) + (((s - whole * n) << frac_bits) + (n >> 1)) // n


def isqrt(x: int) -> int:
    """Returns floor(sqrt(x)) for 0 <= x < 2**64, exactly.

    Raises:
        ValueError: x is negative.
    """
    if x < 0:
        raise ValueError(f"isqrt of the negative number {x}")
    if x < 2:
        return x
    root = 1 << 32 if x >> 32 else 1 << 16
    while True:  # Newton from above falls monotonically onto the floor
        better = (root + x // root) >> 1
        if better >= root:
            return root
        root = better
