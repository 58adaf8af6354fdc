"""How the bytes of a Record become numbers under one description: prepared once, used for each.

Pure, and only faster than `clampwire`, which stays the definition: what does not fit is given to
the codec, which says what is wrong. Layout, scales and marks are looked up once a description and
not once a number.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import mul, truediv
from typing import NamedTuple

from clampwire import messages, values
from clampwire.codec import Codec

# type, boot, seq, end_ms (40 bit), windows, layout; then the length of the flags.
HEAD = struct.Struct("<BIIIBBB")
FLAGS_AT = HEAD.size
RECORD = messages.code_of(
    tuple((code, name) for code, name, _fields in messages.MESSAGES), "Record"
)
_WINDOWS_AT = 14
_FLOAT = ord("f")
_CODEC = Codec()

Numbers = dict[str, dict[str, float | None]]


class Body(NamedTuple):
    """What a Record says beside its name and time."""

    windows: int
    flags: bytes
    values: bytes
    before: int


def body_of(payload: bytes) -> Body:
    """Takes a Record apart. Raises WireError as the codec does."""
    size = len(payload)
    if size > FLAGS_AT and payload[0] == RECORD:
        flags_end = FLAGS_AT + 1 + payload[FLAGS_AT]
        if flags_end < size:
            end = flags_end + 1 + payload[flags_end]
            if end == size or end + 2 <= size:
                return Body(
                    payload[_WINDOWS_AT],
                    payload[FLAGS_AT + 1 : flags_end],
                    payload[flags_end + 1 : end],
                    0 if end == size else payload[end] | payload[end + 1] << 8,
                )
    _name, record = _CODEC.decode(payload)
    return Body(record.windows, record.flags, record.values, record.before)


class Part(NamedTuple):
    """A channel's share of the numbers: those from `first` to before `end`, under `keys`.

    `crest`: the places of its rms and peak among all numbers, where their quotient is added.
    """

    channel: str
    keys: tuple[str, ...]
    first: int
    end: int
    crest: tuple[int, int] | None


class RecordPlan:
    """The numbers of Records of one layout.

    Args:
        channels: Of each channel its key, and of each of its features (key, code, mult, exp).

    Attributes:
        parts: The channels, in the order of the numbers.
        floats: The places of the numbers that travel as float32.
    """

    def __init__(
        self, channels: Sequence[tuple[str, Sequence[tuple[str, int, int, int]]]]
    ) -> None:
        self._layout = tuple(step[1:] for _key, features in channels for step in features)
        self._struct = struct.Struct(values.format_of(self._layout))
        self._missing = tuple(_missing(code) for code, _mult, _exp in self._layout)
        # Seldom one of these is among the numbers, of whichever place; NaN of a float never is.
        self._marks = tuple({mark for mark in self._missing if mark == mark})
        mults = tuple(mult for _code, mult, _exp in self._layout)
        self._mults = mults if any(mult != 1 for mult in mults) else None
        self._divisors = tuple(10 ** max(0, -exp) for _code, _mult, exp in self._layout)
        # What is a float or not divided, by its place, is done anew.
        self._odd = tuple(
            (place, None if code == _FLOAT else mult * 10**exp)
            for place, (code, mult, exp) in enumerate(self._layout)
            if code == _FLOAT or exp >= 0
        )
        self.floats = tuple(place for place, mult in self._odd if mult is None)
        self.parts: list[Part] = []
        end = 0
        for channel, features in channels:
            keys = tuple(feature[0] for feature in features)
            first, end = end, end + len(keys)
            adds_crest = {"rms", "peak"} <= set(keys) and "crest" not in keys
            places = (first + _last(keys, "rms"), first + _last(keys, "peak"))
            self.parts.append(Part(channel, keys, first, end, places if adds_crest else None))

    def flat(self, data: bytes) -> list[float | None]:
        """All numbers in their order, None where not available. ValueError if sizes differ."""
        if len(data) != self._struct.size:
            values.unpack_values(self._layout, data)  # says how
        raw = self._struct.unpack(data)
        whole = map(mul, raw, self._mults) if self._mults else raw
        flat: list[float | None] = list(map(truediv, whole, self._divisors))
        for place, mult in self._odd:
            number = raw[place]
            if mult is None:
                flat[place] = None if number != number else number
            else:
                flat[place] = number * mult
        for mark in self._marks:
            if mark in raw:
                for place, (number, missing) in enumerate(zip(raw, self._missing, strict=True)):
                    if number == missing:
                        flat[place] = None
        return flat

    def numbers(self, data: bytes) -> Numbers:
        """By channel and feature, None where not available. Raises ValueError if sizes differ.

        `crest` is added where a channel has `peak` and a non-zero `rms`: it is their quotient and
        travels in no frame.
        """
        flat = self.flat(data)
        found: Numbers = {}
        for channel, keys, first, end, crest in self.parts:
            features = found[channel] = dict(zip(keys, flat[first:end], strict=True))
            quotient = crest_of(flat, crest) if crest else None
            if quotient is not None:
                features["crest"] = quotient
        return found


def crest_of(flat: Sequence[float | None], places: tuple[int, int]) -> float | None:
    """The crest factor from the places of rms and peak; None where there is none."""
    rms, peak = flat[places[0]], flat[places[1]]
    return round(peak / rms, 3) if rms and peak is not None else None


def _last(keys: Sequence[str], key: str) -> int:
    """Where a key stands last, which is the one that counts; -1 if it does not."""
    return max((place for place, each in enumerate(keys) if each == key), default=-1)


def _missing(code: int) -> float:
    """The raw value that means "not available": NaN of a float, which no number equals."""
    return struct.unpack("<" + chr(code), values.pack_values(((code, 1, 0),), (None,)))[0]
