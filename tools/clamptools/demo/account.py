"""What devices made against what a subscriber received: lost, redelivered, doubled, wrong.

Pure: fed with side files and MQTT messages, it keeps both and compares them by (device, boot,
seq). The content of a message is compared with the payload in the side file, decoded here with
the description in the same file, so that nothing of the gateway judges itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clamptools.demo.devices import Made, PowerUp
from clamptools.demo.layout import Layout
from clampwire import messages
from clampwire.codec import Codec, WireError

RECORD, EVENT, GAP = (
    next(code for code, name, _fields in messages.MESSAGES if name == wanted)
    for wanted in messages.SPOOLED
)
# Two records of one device may overlap by what the estimate of the clock moved between them, but
# not by half of the shorter one.
OVERLAP_SHARE = 0.5
# What a correction of its time changes in a message, beside the flag `unsynced`.
_TIMES = ("t", "rev", "from", "to", "f")
_RECORD_TOPICS = ("data", "history")


class Key(NamedTuple):
    """The name of an item for ever."""

    device: str
    boot: int
    seq: int


class Received(NamedTuple):
    """A message as the subscriber got it first. `at_ms` is the computer's clock then."""

    topic: str
    content: dict[str, Any]
    at_ms: float


@dataclass(frozen=True)
class GapSeen:
    """An announced gap: `first` to `last` of power-up `boot`, none if first is above last;
    `seconds` is NaN while a time is not known. `told` is the gap's own boot and number: up to it
    reaches one that goes to the end.
    """

    device: str
    boot: int
    reason: str
    channel: str
    first: int
    last: int
    seconds: float
    told: tuple[int, int] = (0, 0)

    def covers(self, key: Key) -> bool:
        """Whether it tells that this item is lost, and why."""
        if key.device != self.device or not self.reason:
            return False
        if self.last == messages.TO_THE_END:
            return (self.boot, self.first) <= (key.boot, key.seq) < self.told
        return key.boot == self.boot and self.first <= key.seq <= self.last


@dataclass
class Result:
    """The sums. Items are records, events and gaps; all of them count for `lost`."""

    records_made: int = 0
    records_received: int = 0
    items_made: int = 0
    items_received: int = 0
    lost: list[Key] = field(default_factory=list)
    covered: list[Key] = field(default_factory=list)
    redelivered: int = 0
    restamped: int = 0
    duplicates: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    gaps: list[GapSeen] = field(default_factory=list)


