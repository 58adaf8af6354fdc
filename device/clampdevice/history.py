"""What the RAM could not hold: moved into the flash ring, sent from there oldest first, freed.

It owns what goes down and in which form, the lane from the ring to the link, and what must be said
to be lost. A range is delivered fine or condensed, never both:

- only records that were never sent are condensed, so no gateway can have one of them already;
- a group leaves the RAM in the same call in which its condensed record enters the ring's buffer;
- that record is sent from the ring alone, and a power cut that loses it has lost the RAM as well.

What was sent and not acknowledged, and what is no record, goes down as it is. Pages are
`flashring.py`, arithmetic `condense.py`, the RAM `spool.py`.
"""

import struct

from clampdevice.flashring import ERASE
from clampdevice.spool import POWER_CUT, SPOOL_FULL, Loss
from clampwire.messages import GAP_REASONS, MESSAGES, NO_CHANNEL, TO_THE_END, code_of

GROUP = 10
# Numbers that a group may span, with the events and gaps between its records.
SPAN_MAX = 16
# The sampler must hold this long from now: the worst of the flash, and what is read beside it.
PROGRAM_US = 250000
ERASE_US = 405000
# So long an erase waits for that. Then it is done all the same: samples that it costs are counted
# and told, while a ring that stands still would lose records by the minute.
PATIENCE_MS = 10000
# Items of the lane that nobody acknowledges hold it up no longer than this many sendings.
TRIES_MAX = 5
FLIGHT_MAX = 48

_MASK = 0xFFFFFFFF
_RECORD = next(code for code, name, _fields in MESSAGES if name == "Record")
_GAP = next(code for code, name, _fields in MESSAGES if name == "Gap")
_HEAD = "<BIIIB"
_NOTE = "<IIB"
_LOSS = "<IBBIIIBIBI"
_LOSSES_KEPT = 7
# An item may lie on two pages; those of a group with its events, on so many.
_LAST_PAGES = 9


