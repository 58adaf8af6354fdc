"""Modbus TCP: who may connect, what may be written, and that a bad night fits in the log."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu.mei_message import ReadDeviceInformationResponse

from clampgateway.bridges.modbus import ModbusBridge, ModbusSettings
from clampgateway.bridges.modbus.commands import Commands
from clampgateway.bridges.modbus.server import Limits, ModbusServer
from clampgateway.bridges.modbus.settings import is_in, network
from clampgateway.bridges.modbus.units import DeviceUnit
from clampgateway.config import ConfigError, load
from clampgateway.devices import Device
from clampgateway.link import Answer, LinkError
from clampgateway.logs import RepeatFilter
from clampgateway.parts import sections
from clampgateway.registers.mbap import Shortcut
from clampgateway.registers.pdu import pdu
from clampgateway.registers.unitimage import Style
from support import readings
from support.gateway_parts import GatewayParts, running, serving, until

PROBE = bytes.fromhex("0001 0000 0006 01 03 0000 0001")
NOBODY = bytes.fromhex("0001 0000 0003 01 83 0b")


def no_units(unit: int, request: bytes) -> bytes:
    return pdu(lambda _unit: None, unit, request)


@contextlib.asynccontextmanager
async def server(limits: Limits, bind: str = "127.0.0.1") -> AsyncIterator[tuple[Any, int]]:
    made = ModbusServer(no_units, Shortcut(time.monotonic), limits)
    port = await made.start(bind, 0)
    try:
        async with serving(made.run):
            yield made, port
    finally:
        made.close()


async def served(port: int, source: str = "127.0.0.1", host: str = "127.0.0.1") -> bool:
    """Whether a client from that address has its answer; it is closed if not."""
    reader, writer = await asyncio.open_connection(host, port, local_addr=(source, 0))
    try:
        writer.write(PROBE)
        async with asyncio.timeout(5):
            return await reader.readexactly(len(NOBODY)) == NOBODY
    except (ConnectionError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.close()


def limits(**more: object) -> Limits:
    return Limits(100, 60.0, 5.0)._replace(**more)


def test_only_who_is_in_the_allow_list_is_served() -> None:
    async def scenario() -> None:
        allow = [network("127.0.0.2"), network("127.1.0.0/16")]
        async with server(limits(allow=allow)) as (made, port):
            assert await served(port, "127.0.0.2")
            assert await served(port, "127.1.2.3")
            assert not await served(port, "127.0.0.3")
            assert not await served(port, "127.2.0.1")
            counters = made.counters
            assert (counters.accepted, counters.forbidden, counters.requests) == (2, 2, 2)

    asyncio.run(scenario())


def test_an_allow_list_knows_ipv4_in_ipv6() -> None:
    allow = [network("192.168.1.0/24"), network("fe80::/10")]
    assert is_in("::ffff:192.168.1.7", allow)
    assert not is_in("::ffff:192.168.2.7", allow)
    assert is_in("fe80::1%eth0", allow)
    assert not is_in("2001:db8::1", allow)
    assert network("10.0.0.7") == ipaddress.ip_network("10.0.0.7/32")


def test_one_address_cannot_take_all_connections() -> None:
    async def scenario() -> None:
        async with server(limits(connections=5, per_client=2)) as (made, port):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            await until(lambda: made.connections == 2)
            assert not await served(port)
            assert await served(port, "127.0.0.2"), "another has room"
            assert made.counters.crowded == 1
            held[0][1].close()
            await until(lambda: made.connections == 1)
            assert await served(port), "and so has the first when it hangs up"
            held[1][1].close()

    asyncio.run(scenario())


def test_want_of_descriptors_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with server(limits()) as (made, port):
            assert await served(port)
            real = socket.socket.accept
            failures = iter([OSError(24, "Too many open files"), OSError(103, "aborted")])

            def accept(self: socket.socket) -> tuple[socket.socket, object]:
                for error in failures:
                    raise error
                return real(self)

            monkeypatch.setattr(socket.socket, "accept", accept)
            assert await served(port), "it waits in the backlog until there is room again"
            assert (made.counters.short, made.counters.aborted) == (1, 1)

    asyncio.run(scenario())


def test_thousands_of_bad_clients_are_a_few_lines_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with server(limits(per_client=1000)) as (made, port):
            for _ in range(300):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
            assert made.counters.broken == 300

    repeats = RepeatFilter()
    caplog.handler.addFilter(repeats)
    try:
        with caplog.at_level(logging.DEBUG, "clampgateway"):
            asyncio.run(scenario())
    finally:
        caplog.handler.removeFilter(repeats)
    assert 0 < len(caplog.records) <= 10
    assert repeats.held_back >= 290


class Link:
    """What the gateway's links do with a command."""

    def __init__(self, outcome: Answer | LinkError) -> None:
        self.outcome = outcome
        self.asked: list[tuple[str, str]] = []
        self.go = asyncio.Event()

    async def __call__(self, device: str, name: str, _args: object) -> Answer:
        self.asked.append((device, name))
        await self.go.wait()
        if isinstance(self.outcome, LinkError):
            raise self.outcome
        return self.outcome