class Account:
    """Both sides of the books. `topics` are `data` and `event`, the last part of an MQTT topic."""

    def __init__(self) -> None:
        self.made: dict[Key, Made] = {}
        self.received: dict[Key, Received] = {}
        self.redelivered = 0
        self.restamped = 0
        self.conflicts: list[str] = []
        self._open: set[Key] = set()
        self._layouts: dict[tuple[str, int], Layout] = {}
        self._codec = Codec()

    def add_power_up(self, power_up: PowerUp) -> None:
        """Learns how the records of a device are laid out."""
        layout = Layout.of(self._codec, power_up.describes)
        self._layouts[power_up.device, layout.number] = layout

    def add_made(self, device: str, item: Made) -> None:
        key = Key(device, item.boot, item.seq)
        if key not in self.received:
            self._open.add(key)
        other = self.made.setdefault(key, item)
        if other.crc != item.crc:
            self.conflicts.append(f"{key} was made twice with different content")

    def add_received(self, device: str, topic: str, content: dict[str, Any], at_ms: float) -> None:
        """A message of `data` or `event`; an array of `history` is given one by one."""
        key = Key(device, content["boot"], content["seq"])
        self._open.discard(key)
        first = self.received.setdefault(key, Received(topic, content, at_ms))
        if first.content is content:
            return
        if first.content == content:
            self.redelivered += 1
        elif _rev(content) != _rev(first.content) and _timeless(content) == _timeless(
            first.content
        ):
            self.restamped += 1
            if _rev(content) > _rev(first.content):
                self.received[key] = first._replace(content=content)
        else:
            self.conflicts.append(f"{key} came as {first.content} and as {content}")

    def missing(self) -> list[Key]:
        """Items made and not received yet, oldest first."""
        return sorted(self._open)

    def result(self) -> Result:
        """Compares everything that was made with everything that was received."""
        result = Result(
            redelivered=self.redelivered,
            restamped=self.restamped,
            duplicates=list(self.conflicts),
        )
        result.gaps = list(self.gaps())
        result.items_made = len(self.made)
        result.records_made = sum(item.kind == RECORD for item in self.made.values())
        for key, item in self.made.items():
            got = self.received.get(key)
            if got is not None:
                result.items_received += 1
                result.records_received += item.kind == RECORD
                result.wrong += self._differences(key, item, got)
            elif any(gap.covers(key) for gap in result.gaps):
                result.covered.append(key)
            else:
                result.lost.append(key)
        result.duplicates += self._overlaps()
        return result

    def gaps(self) -> Iterator[GapSeen]:
        """The announced gaps as received."""
        for key, got in self.received.items():
            content = got.content
            if got.topic == "event" and content.get("kind") == "gap":
                yield GapSeen(
                    key.device,
                    content.get("of_boot", key.boot),
                    content["reason"],
                    content.get("channel", ""),
                    content["first"],
                    content["last"],
                    _seconds(content.get("from"), content.get("to")),
                    (key.boot, key.seq),
                )

    def readings(self) -> Iterator[tuple[Key, Made, Received]]:
        """Records that were both made and received."""
        for key, got in self.received.items():
            item = self.made.get(key)
            if got.topic in _RECORD_TOPICS and item is not None:
                yield key, item, got

    def layout_of(self, key: Key, record: Made) -> Layout:
        """How a record that was made is laid out. Raises KeyError if no description tells."""
        return self._layouts[key.device, self._codec.decode(record.payload)[1].layout]

    def _differences(self, key: Key, item: Made, got: Received) -> list[str]:
        try:
            _name, message = self._codec.decode(item.payload)
        except WireError as error:
            return [f"{key}: its own payload does not decode: {error}"]
        if item.kind == RECORD:
            layout = self._layouts.get((key.device, message.layout))
            if layout is None:
                return [f"{key}: no description for layout {message.layout} in the side file"]
            found = layout.differences(message, got.content)
        else:
            found = _event_differences(item.kind, message, got.content)
        if (got.topic in _RECORD_TOPICS) != (item.kind == RECORD):
            found.append(f"came under {got.topic}")
        return [f"{key}: {what}" for what in found]

    def _overlaps(self) -> Iterator[str]:
        """One interval under two keys."""
        by_device: dict[str, list[tuple[float, float, Key]]] = {}
        for key, got in self.received.items():
            end, duration = got.content.get("t"), got.content.get("dur")
            if end and duration:
                by_device.setdefault(key.device, []).append((end - duration, end, key))
        for spans in by_device.values():
            spans.sort()
            for (start, end, key), (later, later_end, other) in itertools.pairwise(spans):
                if end - later > OVERLAP_SHARE * min(end - start, later_end - later):
                    yield f"{key} and {other} tell of the same interval"


def _rev(content: Mapping[str, Any]) -> int:
    """How often its time was corrected."""
    return content.get("rev", 0)


def _timeless(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a correction of its time leaves as it was."""
    kept = {name: value for name, value in content.items() if name not in _TIMES}
    kept["f"] = [word for word in content.get("f", ()) if word != "unsynced"]
    return kept


def _event_differences(kind: int, message: Any, content: Mapping[str, Any]) -> list[str]:  # noqa: ANN401
    if kind == GAP:
        wanted = {
            "kind": "gap",
            "reason": messages.name_of(messages.GAP_REASONS, message.reason),
            "first": message.first_seq,
            "last": message.last_seq,
            "samples": message.samples,
        }
    else:
        wanted = {
            "kind": messages.name_of(messages.EVENT_KINDS, message.kind),
            "value": message.value,
            "text": message.text,
        }
    return [
        f"{name} is {content.get(name)!r}, made {value!r}"
        for name, value in wanted.items()
        if content.get(name) != value
    ]


def _seconds(from_ms: int | None, to_ms: int | None) -> float:
    """Length of a gap; NaN where one end has no time yet."""
    return math.nan if from_ms is None or to_ms is None else (to_ms - from_ms) / 1000


def percentile(numbers: list[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the numbers lie, by nearest rank; NaN of none."""
    if not numbers:
        return math.nan
    ordered = sorted(numbers)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
