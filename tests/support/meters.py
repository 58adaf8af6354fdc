"""Energy meters that are simulated by pymodbus's server, over TCP and on a line of two ptys.

What a meter says is a table of registers that a test changes; how badly the line behaves, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import threading
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

REGISTERS = 1400
# Where the SDM120 has its values, by the documents, and not by our profile.
SDM120 = {
    "volts": 0,
    "amps": 6,
    "watts": 12,
    "va": 18,
    "var": 24,
    "pf": 30,
    "hz": 70,
    "import_kwh": 72,
    "export_kwh": 74,
    "import_kvarh": 76,
    "export_kvarh": 78,
    "kwh": 342,
    "kvarh": 344,
}
TRUTH = {
    "volts": 230.5,
    "amps": 4.25,
    "watts": 801.5,
    "va": 979.625,
    "var": 563.25,
    "pf": 0.8125,
    "hz": 49.98,
    "import_kwh": 12345.67,
    "export_kwh": 0.5,
    "import_kvarh": 77.75,
    "export_kvarh": 3.25,
    "kwh": 12346.17,
    "kvarh": 81.0,
}


class SimMeter:
    """Registers of one meter: input registers, the same for functions 3 and 4.

    `refused`: addresses for which it answers "illegal data address". `on_request` is called with
    (function, first address) and may change what is there, as a live meter does.
    """

    def __init__(self, unit: int = 1) -> None:
        self.unit = unit
        self.words = [0] * REGISTERS
        self.refused: set[int] = set()
        self.requests: list[tuple[int, int, int]] = []
        self.on_request: Callable[[int, int], None] = lambda _function, _first: None

    def put(self, address: int, value: float, order: str = "ABCD") -> None:
        """A float32 in two registers."""
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        self.words[address : address + 2] = (high, low) if order == "ABCD" else (low, high)

    def sdm120(self, **values: float) -> SimMeter:
        """Values of an SDM120, by the names above."""
        for name, value in values.items():
            self.put(SDM120[name], value)
        return self

    async def _act(
        self,
        function: int,
        _start: int,
        address: int,
        count: int,
        registers: list[int],
        _values: object,
    ) -> ExcCodes | None:
        self.requests.append((function, address, count))
        self.on_request(function, address)
        if self.refused & set(range(address, address + count)):
            return ExcCodes.ILLEGAL_ADDRESS
        registers[:] = self.words[: len(registers)]
        return None

    def device(self) -> SimDevice:
        block = [SimData(0, values=[0] * REGISTERS, datatype=DataType.REGISTERS)]
        return SimDevice(self.unit, block, action=self._act)


@contextlib.asynccontextmanager
async def on_tcp(*meters: SimMeter, port: int = 0) -> AsyncIterator[int]:
    """A server with these meters, as a converter has; gives the port."""
    server = ModbusTcpServer(
        [meter.device() for meter in meters],
        address=("127.0.0.1", port),
        ignore_missing_devices=True,
    )
    await server.serve_forever(background=True)
    listener = server.transport
    assert isinstance(listener, asyncio.Server)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


class PtyLine:
    """A serial line from `path` to a server with these meters; what the meters say can be harmed.

    `harm` gets what goes to the gateway and returns what comes there, b"" for silence. `delay_s`
    holds it back; what was said first comes first.
    """

    def __init__(self, path: Path, *meters: SimMeter) -> None:
        self.path = path
        self.meters = meters
        self.harm: Callable[[bytes], bytes] = lambda data: data
        self.delay_s = 0.0
        self._at_s = 0.0
        self._fds: list[int] = []
        self._masters: tuple[int, int] = (-1, -1)
        self._server: ModbusSerialServer | None = None

    async def plug(self) -> None:
        """The port appears, and the meters listen."""
        near, far = os.openpty(), os.openpty()
        self._fds = [*near, *far]
        for master, slave in (near, far):
            tty.setraw(slave)
            os.set_blocking(master, False)
        self._masters = near[0], far[0]
        self.path.symlink_to(os.ttyname(near[1]))
        loop = asyncio.get_running_loop()
        loop.add_reader(near[0], self._to_meters)
        loop.add_reader(far[0], self._to_gateway)
        self._server = ModbusSerialServer(
            [meter.device() for meter in self.meters],
            port=os.ttyname(far[1]),
            baudrate=19200,
            ignore_missing_devices=True,
        )
        await self._server.serve_forever(background=True)

    def _to_meters(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._masters[1], os.read(self._masters[0], 4096))

    def _to_gateway(self) -> None:
        with contextlib.suppress(OSError):
            data = self.harm(os.read(self._masters[1], 4096))
            loop = asyncio.get_running_loop()
            self._at_s = max(self._at_s + 0.001, loop.time() + self.delay_s)
            loop.call_at(self._at_s, self._write, data)

    def _write(self, data: bytes) -> None:
        if self._fds:
            with contextlib.suppress(OSError):
                os.write(self._masters[0], data)

    async def unplug(self) -> None:
        """The adapter is pulled out."""
        if not self._fds:
            return
        loop = asyncio.get_running_loop()
        for master in self._masters:
            loop.remove_reader(master)
        if self._server is not None:
            await self._server.shutdown()
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)
        self.path.unlink()


def silence(_data: bytes) -> bytes:
    """Nothing comes."""
    return b""


def half(data: bytes) -> bytes:
    """The line breaks in the middle of a frame."""
    return data[: len(data) // 2]


def wrong_crc(data: bytes) -> bytes:
    """A bit of the checksum turns round."""
    return data[:-1] + bytes((data[-1] ^ 0x10,))


@contextlib.contextmanager
def tcp_thread(*meters: SimMeter) -> Iterator[int]:
    """The same as `on_tcp` in a thread of its own, for a gateway that is another process."""
    started = threading.Event()
    ports: list[int] = []
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with on_tcp(*meters) as port:
            ports.append(port)
            started.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(10), "the simulated meter does not start"
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
