"""Generated configurations of Modbus clients: each has its form, and reads what it says."""

import asyncio
import json
import re
import shlex
import struct
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from clampgateway.bridges.modbus import ModbusBridge, ModbusSettings
from clampgateway.registers.rows import rows
from clamptools.gendocs_clients import FILES, PORT, points
from support import readings
from support.gateway_parts import running, serving, until
from support.readings import CURRENT, INPUT, VIBRATION
from support.skips import need_debian

NUMBERS = {
    "current1": {"rms": 4.21, "peak": 6.3},
    "vibration1": {"a": 1.5, "v_x": 2.25, "v_y": 0.75, "v_z": 0.5},
    "input1": {"state": 1, "count": 70000},
}
WORDS = {"uint16": 1, "uint32": 2, "float32": 2}
CODES = {"uint16": ">H", "uint32": ">I", "float32": ">f"}
# Keys of `[[inputs.modbus]]` in Telegraf 1.36, style request: its sample.conf.
TELEGRAF = {"name", "controller", "configuration_type", "timeout", "request"}
TELEGRAF_REQUEST = {"slave_id", "byte_order", "register", "optimization", "fields"}
TELEGRAF_TYPES = {"UINT16", "UINT32", "FLOAT32"}
# Keys of a sensor in Home Assistant's modbus integration: its SENSOR_SCHEMA.
HOME_ASSISTANT = {
    "name", "unique_id", "slave", "address", "input_type", "data_type", "scan_interval",
    "nan_value", "precision", "unit_of_measurement", "device_class", "state_class",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_file_is_what_the_map_makes_of_it(root_dir: Path, name: str) -> None:
    assert (root_dir / name).read_text(encoding="utf-8") == FILES[name](), "stale: see gendocs"


def test_every_point_is_a_register_of_the_map() -> None:
    # A slot's registers are listed for slot 1: further ones are 250 on.
    listed = {(row.address, row.type, row.size) for row in rows() if row.block != "gateway"}
    for each in points():
        slot = max(0, each.address // 250 - 1)
        key = (each.address - 250 * slot, each.type, WORDS[each.type])
        assert key in listed, each.name
    names = [each.name for each in points()]
    assert len(set(names)) == len(names)


def test_telegraf_takes_the_section() -> None:
    document = tomllib.loads(FILES["docs/clients/telegraf.conf"]())
    (section,) = document["inputs"]["modbus"]
    assert set(section) == TELEGRAF
    fields = []
    for request in section["request"]:
        assert set(request) == TELEGRAF_REQUEST
        assert request["register"] == "input"
        ends = [each["address"] + 2 for each in request["fields"]]
        assert max(ends) - request["fields"][0]["address"] <= 250
        assert {each["type"] for each in request["fields"]} <= TELEGRAF_TYPES
        fields += request["fields"]
    assert {each["address"] for each in fields} == {each.address for each in points()}


def test_home_assistant_takes_the_section() -> None:
    lines = FILES["docs/clients/home_assistant.yaml"]().splitlines()
    sensors: list[dict[str, str]] = []
    for line in lines[lines.index("    sensors:") + 1 :]:
        if line.startswith("      - "):
            sensors.append({})
        key, _, value = line.strip(" -").partition(": ")
        sensors[-1][key] = value
    assert len(sensors) == len(points())
    for sensor, each in zip(sensors, points(), strict=True):
        assert set(sensor) <= HOME_ASSISTANT
        assert (int(sensor["address"]), sensor["data_type"]) == (each.address, each.type)
        assert ("nan_value" in sensor) is (each.type == "float32")
    assert len({sensor["unique_id"] for sensor in sensors}) == len(sensors)


def test_the_flow_of_node_red_is_wired() -> None:
    nodes = json.loads(FILES["docs/clients/node_red.json"]())
    by_id = {node["id"]: node for node in nodes}
    assert len(by_id) == len(nodes)
    reads = [node for node in nodes if node["type"] == "modbus-read"]
    assert [node["adr"] for node in reads] == ["250", "500", "750"]
    for node in reads:
        assert by_id[node["server"]]["type"] == "modbus-client"
        assert int(node["quantity"]) <= 125
        (decode,) = node["wires"][0]
        assert by_id[by_id[decode]["wires"][0][0]]["type"] == "debug"


async def _served(folder: Path, scenario: Any) -> None:  # noqa: ANN401 - an async function
    about = readings.description(channels=(CURRENT, VIBRATION, INPUT))
    async with running(folder) as parts:
        bridge = ModbusBridge(ModbusSettings(port=0, stale_after_s=600.0), parts.context)
        async with serving(bridge.run):
            await until(lambda: bridge.port)
            parts.describe(about, readings.identity())
            await until(lambda: bridge.stats()["units"] == 1)
            utc_ms = parts.context.utc_ms()
            await parts.commit([readings.record(about, 1, NUMBERS, utc_ms=utc_ms)])
            await scenario(bridge.port)


def _expected() -> dict[str, float]:
    found: dict[str, float] = {"quality": 1, "current1_quality": 1}
    for slot, (channel, numbers) in enumerate(NUMBERS.items(), start=1):
        name = channel.removesuffix("1")
        found |= {f"{name}{slot}_{key}": value for key, value in numbers.items()}
    return found


def test_pymodbus_and_mbpoll_read_each_point_alike(tmp_path: Path) -> None:
    program = need_debian("mbpoll")

    async def scenario(port: int) -> None:
        client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=3, retries=0)
        assert await client.connect()
        sheet = dict(re.findall(r"^\| (\w+): .*?`(mbpoll [^`]+)`", _sheet(), re.MULTILINE))
        assert set(sheet) == {each.name for each in points()}
        expected = _expected()
        for each in points():
            got = await client.read_input_registers(
                each.address, count=WORDS[each.type], device_id=1
            )
            words = struct.pack(f">{WORDS[each.type]}H", *got.registers)
            value = struct.unpack(CODES[each.type], words)[0]
            if each.name in expected:
                assert value == pytest.approx(expected[each.name], rel=1e-6), each.name
            if each.name == "age":
                continue  # it goes on meanwhile
            command = shlex.split(sheet[each.name].replace(f"-p {PORT}", f"-p {port}"))
            done = await asyncio.to_thread(
                subprocess.run, [program, *command[1:]], capture_output=True, text=True,
                timeout=20, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            (shown,) = re.findall(r"^\[\d+\]:\s+(\S+)", done.stdout, re.MULTILINE)
            assert float(shown) == pytest.approx(value, rel=1e-5, nan_ok=True), each.name
        client.close()

    asyncio.run(_served(tmp_path, scenario))


def _sheet() -> str:
    return FILES["docs/clients/mbpoll.md"]()
