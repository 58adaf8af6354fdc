"""Records straight from their bytes to JSON, under one description: the fast way to `data`.

Pure, and only faster than `decode_record` and `data_payload`, which stay the definition: what is
unusual goes that way, and the tests hold both to the same content. Most of a record's text is the
same every second, so it is made once a description; texts of numbers and flags are remembered.
"""

from __future__ import annotations

import math
import struct
from operator import itemgetter

import msgspec

from clampgateway.model import Description, Item, Reading, decode_record
from clampgateway.recordplan import body_of
from clampgateway.topics.payloads import FLOAT32_DIGITS, data_payload
from clampwire import messages, values

# Texts remembered of one feature; then they are forgotten, as a counter's are all different.
REMEMBERED_MAX = 4096
_FLOAT = ord("f")
_MISSING = {
    ord(letter): (1 << 8 * struct.calcsize(letter)) - 1
    if letter.isupper()
    else -(1 << 8 * struct.calcsize(letter) - 1)
    for letter in "BHIbhi"
}


class RecordWriter:
    """Writes the records of one description."""

    def __init__(self, description: Description) -> None:
        self._description = description
        layout = description.value_layout
        self._struct = struct.Struct(values.format_of(layout))
        self._scales = [_Scale(*entry) for entry in layout]
        self._known = [scale.texts for scale in self._scales]
        keys = [channel.key for channel in description.channels]
        self._ambiguous = len(set(keys)) != len(keys)
        self._flags: dict[tuple[bytes, bool], tuple[str, str, str]] = {}
        # Of each channel with rms and peak: the place of both among the numbers.
        self._crests: list[tuple[int, int]] = []
        self._template = self._make_template()

    def _make_template(self) -> str:
        parts: list[str] = []
        at = 0
        order: list[int] = []  # of the texts in the template
        total = len(self._scales)
        for channel in self._description.channels:
            keys = [feature.key for feature in channel.features]
            fields = []
            for place, key in enumerate(keys):
                fields.append(f"{_quoted(key)}:%s")
                order.append(at + place)
            inner = ",".join(fields)
            if "rms" in keys and "peak" in keys and "crest" not in keys:
                self._crests.append((at + keys.index("rms"), at + keys.index("peak")))
                order.append(total + len(self._crests) - 1)
                inner += "%s"
            parts.append(f"{_quoted(channel.key)}:{{{inner}}}")
            at += len(keys)
        # An itemgetter of one item gives no tuple.
        self._ordered = itemgetter(*order) if len(order) > 1 else tuple
        return (
            '{"t":%s,"dur":%d,"boot":%d,"seq":%d,"q":%s,"f":%s,"ch":{' + ",".join(parts) + "}%s}"
        )

    def write(self, item: Item) -> tuple[bytes, int]:
        """(JSON of a record, how many numbers a condensed one covers before its own).

        Raises WireError or ValueError as `decode_record` does.
        """
        body = body_of(item.payload)
        if len(body.values) != self._struct.size or self._ambiguous:
            return self._slowly(item)
        raws = self._struct.unpack(body.values)
        texts = [
            known.get(raw) or scale.text(raw)
            for known, scale, raw in zip(self._known, self._scales, raws, strict=True)
        ]
        for rms_at, peak_at in self._crests:
            texts.append(self._crest(raws, rms_at, peak_at))
        synced = bool(item.synced)
        known = self._flags.get((body.flags, synced))
        if known is None:
            known = self._learn(item, body.flags)
        quality, flags, tail = known
        if body.before:
            tail = f'{tail},"before":{body.before}'
        if item.rev:
            tail = f'{tail},"rev":{item.rev}'
        text = self._template % (
            item.utc_ms or "null",
            body.windows * messages.WINDOW_MS,
            item.boot,
            item.seq,
            quality,
            flags,
            *self._ordered(texts),
            tail,
        )
        return text.encode(), body.before

    def _crest(self, raws: tuple[int | float, ...], rms_at: int, peak_at: int) -> str:
        rms = self._scales[rms_at].value(raws[rms_at])
        peak = self._scales[peak_at].value(raws[peak_at])
        return f',"crest":{_number(round(peak / rms, 3))}' if rms and peak is not None else ""

    def _learn(self, item: Item, flags: bytes) -> tuple[str, str, str]:
        """(quality, flags of all, flags by channel) as they are in the text."""
        reading = decode_record(item, self._description)
        by_channel = reading.channel_flags
        tail = f',"cf":{_json(by_channel)}' if by_channel else ""
        known = _json(reading.quality), _json(reading.flags), tail
        if len(self._flags) >= REMEMBERED_MAX:
            self._flags.clear()
        self._flags[flags, bool(item.synced)] = known
        return known

    def _slowly(self, item: Item) -> tuple[bytes, int]:
        reading: Reading = decode_record(item, self._description)
        return data_payload(reading, self._description, item.rev), reading.before


class _Scale:
    """One number: value = raw * mult * 10**exp."""

    __slots__ = ("_float", "_missing", "_mult", "_power", "_up", "texts")

    def __init__(self, code: int, mult: int, exp: int) -> None:
        self._float = code == _FLOAT
        self._missing = _MISSING.get(code)
        self._mult = mult
        self._up = exp >= 0
        self._power = 10 ** abs(exp)
        self.texts: dict[int | float, str] = {}

    def value(self, raw: float) -> float | None:
        """The number, None if it is not available."""
        if self._float:
            return raw if raw == raw else None
        if raw == self._missing:
            return None
        return raw * self._mult * self._power if self._up else raw * self._mult / self._power

    def text(self, raw: float) -> str:
        """The number as JSON."""
        value = self.value(raw)
        if self._float:
            # Not remembered: they seldom come again, and 0.0 is found as -0.0.
            return "null" if value is None else _number(float(f"{value:.{FLOAT32_DIGITS}g}"))
        text = "null" if value is None else repr(value)
        if len(self.texts) >= REMEMBERED_MAX:
            self.texts.clear()
        self.texts[raw] = text
        return text


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "null"


def _quoted(key: str) -> str:
    return _json(key).replace("%", "%%")


def _json(content: object) -> str:
    return msgspec.json.encode(content).decode()
