"""Modbus requests to responses: one pure function for a PDU, whatever line it came by.

# Ref: MODBUS Application Protocol Specification V1.1b3, sections 4.1, 6 and 7

Owns function codes, their checks in the order of the specification's state diagrams (function,
quantity, address, then the deed) and exception codes. Knows neither lines nor what the registers
mean; identification, function 43, is in `identity.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from clampgateway.registers import identity
from clampgateway.registers.identity import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE

# Section 7: "usually means that the device is not present on the network". 0x0A, the other code
# of a gateway, means that the gateway itself is misconfigured or overloaded.
TARGET_FAILED = 0x0B

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 0x01, 0x02, 0x03, 0x04
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 0x05, 0x06, 0x0F, 0x10
DIAGNOSTICS = 0x08
RETURN_QUERY_DATA = 0
READ_MAX = 125
READ_BITS_MAX = 2000
WRITE_MAX = 123
WRITE_BITS_MAX = 1968

_PAIR = struct.Struct(">HH")
_BLOCK = struct.Struct(">HHB")


class Unit(Protocol):
    """What a unit answers from: one frozen image."""

    identity: Mapping[int, str]  # objects of function 43/14

    def read(self, first: int, count: int) -> bytes | None:
        """Registers as bytes, big-endian; None if some of them do not exist."""

    def read_holding(self, first: int, count: int) -> bytes | None:
        """The same for function 03."""

    def read_inputs(self, first: int, count: int) -> bytes | None:
        """Discrete inputs, eight a byte, the first in the lowest bit; None as above."""

    def read_coils(self, first: int, count: int) -> bytes | None:
        """The same for coils."""


Lookup = Callable[[int], Unit | None]
# (unit, whether coils, first address, values) to 0, or the exception code of what is wrong.
Write = Callable[[int, bool, int, Sequence[int]], int]


def pdu(lookup: Lookup, unit: int, request: bytes, write: Write | None = None) -> bytes:
    """The response to one request; an exception response where it cannot be answered.

    Args:
        lookup: Unit id to its registers; None for a unit that is not there.
        unit: Unit id of the request.
        request: Function code and data, at least one byte.
        write: Does what is written, all of it or nothing. None: writing functions do not exist.
    """
    function = request[0]
    registers = lookup(unit)
    if registers is None:
        return exception(function, TARGET_FAILED)
    reader = READERS.get(function)
    if reader is not None:
        return reader(registers, request)
    writer = WRITERS.get(function)
    if writer is None or write is None:
        return exception(function, ILLEGAL_FUNCTION)
    found = writer(request)
    if found is None:
        return exception(function, ILLEGAL_VALUE)
    first, values = found
    code = write(unit, function in (WRITE_COIL, WRITE_COILS), first, values)
    return exception(function, code) if code else request[:5]


def exception(function: int, code: int) -> bytes:
    """An exception response: the function code with its top bit set, and the code."""
    return bytes((function | 0x80, code))


def _read(
    request: bytes,
    most: int,
    size_of: Callable[[int], int],
    read: Callable[[int, int], bytes | None],
) -> bytes:
    # Section 7, code 03: also "the implied length is incorrect".
    if len(request) != 5:
        return exception(request[0], ILLEGAL_VALUE)
    first, count = _PAIR.unpack_from(request, 1)
    if not 1 <= count <= most:
        return exception(request[0], ILLEGAL_VALUE)
    data = read(first, count)
    if data is None:
        return exception(request[0], ILLEGAL_ADDRESS)
    return bytes((request[0], size_of(count))) + data


def _of_words(count: int) -> int:
    return 2 * count


def _of_bits(count: int) -> int:
    return (count + 7) // 8


def _read_coils(unit: Unit, request: bytes) -> bytes:
    return _read(request, READ_BITS_MAX, _of_bits, unit.read_coils)


def _read_discrete(unit: Unit, request: bytes) -> bytes:
    return _read(request, READ_BITS_MAX, _of_bits, unit.read_inputs)


def _read_holding(unit: Unit, request: bytes) -> bytes:
    return _read(request, READ_MAX, _of_words, unit.read_holding)


def _read_input(unit: Unit, request: bytes) -> bytes:
    return _read(request, READ_MAX, _of_words, unit.read)


def _diagnostics(_unit: Unit, request: bytes) -> bytes:
    # Section 6.8: sub-function and data of whole registers; 0 gives it all back.
    if len(request) < 5 or len(request) % 2 == 0:
        return exception(request[0], ILLEGAL_VALUE)
    if int.from_bytes(request[1:3], "big") != RETURN_QUERY_DATA:
        return exception(request[0], ILLEGAL_FUNCTION)
    return request


def _identification(unit: Unit, request: bytes) -> bytes:
    return identity.respond(unit.identity, request)


READERS: dict[int, Callable[[Unit, bytes], bytes]] = {
    READ_COILS: _read_coils,
    READ_DISCRETE: _read_discrete,
    READ_HOLDING: _read_holding,
    READ_INPUT: _read_input,
    DIAGNOSTICS: _diagnostics,
    identity.FUNCTION: _identification,
}


# What a writing request says: its first address and the values; None if it is malformed.
Wanted = tuple[int, Sequence[int]] | None


def _write_coil(request: bytes) -> Wanted:
    if len(request) != 5:
        return None
    first, value = _PAIR.unpack_from(request, 1)
    return (first, (value >> 15,)) if value in (0x0000, 0xFF00) else None


def _write_register(request: bytes) -> Wanted:
    if len(request) != 5:
        return None
    first, value = _PAIR.unpack_from(request, 1)
    return first, (value,)


def _write_coils(request: bytes) -> Wanted:
    found = _block(request, WRITE_BITS_MAX, _of_bits)
    if found is None:
        return None
    first, count = found
    bits = int.from_bytes(request[6:], "little")
    return first, [bits >> at & 1 for at in range(count)]


def _write_registers(request: bytes) -> Wanted:
    found = _block(request, WRITE_MAX, _of_words)
    if found is None:
        return None
    first, count = found
    return first, struct.unpack_from(f">{count}H", request, 6)


def _block(request: bytes, most: int, size_of: Callable[[int], int]) -> tuple[int, int] | None:
    """First address and count of a request that brings several values; None if malformed."""
    if len(request) < 6:
        return None
    first, count, size = _BLOCK.unpack_from(request, 1)
    if not 1 <= count <= most or size != size_of(count) or len(request) != 6 + size:
        return None
    return first, count


WRITERS: dict[int, Callable[[bytes], Wanted]] = {
    WRITE_COIL: _write_coil,
    WRITE_REGISTER: _write_register,
    WRITE_COILS: _write_coils,
    WRITE_REGISTERS: _write_registers,
}
