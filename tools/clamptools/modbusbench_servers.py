"""The Python servers that `clampwork bench modbus` compares, each in a process of its own.

`python -m clamptools.modbusbench_servers NAME REGISTERS` prints its port and serves until SIGTERM.
`clampwork` is the whole gateway, with a device on a serial line that sends a record a second;
`pymodbus` is its server on SimData; `asyncio` is the least that a Python server can do, a protocol
that checks nothing, as a floor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
import tempfile
import time
import tty
from collections.abc import Awaitable, Callable
from pathlib import Path

from clampgateway import logs
from clampgateway.app import Gateway
from clampgateway.config import Config, load
from clampgateway.parts import sections
from clamptools.framedevice import FrameDevice
from clamptools.modbusbench import CONNECTIONS_MAX, UNIT

RECORD_S = 1.0
TURN_S = 0.1
# The host that listens and all connections are here.
HOST = "127.0.0.1"


CONFIG = """
[gateway]
state_dir = "state"
[api]
port = 0
[[serial]]
port = "{line}"
[modbus]
port = {port}
max_connections = {most}
max_per_client = {most}
"""


def free_port() -> int:
    """A TCP port of this host that nobody listens on now."""
    with socket.create_server((HOST, 0)) as taken:
        return taken.getsockname()[1]


def _say(port: int) -> None:
    print(port, flush=True)


async def _clampwork(_registers: int, stop: asyncio.Event) -> None:
    """A gateway with a device on a serial line; how many registers it has is the map's matter."""
    controller, line = os.openpty()
    tty.setraw(line)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="clampwork-bench-") as folder:
        config = _config(Path(folder), port, os.ttyname(line))
        gateway = Gateway(config, logs.configure("warning"), {})
        running = asyncio.create_task(gateway.run(stop))
        device = asyncio.create_task(_send_records(controller, stop))
        answers = asyncio.create_task(_answers(port))
        await asyncio.wait({running, answers}, return_when=asyncio.FIRST_COMPLETED)
        if answers.done():
            _say(port)
        await asyncio.gather(running, device)
    os.close(controller)
    os.close(line)


def _config(folder: Path, port: int, line: str) -> Config:
    file = folder / "clampwork.toml"
    file.write_text(CONFIG.format(port=port, line=line, most=CONNECTIONS_MAX))
    return load(file, sections())


async def _answers(port: int) -> None:
    """Returns when the device's unit is there."""
    while True:
        await asyncio.sleep(0.1)
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            continue  # it does not listen yet
        writer.write(bytes((0, 1, 0, 0, 0, 6, UNIT, 3, 0, 0, 0, 1)))
        response = await reader.readexactly(9)
        writer.close()
        if response[7] == 3:
            return


async def _send_records(controller: int, stop: asyncio.Event) -> None:
    """A device made of frames, a record a second."""
    device = FrameDevice("bench", time.monotonic)
    os.set_blocking(controller, False)
    loop = asyncio.get_running_loop()
    loop.add_reader(controller, lambda: device.receive(os.read(controller, 65536)))
    due_s = time.monotonic()
    while not stop.is_set():
        if time.monotonic() >= due_s:
            device.make()
            due_s += RECORD_S
        data = device.take()
        if data:
            os.write(controller, data)
        await asyncio.sleep(TURN_S)
    loop.remove_reader(controller)


async def _pymodbus(registers: int, stop: asyncio.Event) -> None:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    block = [SimData(0, values=list(range(registers)), datatype=DataType.REGISTERS)]
    server = ModbusTcpServer(SimDevice(UNIT, block), address=(HOST, 0))
    await server.serve_forever(background=True)
    listener = server.transport
    assert isinstance(listener, asyncio.Server)
    _say(listener.sockets[0].getsockname()[1])
    await stop.wait()
    await server.shutdown()


class _Floor(asyncio.Protocol):
    """Takes every segment for one request that is right."""

    request = struct.Struct(">HHHBBHH")
    answer = struct.Struct(">HHHBBB")

    def __init__(self, image: bytes) -> None:
        self._image = image

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        transaction, protocol, _length, unit, function, first, count = self.request.unpack(data)
        header = self.answer.pack(transaction, protocol, 3 + 2 * count, unit, function, 2 * count)
        self._write(header + self._image[2 * first : 2 * (first + count)])


async def _floor(registers: int, stop: asyncio.Event) -> None:
    image = struct.pack(f">{registers}H", *range(registers))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Floor(image), HOST, 0)
    _say(server.sockets[0].getsockname()[1])
    await stop.wait()
    server.close()


SERVERS: dict[str, Callable[[int, asyncio.Event], Awaitable[None]]] = {
    "clampwork": _clampwork,
    "pymodbus": _pymodbus,
    "asyncio": _floor,
}


async def _serve(name: str, registers: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await SERVERS[name](registers, stop)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
