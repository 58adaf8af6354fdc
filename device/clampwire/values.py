"""The scaled integers inside a Record: how a feature's value becomes a few bytes and back.

A layout is a sequence of (code, mult, exp) in the order of Describe: `code` is the struct letter's
number, value = raw * mult * 10**exp. Each integer code has one raw value that means "not
available": the largest unsigned, the smallest signed. Decimal scales make the gateway's numbers
short and exact. Flags take half a byte a channel, the even one in the low half, and end with the
last channel that has any: a record without flags spends nothing on them.
"""

import struct

BELOW_FLOOR = 1
CLIPPED = 2
GAP = 4
BAD = 8
FLAG_NAMES = ((BELOW_FLOOR, "below_floor"), (CLIPPED, "clipped"), (GAP, "gap"), (BAD, "bad"))

# By code: on a chip each letter taken out of a text is looked up among all names it knows.
_FLOAT = 102
_MISSING = {
    66: 0xFF,  # B
    72: 0xFFFF,  # H
    73: 0xFFFFFFFF,  # I
    98: -0x80,  # b
    104: -0x8000,  # h
    105: -0x80000000,  # i
}


def scale_of(mult: int, exp: int) -> float:
    """The step of one raw unit, in the feature's unit."""
    return mult * 10**exp if exp >= 0 else mult / 10**-exp


def format_of(layout: tuple) -> str:
    """Format of a whole layout, for struct."""
    return "<" + bytes([code for code, _mult, _exp in layout]).decode()


def pack_values(layout: tuple, values: list | tuple) -> bytes:
    """Bytes of one Record. None and NaN become "not available"; too large a value saturates.

    The raw value that saturates is one step short of the "not available" mark, so a clipped
    number never reads as a missing one; the sampler's clipped flag says that it is clipped. A
    tuple of one int is whole steps: a counter must not pass through a single float.
    """
    raw = []
    for (code, mult, exp), value in zip(layout, values):
        if code == _FLOAT:
            raw.append(float("nan") if value is None else value)
            continue
        missing = _MISSING[code]
        if value is None or value != value:
            raw.append(missing)
            continue
        low = 0 if missing > 0 else missing + 1
        high = missing - 1 if missing > 0 else -missing - 1
        steps = isinstance(value, (tuple, list))
        step = value[0] if steps else value / scale_of(mult, exp)
        # Compared before rounding: int() of an infinity raises.
        raw.append(low if step <= low else high if step >= high else round(step))
    return struct.pack(format_of(layout), *raw)


def unpack_values(layout: tuple, data: bytes) -> list:
    """Values of one Record, None where not available. Raises ValueError if sizes differ."""
    fmt = format_of(layout)
    if struct.calcsize(fmt) != len(data):
        raise ValueError(
            "record has "
            + str(len(data))
            + " value bytes, its layout "
            + str(struct.calcsize(fmt))
        )
    out = []
    for (code, mult, exp), raw in zip(layout, struct.unpack(fmt, data)):
        if code == _FLOAT:
            out.append(None if raw != raw else raw)
        elif raw == _MISSING[code]:
            out.append(None)
        else:
            out.append(raw * mult * 10**exp if exp >= 0 else raw * mult / 10**-exp)
    return out


def pack_flags(flags: list) -> bytes:
    """Half a byte a channel; `flags` holds one bit set a channel, by index."""
    packed = bytearray((len(flags) + 1) // 2)
    used = 0
    for i, bits in enumerate(flags):
        if bits:
            packed[i // 2] |= bits << (4 * (i & 1))
            used = i // 2 + 1
    return bytes(packed[:used])


def unpack_flags(data: bytes, channels: int) -> list:
    """One bit set a channel. Bits beyond the last channel are skipped."""
    out = [0] * channels
    for i in range(min(channels, 2 * len(data))):
        out[i] = data[i // 2] >> (4 * (i & 1)) & 15
    return out
