"""Modbus RTU: frames and silences, and pymodbus and mbpoll at the other end of a line."""

import asyncio
import contextlib
import os
import re
import struct
import subprocess
import tty
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.framer import FramerRTU

from clampgateway.bridges.modbus import ModbusBridge, ModbusSettings
from clampgateway.bridges.modbus.line import _Line
from clampgateway.registers.rtu import INCOMPLETE_S, Slave, crc16, frame, silence_s
from support import readings
from support.gateway_parts import running, serving, until
from support.skips import need_debian

READ = bytes.fromhex("0103000000 01 840a")  # unit 1, one register at 0
ANSWER = bytes.fromhex("0103020005 7847")


def slave() -> Slave:
    """Unit 1 answers 5 to every read of one register, and unit 9 is another's."""
    return Slave(
        lambda _unit, pdu: b"\3\2\0\5" if pdu[0] == 3 else bytes((pdu[0] | 0x80, 1)),
        lambda unit: unit == 1,
        9600,
    )


def test_the_crc_is_that_of_the_specification() -> None:
    assert crc16(b"\2\7") == 0x1241  # appendix B of the serial line guide
    assert frame(1, READ[1:-2]) == READ


@given(st.binary(max_size=300))
def test_the_crc_is_that_of_another_implementation(data: bytes) -> None:
    assert crc16(data) == int.from_bytes(FramerRTU.compute_CRC(data).to_bytes(2, "big"), "little")


def test_silences_follow_the_speed() -> None:
    assert silence_s(9600) == pytest.approx(3.5 * 11 / 9600)
    assert silence_s(19200) == pytest.approx(0.002005, rel=1e-3)
    assert silence_s(115200) == 0.00175


def test_a_frame_ends_with_silence_and_damage_with_it() -> None:
    line = slave()
    assert line.silence() == b""
    assert line.receive(READ[:3]) == INCOMPLETE_S
    assert line.receive(READ[3:]) == silence_s(9600)
    assert line.silence() == frame(1, b"\3\2\0\5")
    for wrong in (READ[:-1] + b"\0", READ[:3], READ + READ, b"\0" * 300):
        line.receive(wrong)
        assert line.silence() == b""
        line.receive(READ)
        assert line.silence(), "what comes after the silence is read"
    assert (line.requests, line.broken) == (5, 4)
    for other in (frame(9, READ[1:-2]), frame(0, b"\6\0\x79\0\1")):
        line.receive(other)
        assert line.silence() == b"", "another's, or for all"
    assert line.foreign == 2
    line.receive(frame(1, b"\x55"))
    assert line.silence() == frame(1, b"\xd5\1")
    assert line.exceptions == 1


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
def test_no_bytes_break_the_line(pieces: list[bytes]) -> None:
    line = slave()
    for piece in pieces:
        assert line.receive(piece) in (INCOMPLETE_S, silence_s(9600))
    line.silence()
    line.receive(READ)
    assert line.silence() == frame(1, b"\3\2\0\5")


@contextlib.asynccontextmanager
async def line_of(folder: Path, **more: object) -> AsyncIterator[tuple[ModbusBridge, str, object]]:
    """A bridge at one end of a pair of ptys joined by a pump; gives the path of the other end."""
    ends = [os.openpty() for _ in range(2)]
    for controller, line in ends:
        tty.setraw(line)
        os.set_blocking(controller, False)
    loop = asyncio.get_running_loop()
    for (source, _), (target, _) in (ends, ends[::-1]):
        loop.add_reader(source, lambda a=source, b=target: os.write(b, os.read(a, 4096)))
    names = [os.ttyname(line) for _controller, line in ends]
    about = readings.description()
    settings = ModbusSettings.model_validate(
        {"port": 0, "rtu": {"port": names[0], "baud": 115200}, **more}
    )
    async with running(folder) as parts:
        bridge = ModbusBridge(settings, parts.context)
        async with serving(bridge.run):
            parts.describe(about, readings.identity())
            await until(lambda: bridge.stats()["units"] == 1 and bridge.stats()["rtu_open"])
            utc_ms = parts.context.utc_ms()
            numbers = {"current1": {"rms": 4.21}}
            await parts.commit([readings.record(about, 1, numbers, utc_ms=utc_ms)])
            yield bridge, names[1], parts
    for controller, line in ends:
        loop.remove_reader(controller)
        os.close(controller)
        os.close(line)


