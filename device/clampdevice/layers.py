"""The spool's second layer in a device: opened at start, kept going while nobody listens.

Owns what a board without a ring, or with one that may not be used, does instead, and when the
flash may work. The layer itself is `history.py`; a board that has none loads nothing of it.
"""

import asyncio
import gc

from clampdevice.borrow import Borrowed
from clampdevice.spool import POWER_CUT, Loss
from clampwire.messages import NO_CHANNEL, TO_THE_END

SECTOR = 4096
IDLE_S = 0.1
# From here to its end a window is too old for a step of the flash: what was sampled meanwhile is
# taken faster than new comes, and a record costs that lead if it is due before there is any.
LATE_US = 60000


class Layers:
    """What is below the spool of one power-up.

    Args:
        part: `spool` of board.json: `flash_start` and `flash_bytes`, where there is a ring.
        hal: has `ring_flash(start, size)`: an object with read, program and erase for the ring;
            raises ValueError where it may not be used.

    Attributes:
        problem: why there is no ring although board.json has one; "" if all is well.
        highest_boot: of what is in flash, 0 if nothing is.
        history: after `open`; None without a ring.
    """

    def __init__(self, part: dict, hal) -> None:
        self.problem = ""
        self.history = None
        self._ring = None
        self.highest_boot = 0
        size = part.get("flash_bytes", 0)
        if not size:
            return
        if not hasattr(hal, "ring_flash"):
            self.problem = "spool.flash_bytes: the spool of this chip is in RAM alone"
            return
        try:
            flash = hal.ring_flash(part["flash_start"], size)
        except ValueError as error:
            self.problem = str(error)
            return
        from clampdevice.flashring import FlashRing
        from clampdevice.history import last_item

        with Borrowed():
            self._ring = FlashRing(flash, size // SECTOR)
        last = last_item(self._ring)
        if last is not None:
            self.highest_boot = last[0]

    def open(self, spool, describes, boot: int) -> None:
        """Join it to the spool of the power-up `boot`, which is above `highest_boot`."""
        if self._ring is not None:
            from clampdevice.condense import Condenser
            from clampdevice.history import History

            self.history = History(self._ring, spool, Condenser(describes), boot)

    def cut(self) -> Loss:
        """What the power-ups before took with them, for the first item of this one."""
        if self.history is not None:
            return self.history.cut
        return Loss(POWER_CUT, NO_CHANNEL, 0, TO_THE_END, (0, 0), 0, 1)

    async def run(self, clock, sources, ticks_us, measure) -> None:
        """Work while there is something to do, a piece at a time.

        `sources`: block sources; one that has `headroom_us()` is asked how long it needs nobody.
        `measure` takes from them: its turn is right before and right after each piece.
        """
        history = self.history
        if history is None:
            return
        room = Room(clock, sources, measure)
        while True:
            done = history.work(clock.now_ms(), room.make, ticks_us)
            if done:
                measure.drain(clock)
            await asyncio.sleep(0 if done else IDLE_S)


class Room:
    """The time that the sampler can spare, made as long as it gets.

    A ring of half a second lasts over an erase only if it is empty when that begins, and if
    nothing else, a collection of garbage least of all, comes before it is emptied again.
    """

    def __init__(self, clock, sources, measure) -> None:
        self._clock = clock
        self._asked = [source for source in sources if hasattr(source, "headroom_us")]
        self._measure = measure

    def make(self, needed_us: int) -> int:
        """How long the sampler needs nobody, from now; 0 if a window is about to end."""
        if not self._asked:
            return 1000000
        self._measure.drain(self._clock)
        room_us = self._least_us()
        if room_us >= needed_us:
            gc.collect()
            self._measure.drain(self._clock)
            room_us = self._least_us()
        return room_us

    def _least_us(self) -> int:
        if self._measure.window_end_us - self._clock.now_us() < LATE_US:
            return 0
        return min([source.headroom_us() for source in self._asked])
