"""The Modbus bridge on a real store and feed: what pymodbus and mbpoll read of it."""

import asyncio
import itertools
import math
import re
import socket
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from clampgateway.bridges import BridgeError
from clampgateway.bridges.modbus import ModbusBridge, ModbusSettings
from clampgateway.devices import MachineState
from clampgateway.model import Reading
from clampgateway.registers import schema
from support import readings
from support.gateway_parts import GatewayParts, running, serving, until
from support.readings import CURRENT, INPUT, STRANGE, VIBRATION
from support.skips import need_debian

NUMBERS = {
    "current1": {"rms": 4.21, "peak": 6.3},
    "vibration1": {"a": 1.5, "v_x": 2.25, "v_y": 0.75, "v_z": None},
    "input1": {"state": 1, "count": 70000},
}
Scenario = Callable[[GatewayParts, ModbusBridge, AsyncModbusTcpClient], Awaitable[None]]


async def master(port: int) -> AsyncModbusTcpClient:
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=3, retries=0)
    assert await client.connect()
    return client


def number(words: Sequence[int], at: int, kind: str) -> float:
    """A value of pymodbus's registers, put together without our own code."""
    data = b"".join(word.to_bytes(2, "big") for word in words[at : at + 4])
    return struct.unpack_from({"f": ">f", "I": ">I", "Q": ">Q", "H": ">H", "h": ">h"}[kind], data)[
        0
    ]


def text(words: Sequence[int], at: int, size: int) -> str:
    return (
        b"".join(word.to_bytes(2, "big") for word in words[at : at + size]).strip(b"\0").decode()
    )


async def words(client: AsyncModbusTcpClient, unit: int, first: int, count: int) -> list[int]:
    holding = await client.read_holding_registers(first, count=count, device_id=unit)
    assert not holding.isError(), holding
    again = await client.read_input_registers(first, count=count, device_id=unit)
    ages = {schema.STRIDE * block + 16 + low for block in range(17) for low in (0, 1)}
    for at, (one, other) in enumerate(zip(holding.registers, again.registers, strict=True), first):
        assert one == other or at in ages, f"FC 03 and 04 differ at {at}"
    return list(holding.registers)


class Clock:
    """Time that passes only when a test says so, or as it does."""

    def __init__(self, start_s: float | None = None) -> None:
        self.now_s = start_s

    def mono(self) -> float:
        return time.monotonic() if self.now_s is None else self.now_s

    def utc_ms(self) -> int:
        seconds = time.time() if self.now_s is None else self.now_s
        return round(1000 * seconds)


def bridge_test(
    scenario: Scenario,
    folder: Path,
    stale_after_s: float = 5.0,
    clock: Clock | None = None,
) -> None:
    clock = clock or Clock()

    async def run() -> None:
        async with running(folder, clock.mono, clock.utc_ms) as parts:
            bridge = ModbusBridge(
                ModbusSettings(port=0, stale_after_s=stale_after_s), parts.context
            )
            async with serving(bridge.run):
                await until(lambda: bridge.port, "the port")
                client = await master(bridge.port)
                try:
                    await scenario(parts, bridge, client)
                finally:
                    client.close()

    asyncio.run(run())


