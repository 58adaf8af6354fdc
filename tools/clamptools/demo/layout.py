"""How a device lays out its records, and how a record should read in JSON.

Pure: Describe payloads in, values and differences out, decoded with `clampwire` alone, so that
nothing of the gateway judges itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from clampwire import messages, values
from clampwire.codec import Codec

# `crest` is the quotient of two received numbers, sent with three decimals.
CREST_TOLERANCE = 0.0006
# `unsynced` is the gateway's word; `bad` it tells as quality or of a channel, not in `f`.
_BY_GATEWAY = frozenset({"unsynced", "bad"})
_FLOAT32 = ord("f")


class ChannelLayout(NamedTuple):
    """A channel as its Describe tells: rate in Hz, full_scale in the unit, keys of features."""

    key: str
    quantity: str
    rate_hz: float
    full_scale: float
    features: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """How the values of a Record are laid out, as Describe payloads tell."""

    number: int
    channels: tuple[ChannelLayout, ...]
    steps: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, codec: Codec, describes: tuple[bytes, ...]) -> Layout:
        """Raises ValueError if the payloads are not one complete description."""
        decoded = sorted((codec.decode(payload)[1] for payload in describes), key=_index)
        if not decoded or [d.index for d in decoded] != list(range(decoded[0].channels)):
            raise ValueError(f"{len(decoded)} Describe messages are not a whole description")
        return cls(
            decoded[0].layout,
            tuple(
                ChannelLayout(
                    d.key,
                    d.quantity,
                    d.rate_hz,
                    d.full_scale,
                    tuple(key for key, *_ in d.features),
                )
                for d in decoded
            ),
            tuple((code, mult, exp) for d in decoded for _, _, code, mult, exp in d.features),
        )

    def read(self, record: Any) -> dict[str, dict[str, float | None]]:  # noqa: ANN401 - a namedtuple of the codec
        """Values by channel and feature."""
        raw = values.unpack_values(self.steps, record.values)
        numbers = iter(
            [
                # A float32 is told with the digits it is worth.
                float(f"{value:.7g}") if code == _FLOAT32 and value is not None else value
                for (code, _mult, _exp), value in zip(self.steps, raw, strict=True)
            ]
        )
        return {
            channel.key: {name: next(numbers) for name in channel.features}
            for channel in self.channels
        }

    def differences(self, record: Any, content: Mapping[str, Any]) -> list[str]:  # noqa: ANN401
        """What differs between a decoded Record and the JSON of `data`."""
        found: list[str] = []
        duration_ms = record.windows * messages.WINDOW_MS
        if content.get("dur") != duration_ms:
            found.append(f"dur is {content.get('dur')}, made {duration_ms}")
        wanted = self.read(record)
        got = content.get("ch", {})
        if set(got) != set(wanted):
            found.append(f"channels are {sorted(got)}, made {sorted(wanted)}")
        for key, features in wanted.items():
            for name, value in features.items():
                if got.get(key, {}).get(name) != value:
                    found.append(f"{key} {name} is {got.get(key, {}).get(name)}, made {value}")
            found += _extra_differences(key, features, got.get(key, {}))
        bits = values.unpack_flags(record.flags, len(self.channels))
        union = {word for bit, word in values.FLAG_NAMES for own in bits if own & bit}
        if _BY_GATEWAY.union(content.get("f", ())) != _BY_GATEWAY | union:
            found.append(f"flags are {content.get('f')}, made {sorted(union)}")
        return found


def _extra_differences(
    key: str, made: Mapping[str, float | None], got: Mapping[str, Any]
) -> list[str]:
    found: list[str] = []
    for name in set(got) - set(made):
        rms, peak = made.get("rms"), made.get("peak")
        if name != "crest" or not rms or peak is None:
            found.append(f"{key} {name} was never made")
        elif not math.isclose(got[name], peak / rms, abs_tol=CREST_TOLERANCE):
            found.append(f"{key} crest is {got[name]}, peak / rms {peak / rms}")
    return found


def _index(describe: Any) -> int:  # noqa: ANN401
    return describe.index
