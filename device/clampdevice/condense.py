"""Records of a second each, in a row, to one that stands for all of them.

It owns the rule of every feature and the arithmetic, in whole raw steps of the wire: nothing is
scaled, so counters, minima and maxima are the records' own, and a mean square is exact but for its
rounding to the nearest step. Which records are taken together is `history.py`.

| rule | of | the value of the whole |
| --- | --- | --- |
| q | RMS of any kind | root of the mean of the squares, weighted by windows |
| m | means, powers, the mains' frequency, shares | mean, weighted by windows |
| > | peaks, largest windows, uncertainty, zone | the largest |
| < | smallest windows | the smallest |
| l | counters, levels | the last |
| + | samples at a rail | the sum, which saturates |
| - | everything else | not available |

Not condensed, because it is a quotient or belongs to one moment: crest, kurtosis, thd, pf, ratio,
the frequency of a vibration. A value that some of the records have not got is that of the others.
"""

import struct

from clampdevice.kernels.words import isqrt
from clampwire.messages import MESSAGES, WINDOW_MS
from clampwire.values import format_of, pack_values

# A feature by its whole key, else by what stands before the first "_".
RULES = (
    ("q", ("rms", "a", "v")),
    ("m", ("mean", "apparent", "real", "clipped_pct", "temperature")),
    (">", ("peak", "max", "uncertainty", "pp", "fa", "zone")),
    ("<", ("min",)),
    ("l", ("charge", "energy", "apparent_energy", "run", "state", "count")),
    ("+", ("clipped",)),
)
# By number, band1 to band8 and h1 to h15.
_SQUARES = ("band", "h")
_HEAD = "<BIIIBBB"  # type, boot, seq, end in ms (40 bit), windows, layout
_HEAD_BYTES = 16
_RECORD = next(code for code, name, _fields in MESSAGES if name == "Record")
_WINDOWS_MAX = 255


def rule_of(quantity: str, key: str) -> str:
    """The rule of a feature; "-" for one that cannot be condensed."""
    if key == "frequency" and quantity != "vibration":
        return "m"
    stem = key.split("_", 1)[0]
    for name in (key, stem):
        for rule, keys in RULES:
            if name in keys:
                return rule
    for word in _SQUARES:
        if stem.startswith(word) and stem[len(word) :].isdigit():
            return "q"
    return "-"


class Condenser:
    """`describes` are Describe's fields from `key` on, one tuple a channel.

    Features keep their place and their size for a whole power-up; a record of another layout
    number begins another group, since its steps may differ.
    """

    def __init__(self, describes) -> None:
        rules = ""
        layout = []
        for fields in describes:
            for key, _unit, code, mult, exp in fields[-1]:
                rules += rule_of(fields[1], key)
                layout.append((code, mult, exp))
        self._rules = rules
        self._format = format_of(tuple(layout))
        # What "not available" is in raw steps; NaN is not equal to itself.
        self._missing = struct.unpack(
            self._format, pack_values(tuple(layout), [None] * len(rules))
        )
        self.clear()

    def clear(self) -> None:
        """Begin another group."""
        self.count = 0
        self._windows = 0
        self._first = 0
        self._last: tuple = ()
        self._flags = bytearray()
        self._sums: list = [0] * len(self._rules)
        self._weights: list = [0] * len(self._rules)

    def add(self, payload) -> bool:
        """Take the payload of a Record; False if it does not continue the group."""
        if payload[0] != _RECORD:
            return False
        head = struct.unpack_from(_HEAD, payload, 0)
        windows = head[5]
        flags_end = _HEAD_BYTES + 1 + payload[_HEAD_BYTES]
        if self.count and not self._follows(head):
            return False
        size = payload[flags_end]
        if size != struct.calcsize(self._format) or len(payload) != flags_end + 1 + size:
            return False  # condensed already, or not ours to read
        if not self.count:
            self._first = head[2]
        self.count += 1
        self._windows += windows
        self._last = head
        for at in range(_HEAD_BYTES + 1, flags_end):
            place = at - _HEAD_BYTES - 1
            if place == len(self._flags):
                self._flags.append(0)
            self._flags[place] |= payload[at]
        values = struct.unpack_from(self._format, payload, flags_end + 1)
        for index, raw in enumerate(values):
            if raw != self._missing[index] and raw == raw:
                self._take(index, raw, windows)
        return True

    def _follows(self, head: tuple) -> bool:
        last = self._last
        begins_ms = (head[3] | head[4] << 32) - head[5] * WINDOW_MS
        return (
            head[1] == last[1]
            and head[6] == last[6]
            and begins_ms == last[3] | last[4] << 32
            and self._windows + head[5] <= _WINDOWS_MAX
        )

    def _take(self, index: int, raw, windows: int) -> None:
        rule = self._rules[index]
        sums = self._sums
        if rule == "q":
            sums[index] += raw * raw * windows
        elif rule == "m":
            sums[index] += raw * windows
        elif rule == "+":
            sums[index] += raw
        elif (
            not self._weights[index]
            or rule == "l"
            or (raw > sums[index] if rule == ">" else raw < sums[index])
        ):
            sums[index] = raw
        self._weights[index] += windows

    def payload(self) -> bytes:
        """The record of the group, which has at least one: named by its last, with its span."""
        _type, boot, seq, low, high, _windows, layout = self._last
        values = [self._value(index) for index in range(len(self._rules))]
        data = struct.pack(self._format, *values)
        head = struct.pack(_HEAD, _RECORD, boot, seq, low, high, self._windows, layout)
        return (
            head
            + bytes((len(self._flags),))
            + bytes(self._flags)
            + bytes((len(data),))
            + data
            + struct.pack("<H", (seq - self._first) & 0xFFFF)
        )

    def _value(self, index: int):  # noqa: ANN202 - int or float
        rule, weight, total = self._rules[index], self._weights[index], self._sums[index]
        missing = self._missing[index]
        if rule == "-" or not weight:
            return missing
        if missing != missing:  # a float on the wire
            return (
                (total / weight) ** 0.5
                if rule == "q"
                else total / weight
                if rule == "m"
                else total
            )
        if rule == "q":
            return (isqrt(4 * total // weight) + 1) >> 1
        if rule == "m":
            return (2 * total + weight) // (2 * weight)
        return min(total, missing - 1) if rule == "+" else total
