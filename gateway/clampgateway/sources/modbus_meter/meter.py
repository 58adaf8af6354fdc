"""One meter: when it is read, and what becomes of what it said and of what it did not.

Owns the grid of its periods and the way of a reading to items. A reading makes a record; one that
failed makes none and is part of a gap. Where a part of the numbers failed the record has no value
in their place, with the flag `gap`, or `bad` for a channel without any. A meter that is silent for
long is asked more rarely, so that the others on its line do not wait for it, and is offline then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from clampgateway.sources.modbus_meter.bus import Bus, ReadError
from clampgateway.sources.modbus_meter.device import Counts, MeterDevice
from clampgateway.sources.modbus_meter.plan import Block, Packed, Plan, ValueProblem
from clampgateway.sources.modbus_meter.troubles import OVERRUN, Losses, Trouble
from clampwire import messages

_log = logging.getLogger(__name__)

# How often a meter is asked at least that does not answer; and when it is the line that fails.
SILENT_RETRY_US = 10_000_000
LINE_RETRY_US = 1_000_000
# Its link stays open for so long for what is not acknowledged yet.
LINGER_US = 5_000_000


class Meter:
    """One meter on a line. `unit` is its Modbus address there; `key` its device id."""

    def __init__(
        self, key: str, unit: int, plan: Plan, period_s: float, device: MeterDevice
    ) -> None:
        self.key = key
        self._unit = unit
        self._plan = plan
        self._device = device
        self._windows = round(period_s * 1000 / messages.WINDOW_MS)
        self._period_us = self._windows * messages.WINDOW_MS * 1000
        # Places on the grid of periods: the one to be read next, and the last one accounted for.
        self._next = 0
        self._done = -1
        self._good_ms = 0
        self._silent_since_us = 0
        self._whole = Trouble(device, messages.NO_CHANNEL)
        self._channels = [Trouble(device, index) for index in range(len(plan.channels))]
        self._overrun = Losses(device, OVERRUN, messages.NO_CHANNEL)
        self._reads = self._failed = self._partial = self._skipped = self._bad_values = 0

    @property
    def wait_us(self) -> int:
        """How long until it is to be read; below 0 when that is late."""
        return self._next * self._period_us - self._device.now_us

    @property
    def problem(self) -> str:
        """Why nothing comes from it; "" if something does."""
        if self._device.refused:
            return f"{self.key}: {self._device.refused}"
        return f"{self.key}: {self._whole.why}" if self._whole.lasts else ""

    async def read(self, bus: Bus) -> None:
        """Read it now, and tell what came."""
        numbers: list[Packed] = [None] * len(self._plan.fields)
        whys: dict[int, str] = {}
        silent = ""
        answered = False
        for block in self._plan.blocks:
            if silent:
                _blame(whys, block, silent)
                continue
            try:
                words = await bus.read(
                    self._unit, block.function, block.first, block.words, once=self._fails(block)
                )
            except ReadError as error:
                _blame(whys, block, str(error))
                if error.silent:
                    silent = str(error)
                else:
                    answered = True
                continue
            answered = True
            self._decode(block, words, numbers, whys)
        missed = self._next - self._done - 1
        self._done = self._next
        if answered:
            self._came(numbers, whys, missed)
        else:
            self._fell_silent(silent, missed)
        self._plan_next(bus)
        self._device.counts = Counts(self._skipped, self._failed, self._faults)

    def _fails(self, block: Block) -> bool:
        """Whether it is not worth a second try: it failed for long, and others wait."""
        channels = {field.channel for field in block.fields}
        return self._whole.lasts or any(self._channels[each].lasts for each in channels)

    def _decode(
        self, block: Block, words: Sequence[int], numbers: list[Packed], whys: dict[int, str]
    ) -> None:
        for field in block.fields:
            at = field.address - block.first
            try:
                number = field.value(words[at : at + field.words])
            except ValueProblem as problem:
                self._bad_values += 1
                whys.setdefault(field.channel, str(problem))
                continue
            if number is None:
                whys.setdefault(field.channel, f"{field.key} is not available in the meter")
            numbers[field.place] = number

    def _came(self, numbers: Sequence[Packed], whys: dict[int, str], missed: int) -> None:
        device, plan = self._device, self._plan
        device.connect()
        now_ms = device.now_ms
        if self._whole:
            self._failed += missed
            self._whole.succeeded(self._good_ms, now_ms, missed)
        else:
            self._went_past(missed, now_ms)
        for index, trouble in enumerate(self._channels):
            if index in whys:
                trouble.failed(whys[index], self._good_ms, now_ms, 1)
            else:
                trouble.succeeded()
        self._reads += 1
        self._partial += bool(whys)
        device.record(now_ms, self._windows, plan.layout, plan.flags(numbers), plan.pack(numbers))
        self._good_ms = now_ms

    def _fell_silent(self, why: str, missed: int) -> None:
        now_us = self._device.now_us
        if not self._whole:
            self._silent_since_us = now_us
            self._went_past(missed, now_us // 1000)
            missed = 0
        lasted = self._whole.lasts
        self._failed += missed + 1
        self._whole.failed(why, self._good_ms, now_us // 1000, missed + 1)
        if self._whole.lasts and not lasted:
            _log.warning("meter does not answer device=%s unit=%d: %s", self.key, self._unit, why)

    def _went_past(self, missed: int, now_ms: int) -> None:
        """Periods in which the line was too slow, or busy with others."""
        self._skipped += missed
        self._overrun.add(self._good_ms, now_ms, missed)
        self._overrun.tell_old()

    def _plan_next(self, bus: Bus) -> None:
        now_us, period_us = self._device.now_us, self._period_us
        if self._whole.lasts:
            pause_us = SILENT_RETRY_US if bus.is_open else LINE_RETRY_US
            self._next = max(self._next + 1, -(-(now_us + pause_us) // period_us))
        else:
            self._next = max(self._next + 1, now_us // period_us)

    def tend(self) -> None:
        """What time brings to its link; a meter that is silent goes offline."""
        device = self._device
        if self._whole.lasts and device.connected:
            late = device.now_us - self._silent_since_us > LINGER_US
            if not device.kept or (late and not device.paused):
                device.hang_up()
                return
        device.tend()

    def finish(self) -> None:
        """The end: what is known is told, as far as anybody hears it."""
        if self._device.connected:
            for trouble in (self._whole, self._overrun, *self._channels):
                trouble.tell()
        self._device.hang_up()

    @property
    def _faults(self) -> int:
        return self._whole.faults + sum(trouble.faults for trouble in self._channels)

    def stats(self) -> dict[str, object]:
        """Counters since the start.

        `reads` made records, `partial` of them lack something; `failed` and `skipped` periods made
        none: the meter was silent, the line too slow. `bad_values` were no numbers or not within
        the range that the profile gives.
        """
        troubles = dict(zip(self._plan.channels, self._channels, strict=True))
        return {
            "unit": self._unit,
            "online": self._device.connected,
            "error": self._whole.why,
            "channel_errors": {key: each.why for key, each in troubles.items() if each},
            "reads": self._reads,
            "partial": self._partial,
            "failed": self._failed,
            "skipped": self._skipped,
            "bad_values": self._bad_values,
            "faults": self._faults,
            **self._device.stats(),
        }


def _blame(whys: dict[int, str], block: Block, why: str) -> None:
    for field in block.fields:
        whys.setdefault(field.channel, why)
