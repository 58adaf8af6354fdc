"""Messages to bytes and back, driven by the table in `messages.py`.

It owns layout, bounds and version rules of a payload (type byte and fields); frames and checksums
are `framing.py`. Pure and the same on CPython and MicroPython, whose `struct.pack` cuts a number
that is too large instead of refusing it: bounds are therefore checked here.

Version rules: a message type we do not know raises `UnknownMessage` (to be counted and skipped);
bytes behind the last known field are skipped; a field newer than the sender is filled with zero.
"""

import binascii
import struct
from collections import namedtuple

from clampwire.messages import MESSAGES

_RANGES = {
    "B": (0, 0xFF),
    "b": (-0x80, 0x7F),
    "H": (0, 0xFFFF),
    "h": (-0x8000, 0x7FFF),
    "I": (0, 0xFFFFFFFF),
    "i": (-0x80000000, 0x7FFFFFFF),
    "Q": (0, 0xFFFFFFFFFFFFFFFF),
    "q": (-0x8000000000000000, 0x7FFFFFFFFFFFFFFF),
    "T": (0, 0xFFFFFFFFFF),
}


class WireError(ValueError):
    """A payload or a value that the table does not allow; the message names it."""


class UnknownMessage(WireError):
    """A message type that this version of the table does not have."""


class _Layout:
    """One message of the table, prepared: its namedtuple and its fields in runs.

    A run of plain fields shares one struct format; text, bytes and groups stand alone.
    `steps` holds (kind, argument, field names); kind is "r" for a run.
    """

    def __init__(self, code: int, name: str, fields: tuple) -> None:
        self.code = code
        self.name = name
        self.fields = fields
        self.tuple = namedtuple(name, tuple(field[0] for field in fields))
        self.steps = _steps(fields)


def _steps(fields: tuple) -> tuple:
    steps = []
    run = ""
    names: list[str] = []
    run_minor = 0
    for field in fields:
        kind = field[1]
        minor = field[2] if len(field) > 2 else 0
        plain = isinstance(kind, str) and kind not in ("s", "y", "Y", "T")
        if run and not (plain and minor == run_minor):
            steps.append(("r", "<" + run, tuple(names), run_minor))
            run, names = "", []
        if plain:
            run += kind
            names.append(field[0])
            run_minor = minor
        elif isinstance(kind, str):
            steps.append((kind, None, (field[0],), minor))
        else:
            steps.append(("g", _steps(kind), (field[0],), minor))
    if run:
        steps.append(("r", "<" + run, tuple(names), run_minor))
    return tuple(steps)


def _check(name: str, letter: str, value: object) -> None:
    low, high = _RANGES[letter]
    if not isinstance(value, int):
        raise WireError(name + " must be a whole number, not " + repr(value))
    if not low <= value <= high:
        raise WireError(name + " is " + str(value) + ", outside " + str(low) + " to " + str(high))


def _put(steps: tuple, values: tuple, out: bytearray) -> None:
    at = 0
    for kind, arg, names, _minor in steps:
        if kind == "r":
            part = values[at : at + len(names)]
            for letter, name, value in zip(arg[1:], names, part):
                if letter != "f":
                    _check(name, letter, value)
            out.extend(struct.pack(arg, *part))
            at += len(names)
            continue
        value = values[at]
        at += 1
        if kind == "T":
            _check(names[0], kind, value)
            out.extend(struct.pack("<IB", value & 0xFFFFFFFF, value >> 32))
        elif kind == "g":
            if len(value) > 255:
                raise WireError(names[0] + " has " + str(len(value)) + " entries, at most 255")
            out.append(len(value))
            for entry in value:
                _put(arg, tuple(entry), out)
        else:
            data = value.encode() if kind == "s" else value
            most = 0xFFFF if kind == "Y" else 0xFF
            if len(data) > most:
                raise WireError(
                    names[0] + " has " + str(len(data)) + " bytes, at most " + str(most)
                )
            out.extend(struct.pack("<H" if kind == "Y" else "<B", len(data)))
            out.extend(data)


def _take_sized(data: bytes, at: int, wide: bool) -> tuple:
    head = 2 if wide else 1
    if at + head > len(data):
        raise WireError("payload ends in the length of a field, at byte " + str(at))
    size = struct.unpack_from("<H" if wide else "<B", data, at)[0]
    at += head
    if at + size > len(data):
        raise WireError("payload of " + str(len(data)) + " bytes ends inside a field")
    return bytes(data[at : at + size]), at + size


def _take(steps: tuple, data: bytes, at: int, out: list, top: bool) -> int:
    for kind, arg, names, minor in steps:
        if top and minor and at == len(data):
            _fill(kind, arg, out)
        elif kind == "r" or kind == "T":
            fmt = "<IB" if kind == "T" else arg
            size = struct.calcsize(fmt)
            if at + size > len(data):
                raise WireError("payload of " + str(len(data)) + " bytes ends before " + names[-1])
            part = struct.unpack_from(fmt, data, at)
            at += size
            if kind == "T":
                out.append(part[0] | part[1] << 32)
            else:
                out.extend(part)
        elif kind == "g":
            if at >= len(data):
                raise WireError("payload ends before the count of " + names[0])
            count = data[at]
            at += 1
            group = []
            for _ in range(count):
                entry: list = []
                at = _take(arg, data, at, entry, False)
                group.append(tuple(entry))
            out.append(tuple(group))
        else:
            value, at = _take_sized(data, at, kind == "Y")
            if kind == "s":
                try:
                    value = value.decode()
                except ValueError:  # UnicodeError on both interpreters
                    raise WireError(names[0] + " is not UTF-8: " + repr(value)) from None
            out.append(value)
    return at


def _fill(kind: str, arg: str, out: list) -> None:
    if kind == "r":
        out.extend(0.0 if letter == "f" else 0 for letter in arg[1:])
    elif kind == "T":
        out.append(0)
    elif kind == "g":
        out.append(())
    else:
        out.append("" if kind == "s" else b"")


class Codec:
    """Encodes and decodes the messages of one table (ours, unless a test brings another)."""

    def __init__(self, table: tuple = MESSAGES) -> None:
        self._by_code = {}
        self._by_name = {}
        for code, name, fields in table:
            layout = _Layout(code, name, fields)
            self._by_code[code] = layout
            self._by_name[name] = layout
        self.table_crc = table_crc(table)

    def encode(self, name: str, *values: object) -> bytes:
        """Payload of the message `name`; one value a field, groups as sequences of tuples.

        Raises WireError for a value outside its field's range, with name and value.
        """
        layout = self._by_name[name]
        if len(values) != len(layout.fields):
            raise WireError(
                name + " has " + str(len(layout.fields)) + " fields, got " + str(len(values))
            )
        out = bytearray()
        out.append(layout.code)
        _put(layout.steps, values, out)
        return bytes(out)

    def decode(self, payload: bytes) -> tuple:
        """(name, namedtuple of the fields). Raises UnknownMessage or WireError."""
        if not payload:
            raise WireError("empty payload")
        layout = self._by_code.get(payload[0])
        if layout is None:
            raise UnknownMessage("message type " + str(payload[0]) + " is not in the table")
        out: list = []
        _take(layout.steps, payload, 1, out, True)
        return layout.name, layout.tuple(*out)


def table_crc(table: tuple = MESSAGES) -> int:
    """CRC-32 of the table's text: equal at both ends if both know the same messages."""
    return binascii.crc32(repr(table).encode())


def peek_kind(payload: bytes) -> int:
    """The message type of a payload without decoding it; -1 for an empty one."""
    return payload[0] if payload else -1
