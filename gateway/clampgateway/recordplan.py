"""How the bytes of a Record become numbers under one description: prepared once, used for each.

Pure, and only faster than `clampwire`, which stays the definition: what does not fit is given to
the codec, which says what is wrong. Layout, scales and marks are looked up once a description and
not once a number.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
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


class _Part(NamedTuple):
    """A channel's share of the numbers: as many as `keys`."""

    channel: str
    keys: tuple[str, ...]
    adds_crest: bool


class RecordPlan:
    """The numbers of Records of one layout.

    Args:
        channels: Of each channel its key, and of each of its features (key, code, mult, exp).
    """

    def __init__(
        self, channels: Sequence[tuple[str, Sequence[tuple[str, int, int, int]]]]
    ) -> None:
        self._layout = tuple(step[1:] for _key, features in channels for step in features)
        self._struct = struct.Struct(values.format_of(self._layout))
        # (raw value that means "not available", mult, divisor); what is a float or not divided is
        # in `_odd`, by its place, and done anew.
        self._steps = tuple(
            (_missing(code), mult, 10 ** max(0, -exp)) for code, mult, exp in self._layout
        )
        self._odd = tuple(
            (place, None if code == _FLOAT else mult * 10**exp)
            for place, (code, mult, exp) in enumerate(self._layout)
            if code == _FLOAT or exp >= 0
        )
        self._parts: list[_Part] = []
        for key, features in channels:
            keys = tuple(feature[0] for feature in features)
            adds_crest = {"rms", "peak"} <= set(keys) and "crest" not in keys
            self._parts.append(_Part(key, keys, adds_crest))

    def numbers(self, data: bytes) -> Numbers:
        """By channel and feature, None where not available. Raises ValueError if sizes differ.

        `crest` is added where a channel has `peak` and a non-zero `rms`: it is their quotient and
        travels in no frame.
        """
        if len(data) != self._struct.size:
            values.unpack_values(self._layout, data)  # says how
        raw = self._struct.unpack(data)
        flat: list[float | None] = [
            None if number == missing else number * mult / divisor
            for number, (missing, mult, divisor) in zip(raw, self._steps, strict=True)
        ]
        for place, mult in self._odd:
            number = raw[place]
            if mult is None:
                flat[place] = None if number != number else number
            elif flat[place] is not None:
                flat[place] = number * mult
        found: Numbers = {}
        rest = iter(flat)
        for channel, keys, adds_crest in self._parts:
            # Keys end first, so that nothing is taken for another channel's.
            features = found[channel] = dict(zip(keys, rest, strict=False))
            if adds_crest:
                rms, peak = features["rms"], features["peak"]
                if rms and peak is not None:
                    features["crest"] = round(peak / rms, 3)
        return found


def _missing(code: int) -> float:
    """The raw value that means "not available": NaN of a float, which no number equals."""
    return struct.unpack("<" + chr(code), values.pack_values(((code, 1, 0),), (None,)))[0]
