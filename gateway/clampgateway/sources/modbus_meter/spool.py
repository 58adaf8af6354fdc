"""The items of a meter's device until they are acknowledged: their numbers, their order, a bound.

Pure. Items leave within a second as a rule. When the store takes nothing for long the oldest goes
and is told by a gap as soon as there is room; gaps stay, since what they tell would be lost
without a sign.
"""

from __future__ import annotations

from clampwire import messages
from clampwire.codec import Codec

ITEMS_MAX = 4096
SPOOL_FULL = messages.code_of(messages.GAP_REASONS, "spool_full")
_GAP = next(code for code, name, _fields in messages.MESSAGES if name == "Gap")
# Where an item's 40 bits of time stand, behind type, boot and seq.
_AT_FROM, _AT_TO = 9, 14
_SEQ_MASK = 0xFFFFFFFF
_CODEC = Codec()


class Spool:
    """Items of one power-up. `dropped` counts those that went unacknowledged."""

    def __init__(self, items_max: int = ITEMS_MAX) -> None:
        self._items_max = items_max
        # In the order of their numbers.
        self._items: dict[int, bytes] = {}
        self._unsent: list[int] = []
        self._lost: tuple[int, int, int] | None = None
        self.next_seq = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def oldest_seq(self) -> int:
        """Of the oldest item kept; the next number if there is none."""
        return next(iter(self._items), self.next_seq)

    def keep(self, name: str, boot: int, now_ms: int, *fields: object) -> None:
        """Number and keep an item: the message `name` with `fields` behind boot and seq."""
        if len(self._items) >= self._items_max:
            self._drop()
        elif self._lost is not None and len(self._items) < self._items_max - 1:
            first, last, at_ms = self._lost
            self._lost = None
            told = (SPOOL_FULL, messages.NO_CHANNEL, first, last, at_ms, now_ms, 0)
            self._put("Gap", boot, now_ms, *told)
        self._put(name, boot, *fields)

    def _put(self, name: str, boot: int, *fields: object) -> None:
        seq = self.next_seq
        self._items[seq] = _CODEC.encode(name, boot, seq, *fields)
        self.next_seq = seq + 1 & _SEQ_MASK
        self._unsent.append(seq)

    def _drop(self) -> None:
        others = (seq for seq, payload in self._items.items() if payload[0] != _GAP)
        oldest = next(others, self.oldest_seq)
        payload = self._items.pop(oldest)
        self.dropped += 1
        at_ms = int.from_bytes(payload[_AT_FROM:_AT_TO], "little")
        first, _last, from_ms = self._lost or (oldest, oldest, at_ms)
        self._lost = (first, oldest, from_ms)

    def unsent(self) -> list[bytes]:
        """What was not sent over the present link, oldest first, once."""
        unsent, self._unsent = self._unsent, []
        return [self._items[seq] for seq in unsent if seq in self._items]

    def resend(self) -> None:
        """Another link: everything that is kept is sent again."""
        self._unsent = list(self._items)

    def forget(self, first: int, last: int) -> None:
        """These are committed."""
        for seq in [seq for seq in self._items if first <= seq <= last]:
            del self._items[seq]
