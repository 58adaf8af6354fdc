"""Digital inputs: edges with their time, by hard interrupt into a ring that counts what it loses.

Owns the pins and the ring. A handler runs in some 30 us, also during a garbage collection; a
flash erase holds it up, then an edge comes with a late time, and a pair of edges in that time
cannot be seen: it is counted where the level shows it. Debouncing is `clampdevice.status`.

What a channel counts is counted in hardware, by `pulses.py`, which is loaded for that alone; its
edges come only if its state, its events or its role need them.
"""

from array import array

from clampdevice.ticks import TICKS_MASK, ticks_diff

EDGES = 64  # a power of two
# Edges carry their time; the ring of them is what must not fill: with contacts, and with pulses.
_TURN_MS = 60
_PULSES_TURN_MS = 20


class Inputs:
    """Source of edges; see `clampdevice.hal` for the interface.

    Args:
        config: `sources.inputs` of board.json: `pins`, the GPIO of each input by its index;
            optional `active_low`: 1 means connected to ground.
        channels: the channels of board.json that are inputs.
        pin: `machine.Pin`.
        ticks_us: `time.ticks_us`.
        rp2: the module of that name.

    Attributes:
        edges_lost: edges that found the ring full, or came in pairs too fast to be seen.
        soft_counts: where something counts, the inputs that found no counter in hardware: their
            edges are counted, and those lost are pulses lost.
        turn_ms: how often somebody should call `take`.
        count_faults: where something counts, how often hardware gave no count when asked; the
            one before it stands.

    Raises:
        ValueError: an index without a pin; one input counted with two filters.
    """

    def __init__(self, config: dict, channels: list, pin, ticks_us, rp2) -> None:
        pins = config.get("pins", [])
        self._inverted = 1 if config.get("active_low", True) else 0
        self._ticks_us = ticks_us
        self._times = array("I", bytes(4 * EDGES))
        self._what = bytearray(EDGES)
        self._head = self._tail = 0
        self.edges_lost = 0
        self._levels = bytearray(len(pins))  # as the handlers saw them last
        self._told = bytearray(len(pins))  # as `take` told them
        self._pins = [None] * len(pins)
        self._edge = [0, 0, 0]
        self._pin = pin
        for part in channels:
            index = part["index"]
            if not 0 <= index < len(pins):
                raise ValueError(
                    "inputs: no pin for input " + str(index) + " in pins " + str(pins)
                )
            pull = pin.PULL_UP if self._inverted else pin.PULL_DOWN
            self._pins[index] = pin(pins[index], pin.IN, pull)
        self._counters = None
        counting = [part for part in channels if "count" in part.get("features", ())]
        self.turn_ms = _PULSES_TURN_MS if counting else _TURN_MS
        if counting:
            self._count(counting, rp2)
        self._watched = bytearray(len(pins))
        for part in channels:
            self._watched[part["index"]] |= self._is_watched(part)

    def _count(self, counting: list, rp2) -> None:
        """Counters for what counts, as far as there are any."""
        from clampdevice.hal.rp2.pulses import FILTER_MS, PulseCounters

        self._counters = PulseCounters(rp2, bool(self._inverted))
        self.soft_counts = self.count_faults = 0
        filters: dict = {}
        for part in counting:
            index = part["index"]
            filter_ms = part.get("debounce_ms", FILTER_MS)
            if index not in filters:
                filters[index] = filter_ms
                if not self._counters.add(index, self._pins[index], filter_ms):
                    self.soft_counts += 1
            elif filters[index] != filter_ms:
                raise ValueError(
                    "inputs: input " + str(index) + " is counted with debounce_ms of "
                    + str(filters[index]) + " and of " + str(filter_ms) + "; keep one"
                )  # fmt: skip

    def _is_watched(self, part: dict) -> bool:
        """Whether a channel needs the edges of its input."""
        counters = self._counters
        return (
            counters is None
            or not counters.has(part["index"])
            or "state" in part.get("features", ("state",))
            or bool(part.get("events") or part.get("role"))
        )

    def pulses(self, index: int) -> int | None:
        """Pulses that hardware counted at an input since power-up; None where it does not."""
        counters = self._counters
        if counters is None or not counters.has(index):
            return None
        count = counters.pulses(index)
        self.count_faults = counters.faults
        return count

    def start(self, now_us: int) -> None:
        """Edges count from `now_us` on."""
        self._head = self._tail = 0
        for index, pin in enumerate(self._pins):
            if pin is not None:
                level = pin.value() ^ self._inverted
                self._levels[index] = self._told[index] = level
                if self._watched[index]:
                    handler = _Handler(self, index, pin).edge
                    pin.irq(handler, self._pin.IRQ_RISING | self._pin.IRQ_FALLING, hard=True)
        if self._counters is not None:
            self._counters.start()

    def close(self) -> None:
        """Ends the interrupts and the counters."""
        for index, pin in enumerate(self._pins):
            if pin is not None and self._watched[index]:
                pin.irq(None)
        if self._counters is not None:
            self._counters.close()

    def level(self, index: int) -> int:
        """The level after the last edge taken."""
        return self._told[index]

    def take(self, now_us: int) -> list | None:
        """The next edge [index, level, at_us], oldest first, or None."""
        if self._tail == self._head:
            return None
        slot = self._tail % EDGES
        what = self._what[slot]
        ago_us = ticks_diff(self._ticks_us(), self._times[slot])
        self._tail = (self._tail + 1) & TICKS_MASK
        edge = self._edge
        edge[0] = what >> 1
        edge[1] = what & 1
        edge[2] = now_us - max(0, ago_us)
        self._told[what >> 1] = what & 1
        return edge

    def note(self, index: int, level: int) -> None:
        """Called by a hard interrupt: must not allocate."""
        level ^= self._inverted
        if level == self._levels[index]:
            self.edges_lost += 2  # there and back before the handler looked
            return
        if ((self._head - self._tail) & TICKS_MASK) >= EDGES:
            self.edges_lost += 1
            return
        self._levels[index] = level
        slot = self._head % EDGES
        self._times[slot] = self._ticks_us()
        self._what[slot] = index << 1 | level
        self._head = (self._head + 1) & TICKS_MASK


class _Handler:
    """The interrupt of one pin; a bound method made beforehand, since it may not allocate."""

    def __init__(self, inputs: Inputs, index: int, pin) -> None:
        self._note = inputs.note
        self._index = index
        self._pin = pin

    def edge(self, _pin) -> None:
        self._note(self._index, self._pin.value())