def a_unit(number: int) -> DeviceUnit:
    device = Device("aaa", online=True, records=5, events=3, gaps=1)
    return DeviceUnit(number, device, Style(5.0, lambda: 0.0), lambda: 0, lambda _number: None)


def word(unit: DeviceUnit, address: int) -> int:
    data = unit.image.read(address, 1)
    assert data is not None
    return int.from_bytes(data, "big")


@pytest.mark.parametrize(
    ("outcome", "state", "failed"),
    [
        (Answer(1, "ok", {}), 2, 0),
        (Answer(1, "unknown_command", {"error": "no command identify"}), 3, 1),
        (Answer(1, "timeout", {}), 3, 1),
        (LinkError("device aaa is not connected"), 3, 1),
    ],
)
def test_identify_is_accepted_and_then_tells_what_became_of_it(
    outcome: Answer | LinkError, state: int, failed: int
) -> None:
    async def scenario() -> None:
        unit, link = a_unit(1), Link(outcome)
        commands = Commands(["identify"], {1: unit}.get, lambda: None, link)
        assert word(unit, 120) == 0
        assert commands.write(1, False, 120, [1]) == 0
        await until(lambda: link.asked)
        assert link.asked == [("aaa", "identify")]
        assert word(unit, 120) == 1
        assert commands.write(1, True, 0, [1]) == 6, "busy, by whatever way it is asked"
        assert commands.write(1, True, 0, [0]) == 0, "0 does nothing"
        link.go.set()
        await until(lambda: word(unit, 120) == state)
        assert (commands.written, commands.refused, commands.failed) == (2, 1, failed)
        assert commands.write(1, True, 0, [1]) == 0, "and may be asked again"
        unit.device.online = False
        await until(lambda: len(link.asked) == 2 and word(unit, 120) == state)
        assert commands.write(1, False, 120, [1]) == 0x0B

    asyncio.run(scenario())


def test_what_is_not_listed_or_not_whole_changes_nothing() -> None:
    resets: list[int] = []
    unit = a_unit(1)
    commands = Commands(["reset_counters"], {1: unit}.get, lambda: resets.append(1), None)
    assert commands.write(1, False, 120, [1]) == 2
    assert commands.write(1, False, 120, [1, 1]) == 2, "one of the two is not listed"
    assert commands.write(1, False, 121, [2]) == 3
    assert commands.write(1, True, 0, [1, 1]) == 2
    assert word(unit, 37) == 5
    assert word(unit, 121) == 0
    assert commands.write(1, False, 121, [1]) == 0
    assert [word(unit, at) for at in (37, 39, 41, 121)] == [0, 0, 0, 1]
    unit.device.records += 2
    unit.changed("reading")
    assert word(unit, 37) == 2
    assert word(unit, 30) == 7, "the heartbeat goes on"
    assert commands.write(247, False, 120, [1]) == 2, "the gateway has no identify"
    assert not resets
    assert commands.write(247, False, 121, [1]) == 0
    assert commands.write(0, True, 1, [1]) == 0
    assert len(resets) == 2