class History:
    """The layer below the spool.

    Args:
        ring: a `flashring.FlashRing`; its `on_drop` and `make_note` are set here.
        spool: the RAM; losses are told through its list.
        condenser: a `condense.Condenser`.
        boot: the number of this power-up, above `highest_boot(ring)`.

    Attributes:
        waiting: whether there may be something that the lane has not sent.
        cut: the Loss that says what the last power-up took with it; it must be told by this
            power-up's first item.
        condensed: records that were condensed. moved: items that went down as they were.
        dropped: items that the ring had no room for. resent, longest_us, forced: for Status.
    """

    def __init__(self, ring, spool, condenser, boot: int) -> None:
        self.ring = ring
        self._spool = spool
        self._condenser = condenser
        self.boot = boot
        self._renamed = (0, 0)
        self._told: list = []  # (seq of the Gap, Loss) not yet acknowledged
        self._flight: list = []  # [boot, seq, position, device ms of the last sending, sendings]
        self._next = ring.tail
        self._here: tuple = (0, 0)  # boot and seq of what the lane read last
        self._waits_since = -1
        self._gone = spool.dropped
        self.waiting = True
        self.condensed = self.moved = self.dropped = self.resent = 0
        self.longest_us = self.forced = 0
        self._read_note(ring.note)
        self.cut = self._find_cut()
        ring.on_drop = self._dropped
        ring.make_note = self._note

    def counts(self) -> dict:
        """For the command `status`."""
        pages = self.ring.pages
        return {
            "condensed": self.condensed,
            "moved": self.moved,
            "flash_dropped": self.dropped,
            "flash_erases": pages.erases,
            "flash_programs": pages.programs,
            "flash_failed": pages.failed_programs,
            "flash_crc_errors": self.ring.crc_errors,
            "flash_forced": self.forced,
            "flash_longest_us": self.longest_us,
        }

    # --- start ----------------------------------------------------------------------------------

    def _find_cut(self) -> Loss:
        """All behind the last item of the ring; a group that was being moved may be behind it.

        A Gap for it is the first item of a power-up, so it goes down before any other: whatever
        of that power-up the ring holds, the one before is told of.
        """
        last = last_item(self.ring)
        if last is None:
            return Loss(POWER_CUT, NO_CHANNEL, 0, TO_THE_END, (0, 0), 0, 1)
        boot, seq, end_ms = last
        first = max(0, seq - SPAN_MAX + 2)
        return Loss(
            POWER_CUT, NO_CHANNEL, first, TO_THE_END, (end_ms, end_ms), 0, self._name(boot)
        )

    def _read_note(self, note: bytes) -> None:
        if len(note) < struct.calcsize(_NOTE):
            return
        old, new, count = struct.unpack_from(_NOTE, note, 0)
        self._renamed = (old, new)
        at = struct.calcsize(_NOTE)
        for _ in range(count):
            part = struct.unpack_from(_LOSS, note, at)
            at += struct.calcsize(_LOSS)
            span = (part[5] | part[6] << 32, part[7] | part[8] << 32)
            self._spool.lost(
                Loss(part[1], part[2], part[3], part[4], span, part[9], self._name(part[0]))
            )

    def _note(self) -> bytes:
        """What a header keeps: the losses of which nobody has acknowledged the Gap."""
        losses = [loss for _seq, loss in self._told] + self._spool.losses
        losses = losses[:_LOSSES_KEPT]
        note = struct.pack(_NOTE, self._renamed[0], self._renamed[1], len(losses))
        for loss in losses:
            note += struct.pack(
                _LOSS,
                loss.boot or self.boot,
                loss.reason,
                loss.channel,
                loss.first,
                loss.last,
                loss.from_ms & _MASK,
                loss.from_ms >> 32,
                loss.to_ms & _MASK,
                loss.to_ms >> 32,
                loss.samples & _MASK,
            )
        return note

    def rename(self, boot: int) -> None:
        """This power-up has another number now, before anything of it was sent."""
        if self.moved or self.condensed:
            self._renamed = (self.boot, boot)
            self.ring.save()
        self.boot = boot

    def _name(self, boot: int) -> int:
        return self._renamed[1] if boot and boot == self._renamed[0] else boot

    # --- down -----------------------------------------------------------------------------------

    def work(self, now_ms: int, room, ticks_us) -> bool:
        """Move one item or group, or do one step of the flash. False if there was nothing to do.

        `room(us)`: how long the sampler needs nobody, from now; it may do what it can to make
        that `us`. Called before a step of the flash alone.
        """
        if self._gone != self._spool.dropped:
            # What RAM had to drop is told after a power cut, too, though younger items are here.
            self._gone = self._spool.dropped
            self.ring.save()
        due = self.ring.due()
        if due and self._step(ERASE_US if due == ERASE else PROGRAM_US, now_ms, room, ticks_us):
            return True
        return self._spool.crowded and self.move()

    def _step(self, needed_us: int, now_ms: int, room, ticks_us) -> bool:
        """One step of the flash, which takes up to `needed_us`; False if it has to wait."""
        if self._waits_since < 0:
            self._waits_since = now_ms
        patient = now_ms - self._waits_since < PATIENCE_MS
        headroom_us = room(needed_us)
        if headroom_us < needed_us and patient:
            return False
        self.forced += headroom_us < needed_us
        self._waits_since = -1
        begun_us = ticks_us()
        self.ring.step()
        self.longest_us = max(self.longest_us, (ticks_us() - begun_us) & 0x3FFFFFFF)
        return True

    def move(self) -> bool:
        """Move the oldest of the RAM down; False if the ring has no room before its next step."""
        spool, ring, condenser = self._spool, self.ring, self._condenser
        first, last = self._group()
        self.waiting = True
        if condenser.count < 2:
            if not ring.put(spool.payload(first)):
                return False
            spool.moved(first)
            self.moved += 1
            return True
        for offset in range((last - first) & _MASK):
            seq = (first + offset) & _MASK
            if spool.waits(seq) and spool.payload(seq)[0] != _RECORD:
                if not ring.put(spool.payload(seq)):
                    return False
                spool.moved(seq)
                self.moved += 1
        if not ring.put(condenser.payload()):
            return False
        self.condensed += condenser.count
        for offset in range(((last - first) & _MASK) + 1):
            seq = (first + offset) & _MASK
            if spool.waits(seq):
                spool.moved(seq)
        return True

    def _group(self) -> tuple:
        """First and last number of the records that the condenser has taken, oldest first."""
        spool, condenser = self._spool, self._condenser
        condenser.clear()
        first = last = spool.oldest_seq
        for offset in range(min(SPAN_MAX, len(spool))):
            seq = (first + offset) & _MASK
            payload = spool.payload(seq)
            if payload[0] == _RECORD:
                if not spool.waits(seq) or spool.was_sent(seq) or not condenser.add(payload):
                    break
                last = seq
                if condenser.count == GROUP:
                    break
            elif not condenser.count:
                break
        return first, last

    def _dropped(self, payload) -> None:
        """The ring is full: an item goes unread. Ranges of one power-up are told as one."""
        self.dropped += 1
        code, boot, seq, low, high = struct.unpack_from(_HEAD, payload, 0)
        boot = self._name(boot)
        at_ms = low | high << 32
        first = seq
        from_ms = at_ms
        if code == _RECORD:
            first, windows = record_span(payload)
            from_ms = max(0, at_ms - windows * 200)
        elif code == _GAP:
            self._spool.retell(payload, boot)
            self._told = [told for told in self._told if (boot, seq) != (self.boot, told[0])]
        loss = Loss(SPOOL_FULL, NO_CHANNEL, first, seq, (from_ms, at_ms), 0, boot)
        for known in self._spool.losses:
            if known.takes(loss, False):
                return
        self._spool.lost(loss)

    # --- up -------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Items of the lane that were sent and not acknowledged."""
        return len(self._flight)

    def new_session(self) -> None:
        """Nothing is on its way; the lane begins at its oldest item."""
        self._flight = []
        self._next = self.ring.tail
        self.waiting = True

    def next(self, now_ms: int, timeout_ms: int, window: int) -> memoryview | None:
        """The payload to send now: what got no Ack in time, else the oldest that was not sent."""
        ring = self.ring
        if self._next < ring.tail:
            self._next = ring.tail
            self._flight = [entry for entry in self._flight if entry[2] >= ring.tail]
        busy = 0
        for entry in self._flight:
            patience = timeout_ms * entry[4]
            if now_ms - entry[3] >= patience:
                return self._again(entry, now_ms)
            busy += entry[4] <= TRIES_MAX
        if len(self._flight) >= FLIGHT_MAX:
            self.waiting = False  # nobody takes these: what is younger must not wait for them
            return None
        if busy >= window:
            return None
        found = ring.read(self._next)
        if found is None:
            self.waiting = False
            return None
        payload, self._next = found
        boot, seq = self._named(payload)
        if ring.damaged:
            ring.damaged = False
            self._damaged(boot, seq, payload)
        self._here = (boot, seq)
        self._flight.append([boot, seq, ring.begun, now_ms, 1])
        return payload

    def _again(self, entry: list, now_ms: int) -> memoryview | None:
        found = self.ring.read(entry[2])
        if found is None or self._named(found[0]) != (entry[0], entry[1]):
            # Its page had to be programmed elsewhere, or went bad: begin again from the oldest.
            self.new_session()
            return None
        entry[3] = now_ms
        entry[4] += 1
        self.resent += 1
        return found[0]

    def _named(self, payload) -> tuple:
        """(boot, seq) by which a payload goes out; the number of a power-up may have changed."""
        boot, seq = struct.unpack_from("<II", payload, 1)
        if boot == self._renamed[0] and boot:
            boot = self._renamed[1]
            struct.pack_into("<I", payload, 1, boot)
        return boot, seq

    def _damaged(self, boot: int, seq: int, payload) -> None:
        """Between what was read last and this, a page is bad: what was on it is lost."""
        old, last = self._here
        if payload[0] == _RECORD:
            seq = record_span(payload)[0]
        first, end = (last + 1, seq - 1) if old == boot else (last + 1 if old else 0, TO_THE_END)
        reason = code_of(GAP_REASONS, "flash_error")
        self._spool.lost(
            Loss(reason, NO_CHANNEL, first & _MASK, end & _MASK, (0, 0), 0, old or boot)
        )

    def tells(self, seq: int, loss: Loss) -> None:
        """The Gap `seq` of this power-up tells `loss`: kept in the ring's note until its Ack."""
        self._told.append((seq, loss))
        del self._told[:-_LOSSES_KEPT]

    def ack(self, boot: int, first: int, last: int) -> int:
        """Free what an Ack names; returns how many items of the lane that were."""
        span = (last - first) & _MASK
        left = [
            entry
            for entry in self._flight
            if entry[0] != boot or ((entry[1] - first) & _MASK) > span
        ]
        named = len(self._flight) - len(left)
        if named:
            self._flight = left
            self.ring.free(left[0][2] if left else self._next)
            if not left:
                self._next = self.ring.tail
        if self._told and boot == self.boot:
            told = [entry for entry in self._told if ((entry[0] - first) & _MASK) > span]
            if len(told) < len(self._told):
                self._told = told
                if len(self.ring.note) > struct.calcsize(_NOTE):
                    self.ring.save()
        return named


def record_span(payload) -> tuple:
    """(first number, windows) that a Record stands for: a condensed one says how many before."""
    seq = struct.unpack_from("<I", payload, 5)[0]
    at = 17 + payload[16]
    at += 1 + payload[at]
    before = struct.unpack_from("<H", payload, at)[0] if len(payload) >= at + 2 else 0
    return (seq - before) & _MASK, payload[14]


def last_item(ring) -> tuple | None:
    """(boot, seq, end in ms) of the newest item that is in flash, needed or not; None without."""
    last = None
    at = max(ring.first_page, ring.head - _LAST_PAGES) << 8
    found = ring.read(at)
    while found is not None:
        _code, boot, seq, low, high = struct.unpack_from(_HEAD, found[0], 0)
        last = (boot, seq, low | high << 32)
        found = ring.read(found[1])
    ring.damaged = False
    return last
