"""Existing energy meters, read by Modbus RTU and TCP: each becomes a device like any other.

Owns the task of one line: which meter is read when, one at a time. The line is `bus.py`, what
becomes of a reading `meter.py`, the device's side of a link `device.py`, which registers mean what
`profile.py` and `plan.py`.
"""

from __future__ import annotations

import asyncio
import logging

from clampgateway.clocksync import Clocks
from clampgateway.committer import Committer
from clampgateway.link import Links
from clampgateway.sources.modbus_meter.bus import Bus
from clampgateway.sources.modbus_meter.device import About, MeterDevice
from clampgateway.sources.modbus_meter.meter import Meter
from clampgateway.sources.modbus_meter.settings import MeterSettings, Settings

_log = logging.getLogger(__name__)

TEND_S = 0.25


class ModbusMeterSource:
    """All meters of one [[modbus_meter]] section."""

    Settings = Settings

    def __init__(
        self, settings: Settings, links: Links, committer: Committer, clocks: Clocks
    ) -> None:
        self._bus = Bus(settings.line)
        self._meters = [self._meter(each, links, committer, clocks) for each in settings.meter]

    def _meter(
        self, settings: MeterSettings, links: Links, committer: Committer, clocks: Clocks
    ) -> Meter:
        plan = settings.plan
        about = About(
            settings.id,
            settings.name,
            settings.profile.name,
            f"{self._bus.line} unit {settings.unit}",
        )
        device = MeterDevice(about, plan.describes, plan.crc, links, committer, clocks)
        return Meter(settings.id, settings.unit, plan, settings.seconds, device)

    async def run(self) -> None:
        """Read until cancelled."""
        _log.info("meters are read line=%s count=%d", self._bus.line, len(self._meters))
        try:
            while True:
                meter = min(self._meters, key=_wait_us)
                wait_us = meter.wait_us
                if wait_us > 0:
                    await asyncio.sleep(min(wait_us / 1e6, TEND_S))
                else:
                    await meter.read(self._bus)
                for each in self._meters:
                    each.tend()
        finally:
            for each in self._meters:
                each.finish()
            self._bus.close()

    def stats(self) -> dict[str, object]:
        """The line's state and counters, why there is an alarm, and each meter by its id."""
        problems = [problem for meter in self._meters if (problem := meter.problem)]
        return {
            **self._bus.stats(),
            "alarm": self._bus.error or "; ".join(problems),
            "meters": {meter.key: meter.stats() for meter in self._meters},
        }


def _wait_us(meter: Meter) -> int:
    return meter.wait_us
