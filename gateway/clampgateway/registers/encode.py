"""Values as registers: text, floats, scaled and whole numbers, and the mark of a missing one.

Pure. A value that its type cannot hold is never wrapped or cut: a whole number stays at the end of
its range, a float beyond float32 is missing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping

from clampgateway.registers import schema

NAN = float("nan")
INT16_MISSING = -0x8000
_FLOAT_MAX = struct.unpack(">f", b"\x7f\x7f\xff\xff")[0]

TESTS: Mapping[str, float] = {
    "map_id": schema.MAP_ID,
    "map_version": schema.MAP_VERSION,
    "test_float": schema.TEST_FLOAT,
    "test_uint32": schema.TEST_UINT32,
    "test_int16": schema.TEST_INT16,
    "test_uint64": schema.TEST_UINT64,
}


def put(
    words: bytearray,
    at: int,
    block: Iterable[schema.Register],
    values: Mapping[str, float | str | None],
) -> None:
    """Writes the registers of `block`, whose first is at byte `at`, that `values` names."""
    for register in block:
        if register.name in values:
            start = at + 2 * register.offset
            data = to_registers(register.type, values[register.name], register.size)
            words[start : start + len(data)] = data


def to_registers(kind: str, value: float | str | None, size: int = 0) -> bytes:
    """The bytes of one entry. None and NaN become MISSING; what is too large stays at the end.

    Text is cut to its registers, zero-filled, and ASCII: another character becomes "?".
    """
    if kind == "text":
        text = str(value).encode("ascii", "replace")[: 2 * size]
        return text + bytes(2 * size - len(text))
    number = NAN if value is None else value if isinstance(value, int) else float(value)
    if kind == "float32":
        return struct.pack(">f", to_float(number))
    if kind == "int16":
        return struct.pack(">h", to_int16(number, 1))
    bits = 16 * schema.SIZES[kind]
    most = (1 << bits) - 1
    # Compared before it is made whole: int() of NaN or an infinity raises.
    if math.isnan(number):
        whole = most
    else:
        whole = most - 1 if number >= most else 0 if number <= 0 else int(number)
    return whole.to_bytes(bits // 8, "big")


def to_float(value: float) -> float:
    """A value as float32 takes it: NaN if it is beyond."""
    return float(value) if -_FLOAT_MAX <= value <= _FLOAT_MAX else NAN


def to_int16(value: float, step: float) -> int:
    """The scaled value, at most 32767 in magnitude; the missing mark without a step or value."""
    if not step or math.isnan(value):
        return INT16_MISSING
    steps = value / step
    # Compared before rounding: int() of an infinity raises.
    return 0x7FFF if steps >= 0x7FFF else -0x7FFF if steps <= -0x7FFF else round(steps)