def test_pymodbus_reads_the_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with line_of(tmp_path, stale_after_s=600.0) as (bridge, port, _parts):
            # A pty has no parity, and pyserial refuses to ask for one.
            client = AsyncModbusSerialClient(port, baudrate=115200, timeout=2, retries=0)
            assert await client.connect()
            try:
                for read in (client.read_holding_registers, client.read_input_registers):
                    got = await read(250, count=125, device_id=1)
                    assert not got.isError(), got
                    value = struct.unpack(">f", struct.pack(">2H", *got.registers[30:32]))[0]
                    assert value == pytest.approx(4.21, rel=1e-6)
                wrong = await client.read_holding_registers(4249, count=2, device_id=1)
                assert wrong.exception_code == 2
                assert (await client.read_holding_registers(0, count=1, device_id=247)).registers
            finally:
                client.close()
            stats = bridge.stats()
            assert (stats["rtu_requests"], stats["rtu_exceptions"]) == (4, 1)
            assert stats["rtu_broken"] == 0

    asyncio.run(scenario())


@pytest.fixture
def mbpoll() -> str:
    return need_debian("mbpoll")


def test_mbpoll_reads_the_line(tmp_path: Path, mbpoll: str) -> None:
    async def scenario() -> None:
        async with line_of(tmp_path) as (_bridge, port, _parts):
            command = [
                mbpoll, "-m", "rtu", "-b", "115200", "-P", "even", "-a", "1", "-t", "4:float",
                "-B", "-r", "3", "-1", "-q", port,
            ]  # fmt: skip
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=20, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert re.findall(r"^\[3\]:\s+(\S+)", done.stdout, re.MULTILINE) == ["1234.5"]

    asyncio.run(scenario())


def test_a_line_that_is_not_there_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        link = tmp_path / "line"
        controller, line = os.openpty()
        settings = ModbusSettings.model_validate({"port": 0, "rtu": {"port": str(link)}})
        async with running(tmp_path) as parts:
            bridge = ModbusBridge(settings, parts.context)
            async with serving(bridge.run):
                await until(lambda: bridge.port)
                await asyncio.sleep(0.7)  # tried at once, after 0.2 s, after another 0.4 s
                assert not bridge.stats()["rtu_open"]
                link.symlink_to(os.ttyname(line))
                await until(lambda: bridge.stats()["rtu_open"], "the line is served")
                os.close(line)
                os.close(controller)
                await until(lambda: not bridge.stats()["rtu_open"], "its end is seen")

    asyncio.run(scenario())
    said = [each for each in caplog.messages if "cannot be opened" in each]
    assert len(said) == 1, "once, however often it is tried"


async def filled(port: int) -> None:
    """Fills a line whose other end does not read, until it takes nothing for a while.

    The kernel moves what was written to the reader's queue later, which makes room once more.
    """
    full = 0
    while full < 20:
        try:
            os.write(port, bytes(256))
            full = 0
        except BlockingIOError:
            full += 1
            await asyncio.sleep(0.01)


def test_an_answer_that_the_line_does_not_take_is_counted_and_the_next_goes() -> None:
    async def scenario() -> None:
        master, port = os.openpty()
        tty.setraw(port)
        os.set_blocking(port, False)
        await filled(port)
        unit = slave()
        line = _Line(port, unit)
        try:
            os.write(master, READ)
            await until(lambda: unit.cut == 1, "an answer that is lost")
            assert not line.lost.done()
            os.set_blocking(master, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.read(master, 4096)
            os.write(master, READ)
            await until(lambda: unit.requests == 2, "the next request")
            assert os.read(master, 64) == ANSWER
            assert unit.cut == 1
        finally:
            line.close()
            os.close(master)

    asyncio.run(scenario())
