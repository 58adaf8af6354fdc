"""Modbus clients of different hands at one live demo: they agree, and a silent device is told."""

import asyncio
import ctypes
import ctypes.util
import math
import os
import re
import shutil
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pymodbus.client import AsyncModbusTcpClient

from clampgateway.registers import schema
from e2e.running import DemoProcess, run_client
from support.ports import wait_for
from support.skips import need_debian

DEVICES = 3
UNITS = range(1, DEVICES + 1)
BLOCK = 120  # registers a request: the header, and half a slot
STALE_S = 5.0  # unless configured
GOOD, STALE = 1, 2
QUALITY_AT, DEVICES_AT = 12, 31
pytestmark = pytest.mark.timeout(180)

Read = Callable[[int, int, int, int], list[int]]  # port, unit, address, count: registers


class Demo(NamedTuple):
    """A running demo: its process id and its Modbus port."""

    pid: int
    port: int


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo whose units all have a good record."""
    folder = tmp_path_factory.mktemp("demo")
    process = DemoProcess("--for", "150", "--devices", str(DEVICES), "--json", folder=folder)
    try:
        found = Demo(process.pid, process.ports()["modbus"])
        given = schema.GATEWAY_UNIT, DEVICES_AT, 1
        wait_for(lambda: with_pymodbus(found.port, *given) == [DEVICES], 30, "the units")
        wait_for(
            lambda: all(header_of(found.port, unit)["quality"] == GOOD for unit in UNITS),
            30,
            "a good record of each unit",
        )
        yield found
    finally:
        process.kill()


def with_pymodbus(port: int, unit: int, address: int, count: int) -> list[int]:
    async def read() -> list[int]:
        async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:
            got = await client.read_holding_registers(address, count=count, device_id=unit)
            assert not got.isError(), got
            return list(got.registers)

    return asyncio.run(read())


def with_libmodbus(port: int, unit: int, address: int, count: int) -> list[int]:
    name = ctypes.util.find_library("modbus")
    assert name, "mbpoll's package brings it"
    library = ctypes.CDLL(name)
    library.modbus_new_tcp.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.modbus_new_tcp(b"127.0.0.1", port))
    registers = (ctypes.c_uint16 * count)()
    try:
        assert library.modbus_set_slave(context, unit) == 0
        assert library.modbus_connect(context) == 0
        assert library.modbus_read_registers(context, address, count, registers) == count
    finally:
        library.modbus_close(context)
        library.modbus_free(context)
    return list(registers)


def with_mbpoll(port: int, unit: int, address: int, count: int) -> list[int]:
    text = run_client(
        need_debian("mbpoll"), "-m", "tcp", "-p", str(port), "-a", str(unit), "-0", "-1", "-q",
        "-r", str(address), "-c", str(count), "-t", "4", "127.0.0.1",
    )  # fmt: skip
    return [int(value) for value in re.findall(r"^\[\d+\]:\s+(\d+)", text, re.MULTILINE)]


def with_modbus_cli(port: int, unit: int, address: int, count: int) -> list[int]:
    program = shutil.which("modbus")
    if program is None:
        pytest.skip("needs the program `modbus` of the PyPI package modbus-cli in the path")
    access = f"h@{address}/{count}H"
    text = run_client(program, "-s", str(unit), f"127.0.0.1:{port}", access)
    return [int(word) for word in text.rpartition("(")[2].rstrip(") \n").split(",")]


def header_of(port: int, unit: int) -> dict[str, int]:
    """Integers of a unit's header by name."""
    header = with_pymodbus(port, unit, 0, BLOCK)
    found = {}
    for entry in schema.HEADER:
        words = header[entry.offset : entry.offset + entry.size]
        if entry.type.startswith(("uint", "int")) and len(words) == entry.size:
            found[entry.name] = int.from_bytes(struct.pack(f">{entry.size}H", *words), "big")
    return found


def devices_of(demo: int) -> list[int]:
    """Process ids of the simulated devices of a demo."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # gone meanwhile
            if parent == demo and b"main.py" in command:
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("other", [with_libmodbus, with_mbpoll, with_modbus_cli])
def test_clients_agree_on_every_register(demo: Demo, other: Read) -> None:
    if other is with_libmodbus:
        need_debian("mbpoll")
    at = schema.AGE_AT
    for unit in UNITS:
        channels = header_of(demo.port, unit)["channels"]
        assert channels
        slots = [schema.slot_address(slot, 0) for slot in range(1, channels + 1)]
        for address in [0, *slots, *(slot + BLOCK for slot in slots)]:

            def of_one_record(unit: int = unit, address: int = address) -> list[list[int]]:
                """Read by one, by the other and by the first again, while nothing was new."""
                found = [
                    read(demo.port, unit, address, BLOCK)
                    for read in (with_pymodbus, other, with_pymodbus)
                ]
                if address % schema.STRIDE == 0:
                    ages_ms = [each[at] << 16 | each[at + 1] for each in found]
                    for each in found:
                        del each[at : at + 2]
                    if ages_ms != sorted(ages_ms):
                        return []  # a record came between
                return found if found[0] == found[2] else []

            first, second, _again = wait_for(of_one_record, 15, "two readings of one record")
            assert len(first) >= BLOCK - 2
            assert second == first, (unit, address)


def test_a_silent_device_leaves_no_value(demo: Demo) -> None:
    """As if its cable were out: the process stands still, and no other is touched."""
    device = devices_of(demo.pid)[0]
    os.kill(device, signal.SIGSTOP)
    try:
        stale = wait_for(
            lambda: [u for u in UNITS if header_of(demo.port, u)["quality"] == STALE],
            STALE_S + 10,
            "a unit that is stale",
        )
        assert len(stale) == 1
        (unit,) = stale
        channels = header_of(demo.port, unit)["channels"]
        for slot in range(1, channels + 1):
            start = schema.slot_address(slot, 0)
            half = schema.STRIDE // 2
            block = with_pymodbus(demo.port, unit, start, half)
            block += with_pymodbus(demo.port, unit, start + half, half)
            assert block[QUALITY_AT] == STALE
            quantity = next(q for q in schema.QUANTITIES if q.code == block[0])
            assert quantity.features
            for feature in quantity.features:
                words = block[schema.FLOATS_AT + 2 * feature.place :][:2]
                assert math.isnan(struct.unpack(">f", struct.pack(">2H", *words))[0]), feature
                if feature.step:
                    assert block[schema.INTS_AT + feature.place] == 0x8000, feature
        before_ms = header_of(demo.port, unit)["age"]
        assert before_ms >= 1000 * STALE_S
        time.sleep(0.3)
        assert before_ms + 300 <= header_of(demo.port, unit)["age"] < before_ms + 5000
        assert header_of(demo.port, unit)["state"] == 0
        others = [header_of(demo.port, u)["quality"] for u in UNITS if u != unit]
        assert others == [GOOD] * (DEVICES - 1)
    finally:
        os.kill(device, signal.SIGCONT)
    wait_for(lambda: header_of(demo.port, unit)["quality"] == GOOD, 20, "its next record")
