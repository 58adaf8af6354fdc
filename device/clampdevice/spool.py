"""The device's memory of what the gateway has not yet acknowledged: a ring of payloads in RAM.

It owns numbering (`seq`), order, what was sent when, and what had to be dropped. An item is the
payload of a Record, Event or Gap; all three begin with type, boot, seq and a 40-bit time, which
is all that is read here. What the ring cannot hold goes down to `history.py` in time; without that
layer, or if it cannot follow, the oldest item goes and its range is remembered until a Gap can
tell it. Numbers wrap at 2**32; the slot table is a power of two for that.
"""

import struct
from array import array

from clampwire.messages import (
    GAP_REASONS,
    MESSAGES,
    NO_CHANNEL,
    TO_THE_END,
    WINDOW_MS,
    code_of,
)

# Places that one call looks at for an item that was lost on the way.
_LOOKS = 16
_MASK = 0xFFFFFFFF
_MS_MASK = 0x3FFFFFFF  # of times: small integers, since larger ones are objects on a chip's heap
_DONE = -1  # acknowledged, or moved down
_SENT_BEFORE = -2  # in an earlier session: a gateway may have it
_GAP = next(code for code, name, _fields in MESSAGES if name == "Gap")
_RECORD = next(code for code, name, _fields in MESSAGES if name == "Record")
_HEAD = "<BIIIB"
_GAP_BODY = "<BBIIIBIBI"
SPOOL_FULL = code_of(GAP_REASONS, "spool_full")
POWER_CUT = code_of(GAP_REASONS, "power_cut")

# Losses told apart at most; beyond that ranges of one reason are joined, which may name records
# as lost that were delivered, never the reverse.
LOSSES_MAX = 8
# The ring is crowded when it has not this room: for what comes while the layer below works.
ROOM_ITEMS = 32
ROOM_BYTES = 2048


class Loss:
    """What a Gap will say: items `first` to `last` (or samples of a channel) between two times.

    `boot` is another power-up whose items and times they are; 0 for the present one.
    """

    def __init__(
        self,
        reason: int,
        channel: int,
        first: int,
        last: int,
        span: tuple,
        samples: int,
        boot: int = 0,
    ) -> None:
        self.reason = reason
        self.channel = channel
        self.first = first
        self.last = last
        self.from_ms, self.to_ms = span
        self.samples = samples
        self.boot = boot

    def takes(self, other: "Loss", touching: bool) -> bool:
        """Join `other` into this one if it is of the same kind (and touches it)."""
        if self.reason != other.reason or self.channel != other.channel:
            return False
        if self.boot != other.boot:
            return False
        if touching and ((self.last + 1) & _MASK) != other.first:
            return False
        self.last = other.last
        self.to_ms = max(self.to_ms, other.to_ms)
        self.from_ms = min(self.from_ms, other.from_ms)
        self.samples += other.samples
        return True


