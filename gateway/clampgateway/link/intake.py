"""From spooled messages to items: which description they are read with, and when they happened.

Owns the fast path of a Record. Items that come before the device's clock is known are held for a
moment, unacknowledged, because the first Time answer is on its way behind them; what cannot be
dated then enters as not synced. Items of an earlier power-up are dated by its own clock, if we
heard it then.
"""

from __future__ import annotations

import struct

from clampgateway.clocksync import ClockSync, Fits
from clampgateway.descriptions import Descriptions
from clampgateway.model import RECORD, Description, Item
from clampwire.codec import Codec, WireError

HOLD_US = 2_000_000
HELD_MAX = 256

# type, boot, seq, end_ms (40 bit), windows, layout; then the length of the flags.
_RECORD_HEAD = struct.Struct("<BIIIBBB")
_ITEM_HEAD = struct.Struct("<BIIIB")
_FLAGS_AT = _RECORD_HEAD.size
_CODEC = Codec()


class Intake:
    """Items of one link. Counters: `taken`, `undescribed`, `malformed`, `unsynced`; `older_synced`
    of an earlier power-up.

    `boot` is that of the device's present power-up, as far as we know; `own` says that an item of
    it came, which makes it certain. `highest_boot`: of all items of this device so far, 0 before
    the first.
    """

    def __init__(self, clock: ClockSync, descriptions: Descriptions) -> None:
        self._clock = clock
        self._descriptions = descriptions
        self._device = ""
        self._fits = Fits()
        self._crc: int | None = None
        self._layouts: dict[int, int] = {}
        self._items: list[Item] = []
        self._held: list[tuple[int, int, int, int, int, bytes]] = []
        self._hold_until_us = 0
        self._holding = False
        self.boot = 0
        self.own = False
        self.highest_boot = 0
        self.taken = 0
        self.undescribed = 0
        self.malformed = 0
        self.unsynced = 0
        self.older_synced = 0

    def begin(self, device: str, boot: int, now_us: int, fits: Fits) -> None:
        """A session begins: nothing of the last one's layouts or clock holds any more.

        `fits`: of the device's power-ups so far.
        """
        self.release()
        if device != self._device:
            self._device, self.highest_boot = device, 0
        self.boot = boot
        self.own = False
        self._fits = fits
        self._crc = None
        self._layouts = {}
        self._holding = not self._clock.synced
        self._hold_until_us = now_us + HOLD_US

    def describe(self, description: Description) -> None:
        """Items that come from now on are read with this description."""
        self._crc = description.crc
        self._layouts[description.layout] = description.crc

    @property
    def described(self) -> bool:
        return self._crc is not None

    def take(self, payload: bytes) -> bool:
        """Take a spooled message. False if it was not ingested (counted): it will come again."""
        if payload[0] == RECORD:
            return self._take_record(payload)
        try:
            _CODEC.decode(payload)
        except WireError:
            self.malformed += 1
            return False
        if self._crc is None:
            self.undescribed += 1
            return False
        kind, boot, seq, low, high = _ITEM_HEAD.unpack_from(payload)
        self._enter(boot, seq, kind, low | high << 32, self._crc, payload)
        return True

    def _take_record(self, payload: bytes) -> bool:
        size = len(payload)
        if size <= _FLAGS_AT:
            self.malformed += 1
            return False
        kind, boot, seq, low, high, _windows, layout = _RECORD_HEAD.unpack_from(payload)
        values_at = _FLAGS_AT + 1 + payload[_FLAGS_AT]
        if values_at >= size or values_at + 1 + payload[values_at] > size:
            self.malformed += 1
            return False
        crc = self._layouts.get(layout)
        if crc is None:
            crc = self._older(layout)
            if crc is None:
                self.undescribed += 1
                return False
        self._enter(boot, seq, kind, low | high << 32, crc, payload)
        return True

    def _older(self, layout: int) -> int | None:
        """A record made under an earlier description that we still know."""
        known = self._descriptions.by_layout(self._device, layout)
        if known is None:
            return None
        self._layouts[layout] = known.crc
        return known.crc

    def _enter(
        self, boot: int, seq: int, kind: int, end_ms: int, crc: int, payload: bytes
    ) -> None:
        self.taken += 1
        if boot > self.highest_boot:
            self.highest_boot = boot
            # It may be above that of Hello: the device took one above what our Welcome told.
            self.boot = max(boot, self.boot)
        if self._holding:
            self._held.append((boot, seq, kind, end_ms, crc, payload))
            if len(self._held) >= HELD_MAX:
                self.release()
            return
        if boot == self.boot:
            self.own = True
            utc_ms, synced = self._clock.to_utc_ms(end_ms)
        else:
            # Ticks of an earlier power-up count from another zero.
            fit = self._fits.get(boot)
            utc_ms, synced = self._clock.to_utc_ms_by(fit, end_ms) if fit else (0, 0)
            self.older_synced += synced > 0
        if not synced:
            self.unsynced += 1
        self._items.append(
            Item(self._device, boot, seq, kind, end_ms, utc_ms, synced, crc, payload)
        )

    def settle(self, now_us: int) -> None:
        """End the holding when the clock is known, or when it took too long."""
        if self._holding and (self._clock.synced or now_us >= self._hold_until_us):
            self.release()

    def release(self) -> None:
        """Let the held items enter, dated if the clock is known by now."""
        self._holding = False
        held, self._held = self._held, []
        self.taken -= len(held)
        for entry in held:
            self._enter(*entry)

    def stats(self) -> dict[str, float]:
        return {
            "items": self.taken,
            "undescribed": self.undescribed,
            "malformed": self.malformed,
            "unsynced": self.unsynced,
            "older_synced": self.older_synced,
        }

    def take_items(self) -> list[Item]:
        """The items ready for commit, in the order they came; they are handed out once."""
        items, self._items = self._items, []
        return items
