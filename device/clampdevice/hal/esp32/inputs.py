"""Digital inputs: edges by soft interrupt, and the count of a pulse counter to check them.

This port has no hard interrupts: a handler waits until the interpreter is free, its time is late
by as much, and when eight callbacks wait already, the next is dropped in silence. So an edge here
has a time good to some milliseconds, and where the chip has a pulse counter (`machine.Counter`)
it counts the rising edges exactly: what the handlers did not see is `edges_lost`. Debouncing is
`clampdevice.status`.

Ref: MicroPython ports/esp32/machine_pin.c (irq: handler, trigger, wake; no `hard`); docs/library/
machine.Counter.rst.
"""

from array import array

from clampdevice.ticks import TICKS_MASK, ticks_diff

EDGES = 64  # a power of two


class Inputs:
    """Source of edges; see `clampdevice.hal` for the interface.

    Args:
        config: `sources.inputs` of board.json: `pins`, the GPIO of each input by its index;
            optional `active_low`: 1 means connected to ground.
        indices: the inputs that are used.
        pin: `machine.Pin`.
        ticks_us: `time.ticks_us`.
        new_counter: called with a number and a pin; an object with `value()` that counts rising
            edges of the pin, or None.

    Attributes:
        edges_lost: edges that no handler saw, as far as level, ring or counter show it.

    Raises:
        ValueError: an index without a pin.
    """

    def __init__(self, config: dict, indices: list, pin, ticks_us, new_counter) -> None:
        pins = config.get("pins", [])
        self._inverted = 1 if config.get("active_low", True) else 0
        self._ticks_us = ticks_us
        self._times = array("I", bytes(4 * EDGES))
        self._what = bytearray(EDGES)
        self._head = self._tail = 0
        self.edges_lost = 0
        self._levels = bytearray(len(pins))  # as the handlers saw them last
        self._told = bytearray(len(pins))  # as `take` told them
        self._rising = array("I", bytes(4 * len(pins)))  # seen by the handlers, of the pin itself
        self._pins: list = [None] * len(pins)
        self._counters: list = [None] * len(pins)
        self._checked = array("i", bytes(4 * len(pins)))  # pulses lost by the counter, told
        self._excess = array("i", bytes(4 * len(pins)))  # of the counter, one look ago
        self._edge = [0, 0, 0]
        self._pin = pin
        for index in indices:
            if not 0 <= index < len(pins):
                raise ValueError(f"inputs: no pin for input {index} in pins {pins}")
            pull = pin.PULL_UP if self._inverted else pin.PULL_DOWN
            self._pins[index] = pin(pins[index], pin.IN, pull)
            self._counters[index] = new_counter(index, self._pins[index])

    @property
    def counted(self) -> list:
        """Indices of the inputs that a pulse counter checks."""
        return [i for i, counter in enumerate(self._counters) if counter is not None]

    def start(self, now_us: int) -> None:
        """Edges count from `now_us` on."""
        self._head = self._tail = 0
        for index, pin in enumerate(self._pins):
            if pin is None:
                continue
            level = pin.value() ^ self._inverted
            self._levels[index] = self._told[index] = level
            self._rising[index] = 0
            self._checked[index] = self._excess[index] = 0
            if self._counters[index] is not None:
                self._counters[index].value(0)
            handler = _Handler(self, index, pin).edge
            pin.irq(handler=handler, trigger=self._pin.IRQ_RISING | self._pin.IRQ_FALLING)

    def close(self) -> None:
        """Ends the interrupts."""
        for pin in self._pins:
            if pin is not None:
                pin.irq(handler=None)

    def level(self, index: int) -> int:
        """The level after the last edge taken."""
        return self._told[index]

    def take(self, now_us: int) -> list | None:
        """The next edge [index, level, at_us], oldest first, or None."""
        if self._tail == self._head:
            self._check()
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

    def _check(self) -> None:
        """What no handler told: the level as it is now, and the edges that were counted."""
        for index, pin in enumerate(self._pins):
            if pin is None:
                continue
            counter = self._counters[index]
            if counter is not None:
                # An edge whose handler waits is no loss, so only what is there twice counts.
                excess = counter.value() - self._rising[index]
                if excess == self._excess[index] and excess > self._checked[index]:
                    self.edges_lost += 2 * (excess - self._checked[index])
                    self._checked[index] = excess
                self._excess[index] = excess
            if pin.value() ^ self._inverted != self._levels[index]:
                self.note(index, pin.value())

    def note(self, index: int, raw: int) -> None:
        """Called by the handler: the pin is at `raw`.

        It may come in between when `take` notes the same edge; then the edge is told twice, with
        one level, which debouncing ignores.
        """
        level = raw ^ self._inverted
        if level == self._levels[index]:
            if self._counters[index] is None:
                self.edges_lost += 2  # there and back before the handler looked
            return
        if ((self._head - self._tail) & TICKS_MASK) >= EDGES:
            if self._counters[index] is None:
                self.edges_lost += 1
            return
        self._levels[index] = level
        if raw:
            self._rising[index] += 1
        slot = self._head % EDGES
        self._times[slot] = self._ticks_us() & TICKS_MASK
        self._what[slot] = index << 1 | level
        self._head = (self._head + 1) & TICKS_MASK


class _Handler:
    """The interrupt of one pin."""

    def __init__(self, inputs: Inputs, index: int, pin) -> None:
        self._note = inputs.note
        self._index = index
        self._pin = pin

    def edge(self, _pin) -> None:
        self._note(self._index, self._pin.value())
