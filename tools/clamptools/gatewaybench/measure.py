"""One run: a steady load with the broker there, a load without it, and catching up afterwards.

Owns the order of the phases and what is taken from each. Counted is the processor time of the
gateway's process alone, all its threads; rates are what 90 % of one core would do at that cost,
beside what was really sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clamptools.gatewaybench.fleet import Fleet, frame_bytes
from clamptools.gatewaybench.procfs import Usage, memory_mb, usage
from clamptools.gatewaybench.rig import Rig

CORE_SHARE = 0.9
WARM_S = 2.0
IDLE_S = 4.0
ARRIVE_S = 60.0
DRAIN_S = 180.0
POLL_S = 0.1
# While it catches up every device goes on as one in the field does.
LIVE_HZ = 1.0


@dataclass(frozen=True)
class Load:
    """How much: devices over TCP and at ptys, records/s of all, and seconds."""

    tcp: int
    ptys: int
    rate: float
    seconds: float
    outage_s: float


class Run:
    """The phases on one rig."""

    def __init__(self, rig: Rig, load: Load) -> None:
        self._rig = rig
        self._load = load
        self._fleet = Fleet()
        self._doubled = 0
        self._idle = 0.0
        self._samples: list[tuple[str, str, int, float]] = []
        self._heard: dict[str, Any] = {}

    async def measure(self) -> dict[str, Any]:
        """All phases; what `result` makes of them.

        Raises:
            ChildError: A process did not come up.
            TimeoutError: Records did not arrive in time.
        """
        rig, load, fleet = self._rig, self._load, self._fleet
        rig.start_broker()
        rig.start_listener()
        await self._listen(lambda heard: heard["connections"] == 1)
        rig.start_gateway()
        try:
            await fleet.connect(load.tcp, rig.tcp_port, load.ptys, rig.ports)
            fleet.rate = load.rate
            await fleet.run(WARM_S)
            await self._arrived()
            idle = await self._idle_share()
            data = await self._data()
            outage, history = await self._outage()
            if fleet.lost_lines:
                raise TimeoutError(f"the gateway closed {fleet.lost_lines} lines")
        finally:
            fleet.close()
        return {
            "data": data,
            "ingest": outage,
            "history": history,
            "doubled": self._doubled,
            "idle_cpu_share": round(idle, 4),
        }

    async def _idle_share(self) -> float:
        """Of one core, with all devices there and no record made."""
        before = usage(self._rig.gateway_pid)
        await self._fleet.run(IDLE_S)
        spent = usage(self._rig.gateway_pid).since(before)
        self._idle = spent.cpu_s / spent.seconds
        return self._idle

    async def _data(self) -> dict[str, Any]:
        fleet, pid = self._fleet, self._rig.gateway_pid
        acked = len(fleet.latencies_s())
        made, sent = fleet.made, self._lane("data")
        self._samples.clear()
        before = usage(pid)
        fleet.rate = self._load.rate
        await fleet.run(self._load.seconds)
        offered = (fleet.made - made) / (usage(pid).seconds - before.seconds)
        await self._arrived()
        spent = usage(pid).since(before)
        lane = self._lane("data")
        messages = lane["messages"] - sent["messages"]
        now_mb, peak_mb = memory_mb(pid)
        return {
            **self._cost(spent, fleet.made - made),
            "offered_per_s": round(offered),
            "records": fleet.made - made,
            "messages": messages,
            "message_bytes": round((lane["bytes"] - sent["bytes"]) / max(1, messages)),
            "frame_bytes": frame_bytes(),
            "cpu_share": round(spent.cpu_s / spent.seconds, 3),
            "rss_mb": round(now_mb, 1),
            "rss_peak_mb": round(peak_mb, 1),
            **_percentiles("latency", self._latencies_s("data")),
            **_percentiles("ack", fleet.latencies_s()[acked:]),
        }

    async def _outage(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Without a broker, and after it has come back."""
        fleet, rig = self._fleet, self._rig
        pid = rig.gateway_pid
        rig.stop_broker()
        made = fleet.made
        before = usage(pid)
        fleet.rate = self._load.rate
        await fleet.run(self._load.outage_s)
        await self._acknowledged()
        spent = usage(pid).since(before)
        waiting = fleet.made - made
        ingest = {**self._cost(spent, waiting), "records": waiting}
        sent = {name: self._lane(name) for name in ("data", "history")}
        fleet.rate = LIVE_HZ * len(fleet.lines)
        self._samples.clear()
        rig.start_broker()
        before = usage(pid)
        up_to = fleet.made
        await self._listen(lambda heard: heard["records"] >= up_to, DRAIN_S)
        spent = usage(pid).since(before)
        await self._arrived()
        lane = self._lane("history")
        caught = [at_s for name, _device, _seq, at_s in self._samples if name == "history"]
        messages = lane["messages"] - sent["history"]["messages"]
        records = lane["records"] - sent["history"]["records"]
        seconds = max(caught) - min(caught) if len(caught) > 1 else 0.0
        now_mb, peak_mb = memory_mb(pid)
        return ingest, {
            **self._cost(spent, waiting),
            "records": records,
            "messages": messages,
            "records_per_message": round(records / max(1, messages), 1),
            "measured_per_s": round(records / seconds) if seconds else None,
            "seconds": round(seconds, 2),
            "rss_mb": round(now_mb, 1),
            "rss_peak_mb": round(peak_mb, 1),
            **_percentiles("live_latency", self._latencies_s("data")),
        }

    def _cost(self, spent: Usage, records: int) -> dict[str, Any]:
        """All of it a record, and what a core does besides being there for its devices."""
        all_us = 1e6 * spent.cpu_s / max(1, records)
        own_us = 1e6 * max(0.0, spent.cpu_s - self._idle * spent.seconds) / max(1, records)
        return {
            "records_per_s": round(1e6 * (CORE_SHARE - self._idle) / own_us) if own_us else None,
            "cpu_us_per_record": round(own_us, 1),
            "cpu_us_per_record_with_idle": round(all_us, 1),
            "bytes_written_per_record": round(spent.written_bytes / max(1, records)),
        }

    def _latencies_s(self, lane: str) -> list[float]:
        """From making to arrival, of sampled records."""
        made_s = self._fleet.made_s
        return [
            at_s - made_s(device, seq) for name, device, seq, at_s in self._samples if name == lane
        ]

    def _lane(self, name: str) -> dict[str, Any]:
        return dict(self._heard["lanes"][name])

    async def _acknowledged(self) -> None:
        fleet = self._fleet
        fleet.rate = 0.0
        await fleet.until(lambda: fleet.acknowledged == fleet.made, ARRIVE_S)

    async def _arrived(self) -> None:
        """Nothing more is made; wait until all is acknowledged and delivered."""
        await self._acknowledged()
        made = self._fleet.made
        await self._listen(lambda heard: heard["records"] >= made, ARRIVE_S)

    async def _listen(
        self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = ARRIVE_S
    ) -> None:
        """Let the devices go on until the subscriber says so. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while True:
            self._heard = await self._rig.heard()
            self._doubled = self._heard["doubled"]
            self._samples += [tuple(sample) for sample in self._heard["samples"]]
            if condition(self._heard):
                return
            if loop.time() > end_s:
                raise TimeoutError(
                    f"{self._heard['records']} of {self._fleet.made} records arrived in"
                    f" {timeout_s:g} s:\n{self._rig.log_tail()}"
                )
            await self._fleet.run(POLL_S)


def _percentiles(name: str, seconds: Sequence[float]) -> dict[str, float | None]:
    ordered = sorted(seconds)
    return {
        f"{name}_p{percent}_ms": (
            round(1000 * ordered[min(len(ordered) - 1, percent * len(ordered) // 100)], 1)
            if ordered
            else None
        )
        for percent in (50, 95, 99)
    }
