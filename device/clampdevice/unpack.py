"""Bytes of a sensor's FIFO to frames in offset binary: plain forms, and the compiled ones.

Owns the order of bytes and the sign. A record is what the FIFO holds of one frame; the frame's
three signed 16-bit values begin `skip` bytes into it. `shift` drops low bits that a sensor with
its values at the top of the word leaves empty; then 0x8000 is still zero.
"""


def little(raw, skip: int, size: int, shift: int, frames: int, buf, first: int) -> None:
    """Unpacks `frames` records of `size` bytes of `raw`, low byte first, to buf[first:]."""
    bias = 0x8000 - (0x8000 >> shift)
    at = skip
    for _ in range(frames):
        for k in range(3):
            value = raw[at + 2 * k] | raw[at + 2 * k + 1] << 8
            buf[first + k] = ((value ^ 0x8000) >> shift) + bias
        at += size
        first += 3


def big(raw, skip: int, size: int, shift: int, frames: int, buf, first: int) -> None:
    """As `little`, high byte first."""
    bias = 0x8000 - (0x8000 >> shift)
    at = skip
    for _ in range(frames):
        for k in range(3):
            value = raw[at + 2 * k] << 8 | raw[at + 2 * k + 1]
            buf[first + k] = ((value ^ 0x8000) >> shift) + bias
        at += size
        first += 3


plain_little = little
plain_big = big

try:
    from clampdevice.unpack_viper import big, little
except (ImportError, SyntaxError):
    pass  # CPython, or a MicroPython without native code

__all__ = ("big", "little", "plain_big", "plain_little")
