"""Modbus and a removed device: its unit stays its own, and reads as one without a record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pymodbus.client import AsyncModbusTcpClient

from clampgateway.bridges.modbus import ModbusBridge, ModbusSettings
from clampgateway.registers import schema
from support import readings
from support.gateway_parts import GatewayParts, running, serving, until
from support.readings import CURRENT

NUMBERS = {"current1": {"rms": 4.21, "peak": 6.3}}
LATHE, SAW, MILL = "lathe", "saw", "mill"
GATEWAY = schema.GATEWAY_UNIT


async def words(client: AsyncModbusTcpClient, unit: int, first: int, count: int) -> Sequence[int]:
    answer = await client.read_input_registers(first, count=count, device_id=unit)
    assert not answer.isError(), answer
    return answer.registers


async def unit_of(client: AsyncModbusTcpClient, device: str) -> tuple[int, Sequence[int]]:
    """The unit of a device as the gateway's table has it, and the first six of its line."""
    for unit in range(1, 5):
        entry = await words(client, GATEWAY, schema.entry_address(unit), 24)
        name = b"".join(word.to_bytes(2, "big") for word in entry[8:]).strip(b"\0").decode()
        if name == device:
            return unit, entry[:6]
    raise AssertionError(f"{device} is in no line")


async def is_missing(client: AsyncModbusTcpClient, unit: int) -> bool:
    """Whether unit and slot 1 read as of a device without a record."""
    header = await words(client, unit, 0, 60)
    slot = await words(client, unit, schema.slot_address(1), 125)
    assert header[:2] == [0x4357, schema.MAP_VERSION]
    numbers = await words(client, unit, schema.slot_address(1) + schema.INTS_AT, 32)
    values = [slot[schema.FLOATS_AT], numbers[0]]
    nothing = [0x7FC0, 0x8000]
    gone = (header[12], header[14], header[31], slot[0]) == (2, 0, 0, 0)
    return gone and values == nothing and header[16:18] == [0xFFFF, 0xFFFF]


def known(parts: GatewayParts, *devices: str) -> None:
    for device in devices:
        parts.describe(readings.description(device, (CURRENT,)), readings.identity(device))


async def sends(parts: GatewayParts, device: str, seq: int) -> None:
    about = readings.description(device, (CURRENT,))
    await parts.commit([readings.record(about, seq, NUMBERS)])


def test_the_unit_stays_reserved_and_is_the_same_when_the_device_is_back(tmp_path: Path) -> None:
    async def main() -> None:
        units: dict[str, int] = {}
        async with running(tmp_path, utc_ms=lambda: readings.UTC_MS) as parts:
            known(parts, LATHE, SAW)
            bridge = ModbusBridge(ModbusSettings(port=0), parts.context)
            async with serving(bridge.run):
                await until(lambda: bridge.stats()["units"] == 2, "units")
                client = AsyncModbusTcpClient("127.0.0.1", port=bridge.port, timeout=3, retries=0)
                assert await client.connect()
                for seq, device in enumerate((LATHE, SAW), 1):
                    await sends(parts, device, seq)
                    unit, entry = await unit_of(client, device)
                    units[device] = unit
                    assert entry[5] == 0
                    assert not await is_missing(client, unit)
                parts.link(LATHE, online=False)
                await parts.removals.remove(LATHE)
                assert await is_missing(client, units[LATHE]), "at once"
                assert not await is_missing(client, units[SAW])
                # The table is made anew every second; another device gets another unit.
                known(parts, MILL)
                await until(lambda: bridge.stats()["units"] == 3, "the third unit")
                await asyncio.sleep(1.2)
                unit, entry = await unit_of(client, LATHE)
                assert (unit, list(entry[1:])) == (units[LATHE], [0, 0, 0, 0, 1])
                assert (await unit_of(client, MILL))[0] not in units.values()
                client.close()
        async with running(tmp_path, utc_ms=lambda: readings.UTC_MS) as parts:
            bridge = ModbusBridge(ModbusSettings(port=0), parts.context)
            async with serving(bridge.run):
                await until(lambda: bridge.port, "a port")
                client = AsyncModbusTcpClient("127.0.0.1", port=bridge.port, timeout=3, retries=0)
                assert await client.connect()
                assert await is_missing(client, units[LATHE]), "after a restart, too"
                known(parts, LATHE)
                await sends(parts, LATHE, 7)
                await until(lambda: bridge.stats()["units"] >= 1, "units")
                await asyncio.sleep(1.2)
                unit, entry = await unit_of(client, LATHE)
                assert (unit, list(entry[:2]), entry[5]) == (units[LATHE], [unit, 1], 0)
                slot = await words(client, unit, schema.slot_address(1), 125)
                value = slot[schema.FLOATS_AT : schema.FLOATS_AT + 2]
                assert value != [0x7FC0, 0], "measured again"
                assert not await is_missing(client, unit)
                client.close()

    asyncio.run(main())