class Spool:
    """A ring of `ram_bytes` for at most `ram_items` items, rounded down to a power of two.

    Takes `ram_bytes`, and 8 bytes an item (10 with a ring of more than 64 KB).
    """

    def __init__(self, ram_bytes: int, ram_items: int, first_seq: int = 0) -> None:
        if ram_items < 2:
            raise ValueError("ram_items is " + str(ram_items) + ", must be 2 or more")
        while ram_items & (ram_items - 1):
            ram_items &= ram_items - 1
        self._ring = bytearray(ram_bytes)
        self._slots = ram_items
        small = ram_bytes <= 0x10000
        self._at = array("H", bytes(2 * ram_items)) if small else array("I", bytes(4 * ram_items))
        self._size = array("H", bytes(2 * ram_items))
        # Device ms of the last sending in this session plus 1, 0 for an item that was never sent.
        self._sent = array("i", bytes(4 * ram_items))
        self._write = 0
        self.next_seq = first_seq & _MASK
        self.oldest_seq = self.next_seq
        self._history = self.next_seq
        self._looked = 0
        self.in_flight = 0
        self.dropped = 0
        self.resent = 0
        self.losses: list[Loss] = []

    def __len__(self) -> int:
        count = self.next_seq - self.oldest_seq
        return count if count >= 0 else count & _MASK  # the mask alone is an object on the heap

    def put(self, payload: bytes) -> int:
        """Keep a payload that carries `next_seq`; returns that number.

        Drops the oldest items until it fits. Raises ValueError for one that never can.
        """
        size = len(payload)
        if size > len(self._ring):
            raise ValueError("an item of " + str(size) + " bytes is larger than the spool")
        while len(self) == self._slots or not self._place(size):
            self._drop_oldest()
        seq = self.next_seq
        slot = seq % self._slots
        self._ring[self._write : self._write + size] = payload
        self._at[slot] = self._write
        self._size[slot] = size
        self._sent[slot] = 0
        self._write += size
        self.next_seq = (seq + 1) & _MASK
        return seq

    def _place(self, size: int) -> bool:
        """Put the write position where `size` contiguous bytes are free, if there are any."""
        if not len(self):
            self._write = 0
            return True
        tail = self._at[self.oldest_seq % self._slots]
        if self._write > tail:
            if self._write + size <= len(self._ring):
                return True
            if size <= tail:
                self._write = 0
                return True
            return False
        return self._write + size <= tail

    def has_room(self, size: int) -> bool:
        """Whether an item of `size` bytes fits without dropping another."""
        return len(self) < self._slots and self._place(size)

    def _drop_oldest(self) -> None:
        slot = self.oldest_seq % self._slots
        if self._sent[slot] != _DONE:
            self.dropped += 1
            self._remember(self.payload(self.oldest_seq))
            if self._sent[slot] > 0:
                self.in_flight -= 1
        self._advance()
        self._free_acked()

    def _free_acked(self) -> None:
        while len(self) and self._sent[self.oldest_seq % self._slots] == _DONE:
            self._advance()

    def _advance(self) -> None:
        if self._history == self.oldest_seq:
            self._history = (self._history + 1) & _MASK
        self.oldest_seq = (self.oldest_seq + 1) & _MASK

    def _remember(self, payload: memoryview) -> None:
        code, _boot, seq, low, high = struct.unpack_from(_HEAD, payload, 0)
        at_ms = low | high << 32
        from_ms = at_ms
        if code == _RECORD:
            from_ms = max(0, at_ms - payload[14] * WINDOW_MS)
        elif code == _GAP:
            self.retell(payload, 0)
        self.lost(Loss(SPOOL_FULL, NO_CHANNEL, seq, seq, (from_ms, at_ms), 0))

    def retell(self, payload: memoryview, own: int) -> None:
        """What a dropped Gap told must still be told; `own`: the power-up whose Gap it is."""
        body = struct.unpack_from(_GAP_BODY, payload, 14)
        span = (body[4] | body[5] << 32, body[6] | body[7] << 32)
        boot = struct.unpack_from("<I", payload, 38)[0] if len(payload) >= 42 else 0
        self.lost(Loss(body[0], body[1], body[2], body[3], span, body[8], boot or own))

    def lost(self, loss: Loss) -> None:
        """Remember a loss until a Gap tells it."""
        for known in self.losses:
            if known.takes(loss, True):
                return
        if len(self.losses) >= LOSSES_MAX:
            for known in self.losses:
                if known.takes(loss, False):
                    return
        if len(self.losses) >= 2 * LOSSES_MAX:
            # Losses of many power-ups, of which nobody could be told: from the first of them on.
            for known in self.losses:
                if known.boot and loss.boot:
                    known.last = TO_THE_END
                    return
        self.losses.append(loss)

    def payload(self, seq: int) -> memoryview:
        """The payload of an item that is still kept."""
        slot = seq % self._slots
        return memoryview(self._ring)[self._at[slot] : self._at[slot] + self._size[slot]]

    def ack(self, boot: int, first: int, last: int) -> int:
        """Free items `first` to `last` of `boot`; returns how many that were kept it named."""
        if ((last - first) & _MASK) > _MASK // 2:
            return 0  # the wrong way round
        held = len(self)
        start = (first - self.oldest_seq) & _MASK
        end = (last - self.oldest_seq) & _MASK
        if ((last - first) & _MASK) > end:
            start = 0  # the range began before our oldest item
        named = 0
        for offset in range(start, min(end + 1, held)):
            seq = (self.oldest_seq + offset) & _MASK
            slot = seq % self._slots
            if self._sent[slot] == _DONE or self._boot_of(slot) != boot:
                continue
            self._done(slot)
            named += 1
        self._free_acked()
        return named

    def _done(self, slot: int) -> None:
        if self._sent[slot] > 0:
            self.in_flight -= 1
        self._sent[slot] = _DONE

    def waits(self, seq: int) -> bool:
        """Whether an item is kept here and neither acknowledged nor moved."""
        if ((seq - self.oldest_seq) & _MASK) >= len(self):
            return False
        return self._sent[seq % self._slots] != _DONE

    def was_sent(self, seq: int) -> bool:
        """Whether an item that waits was ever sent."""
        return self._sent[seq % self._slots] != 0

    def moved(self, seq: int) -> None:
        """An item that waits is in the layer below now, as it is or as part of another."""
        self._done(seq % self._slots)
        self._free_acked()

    @property
    def crowded(self) -> bool:
        """Whether the oldest items should move down, to make room."""
        if not len(self):
            return False
        used = self._write - self._at[self.oldest_seq % self._slots]
        free = len(self._ring) - used if used > 0 else -used
        return len(self) + ROOM_ITEMS > self._slots or free < ROOM_BYTES

    def _boot_of(self, slot: int) -> int:
        return struct.unpack_from("<I", self._ring, self._at[slot] + 1)[0]

    def rebase(self, boot: int) -> None:
        """Write another boot number into every kept item; allowed before any was sent."""
        if self.in_flight:
            raise ValueError("items of boot already sent cannot change it to " + str(boot))
        for offset in range(len(self)):
            slot = ((self.oldest_seq + offset) & _MASK) % self._slots
            struct.pack_into("<I", self._ring, self._at[slot] + 1, boot)

    def new_session(self) -> None:
        """Forget what was sent: the other side may be another one. History starts again."""
        for slot in range(self._slots):
            if self._sent[slot] > 0:
                self._sent[slot] = _SENT_BEFORE
        self.in_flight = 0
        self._history = self.oldest_seq

    def mark_sent(self, seq: int, now_ms: int) -> None:
        slot = seq % self._slots
        if self._sent[slot] > 0:
            self.resent += 1
        else:
            self.in_flight += 1
        self._sent[slot] = (now_ms & _MS_MASK) + 1

    def next_history(self, now_ms: int, timeout_ms: int, window: int) -> int:
        """The oldest item to send now in the history lane, or -1.

        Items go out once, oldest first, while fewer than `window` are in flight; one that got no
        Ack within `timeout_ms` goes again, and the lane starts over from it.
        """
        if len(self) and self._history == self.next_seq:
            if self._age_ms(self.oldest_seq % self._slots, now_ms) >= timeout_ms:
                self._history = self.oldest_seq
        while self._history != self.next_seq:
            seq = self._history
            slot = seq % self._slots
            done = self._sent[slot] == _DONE
            age_ms = self._age_ms(slot, now_ms)
            due = age_ms >= timeout_ms or (age_ms < 0 and self.in_flight < window)
            if not done and due:
                self._history = (seq + 1) & _MASK
                return seq
            if not done and age_ms < 0:
                # The window is full: wait here, unless the oldest item has been lost on the way,
                # or younger ones that the live lane has sent: nothing else would empty the window.
                if self._age_ms(self.oldest_seq % self._slots, now_ms) >= timeout_ms:
                    self._history = self.oldest_seq
                    continue
                return self._overdue(now_ms, timeout_ms)
            self._history = (seq + 1) & _MASK
        return -1

    def _overdue(self, now_ms: int, timeout_ms: int) -> int:
        """An item that got no Ack in time, or -1; looks at the next few places each call."""
        count = len(self)
        for _ in range(min(_LOOKS, count)):
            self._looked = self._looked + 1 if self._looked + 1 < count else 0
            seq = self.oldest_seq + self._looked
            if self._age_ms(seq % self._slots, now_ms) >= timeout_ms:
                return seq & _MASK
        return -1

    def _age_ms(self, slot: int, now_ms: int) -> int:
        """Time since an item was sent that has no Ack; -1 if it was not."""
        sent = self._sent[slot]
        return ((now_ms - sent + 1) & _MS_MASK) if sent > 0 else -1