def test_pymodbus_reads_what_the_device_sent(tmp_path: Path) -> None:
    async def scenario(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        about = readings.description()
        parts.describe(about, readings.identity())
        await until(lambda: bridge.stats()["units"] == 1)
        parts.state(about.device, MachineState("working", 1_763_750_000_000, "current"))
        now_ms = parts.context.utc_ms()
        item = readings.record(about, 81234, NUMBERS, utc_ms=now_ms - 300)
        await parts.commit([item])
        header = await words(client, 1, 0, 124)
        assert header[0] == 0x4357
        assert (number(header, 2, "f"), number(header, 4, "I")) == (1234.5, 0x12345678)
        assert (header[12], header[14], header[15]) == (1, 1, 3)
        assert (number(header, 18, "I"), number(header, 20, "I")) == (17, 81234)
        assert number(header, 26, "Q") == now_ms - 300
        assert 300 <= number(header, 16, "I") < 2000, "age counts from the end of the interval"
        assert text(header, 60, 16) == about.device
        assert text(header, 76, 16) == "lathe"
        current = await words(client, 1, 250, 125)
        assert current[0] == 1
        assert number(current, 30, "f") == pytest.approx(4.21, rel=1e-7)
        assert number(current, 34, "f") == pytest.approx(6.3, rel=1e-7)
        assert text(current, 110, 8) == "current1"
        scaled = await words(client, 1, 250 + 130, 4)
        assert scaled == [421, 0x8000, 630, 1496]
        vibration = await words(client, 1, 500, 125)
        assert vibration[0] == 2
        assert [number(vibration, at, "f") for at in (30, 34, 36)] == [1.5, 2.25, 0.75]
        assert math.isnan(number(vibration, 38, "f"))
        inputs = await words(client, 1, 750 + 170, 6)
        assert (number(inputs, 0, "I"), number(inputs, 2, "Q")) == (70000, 70000)
        missing = await client.read_holding_registers(0, count=1, device_id=2)
        assert missing.exception_code == 0x0B
        stats = bridge.stats()
        assert stats["exceptions"] == 1
        assert stats["requests"] >= 11

    bridge_test(scenario, tmp_path)


def test_units_and_slots_are_kept_for_ever(tmp_path: Path) -> None:
    one, other, late = (readings.description(device) for device in ("aaa", "bbb", "ccc"))
    places: dict[str, int] = {}

    async def first(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        parts.describe(other)
        await until(lambda: bridge.stats()["units"] == 1)
        parts.describe(one)
        await until(lambda: bridge.stats()["units"] == 2)
        for unit in (1, 2):
            header = await words(client, unit, 60, 16)
            places[text(header, 0, 16)] = unit
        assert places == {"bbb": 1, "aaa": 2}

    async def second(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        # bbb is gone, aaa has other channels, ccc is new: nothing moves, nothing is used again.
        parts.describe(late)
        changed = readings.description("aaa", (INPUT, STRANGE, VIBRATION), crc=2)
        parts.describe(changed)
        await until(lambda: bridge.stats()["units"] == 2)
        assert text(await words(client, 2, 60, 16), 0, 16) == "aaa"
        assert text(await words(client, 3, 60, 16), 0, 16) == "ccc"
        assert (await client.read_holding_registers(0, count=1, device_id=1)).exception_code == 11
        keys = [text(await words(client, 2, 250 * slot + 110, 8), 0, 8) for slot in range(1, 6)]
        assert keys == ["", "vibration1", "input1", "ph1", ""]
        assert (await words(client, 2, 250, 1)) == [0], "current1 is gone, its slot stays empty"

    bridge_test(first, tmp_path)
    bridge_test(second, tmp_path)


def test_stale_values_turn_to_nan_and_come_back(tmp_path: Path) -> None:
    clock = Clock(1_763_750_000.0)

    async def scenario(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        about = readings.description(channels=(CURRENT,))
        parts.describe(about, readings.identity())
        await until(lambda: bridge.stats()["units"] == 1)
        parts.state(about.device, MachineState("idle", 1, ""))

        async def send(seq: int) -> None:
            utc_ms = parts.context.utc_ms()
            await parts.commit([readings.record(about, seq, NUMBERS, utc_ms=utc_ms)])

        async def slot() -> tuple[float, int, int, int]:
            got = await words(client, 1, 250, 125)
            return number(got, 30, "f"), got[12], got[15], int(number(got, 16, "I"))

        await send(1)
        value, quality, state, age = await slot()
        assert (quality, state, age) == (1, 2, 0)
        assert value == pytest.approx(4.21, rel=1e-7)
        parts.link(about.device, online=False)
        assert clock.now_s is not None
        clock.now_s += 0.375
        value, quality, state, age = await slot()
        assert (quality, state, age) == (1, 2, 375), "not before its time"
        clock.now_s += 0.125
        value, quality, state, age = await slot()
        assert (quality, state, age) == (2, 0, 500)
        assert math.isnan(value)
        clock.now_s += 0.125
        assert (await slot())[3] == 625, "age goes on"
        assert (await words(client, 1, 250 + 130, 1)) == [0x8000]
        assert (await words(client, 1, 14, 1)) == [0], "offline"
        await send(2)
        value, quality, _state, age = await slot()
        assert (quality, age) == (1, 0)
        assert value == pytest.approx(4.21, rel=1e-7)

    bridge_test(scenario, tmp_path, stale_after_s=0.4, clock=clock)


def test_a_record_that_comes_late_is_as_old_as_it_is(tmp_path: Path) -> None:
    async def scenario(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        about = readings.description(channels=(CURRENT,))
        parts.describe(about, readings.identity())
        await until(lambda: bridge.stats()["units"] == 1)
        an_hour_ago = parts.context.utc_ms() - 3_600_000
        await parts.commit([readings.record(about, 1, NUMBERS, utc_ms=an_hour_ago)])
        got = await words(client, 1, 250, 125)
        assert 3_600_000 <= number(got, 16, "I") < 3_602_000
        assert math.isnan(number(got, 30, "f"))
        # Without a clock nobody can say; it counts from its arrival, and the flag says so.
        await parts.commit([readings.record(about, 2, NUMBERS, utc_ms=0, synced=False)])
        got = await words(client, 1, 250, 125)
        assert number(got, 16, "I") < 2000
        assert got[13] & 16
        assert number(got, 30, "f") == pytest.approx(4.21, rel=1e-7)

    bridge_test(scenario, tmp_path)


def test_the_gateway_tells_who_is_who(tmp_path: Path) -> None:
    async def scenario(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        parts.describe(readings.description("aaa"), readings.identity("aaa", "lathe"))
        parts.describe(readings.description("bbb"), readings.identity("bbb", "laser"))
        parts.link("bbb", online=False)
        await until(lambda: bridge.stats()["units"] == 2)
        await asyncio.sleep(1.2)  # renewed once a second
        for unit in (247, 0, 255):
            header = await words(client, unit, 0, 100)
            assert (header[0], header[7]) == (0x4357, 2)
            assert number(header, 2, "f") == 1234.5
            assert header[31:33] == [2, 1]
            assert text(header, 60, 16) == "gw-7"
            assert text(header, 76, 16) == "hall 1"
            assert abs(number(header, 26, "Q") - parts.context.utc_ms()) < 3000
            for device, name, entry in (("aaa", "lathe", 1), ("bbb", "laser", 2)):
                got = await words(client, unit, 1000 + 50 * entry, 50)
                assert got[:5] == [entry, int(device == "aaa"), 0, 0, 3]
                assert text(got, 8, 16) == device
                assert text(got, 24, 16) == name
        assert (await words(client, 247, 1000 + 50 * 246, 50)) == [0] * 50
        beyond = await client.read_holding_registers(13350, count=1, device_id=247)
        assert beyond.exception_code == 2

    bridge_test(scenario, tmp_path)


def test_the_device_too_many_is_counted_and_the_others_are_served(tmp_path: Path) -> None:
    async def scenario(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        for index in range(248):
            parts.devices.changed(parts.devices.at(f"device{index:03}"), "offline")
        await until(lambda: bridge.stats()["unplaced"] == 2, "all seen", 60)
        assert bridge.stats()["units"] == 246
        assert text(await words(client, 246, 60, 16), 0, 16) == "device245"

    bridge_test(scenario, tmp_path)


def test_no_float_is_ever_torn(tmp_path: Path) -> None:
    about = readings.description(channels=(CURRENT, VIBRATION))

    def made(parts: GatewayParts, seq: int) -> Reading:
        value = (seq * 37 % 65000) / 100
        numbers = {
            "current1": {"rms": value, "peak": value},
            "vibration1": dict.fromkeys(("a", "v_x", "v_y", "v_z"), value),
        }
        return readings.reading(about, seq, numbers, utc_ms=parts.context.utc_ms())

    async def scenario(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        async def change() -> None:
            for seq in itertools.count(1):
                parts.devices.took_reading(made(parts, seq), parts.context.mono())
                await asyncio.sleep(0)

        parts.describe(about, readings.identity())
        await until(lambda: bridge.stats()["units"] == 1)
        async with serving(change):
            await asyncio.sleep(0.01)
            seen = set()
            for _ in range(1500):
                got = await client.read_holding_registers(250, count=125, device_id=1)
                seq = int(number(got.registers, 20, "I"))
                expected = struct.pack(">f", (seq * 37 % 65000) / 100)
                for at in (30, 34):
                    assert struct.pack(">f", number(got.registers, at, "f")) == expected
                seen.add(seq)
        assert len(seen) > 500, "the values did not change while they were read"

    bridge_test(scenario, tmp_path)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as parts:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                bridge = ModbusBridge(ModbusSettings(port=port), parts.context)
                with pytest.raises(BridgeError, match=f"127.0.0.1:{port}.*in use"):
                    await bridge.run()
            async with serving(bridge.run):  # the supervisor's next try
                await until(lambda: bridge.port == port)

    asyncio.run(scenario())


@pytest.fixture
def mbpoll() -> str:
    return need_debian("mbpoll")


def test_mbpoll_reads_test_pattern_and_current(tmp_path: Path, mbpoll: str) -> None:
    async def poll(port: int, *arguments: str) -> dict[int, str]:
        command = [mbpoll, "-m", "tcp", "-p", str(port), "-1", "-q", *arguments, "127.0.0.1"]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.findall(r"^\[(\d+)\]:\s+(\S+)", done.stdout, re.MULTILINE)
        return {int(at): value for at, value in found}

    async def scenario(
        parts: GatewayParts, bridge: ModbusBridge, _client: AsyncModbusTcpClient
    ) -> None:
        about = readings.description()
        parts.describe(about, readings.identity())
        await until(lambda: bridge.stats()["units"] == 1)
        utc_ms = parts.context.utc_ms()
        await parts.commit([readings.record(about, 1, NUMBERS, utc_ms=utc_ms)])
        for kind in ("4", "3"):  # holding, input
            # mbpoll counts registers from 1, and -B puts the high word first.
            got = await poll(bridge.port, "-a", "1", "-t", f"{kind}:float", "-B", "-r", "3")
            assert got == {3: "1234.5"}
            got = await poll(bridge.port, "-a", "1", "-t", f"{kind}:hex", "-r", "5", "-c", "2")
            assert got == {5: "0x1234", 6: "0x5678"}
            got = await poll(bridge.port, "-a", "1", "-t", f"{kind}:float", "-B", "-r", "281")
            assert float(got[281]) == pytest.approx(4.21, rel=1e-5)
            got = await poll(bridge.port, "-a", "1", "-t", kind, "-r", "381")
            assert got == {381: "421"}
        got = await poll(bridge.port, "-a", "247", "-t", "4:hex", "-r", "1")
        assert got == {1: "0x4357"}

    bridge_test(scenario, tmp_path)
