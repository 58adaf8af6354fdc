"""What the ledger says and keeps: the JSON of a day, and the form of a row in the store.

Owns names and forms alone. `docs/ledger.md` tells what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from clampgateway.ledger.spans import DAY_MS, SEQ_MASK
from clampgateway.model import GAP_REASONS, GatewayError
from clampwire import messages

UNSYNCED = "unsynced"
VERSION = 1
# Ranges named a day; beyond, they are counted in `more`.
RANGES_MAX = 200
RANGES_PUBLISHED = 20


class LedgerError(GatewayError):
    """A row of the ledger that cannot be read; the text names it."""


class Missing(Struct):
    """`n` numbers from `first` to `last` of power-up `boot` that did not come.

    `reason` is that of the gap which told it, or "" where nobody has. `n` is less than the range
    only where too many single numbers lacked to remember each.
    """

    boot: int
    first: int
    last: int
    n: int
    reason: str


class Day(Struct):
    """One device on one UTC day; see docs/ledger.md."""

    day: str
    expected: int = 0
    received: int = 0
    condensed: int = 0
    late: int = 0
    lost: int = 0
    pending: int = 0
    absent_s: int = 0
    redelivered: int = 0
    lost_ranges: list[Missing] = msgspec.field(default_factory=list)
    pending_ranges: list[Missing] = msgspec.field(default_factory=list)
    more: int = 0


class Content(Struct):
    """`ledger`: the days of one device, newest last.

    `last` is the highest number known of its newest power-up `boot`; both 0 where the gateway has
    not looked at the device since its start.
    """

    device: str
    days: list[Day]
    boot: int = 0
    last: int = 0


class KeptPowerUp(Struct, array_like=True):
    """Of a power-up what is of this day; a span is what `Span` is made from."""

    boot: int
    zero_of: int
    zero_ms: int
    spans: list[tuple[int, int, int, int, int, bool, bool, int]]
    told: list[tuple[int, int, int]]


class Kept(Struct, array_like=True):
    """A row of the store: what is said of the day, and what it is said from."""

    version: int
    day: Day
    power_ups: list[KeptPowerUp]
    cuts: list[tuple[int, int, int, int, int]]


_encode_json = msgspec.json.Encoder().encode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


def day_name(day: int) -> str:
    """A day number since 1970 as "2026-11-22"; 0 as "unsynced"."""
    if not day:
        return UNSYNCED
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat()


def day_number(name: str) -> int:
    """The reverse. Raises ValueError."""
    if name == UNSYNCED:
        return 0
    date = datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC)
    return int(date.timestamp() * 1000) // DAY_MS


def missing_of(boot: int, first: int, last: int, n: int, reason: int) -> list[Missing]:
    """A range in numbers of the wire: two of them where `seq` begins again within it."""
    word = messages.name_of(GAP_REASONS, reason) if reason else ""
    low, high = first & SEQ_MASK, last & SEQ_MASK
    if low <= high:
        return [Missing(boot, low, high, n, word)]
    before = min(n, SEQ_MASK - low + 1)
    wrapped = [Missing(boot, low, SEQ_MASK, before, word)]
    return [*wrapped, Missing(boot, 0, high, n - before, word)] if n > before else wrapped


def pack(kept: Kept) -> bytes:
    """A row's body."""
    return _encode(kept)


def unpack(device: str, day: int, body: bytes) -> Kept:
    """Raises LedgerError for a body that is none, or of a later version."""
    where = f"ledger of {device}, day {day_name(day)}"
    try:
        kept = _decode(body)
    except msgspec.MsgspecError as error:
        raise LedgerError(f"{where}: cannot be read: {error}") from error
    if kept.version != VERSION:
        raise LedgerError(f"{where}: is of version {kept.version}, known is {VERSION}")
    return kept


def payload(device: str, days: Sequence[Day], head: tuple[int, int]) -> bytes:
    """The JSON of the MQTT topic: all numbers, and of each day's ranges the last few."""
    return _encode_json(Content(device, [_short(day) for day in days], *head))


def _short(day: Day) -> Day:
    lost, pending = day.lost_ranges[-RANGES_PUBLISHED:], day.pending_ranges[-RANGES_PUBLISHED:]
    left = len(day.lost_ranges) - len(lost) + len(day.pending_ranges) - len(pending)
    short = msgspec.structs.replace(day, lost_ranges=lost, pending_ranges=pending)
    short.more += left
    return short
