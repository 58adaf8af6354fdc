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

from clampwire.messages import MESSAGES, fields_of

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
    """One message of the table, prepared: its fields in runs, and how many there are.

    A run of plain fields shares one struct format; text, bytes and groups stand alone. `steps`
    holds (kind, argument, field names with blanks between, minor); kind is "r" for a run.
    """

    def __init__(self, code: int, name: str, text: str) -> None:
        fields = fields_of(text)
        self.code = code
        self.name = name
        self.size = len(fields)
        self.steps = _steps(fields)


def _steps(fields: tuple) -> tuple:
    steps = []
    run = names = ""
    run_minor = 0
    for field in fields:
        name, kind = field[:2]
        minor = field[2] if len(field) > 2 else 0
        plain = isinstance(kind, str) and kind not in ("s", "y", "Y", "T")
        if run and not (plain and minor == run_minor):
            steps.append(("r", "<" + run, names, run_minor))
            run = ""
        if plain:
            names = names + " " + name if run else name
            run += kind
            run_minor = minor
        elif isinstance(kind, str):
            steps.append((kind, None, name, minor))
        else:
            steps.append(("g", _steps(kind), name, minor))
    if run:
        steps.append(("r", "<" + run, names, run_minor))
    return tuple(steps)


def _check(names: str, at: int, letter: str, value: object) -> None:
    low, high = _RANGES[letter]
    if not isinstance(value, int):
        raise WireError(names.split()[at] + " must be a whole number, not " + repr(value))
    if not low <= value <= high:
        raise WireError(f"{names.split()[at]} is {value}, outside {low} to {high}")


def _put(steps: tuple, values: tuple, out: bytearray) -> None:
    at = 0
    for kind, arg, names, _minor in steps:
        if kind == "r":
            count = len(arg) - 1
            part = values[at : at + count]
            for i in range(count):
                if arg[i + 1] != "f":
                    _check(names, i, arg[i + 1], part[i])
            out.extend(struct.pack(arg, *part))
            at += count
            continue
        value = values[at]
        at += 1
        if kind == "T":
            _check(names, 0, kind, value)
            out.extend(struct.pack("<IB", value & 0xFFFFFFFF, value >> 32))
        elif kind == "g":
            if len(value) > 255:
                raise WireError(f"{names} has {len(value)} entries, at most 255")
            out.append(len(value))
            for entry in value:
                _put(arg, tuple(entry), out)
        else:
            data = value.encode() if kind == "s" else value
            most = 0xFFFF if kind == "Y" else 0xFF
            if len(data) > most:
                raise WireError(f"{names} has {len(data)} bytes, at most {most}")
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
                raise WireError(f"payload of {len(data)} bytes ends before {names.split()[-1]}")
            part = struct.unpack_from(fmt, data, at)
            at += size
            if kind == "T":
                out.append(part[0] | part[1] << 32)
            else:
                out.extend(part)
        elif kind == "g":
            if at >= len(data):
                raise WireError("payload ends before the count of " + names)
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
                    raise WireError(names + " is not UTF-8: " + repr(value)) from None
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
    """Encodes and decodes the messages of one table (ours, unless a test brings another).

    A message is prepared when it is first met: a device meets half of them.
    """

    def __init__(self, table: tuple = MESSAGES) -> None:
        self._table = table
        self._layouts: dict = {}  # by name, and by code
        self._tuples: dict = {}  # by name, of what was decoded
        self.table_crc = table_crc(table)

    def _layout(self, key: str | int) -> "_Layout | None":
        """The layout of a message by its name or code; None for one that is not in the table."""
        layout = self._layouts.get(key)
        if layout is None:
            for code, name, text in self._table:
                if key == code or key == name:
                    layout = self._layouts.get(name) or _Layout(code, name, text)
                    self._layouts[name] = self._layouts[code] = layout
        return layout

    def encode(self, name: str, *values: object) -> bytes:
        """Payload of the message `name`; one value a field, groups as sequences of tuples.

        Values may end where the fields of a newer minor begin: what is left out is read as zero.
        Raises WireError for a value outside its field's range, with name and value.
        """
        layout = self._layout(name)
        if layout is None:
            raise KeyError(name)
        steps = layout.steps
        short = layout.size - len(values)
        while short > 0 and steps[-1][3]:
            short -= len(steps[-1][2].split())
            steps = steps[:-1]
        if short:
            raise WireError(f"{name} has {layout.size} fields, got {len(values)}")
        out = bytearray()
        out.append(layout.code)
        _put(steps, values, out)
        return bytes(out)

    def decode(self, payload: bytes) -> tuple:
        """(name, namedtuple of the fields). Raises UnknownMessage or WireError."""
        if not payload:
            raise WireError("empty payload")
        layout = self._layout(payload[0])
        if layout is None:
            raise UnknownMessage(f"message type {payload[0]} is not in the table")
        out: list = []
        _take(layout.steps, payload, 1, out, True)
        made = self._tuples.get(layout.name)
        if made is None:
            made = namedtuple(layout.name, " ".join(step[2] for step in layout.steps))
            self._tuples[layout.name] = made
        return layout.name, made(*out)


def table_crc(table: tuple = MESSAGES) -> int:
    """CRC-32 of the table as nested tuples: equal at both ends if both know the same messages.

    Its text is that of `repr` of all messages with their `fields_of`, made one by one, since a
    device has no room for it in one piece.
    """
    crc = binascii.crc32(b"(")
    for index, (code, name, text) in enumerate(table):
        message = repr((code, name, fields_of(text)))
        crc = binascii.crc32((", " + message if index else message).encode(), crc)
    return binascii.crc32(b")" if len(table) > 1 else b",)", crc)


def peek_kind(payload: bytes) -> int:
    """The message type of a payload without decoding it; -1 for an empty one."""
    return payload[0] if payload else -1
