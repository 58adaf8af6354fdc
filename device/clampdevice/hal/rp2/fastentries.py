"""What is done with each entry of an ADXL345: the plain form, and the compiled one where it is."""


def entries(buf, first: int, n: int, found) -> int:
    """Turns `n` entries from buf[first] on to frames, in place; to be done once.

    An entry is its status word and three axes, high byte first as read from the bus, the axes low
    byte first as the chip sends them; they become offset binary.

    `found`, array('I'), gets the status bits that any entry has, and those that all have. Returns
    the index of the first entry before which frames were overwritten, -1 without.
    """
    any_of, all_of = 0, 0xFFFF
    at = -1
    for i in range(n):
        k = first + 4 * i
        status = buf[k]
        any_of |= status
        all_of &= status
        if at < 0 and status & 0x0100:
            at = i
        for j in range(k + 1, k + 4):
            word = buf[j]
            buf[j] = (word >> 8 | (word & 0xFF) << 8) ^ 0x8000
    found[0] = any_of
    found[1] = all_of
    return at


plain_entries = entries

try:
    from clampdevice.hal.rp2.fastentries_viper import entries
except (ImportError, SyntaxError):
    pass  # CPython, in tests

__all__ = ("entries", "plain_entries")