def test_a_master_resets_counters_only_where_the_configuration_says_so(tmp_path: Path) -> None:
    async def scenario(
        parts: GatewayParts, bridge: ModbusBridge, client: AsyncModbusTcpClient
    ) -> None:
        about = readings.description()
        parts.describe(about, readings.identity())
        await until(lambda: bridge.stats()["units"] == 1)
        numbers = {"current1": {"rms": 1.0}}
        await parts.commit([readings.record(about, seq, numbers) for seq in (1, 2, 3)])

        async def read(unit: int, address: int, count: int = 1) -> list[int]:
            return list(
                (
                    await client.read_holding_registers(address, count=count, device_id=unit)
                ).registers
            )

        assert await read(1, 36, 2) == [0, 3]
        written = await client.write_register(121, 1, device_id=1)
        if not bridge.stats()["written"]:
            assert written.exception_code == 1
            return
        assert not written.isError()
        assert await read(1, 36, 2) == [0, 0]
        assert (await client.write_register(120, 1, device_id=1)).exception_code == 2
        assert (await client.read_coils(0, count=2, device_id=1)).bits[:2] == [False, False]
        assert not (await client.write_coils(1, [True], device_id=247)).isError()
        assert (await read(247, 121)) == [1]
        requests = struct.unpack(">I", struct.pack(">2H", *await read(247, 34, 2)))[0]
        assert requests < 5
        inputs = await client.read_discrete_inputs(0, count=48, device_id=1)
        assert inputs.bits[0], "online"
        assert not inputs.bits[1], "a record of long ago is not good"
        assert inputs.bits[16], "slot 1 is used"
        identity = await client.read_device_information(read_code=3, device_id=1)
        assert isinstance(identity, ReadDeviceInformationResponse)
        assert identity.information[0] == b"Clampwork"
        assert identity.information[6] == b"lathe"
        assert identity.information[0x80] == about.device.encode()

    async def run(folder: Path, settings: ModbusSettings) -> None:
        async with running(folder) as parts:
            bridge = ModbusBridge(settings, parts.context)
            async with serving(bridge.run):
                await until(lambda: bridge.port)
                client = AsyncModbusTcpClient("127.0.0.1", port=bridge.port, timeout=3, retries=0)
                assert await client.connect()
                try:
                    await scenario(parts, bridge, client)
                finally:
                    client.close()

    (tmp_path / "off").mkdir()
    (tmp_path / "on").mkdir()
    asyncio.run(run(tmp_path / "off", ModbusSettings(port=0)))
    asyncio.run(run(tmp_path / "on", ModbusSettings(port=0, writable=("reset_counters",))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('allow = ["192.168.1.300"]', "must be an address or a network"),
        ('word_order = "ABDC"', "word_order"),
        ('writable = ["calibrate"]', "identify"),
        ("max_per_client = 0", "max_per_client"),
        ("[modbus.rtu]\nbaud = 9600", "port"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "clampwork.toml"
    file.write_text(f"[modbus]\n{text}\n")
    with pytest.raises(ConfigError) as raised:
        load(file, sections())
    assert said in str(raised.value)
    assert ":2:" in str(raised.value) or "line 2" in str(raised.value)


def test_settings_take_addresses_and_networks(tmp_path: Path) -> None:
    file = tmp_path / "clampwork.toml"
    file.write_text('[modbus]\nallow = ["10.1.2.3", "192.168.1.17/24", "fe80::/10"]\n')
    bridge = load(file, sections()).bridges[0]
    assert bridge.settings.allow == ("10.1.2.3/32", "192.168.1.0/24", "fe80::/10")
