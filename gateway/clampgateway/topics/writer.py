"""Records straight from their bytes to JSON, under one description: the fast way to `data`.

Pure, and only faster than `decode_record` and `data_payload`, which stay the definition: what is
unusual goes that way, and the tests hold both to the same bytes. A channel is an object of fixed
fields here and no dictionary, and nothing is remembered of the numbers of a record: they are
different every second, of every device.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from clampgateway.model import Description, Item, decode_record
from clampgateway.recordplan import body_of, crest_of
from clampgateway.topics.payloads import Data, data_payload, short
from clampwire import messages

# Kinds of channels, of all devices together; one is some kilobytes.
KINDS_MAX = 1024
# Texts of flags remembered of one description, then they are forgotten.
REMEMBERED_MAX = 256
_encode = msgspec.json.Encoder().encode

# Quality, the flags of all channels, and those of each.
_Flags = tuple[str, tuple[str, ...], dict[str, tuple[str, ...]] | UnsetType]


class RecordWriter:
    """Writes the records of one description."""

    def __init__(self, description: Description) -> None:
        self._description = description
        self._plan = plan = description.plan
        self._flags: dict[tuple[bytes, bool], _Flags] = {}
        channels = tuple(part.channel for part in plan.parts)
        self._usual = _are_usual(channels) and all(_are_usual(part.keys) for part in plan.parts)
        if self._usual:
            self._channels = _object_of(channels, adds_crest=False)
            self._parts = [
                (_object_of(part.keys, adds_crest=part.crest is not None), part.first, part.end)
                for part in plan.parts
            ]
            self._crests = [
                (index, part.crest) for index, part in enumerate(plan.parts) if part.crest
            ]

    def write(self, item: Item) -> tuple[bytes, int]:
        """(JSON of a record, how many numbers a condensed one covers before its own).

        Raises WireError or ValueError as `decode_record` does.
        """
        if not self._usual:
            reading = decode_record(item, self._description)
            return data_payload(reading, self._description, item.rev), reading.before
        _device, boot, seq, _kind, _end_ms, utc_ms, synced, _crc, payload, rev = item
        windows, flags, data, before = body_of(payload)
        numbers = self._plan.flat(data)
        shown = self._shortened(numbers) if self._plan.floats else numbers
        channels: list[Any] = [made(*shown[first:end]) for made, first, end in self._parts]
        for index, places in self._crests:
            crest = crest_of(numbers, places)
            if crest is not None:
                channels[index].crest = crest
        known = self._flags.get((flags, synced > 0)) or self._learn(item, flags)
        record = Data(
            utc_ms or None,
            windows * messages.WINDOW_MS,
            boot,
            seq,
            known[0],
            known[1],
            cast("dict[str, dict[str, float | None]]", self._channels(*channels)),  # as one
            known[2],
            before or UNSET,
            rev or UNSET,
        )
        return _encode(record), before

    def _shortened(self, numbers: list[float | None]) -> list[float | None]:
        shown = numbers.copy()
        for place in self._plan.floats:
            number = numbers[place]
            if number is not None:
                shown[place] = short(number)
        return shown

    def _learn(self, item: Item, flags: bytes) -> _Flags:
        reading = decode_record(item, self._description)
        known = reading.quality, reading.flags, reading.channel_flags or UNSET
        if len(self._flags) >= REMEMBERED_MAX:
            self._flags.clear()
        self._flags[flags, item.synced > 0] = known
        return known


def _are_usual(keys: tuple[str, ...]) -> bool:
    """Whether an object can have these keys: no two alike, and none that JSON has to escape."""
    return len(set(keys)) == len(keys) and not any(
        char in '"\\' or char < " " for key in keys for char in key
    )


@lru_cache(KINDS_MAX)
def _object_of(keys: tuple[str, ...], *, adds_crest: bool) -> type[Struct]:
    """A class whose objects are written with these keys, in this order.

    With `adds_crest` another one, `crest`, that is left out unless it is set.
    """
    names = [f"field{number}" for number in range(len(keys))]
    fields: list[Any] = [(name, Any) for name in names]
    if adds_crest:
        fields.append(("crest", Any, UNSET))
    rename = dict(zip(names, keys, strict=True))
    # It holds numbers, or objects that do: no cycle is to be looked for.
    return msgspec.defstruct("Fields", fields, rename=rename, gc=False)
