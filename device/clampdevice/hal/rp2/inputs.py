"""Digital inputs: edges with their time, by hard interrupt into a ring that counts what it loses.

Owns the pins and the ring. A handler runs in some 30 us, also during a garbage collection; a
flash erase holds it up, then an edge comes with a late time, and a pair of edges in that time
cannot be seen: it is counted where the level shows it. Debouncing is `clampdevice.status`.
"""

from array import array

from clampdevice.hal.rp2.fast import TICKS_MASK, ticks_diff

EDGES = 64  # a power of two


class Inputs:
    """Source of edges; see `clampdevice.hal` for the interface.

    Args:
        config: `sources.inputs` of board.json: `pins`, the GPIO of each input by its index;
            optional `active_low`: 1 means connected to ground.
        indices: the inputs that are used.
        pin: `machine.Pin`.
        ticks_us: `time.ticks_us`.

    Attributes:
        edges_lost: edges that found the ring full, or came in pairs too fast to be seen.

    Raises:
        ValueError: an index without a pin.
    """

    turn_ms = 20  # edges carry their time; the ring of them is what must not fill

    def __init__(self, config: dict, indices: list, pin, ticks_us) -> None:
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
        for index in indices:
            if not 0 <= index < len(pins):
                raise ValueError(
                    "inputs: no pin for input " + str(index) + " in pins " + str(pins)
                )
            pull = pin.PULL_UP if self._inverted else pin.PULL_DOWN
            self._pins[index] = pin(pins[index], pin.IN, pull)

    def start(self, now_us: int) -> None:
        """Edges count from `now_us` on."""
        self._head = self._tail = 0
        for index, pin in enumerate(self._pins):
            if pin is not None:
                level = pin.value() ^ self._inverted
                self._levels[index] = self._told[index] = level
                handler = _Handler(self, index, pin).edge
                pin.irq(handler, self._pin.IRQ_RISING | self._pin.IRQ_FALLING, hard=True)

    def close(self) -> None:
        """Ends the interrupts."""
        for pin in self._pins:
            if pin is not None:
                pin.irq(None)

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
