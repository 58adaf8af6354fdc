"""The ring between a soft callback, which writes frames, and `take`, which hands them out.

Owns frames, their slot times, the holes between them, and the order of access: only `put` moves
the head, only `block` the tail, and a callback runs between two byte codes, never inside one. So
neither needs a lock. Pure; what a frame holds is the caller's.
"""

from array import array

_HOLES = 16
_COUNT_MASK = 0x3FFFFFFF


class FrameRing:
    """`frames` frames of `slots` values; `frames` is rounded up to a power of two.

    Attributes:
        buf: array('H'), interleaved.
        full: puts refused since the reader was late.
        holes_merged: holes told together with an earlier one, because 16 waited already.
    """

    def __init__(self, slots: int, frames: int) -> None:
        size = 32
        while size < frames:
            size *= 2
        self.slots = slots
        self.frames = size
        self.buf = array("H", bytes(2 * slots * size))
        self._due = array("I", bytes(4 * size))
        self._hole_at = array("I", bytes(4 * _HOLES))
        self._hole_lost = array("I", bytes(4 * _HOLES))
        self.full = self.holes_merged = 0
        self.clear()

    def clear(self) -> None:
        """Forgets all frames."""
        self._head = self._tail = self._held = 0
        self._hole_head = self._hole_tail = 0

    def __len__(self) -> int:
        """Frames that wait, those handed out last not among them."""
        return ((self._head - self._tail) & _COUNT_MASK) - self._held

    def place(self) -> int:
        """Index in `buf` for the next frame, -1 if there is no room."""
        if ((self._head - self._tail) & _COUNT_MASK) >= self.frames:
            self.full += 1
            return -1
        return (self._head & (self.frames - 1)) * self.slots

    def put(self, due: int, lost: int) -> None:
        """The frame at `place()` is written; its slot is at `due`, `lost` frames before it."""
        if lost:
            self._note_hole(lost)
        self._due[self._head & (self.frames - 1)] = due
        self._head = (self._head + 1) & _COUNT_MASK

    def _note_hole(self, lost: int) -> None:
        waiting = (self._hole_head - self._hole_tail) & _COUNT_MASK
        if waiting >= _HOLES:
            self.holes_merged += 1
            self._hole_lost[(self._hole_head - 1) % _HOLES] += lost
            return
        self._hole_at[self._hole_head % _HOLES] = self._head
        self._hole_lost[self._hole_head % _HOLES] = lost
        self._hole_head = (self._hole_head + 1) & _COUNT_MASK

    def block(self, least: int, result: list) -> bool:
        """The oldest frames without a hole between them: first, frames, due of the last, lost.

        Args:
            least: frames without which there is no block, unless a hole or the ring's end cuts it.
            result: items 1, 2, 3, 4 are set. What was handed out before may be overwritten.
        """
        self._tail = (self._tail + self._held) & _COUNT_MASK
        self._held = 0
        waiting = (self._head - self._tail) & _COUNT_MASK
        if not waiting:
            return False
        hole = self._hole_tail
        lost = 0
        if hole != self._hole_head and self._hole_at[hole % _HOLES] == self._tail:
            lost = self._hole_lost[hole % _HOLES]
            hole = (hole + 1) & _COUNT_MASK
        first = self._tail & (self.frames - 1)
        count = min(waiting, self.frames - first)
        cut = count < waiting
        if hole != self._hole_head:
            to_hole = (self._hole_at[hole % _HOLES] - self._tail) & _COUNT_MASK
            if to_hole <= count:
                count = to_hole
                cut = True
        if count < least and not cut:
            return False
        self._hole_tail = hole
        self._held = count
        result[1] = first * self.slots
        result[2] = count
        result[3] = self._due[first + count - 1]
        result[4] = lost
        return True
