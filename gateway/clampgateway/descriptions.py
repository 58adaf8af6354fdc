"""The descriptions of all devices: what each number of a Record is, by device and describe_crc.

Owns the step from Describe payloads to a `Description`, and the table of all that are known in
this process. The store keeps the payloads; links add to the table before an item that needs the
entry can be ingested, so whoever reads an item finds its description here.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Sequence

from clampgateway.model import Channel, Description, Feature, GatewayError
from clampwire import messages
from clampwire.codec import Codec, WireError

_log = logging.getLogger(__name__)
_CODEC = Codec()
_VALUE_CODES = frozenset(b"BHIbhif")


class DescribeError(GatewayError):
    """Describe messages that make no description; the text names the device and what is wrong."""


def assemble(device: str, payloads: Sequence[bytes]) -> Description:
    """The description told by all Describe payloads of one crc, in any order.

    Raises DescribeError if one is missing, twice there, of another crc, or senseless.
    """
    parts = []
    for payload in payloads:
        try:
            name, part = _CODEC.decode(payload)
        except WireError as error:
            raise DescribeError(f"device {device}: Describe does not decode: {error}") from None
        if name != "Describe":
            raise DescribeError(f"device {device}: {name} among its Describe messages")
        parts.append(part)
    parts.sort(key=lambda part: part.index)
    heads = {(part.describe_crc, part.layout, part.channels) for part in parts}
    if len(heads) != 1:
        raise DescribeError(f"device {device}: Describe messages of {len(heads)} descriptions")
    crc, layout, channels = heads.pop()
    if [part.index for part in parts] != list(range(channels)):
        have = [part.index for part in parts]
        raise DescribeError(f"device {device}: describes channels {have} of {channels}")
    if channels > messages.CHANNELS_MAX:
        raise DescribeError(
            f"device {device}: {channels} channels, at most {messages.CHANNELS_MAX}"
        )
    described = tuple(_channel(device, part) for part in parts)
    keys = [channel.key for channel in described]
    if len(set(keys)) != len(keys):
        raise DescribeError(f"device {device}: channel keys {keys} are not unique")
    return Description(device, crc, layout, described)


def _channel(device: str, part) -> Channel:  # noqa: ANN001 - a namedtuple made from the table
    where = f"device {device}, channel {part.index} {part.key!r}"
    if not part.key:
        raise DescribeError(f"{where}: has no key")
    features = tuple(Feature(*entry) for entry in part.features)
    if len({feature.key for feature in features}) != len(features):
        raise DescribeError(f"{where}: feature keys are not unique")
    for feature in features:
        if feature.code not in _VALUE_CODES:
            raise DescribeError(f"{where}: feature {feature.key!r} has code {feature.code}")
    return Channel(
        part.index,
        part.key,
        part.quantity,
        part.unit,
        part.sensor,
        part.rate_hz,
        part.full_scale,
        part.noise_floor,
        part.uncertainty_pct,
        part.calibration,
        features,
    )


class Descriptions:
    """All known descriptions. `stored` is what the store kept: (device, crc, payloads)."""

    def __init__(self, stored: Iterable[tuple[str, int, Sequence[bytes]]] = ()) -> None:
        self._known: dict[str, dict[int, Description]] = {}
        self.unreadable = 0
        self.conflicts = 0
        for device, crc, payloads in stored:
            try:
                self._known.setdefault(device, {})[crc] = assemble(device, payloads)
            except DescribeError as error:
                self.unreadable += 1
                _log.error("a stored description cannot be read: %s", error)

    def get(self, device: str, crc: int) -> Description | None:
        """The description of a device under this crc, or None."""
        return self._known.get(device, {}).get(crc)

    def by_layout(self, device: str, layout: int) -> Description | None:
        """The one added last among those of a device whose records carry this layout number."""
        for description in reversed(self._known.get(device, {}).values()):
            if description.layout == layout:
                return description
        return None

    def add(self, device: str, payloads: Sequence[bytes]) -> tuple[Description, bool]:
        """Take a complete set of Describe payloads: (description, whether it is new here).

        The first under a crc stays, because stored items were made under it; another content
        under the same crc is a device's fault and counted in `conflicts`. Raises DescribeError.
        """
        description = assemble(device, payloads)
        known = self._known.setdefault(device, {})
        old = known.get(description.crc)
        if old is None:
            known[description.crc] = description
            return description, True
        if not _same(old, description):
            self.conflicts += 1
            _log.error(
                "another description under the same crc, the first one stays device=%s crc=%08x",
                device,
                description.crc,
            )
        return old, False


def _same(one: Description, other: Description) -> bool:
    """Equal, with NaN equal to NaN."""
    return _flat(one) == _flat(other)


def _flat(description: Description) -> list[object]:
    out: list[object] = [description.layout]
    for c in description.channels:
        floats = (c.rate_hz, c.full_scale, c.noise_floor, c.uncertainty_pct)
        out += [c.key, c.quantity, c.unit, c.sensor, c.calibration, c.features]
        out.append(struct.pack("<4f", *floats))
    return out
