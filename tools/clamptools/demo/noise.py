"""A line that spoils what passes: bytes flipped, lost, invented; frames doubled, swapped, late.

Sans-IO and of one direction; time is an argument. Every spoiled chunk is counted, because a fault
that was not injected proves nothing.
"""

from __future__ import annotations

import random

FLIP, LOSE, INVENT, DOUBLE, SWAP, DELAY = "flip", "lose", "invent", "double", "swap", "delay"
KINDS = (FLIP, LOSE, INVENT, DOUBLE, SWAP, DELAY)
DELAY_US = 1_500_000
_FLAG = b"\x7e"


class ChaosLine:
    """Spoils each chunk with the chance `share` in one of the ways `kinds`, while it is `on`."""

    def __init__(self, kinds: tuple[str, ...], share: float, seed: int) -> None:
        self._kinds = kinds
        self._share = share
        self._chance = random.Random(seed)
        self._late: list[tuple[int, bytes]] = []
        self.on = True
        self.injected = 0

    def carry(self, data: bytes, now_us: int) -> bytes:
        """What comes out now: of this chunk, and of earlier ones that were late."""
        out = b"".join(late for due_us, late in self._late if due_us <= now_us)
        self._late = [each for each in self._late if each[0] > now_us]
        if not data or not self.on or self._chance.random() >= self._share:
            return out + data
        self.injected += 1
        kind = self._chance.choice(self._kinds)
        if kind == DELAY:
            self._late.append((now_us + self._chance.randrange(DELAY_US), data))
            return out
        return out + self._spoiled(kind, data)

    def _spoiled(self, kind: str, data: bytes) -> bytes:
        chance = self._chance
        at = chance.randrange(len(data))
        if kind == FLIP:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        if kind == LOSE:
            return data[:at] + data[at + chance.randrange(1, 20) :]
        if kind == INVENT:
            return data[:at] + chance.randbytes(chance.randrange(1, 20)) + data[at:]
        if kind == DOUBLE:
            return data * 2
        frames = data.split(_FLAG)
        chance.shuffle(frames)
        return _FLAG + _FLAG.join(frames) + _FLAG
