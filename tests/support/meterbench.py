"""The source of meters on a real store, and what came of it, as the store and the feed say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from clampgateway.clocksync import system_clocks
from clampgateway.link import Links
from clampgateway.model import (
    EVENT,
    GAP,
    RECORD,
    EventReading,
    GapReading,
    Item,
    Reading,
    decode_event,
    decode_gap,
    decode_record,
)
from clampgateway.sources.modbus_meter import ModbusMeterSource
from support.gateway_parts import GatewayParts, running, serving, until
from support.meters import TRUTH, SimMeter, on_tcp


def settings(**table: object) -> Any:  # noqa: ANN401 - a settings model
    """[[modbus_meter]] as a file has it."""
    return ModbusMeterSource.Settings.model_validate_json(
        json.dumps(table), strict=True, context={"folder": Path("/")}
    )


def meter(device: str = "press", unit: int = 1, **more: object) -> dict[str, object]:
    """[[modbus_meter.meter]]: an SDM120 that is read often."""
    return {"id": device, "unit": unit, "profile": "eastron-sdm120", "period_s": 0.4, **more}


class MeterBench:
    """One start of the gateway's southbound half, with one line of meters."""

    def __init__(self, parts: GatewayParts, table: dict[str, object]) -> None:
        self.parts = parts
        self.clocks = system_clocks()
        self.links = Links(
            parts.devices,
            parts.descriptions,
            parts.store.highest_boots(),
            "gw",
            self.clocks,
        )
        self.source = ModbusMeterSource(
            settings(**table), self.links, parts.committer, self.clocks
        )

    def count(self, name: str, device: str = "") -> Any:  # noqa: ANN401 - a counter
        """A counter of the line, or of a meter."""
        stats = self.source.stats()
        if not device:
            return stats[name]
        meters = stats["meters"]
        assert isinstance(meters, dict)
        return meters[device][name]

    def online(self, device: str = "press") -> bool:
        entry = self.parts.devices.get(device)
        return entry is not None and entry.online

    async def items(self, device: str = "press") -> list[Item]:
        """All that is committed, in order of commit."""
        stored = await self.parts.thread.read_after(0, 1_000_000)
        return [each.item for each in stored if each.item.device == device]

    async def readings(self, device: str = "press") -> list[Reading]:
        found = []
        for item in await self.items(device):
            if item.kind == RECORD:
                about = self.parts.descriptions.get(device, item.describe_crc)
                assert about is not None
                found.append(decode_record(item, about))
        return found

    async def gaps(self, device: str = "press", *, overrun: bool = False) -> list[GapReading]:
        """Those of an overrun, which a busy machine may cause at any time, or all others."""
        about = self.parts.devices.at(device).description
        found = [decode_gap(i, about) for i in await self.items(device) if i.kind == GAP]
        return [gap for gap in found if (gap.reason == "overrun") is overrun]

    async def events(self, device: str = "press") -> list[EventReading]:
        about = self.parts.devices.at(device).description
        return [decode_event(i, about) for i in await self.items(device) if i.kind == EVENT]

    async def faults(self, device: str = "press") -> list[tuple[str, str, str]]:
        """(kind, channel, text) of the events but the first."""
        events = [(e.kind, e.channel, e.text) for e in await self.events(device)]
        return [event for event in events if event[0] != "started"]


@contextlib.asynccontextmanager
async def reading(folder: Path, table: dict[str, object]) -> AsyncIterator[MeterBench]:
    """The source runs; at the end it is stopped and all is committed, as by SIGTERM."""
    async with running(folder) as parts:
        bench = MeterBench(parts, table)
        async with serving(bench.source.run):
            yield bench


@contextlib.asynccontextmanager
async def read_on_tcp(sim: SimMeter, folder: Path) -> AsyncIterator[MeterBench]:
    """One meter on TCP, of which some records are there."""
    async with on_tcp(sim) as port:
        table = {"host": "127.0.0.1", "port": port, "meter": [meter()]}
        async with reading(folder, table) as bench:
            await until(bench.online, "the device")
            await records(bench)
            yield bench


def run(work: Callable[[], Awaitable[None]], timeout_s: float = 60.0) -> None:
    """One test; an error that nobody caught in a callback of the loop fails it."""
    errors: list[dict[str, Any]] = []

    async def bounded() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        async with asyncio.timeout(timeout_s):
            await work()

    asyncio.run(bounded())
    assert not errors, errors


def single(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


# What a record of TRUTH says.
NUMBERS = {
    "voltage1": {"rms": single(TRUTH["volts"]), "frequency": single(TRUTH["hz"])},
    "current1": {
        "rms": single(TRUTH["amps"]),
        "real": single(TRUTH["watts"]),
        "apparent": single(TRUTH["va"]),
        "reactive": single(TRUTH["var"]),
        "pf": single(TRUTH["pf"]),
    },
    "energy1": {
        "import": single(TRUTH["import_kwh"]),
        "export": single(TRUTH["export_kwh"]),
        "total": single(TRUTH["kwh"]),
    },
    "reactive1": {
        "import": single(TRUTH["import_kvarh"]),
        "export": single(TRUTH["export_kvarh"]),
        "total": single(TRUTH["kvarh"]),
    },
}


def live() -> SimMeter:
    return SimMeter().sdm120(**TRUTH)


async def numbered(bench: MeterBench, device: str = "press") -> None:
    """Of each power-up the numbers go from 0 on without a hole, and none is there twice."""
    boots: dict[int, list[int]] = {}
    for item in await bench.items(device):
        boots.setdefault(item.boot, []).append(item.seq)
    for boot, seqs in boots.items():
        assert sorted(seqs) == list(range(len(seqs))), f"boot {boot}"


async def never_zero(bench: MeterBench, device: str = "press") -> None:
    """No value is there that the meter did not say."""
    for each in await bench.readings(device):
        for channel, features in each.channels.items():
            for key, value in features.items():
                assert value is None or value == NUMBERS[channel][key], (channel, key, value)


async def records(bench: MeterBench, more: int = 3, device: str = "press") -> None:
    """Waits for more records."""
    have = bench.count("reads", device)
    await until(lambda: bench.count("reads", device) >= have + more, "readings", 20)
    await until(lambda: not bench.count("kept", device), "commits")
